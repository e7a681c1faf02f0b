# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else takes the far end's place: it asks for that (REFER), or they say so (Replaces)."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.deadlines import Timeouts
from bridge.call.ids import Address, CallId, LegId, OpId, Side
from bridge.call.notices import NOT_TRANSFERRED
from bridge.call.policy import Access
from bridge.call.rules import TrunkPolicy
from tests.call.desk import CALL, IN, LIMITS, NUMBER, OUR_CALL, OUT, POLICY, TRUNK, Desk

TARGET = Address("tel:+12025550177")
NEXT = LegId("n-1-out-2")
ANOTHER = LegId("in-2")
REFER = OpId(-1)
ELSEWHERE = Address("tel:+12025550178")


def referred(
    desk: Desk, target: Address = TARGET, *, leg: LegId = OUT, uri: str = "", replaces: str = ""
) -> None:
    """The far end asks us to call somebody else."""
    desk.tell(
        e.SipReferReceived(
            leg=leg,
            op=REFER,
            target=target,
            uri=uri,
            replaces=replaces,
            referred_by="<sip:phone@pbx.test>",
        )
    )


def told(desk: Desk, *statuses: int) -> None:
    """The far end was told this, and nothing else was said."""
    said = desk.expect_all(*[c.NotifySip] * len(statuses))
    assert [each.status for each in said if isinstance(each, c.NotifySip)] == list(statuses)
    assert {each.op for each in said if isinstance(each, c.NotifySip)} == {REFER}


def successor_is_called(desk: Desk) -> c.SendSipInvite:
    """The engine has written an offer, which goes to the successor."""
    notify, offer = desk.expect_all(c.NotifySip, c.OfferSuccessor)
    assert isinstance(notify, c.NotifySip)
    assert isinstance(offer, c.OfferSuccessor)
    assert notify.status == 100
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to the next"))
    return desk.expect(c.SendSipInvite)


def being_called(*, leg: LegId = OUT) -> Desk:
    """The successor rings."""
    desk = Desk()
    if leg == OUT:
        desk.connected_to_the_phone()
    else:
        desk.connected_to_the_person()
    referred(desk, leg=leg)
    successor_is_called(desk)
    desk.tell(e.SipProgressed(leg=NEXT, status=180))
    told(desk, 180)
    return desk


def answers(desk: Desk) -> c.SwitchMedia:
    """The successor answers: the person learns who that is, and media goes there."""
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next", refers=True))
    identity, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.SwitchMedia)
    assert isinstance(identity, c.SendMatrixAssertedIdentity)
    assert isinstance(switch, c.SwitchMedia)
    assert identity.identity == TARGET
    assert (switch.sdp, switch.offered) == ("answer of the next", False)
    return switch


def switched(desk: Desk, switch: c.SwitchMedia, *, sdp: str = "", needed: bool = False) -> None:
    desk.tell(e.MediaSwitched(call=CALL, op=switch.op, sdp=sdp, needed=needed))


def handed_on() -> Desk:
    """The person talks to the successor."""
    desk = being_called()
    switched(desk, answers(desk))
    notify, bye = desk.expect_all(c.NotifySip, c.ByeSip)
    assert isinstance(notify, c.NotifySip)
    assert (notify.status, notify.leg, bye) == (200, OUT, c.ByeSip(call=CALL, leg=OUT, q850=16))
    return desk


# --- REFER --------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", [OUT, IN])
def test_the_call_goes_on_with_whom_the_far_end_wants(leg: LegId) -> None:
    desk = being_called(leg=leg)
    switched(desk, answers(desk))
    desk.expect_all(c.NotifySip, c.ByeSip)
    desk.phone_ends(leg)
    assert desk.core.active()[0].state == "connected"
    desk.phone_ends(NEXT)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_the_successor_is_called_as_the_person_would_call_it() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    referred(desk)
    invite = successor_is_called(desk)
    assert (invite.trunk, invite.target, invite.leg) == (TRUNK, "+12025550177", NEXT)
    assert (invite.sdp, invite.referred_by) == ("offer to the next", "<sip:phone@pbx.test>")
    assert invite.replaces == ""


def test_a_target_of_the_trunk_itself_is_called_as_it_was_written() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    referred(desk, Address("tel:104"), uri="sip:104@pbx.test;x=y", replaces="a;to-tag=b")
    invite = successor_is_called(desk)
    assert (invite.trunk, invite.target) == (TRUNK, "sip:104@pbx.test;x=y")
    assert invite.replaces == "a;to-tag=b"


def test_the_successor_may_say_who_it_is() -> None:
    desk = handed_on()
    desk.tell(e.SipIdentityChanged(leg=NEXT, address=NUMBER, name="Desk"))
    identity = desk.expect(c.SendMatrixAssertedIdentity)
    assert (identity.identity, identity.name) == (NUMBER, "Desk")


def test_the_successor_says_who_it_is_before_media_has_gone_over() -> None:
    desk = being_called()
    switch = answers(desk)
    desk.tell(e.SipIdentityChanged(leg=NEXT, address=NUMBER, name="Desk"))
    assert desk.expect(c.SendMatrixAssertedIdentity).name == "Desk"
    desk.tell(e.SipDialogChanged(leg=NEXT, state="next dialog"))
    assert desk.recorded(c.RecordLegs).sip_dialog == "next dialog"
    switched(desk, switch)
    desk.expect_all(c.NotifySip, c.ByeSip)


def test_the_far_end_leaves_at_once_and_the_person_waits() -> None:
    desk = being_called()
    desk.phone_ends(OUT)
    assert not desk.said
    desk.tell(e.SipProgressed(leg=NEXT, status=180))
    assert not desk.said
    switched(desk, answers(desk))
    assert not desk.said
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.is_over("normal", "matrix")


@pytest.mark.parametrize(("status", "cause"), [(486, "busy"), (603, "declined")])
def test_without_a_successor_the_far_end_goes_on(status: int, cause: str) -> None:
    desk = being_called()
    desk.phone_ends(NEXT, status)
    _, notify = desk.expect_all(c.DropSuccessor, c.NotifySip)
    assert isinstance(notify, c.NotifySip)
    assert notify.status == status
    referred_again = OpId(-2)
    desk.tell(e.SipReferReceived(leg=OUT, op=referred_again, target=TARGET))
    assert desk.said.pop(0) == c.NotifySip(call=CALL, leg=OUT, op=referred_again, status=100)
    desk.expect(c.OfferSuccessor)
    desk.person_hangs_up()
    assert isinstance(desk.said[0], c.NotifySip)
    assert desk.said[0].status == 487
    desk.is_over("normal", "matrix")


def points_elsewhere(desk: Desk, leg: LegId = NEXT, contact: Address = ELSEWHERE) -> None:
    desk.tell(e.SipEnded(leg=leg, status=302, contacts=(contact,)))


def elsewhere_is_called(desk: Desk) -> c.SendSipInvite:
    """The engine has written another offer, for where the successor was said to be."""
    notify, offer = desk.expect_all(c.NotifySip, c.OfferSuccessor)
    assert isinstance(notify, c.NotifySip)
    assert isinstance(offer, c.OfferSuccessor)
    assert notify.status == 181
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to elsewhere"))
    return desk.expect(c.SendSipInvite)


def test_a_successor_that_points_elsewhere_is_followed() -> None:
    desk = being_called()
    points_elsewhere(desk)
    invite = elsewhere_is_called(desk)
    assert (invite.target, invite.sdp) == ("+12025550178", "offer to elsewhere")
    assert invite.referred_by == "<sip:phone@pbx.test>"
    desk.tell(e.SipAnswered(leg=invite.leg, sdp="answer of elsewhere", refers=True))
    _, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.SwitchMedia)
    assert isinstance(switch, c.SwitchMedia)
    assert switch.sdp == "answer of elsewhere"
    switched(desk, switch)
    desk.expect_all(c.NotifySip, c.ByeSip)
    desk.phone_ends(invite.leg)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_a_successor_that_points_to_where_the_person_may_not_call() -> None:
    desk = being_called()
    points_elsewhere(desk, contact=Address("tel:+442079460123"))
    _, notify = desk.expect_all(c.DropSuccessor, c.NotifySip)
    assert isinstance(notify, c.NotifySip)
    assert notify.status == 302
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_a_trunk_whose_pointers_are_not_followed() -> None:
    desk = Desk(replace(POLICY, trunks={TRUNK: TrunkPolicy(follows=False)}))
    desk.connected_to_the_phone()
    referred(desk)
    successor_is_called(desk)
    points_elsewhere(desk)
    desk.expect_all(c.DropSuccessor, c.NotifySip)


def test_who_is_to_replace_a_dialog_is_not_followed() -> None:
    """It is at one place only."""
    desk = Desk()
    desk.connected_to_the_phone()
    referred(desk, replaces="there%40pbx")
    successor_is_called(desk)
    points_elsewhere(desk)
    desk.expect_all(c.DropSuccessor, c.NotifySip)


def test_successors_that_point_on_and_on() -> None:
    desk = Desk(replace(POLICY, limits=replace(LIMITS, calls_per_minute=10)))
    desk.connected_to_the_phone()
    referred(desk)
    leg = successor_is_called(desk).leg
    for _ in range(3):
        points_elsewhere(desk, leg)
        leg = elsewhere_is_called(desk).leg
    points_elsewhere(desk, leg)
    desk.expect_all(c.DropSuccessor, c.NotifySip)


def test_nobody_is_left_where_a_successor_points_nowhere() -> None:
    desk = being_called()
    desk.phone_ends(OUT)
    points_elsewhere(desk, contact=Address("tel:+442079460123"))
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    desk.is_over("redirected", "sip")


@pytest.mark.parametrize(("status", "cause"), [(486, "busy"), (603, "declined")])
def test_without_a_successor_and_without_the_far_end_the_call_ends(status: int, cause: str) -> None:
    desk = being_called()
    desk.phone_ends(OUT)
    desk.phone_ends(NEXT, status)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    desk.is_over(cause, "sip")


def test_a_successor_that_does_not_answer() -> None:
    desk = being_called()
    desk.wait(LIMITS.ring_time)
    _, notify, cancel = desk.expect_all(c.DropSuccessor, c.NotifySip, c.CancelSip)
    assert isinstance(notify, c.NotifySip)
    assert (notify.status, cancel) == (480, c.CancelSip(call=CALL, leg=NEXT, q850=19))
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_a_successor_that_answers_when_it_was_given_up_is_left() -> None:
    desk = being_called()
    desk.wait(LIMITS.ring_time)
    desk.said.clear()
    desk.tell(e.SipAnswered(leg=NEXT, sdp="late"))
    assert desk.expect(c.ByeSip).leg == NEXT
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_the_person_hangs_up_while_the_successor_rings() -> None:
    desk = being_called()
    desk.person_hangs_up()
    notify, cancel, bye, _ = desk.expect_all(c.NotifySip, c.CancelSip, c.ByeSip, c.CloseMedia)
    assert isinstance(notify, c.NotifySip)
    assert (notify.status, cancel) == (487, c.CancelSip(call=CALL, leg=NEXT, q850=16))
    assert bye == c.ByeSip(call=CALL, leg=OUT, q850=16)
    desk.is_over("normal", "matrix")


def test_the_far_end_has_left_and_the_person_hangs_up() -> None:
    desk = being_called()
    desk.phone_ends(OUT)
    desk.person_hangs_up()
    desk.expect_all(c.CancelSip, c.CloseMedia)
    desk.is_over("normal", "matrix")


def test_the_bridge_stops_while_the_successor_rings() -> None:
    desk = being_called()
    desk.tell(e.ShutdownRequested())
    desk.is_over("shutdown", "bridge")


def test_a_successor_does_not_make_a_call_longer() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.wait(LIMITS.max_duration - 10)
    referred(desk)
    successor_is_called(desk)
    switched(desk, answers(desk))
    desk.wait(11)
    desk.is_over("max_duration", "bridge")


def test_the_engine_cannot_make_an_offer() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    referred(desk)
    _, offer = desk.expect_all(c.NotifySip, c.OfferSuccessor)
    assert isinstance(offer, c.OfferSuccessor)
    failed = e.MediaFailed(call=CALL, op=offer.op, fault=e.MediaFault.NO_RESOURCES)
    desk.tell(failed)
    desk.expect_all(c.DropSuccessor, c.NotifySip)
    desk.tell(failed)
    assert not desk.said
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_the_engine_is_silent() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    referred(desk)
    desk.expect_all(c.NotifySip, c.OfferSuccessor)
    desk.wait(Timeouts().media)
    desk.expect_all(c.DropSuccessor, c.NotifySip)
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_the_engine_cannot_talk_with_the_successor() -> None:
    desk = being_called()
    switch = answers(desk)
    fault = e.MediaFault.NO_COMMON_CODEC
    desk.tell(e.MediaFailed(call=CALL, op=switch.op, fault=fault))
    said = desk.expect_all(c.DropSuccessor, c.NotifySip, c.ByeSip)
    assert said[1:] == [
        c.NotifySip(call=CALL, leg=OUT, op=REFER, status=488),
        c.ByeSip(call=CALL, leg=NEXT, q850=88),
    ]
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    assert desk.expect(c.SendSipReinvite).leg == OUT
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_the_successor_leaves_while_media_goes_over() -> None:
    desk = being_called()
    answers(desk)
    desk.phone_ends(NEXT)
    desk.expect_all(c.SendMatrixHangup, c.NotifySip, c.ByeSip, c.CloseMedia)
    desk.is_over("normal", "sip")


# --- who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status"),
    [(Address("tel:+442079460123"), 404), (Address("sip:ann@elsewhere.test"), 404)],
)
def test_there_is_no_way_to_the_target(target: Address, status: int) -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    referred(desk, target)
    told(desk, status)
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_a_forbidden_number_is_forbidden_whoever_wants_it() -> None:
    desk = Desk(replace(POLICY, forbidden_prefixes=["+1202555017"]))
    desk.connected_to_the_phone()
    referred(desk)
    told(desk, 403)
    desk.tell(e.SipReferReceived(leg=OUT, op=OpId(-2), target=TARGET, uri="sip:+12025550177@pbx"))
    assert desk.expect(c.NotifySip).status == 403


def test_a_person_who_may_not_call_is_not_transferred() -> None:
    desk = Desk(replace(POLICY, access={"mx.test": Access.RECEIVE}))
    desk.connected_to_the_person()
    referred(desk, leg=IN)
    told(desk, 403)


def test_transfers_count_as_calls_of_the_person() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    for op in (-1, -2):
        desk.tell(e.SipReferReceived(leg=OUT, op=OpId(op), target=TARGET))
        desk.said.clear()
        desk.phone_ends(LegId(f"n-1-out-{1 - op}"), 486)
        desk.wait(Timeouts().media)
        desk.said.clear()
    desk.tell(e.SipReferReceived(leg=OUT, op=OpId(-3), target=TARGET))
    assert desk.expect(c.NotifySip).status == 503


def test_one_at_a_time() -> None:
    desk = being_called()
    desk.tell(e.SipReferReceived(leg=OUT, op=OpId(-2), target=TARGET))
    assert desk.expect(c.NotifySip).status == 491
    desk.person_transfers(TARGET)
    assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED
    desk.person_transfers(TARGET, waits=True)
    assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED


def test_a_request_that_is_heard_twice_is_dealt_with_once() -> None:
    desk = being_called()
    referred(desk)
    assert not desk.said


def test_a_far_end_that_the_person_transfers_cannot_transfer() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_transfers(TARGET)
    desk.expect(c.ReferSip)
    referred(desk)
    told(desk, 491)


def test_a_call_that_is_over_is_not_transferred() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_hangs_up()
    desk.said.clear()
    referred(desk)
    assert not desk.said


# --- what goes on meanwhile ---------------------------------------------------------------------


def test_a_client_on_hold_for_the_former_ones_sake_is_taken_back() -> None:
    desk = being_called()
    switched(desk, answers(desk), needed=True)
    _, _, offer = desk.expect_all(c.NotifySip, c.ByeSip, c.OfferMedia)
    assert isinstance(offer, c.OfferMedia)
    assert (offer.side, offer.sdp) == (Side.SIP, "answer of the next")
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="talk"))
    assert desk.expect(c.SendMatrixNegotiate).sdp == "talk"
    desk.person_negotiates("talks", e.SdpType.ANSWER)
    answer = desk.expect(c.AnswerMedia)
    assert (answer.side, answer.sdp) == (Side.MATRIX, "talks")
    desk.tell(e.MediaAnswerReady(call=CALL, op=answer.op, sdp="nobody's"))
    assert not desk.said
    desk.phone_reinvites(700, leg=NEXT)
    desk.expect(c.OfferMedia)


def catching_up(*, capable: bool = True) -> tuple[Desk, OpId]:
    """The engine writes what the client has to be offered for the successor's sake."""
    desk = Desk()
    if capable:
        desk.connected_to_the_phone()
    else:
        desk.connected_to_the_phone(capabilities=e.Capabilities())
    referred(desk)
    successor_is_called(desk)
    switched(desk, answers(desk), needed=True)
    desk.said = desk.said[2:]
    return desk, desk.expect(c.OfferMedia).op


def test_a_client_that_cannot_negotiate_stays_as_it_is() -> None:
    desk, op = catching_up(capable=False)
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="talk"))
    assert desk.expect(c.AnswerMedia).sdp == "matrix offer"


def test_a_client_that_need_not_be_asked_after_all() -> None:
    desk, op = catching_up()
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="", needed=False, answer="nobody's"))
    desk.expect(c.RollbackMedia)


def test_an_engine_that_cannot_offer_the_client_anything() -> None:
    desk, op = catching_up()
    desk.tell(e.MediaFailed(call=CALL, op=op, fault=e.MediaFault.INTERNAL))
    desk.expect(c.RollbackMedia)
    assert desk.core.active()


def test_a_client_that_offers_first_is_not_asked() -> None:
    desk, op = catching_up()
    desk.person_negotiates("its own")
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="talk"))
    _, offer = desk.expect_all(c.RollbackMedia, c.OfferMedia)
    assert isinstance(offer, c.OfferMedia)
    assert offer.sdp == "its own"


def test_offers_of_both_meet_after_the_switch() -> None:
    desk = being_called(leg=IN)
    switched(desk, answers(desk), needed=True)
    desk.said = desk.said[2:]
    op = desk.expect(c.OfferMedia).op
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="talk"))
    desk.expect(c.SendMatrixNegotiate)
    desk.person_negotiates("its own", call_id=OUR_CALL)
    assert not desk.said  # The caller does not give way.
    desk.wait(Timeouts().negotiate)
    assert desk.expect(c.AnswerMedia).sdp == "matrix answer"


def test_the_polite_side_gives_way_after_the_switch() -> None:
    desk, op = catching_up()
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="talk"))
    desk.expect(c.SendMatrixNegotiate)
    desk.person_negotiates("its own")
    desk.expect_all(c.RollbackMedia, c.OfferMedia)


def test_a_re_invite_of_ours_is_given_up_for_the_successor() -> None:
    desk = being_called()
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    reinvite = desk.expect(c.SendSipReinvite)
    assert reinvite.leg == OUT
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next"))
    _, _, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.RollbackMedia, c.SwitchMedia)
    assert isinstance(switch, c.SwitchMedia)
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="late"))
    switched(desk, switch)
    said = desk.expect_all(c.NotifySip, c.ByeSip, c.OfferMedia)
    assert isinstance(said[-1], c.OfferMedia)
    assert said[-1].sdp == "hold"


def test_the_clients_answer_is_waited_for() -> None:
    desk = being_called()
    desk.phone_reinvites(700)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="hold"))
    desk.expect(c.SendMatrixNegotiate)
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next"))
    desk.expect(c.SendMatrixAssertedIdentity)
    desk.person_negotiates("held", e.SdpType.ANSWER)
    answer = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=answer.op, sdp="held"))
    desk.expect_all(c.AnswerSipReinvite, c.SwitchMedia)


def test_the_successor_leaves_while_the_clients_answer_is_waited_for() -> None:
    desk = being_called()
    desk.phone_reinvites(700)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="hold"))
    desk.expect(c.SendMatrixNegotiate)
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next"))
    desk.expect(c.SendMatrixAssertedIdentity)
    desk.tell(e.SipReinviteReceived(leg=NEXT, op=OpId(701), sdp="too early"))
    assert desk.expect(c.RejectSipReinvite).status == 491
    desk.phone_ends(NEXT)
    desk.expect_all(c.DropSuccessor, c.NotifySip)
    desk.person_negotiates("held", e.SdpType.ANSWER)
    answer = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=answer.op, sdp="held"))
    desk.expect(c.AnswerSipReinvite)


def test_an_answer_of_the_former_that_is_due_is_not_waited_for() -> None:
    desk = being_called()
    desk.phone_reinvites(700, sdp=None)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="", needed=False, answer="ours"))
    desk.expect(c.AnswerSipReinvite)
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next"))
    desk.expect_all(c.SendMatrixAssertedIdentity, c.RollbackMedia, c.SwitchMedia)


def test_after_a_491_the_successor_comes_first() -> None:
    desk = being_called()
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    reinvite = desk.expect(c.SendSipReinvite)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=491))
    desk.expect(c.RollbackMedia)
    switched(desk, answers(desk))
    said = desk.expect_all(c.NotifySip, c.ByeSip, c.OfferMedia)
    assert isinstance(said[-1], c.OfferMedia)
    assert said[-1].sdp == "hold"


def test_a_client_that_holds_when_the_far_end_has_left_is_answered() -> None:
    desk = being_called()
    desk.phone_ends(OUT)
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.expect(c.SendMatrixNegotiate).type is e.SdpType.ANSWER


def test_a_client_whose_hold_the_far_end_leaves_unanswered_is_answered() -> None:
    desk = being_called()
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    desk.expect(c.SendSipReinvite)
    desk.phone_ends(OUT)
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.expect(c.SendMatrixNegotiate).type is e.SdpType.ANSWER


def test_a_hold_of_one_who_has_left_is_taken_back() -> None:
    desk = being_called()
    desk.phone_reinvites(700)
    desk.expect(c.OfferMedia)
    desk.phone_ends(OUT)
    desk.expect(c.RollbackMedia)
    switched(desk, answers(desk))
    assert not desk.said


# --- Replaces -----------------------------------------------------------------------------------


def another_calls(
    desk: Desk, replaces: LegId = OUT, *, sdp: str | None = "offer of the next"
) -> None:
    """An INVITE comes that is to take a leg's place."""
    desk.tell(
        e.SipInviteReceived(
            leg=ANOTHER,
            trunk=TRUNK,
            caller=TARGET,
            caller_name="Desk",
            dialled="whatever",
            sdp=sdp,
            sip_call_id="next@pbx.test",
            replaces=replaces,
        )
    )


@pytest.mark.parametrize("leg", [OUT, IN])
def test_a_caller_takes_the_far_ends_place(leg: LegId) -> None:
    desk = Desk()
    if leg == OUT:
        desk.connected_to_the_phone()
    else:
        desk.connected_to_the_person()
    another_calls(desk, leg)
    switch = desk.expect(c.SwitchMedia)
    assert (switch.sdp, switch.offered) == ("offer of the next", True)
    assert switch.terms == POLICY.trunks[TRUNK].terms
    switched(desk, switch, sdp="answer to the next")
    identity, answer, bye = desk.expect_all(c.SendMatrixAssertedIdentity, c.AnswerSip, c.ByeSip)
    assert isinstance(identity, c.SendMatrixAssertedIdentity)
    assert (identity.identity, identity.name) == (TARGET, "Desk")
    assert answer == c.AnswerSip(call=CALL, leg=ANOTHER, sdp="answer to the next")
    assert bye.leg == leg  # type: ignore[attr-defined]
    assert desk.recorded(c.RecordLegs).sip_call_id == "next@pbx.test"
    desk.phone_ends(leg, 410, remote=False)
    desk.phone_acknowledges(ANOTHER)
    assert len(desk.core.active()) == 1
    desk.phone_ends(ANOTHER)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_a_caller_without_an_offer_takes_the_far_ends_place() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    another_calls(desk, sdp=None)
    offer = desk.expect(c.OfferSuccessor)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to the next"))
    assert desk.expect(c.AnswerSip).sdp == "offer to the next"
    desk.phone_ends(OUT, 410, remote=False)
    desk.phone_acknowledges(ANOTHER, "answer of the next")
    _, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.SwitchMedia)
    assert isinstance(switch, c.SwitchMedia)
    switched(desk, switch)
    assert not desk.said
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.is_over("normal", "matrix")


def test_a_caller_with_whom_the_engine_cannot_talk_is_refused() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    another_calls(desk)
    op = desk.expect(c.SwitchMedia).op
    desk.tell(e.MediaFailed(call=CALL, op=op, fault=e.MediaFault.NO_COMMON_CODEC))
    _, reject = desk.expect_all(c.DropSuccessor, c.RejectSip)
    assert isinstance(reject, c.RejectSip)
    assert (reject.leg, reject.status) == (ANOTHER, 488)
    desk.phone_ends(ANOTHER, 488, remote=False)
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_a_caller_picks_up_what_rings_elsewhere() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    another_calls(desk, sdp="sip offer")
    cancel, _ = desk.expect_all(c.CancelSip, c.JoinMedia)
    assert cancel.leg == OUT  # type: ignore[attr-defined]


@pytest.mark.parametrize("replaced", [LegId("gone"), IN])
def test_a_caller_who_replaces_nobody(replaced: LegId) -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    another_calls(desk, replaced)
    assert desk.expect(c.RejectSip) == c.RejectSip(call=CallId(""), leg=ANOTHER, status=481)


def test_a_caller_who_comes_at_a_bad_moment() -> None:
    desk = being_called()
    another_calls(desk)
    assert desk.expect(c.RejectSip) == c.RejectSip(call=CALL, leg=ANOTHER, status=491)
    desk.phone_ends(ANOTHER, 491, remote=False)
    assert not desk.said
    another_calls(desk)
    assert not desk.said
