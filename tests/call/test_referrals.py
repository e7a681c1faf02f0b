# SPDX-License-Identifier: GPL-3.0-or-later
"""The far end asks for somebody else in its place (REFER, RFC 3515)."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.deadlines import Timeouts
from bridge.call.ids import Address, LegId, OpId, Side
from bridge.call.notices import NOT_TRANSFERRED
from bridge.call.policy import Access
from bridge.call.rules import TrunkPolicy
from tests.call.desk import CALL, IN, LIMITS, NUMBER, OUT, POLICY, SPARE, SPARE_POLICY, TRUNK, Desk
from tests.call.successors import (
    ELSEWHERE,
    NEXT,
    REFER,
    TARGET,
    answers,
    being_called,
    elsewhere_is_called,
    handed_on,
    points_elsewhere,
    referred,
    successor_is_called,
    switched,
    told,
)


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


def test_a_successor_that_is_not_there_yet_refers_nobody() -> None:
    desk = being_called()
    switch = answers(desk)
    desk.tell(e.SipReferReceived(leg=NEXT, op=OpId(-2), target=ELSEWHERE))
    assert desk.said == [c.NotifySip(call=CALL, leg=NEXT, op=OpId(-2), status=491)]
    desk.said = []
    switched(desk, switch)
    desk.expect_all(c.NotifySip, c.ByeSip)


def test_whom_a_trunk_does_not_carry_to_is_not_waited_for() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    referred(desk)
    successor_is_called(desk)
    desk.phone_ends(NEXT, 503)
    _, notify = desk.expect_all(c.DropSuccessor, c.NotifySip)
    assert isinstance(notify, c.NotifySip)
    assert notify.status == 503
    desk.phone_ends(OUT)
    desk.is_over("normal", "sip")


def test_whom_a_trunk_does_not_carry_to_the_next_one_may() -> None:
    desk = Desk(policy=SPARE_POLICY)
    desk.connected_to_the_phone()
    referred(desk)
    assert successor_is_called(desk).trunk == TRUNK
    desk.phone_ends(NEXT, 503)
    offer = desk.expect(c.OfferSuccessor)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to the next"))
    invite = desk.expect(c.SendSipInvite)
    assert (invite.trunk, invite.target) == (SPARE, "+12025550177")
    desk.tell(e.SipProgressed(leg=invite.leg, status=180))
    told(desk, 180)
    desk.tell(e.SipAnswered(leg=invite.leg, sdp="answer of the next", refers=True))
    _, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.SwitchMedia)
    assert isinstance(switch, c.SwitchMedia)
    switched(desk, switch)
    desk.expect_all(c.NotifySip, c.ByeSip)


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
