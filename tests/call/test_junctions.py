# SPDX-License-Identifier: GPL-3.0-or-later
"""The person transfers a call whose far end takes no REFER: we connect the telephones ourselves."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.bounds import Bounds
from bridge.call.ids import Address, CallId, LegId, MatrixCallId, OpId, RoomId, Side
from bridge.call.notices import NOT_TRANSFERRED, Notices
from bridge.call.policy import Access
from bridge.call.rules import TrunkPolicy
from tests.call.desk import (
    CALL,
    EARLY_POLICY,
    IN,
    LAPTOP,
    LIMITS,
    NUMBER,
    OUR_CALL,
    OUT,
    PERSON,
    POLICY,
    ROOM,
    SPARE_POLICY,
    TRUNK,
    Desk,
)

TARGET = Address("tel:+12025550177")
SECOND = CallId("n-2")
SECOND_OUT = LegId("n-2-out")
SECOND_ROOM = RoomId("!second:mx.test")
SECOND_CALL = MatrixCallId("second")
BUSY = "The call could not be transferred: the line was busy."


def talking(desk: Desk | None = None, *, refers: bool = False) -> Desk:
    desk = desk or Desk()
    desk.refers = refers
    desk.connected_to_the_phone()
    return desk


def client_is_gone(desk: Desk, call: CallId = CALL) -> None:
    desk.tell(e.MediaLost(call=call, side=Side.MATRIX, fault=e.MediaFault.ICE_FAILED))


def nothing_to_change(desk: Desk, call: CallId = CALL) -> None:
    """The engine says that what the telephone was offered still holds."""
    [asked] = [each for each in desk.said if isinstance(each, c.OfferMedia) and each.call == call]
    assert (asked.side, asked.sdp) == (Side.MATRIX, "")
    desk.said.remove(asked)
    desk.tell(e.MediaOfferReady(call=call, op=asked.op, sdp="", needed=False))
    rolled = desk.said.pop()
    assert isinstance(rolled, c.RollbackMedia)
    assert rolled.call == call


def target_is_called(desk: Desk, *, also: tuple[type[c.Command], ...] = ()) -> None:
    """The person is out of it, and the target is called at their expense."""
    said = desk.expect_all(
        *also,
        c.SendMatrixHangup,
        c.BridgeMedia,
        c.OfferMedia,
        c.BridgeMedia,
        c.OfferMedia,
    )
    ours, theirs = [each for each in said if isinstance(each, c.BridgeMedia)]
    assert (ours.call, ours.other) == (CALL, SECOND)
    assert (theirs.call, theirs.other) == (SECOND, CALL)
    anew, offer = [each for each in said if isinstance(each, c.OfferMedia)]
    assert (anew.call, anew.side, anew.sdp) == (CALL, Side.MATRIX, "")
    assert (offer.call, offer.side, offer.sdp) == (SECOND, Side.MATRIX, "")
    desk.tell(e.MediaOfferReady(call=CALL, op=anew.op, sdp="", needed=False))
    desk.expect(c.RollbackMedia)
    desk.tell(e.MediaOfferReady(call=SECOND, op=offer.op, sdp="offer to target"))
    invite = desk.expect(c.SendSipInvite)
    assert (invite.call, invite.leg, invite.sdp) == (SECOND, SECOND_OUT, "offer to target")


def target_rings(desk: Desk, sdp: str | None = None) -> None:
    desk.tell(e.SipProgressed(leg=SECOND_OUT, status=183 if sdp else 180, sdp=sdp))


def target_answers(desk: Desk) -> None:
    desk.tell(e.SipAnswered(leg=SECOND_OUT, sdp="target's answer"))
    told = desk.expect(c.AnswerMedia)
    assert (told.call, told.side, told.sdp) == (SECOND, Side.SIP, "target's answer")
    desk.tell(e.MediaAnswerReady(call=SECOND, op=told.op, sdp=""))
    desk.tell(e.MediaConnected(call=SECOND, matrix_codec="x", sip_codec="x"))
    assert not desk.said


def put_through() -> Desk:
    """The telephones talk with each other."""
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    target_rings(desk)
    target_answers(desk)
    return desk


def ended(desk: Desk, call: CallId) -> c.RecordEnd:
    [record] = [r for r in desk.records if isinstance(r, c.RecordEnd) and r.call == call]
    return record


# --- to a number --------------------------------------------------------------------------------


def test_where_the_far_end_takes_no_refer_the_target_is_called_for_it() -> None:
    desk = put_through()
    [start] = [r for r in desk.records if isinstance(r, c.RecordStart) and r.call == SECOND]
    assert (start.person, start.address, start.trunk) == (PERSON, TARGET, TRUNK)
    assert any(isinstance(r, c.RecordAnswer) and r.call == SECOND for r in desk.records)
    assert {view.state for view in desk.core.active()} == {"connected"}
    client_is_gone(desk)
    desk.person_hangs_up()
    assert not desk.said


@pytest.mark.parametrize("leg", [OUT, SECOND_OUT])
def test_either_telephone_ends_it_for_both(leg: LegId) -> None:
    desk = put_through()
    desk.phone_ends(leg)
    bye = desk.said[1]
    assert isinstance(bye, c.ByeSip)
    assert bye.leg != leg
    desk.expect_all(c.CloseMedia, c.ByeSip, c.CloseMedia)
    for call in (CALL, SECOND):
        assert (ended(desk, call).cause, ended(desk, call).ended_by) == ("normal", "sip")
    desk.is_over("normal", "sip")


@pytest.mark.parametrize("status", [405, 501, 603, 403, 408, 503])
def test_where_refer_is_refused(status: int) -> None:
    desk = talking(refers=True)
    desk.person_transfers(TARGET)
    refer = desk.expect(c.ReferSip)
    client_is_gone(desk)
    desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=status))
    target_is_called(desk)
    target_answers(desk)


def test_where_refer_is_taken_and_not_carried_out() -> None:
    desk = talking(refers=True)
    desk.person_transfers(TARGET)
    refer = desk.expect(c.ReferSip)
    for status in (100, 503):
        desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=status))
    target_is_called(desk)


def test_where_the_trunk_is_not_to_be_asked() -> None:
    desk = Desk(replace(POLICY, trunks={TRUNK: TrunkPolicy(refers=False)}))
    talking(desk, refers=True)
    desk.person_transfers(TARGET)
    target_is_called(desk)


def test_a_target_that_another_trunk_carries() -> None:
    """A trunk can only be asked for what it carries itself; we can call anywhere."""
    rules = [
        replace(POLICY.outbound[0], prefix="+12025550123"),
        replace(SPARE_POLICY.outbound[0], trunks=SPARE_POLICY.outbound[0].trunks[1:]),
    ]
    desk = talking(Desk(replace(SPARE_POLICY, outbound=rules)), refers=True)
    desk.person_transfers(TARGET)
    target_is_called(desk)


def test_a_call_that_came_in() -> None:
    desk = Desk()
    desk.refers = False
    desk.connected_to_the_person()
    desk.person_transfers(TARGET, call_id=OUR_CALL)
    target_is_called(desk)
    target_answers(desk)
    desk.phone_ends(IN)
    desk.expect_all(c.CloseMedia, c.ByeSip, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_who_waits_hears_what_the_target_lets_hear_before_it_answers() -> None:
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    target_rings(desk, "announcement")
    early = desk.expect(c.AnswerMedia)
    assert early.provisional
    desk.tell(e.MediaAnswerReady(call=SECOND, op=early.op, sdp=""))
    target_answers(desk)
    assert any(isinstance(r, c.RecordAnswer) and r.call == SECOND for r in desk.records)


def test_a_trunk_that_cannot_carry_it_leaves_it_to_the_next() -> None:
    desk = talking(Desk(SPARE_POLICY))
    desk.person_transfers(TARGET)
    target_is_called(desk)
    desk.tell(e.SipEnded(leg=SECOND_OUT, status=503))
    spare = desk.expect(c.SendSipInvite)
    assert (spare.trunk, spare.sdp) == ("spare", "offer to target")
    desk.tell(e.SipEnded(leg=spare.leg, status=503))
    again = desk.expect(c.OfferMedia)
    assert (again.call, again.side, again.sdp) == (SECOND, Side.MATRIX, "")
    desk.tell(e.MediaOfferReady(call=SECOND, op=again.op, sdp="another offer"))
    last = desk.expect(c.SendSipInvite)
    assert (last.trunk, last.sdp) == ("last", "another offer")


def test_a_target_that_can_be_reached_elsewhere() -> None:
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    elsewhere = Address("tel:+12025550178")
    desk.tell(e.SipEnded(leg=SECOND_OUT, status=302, contacts=(elsewhere,)))
    assert desk.expect(c.SendSipInvite).target == "+12025550178"


# --- where nobody answers -----------------------------------------------------------------------


def recalled(desk: Desk, text: str = BUSY) -> None:
    """It rings at the person again, who reads why."""
    said = desk.expect_all(c.CloseMedia, c.SendNotice, c.PreparePortal, c.OfferMedia)
    _, notice, prepare, offer = said
    assert isinstance(notice, c.SendNotice)
    assert notice.text == text
    assert isinstance(prepare, c.PreparePortal)
    assert (prepare.person, prepare.address) == (PERSON, NUMBER)
    assert isinstance(offer, c.OfferMedia)
    third = offer.call
    desk.tell(e.PortalReady(call=third, op=prepare.op, room=ROOM))
    desk.tell(e.MediaOfferReady(call=third, op=offer.op, sdp="offer to person"))
    assert desk.expect(c.SendMatrixInvite).sdp == "offer to person"


def failed() -> Desk:
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    desk.tell(e.SipEnded(leg=SECOND_OUT, status=486))
    return desk


def test_the_person_gets_the_call_back() -> None:
    desk = failed()
    recalled(desk)
    assert ended(desk, SECOND).cause == "busy"
    sender = {"room": ROOM, "call_id": MatrixCallId("~n3"), "sender": LAPTOP}
    desk.tell(e.MatrixAnswerReceived(**sender, version=1, sdp="here"))  # type: ignore[arg-type]
    _, told = desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
    assert isinstance(told, c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=told.call, op=told.op, sdp="offer to the first"))
    reinvite = desk.expect(c.SendSipReinvite)
    assert (reinvite.leg, reinvite.sdp) == (OUT, "offer to the first")
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="moved"))
    taken, closed = desk.expect_all(c.AnswerMedia, c.CloseMedia)
    assert (taken.call, closed.call) == ("n-3", CALL)
    assert ended(desk, CALL).cause == "transferred"


def test_nobody_answers_in_time() -> None:
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    target_rings(desk)
    desk.wait(LIMITS.ring_time)
    cancel = desk.said.pop(0)
    assert isinstance(cancel, c.CancelSip)
    recalled(desk, "The call could not be transferred: nobody answered.")


def test_a_person_who_does_not_take_it_back_loses_it() -> None:
    desk = failed()
    recalled(desk)
    desk.wait(LIMITS.ring_time)
    assert any(isinstance(each, c.ByeSip) and each.leg == OUT for each in desk.said)
    assert ended(desk, CALL).cause == "not_transferred"


def test_a_person_who_does_not_want_to_be_disturbed_loses_it() -> None:
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    desk.tell(e.PersonChanged(person=PERSON, dnd=True))
    desk.tell(e.SipEnded(leg=SECOND_OUT, status=486))
    assert any(isinstance(each, c.ByeSip) and each.leg == OUT for each in desk.said)
    assert not any(isinstance(each, c.SendMatrixInvite) for each in desk.said)


def test_who_waits_may_give_up() -> None:
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    desk.phone_ends(OUT)
    desk.expect_all(c.CloseMedia, c.CancelSip, c.CloseMedia)
    assert ended(desk, SECOND).cause == "cancelled"
    desk.is_over("cancelled", "sip")


def test_an_admin_may_end_it_meanwhile() -> None:
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    desk.tell(e.HangupRequested(call=CALL, by=PERSON))
    assert ended(desk, SECOND).cause == "ended_by_admin"


def test_who_is_transferred_already_is_not_given_back() -> None:
    """The far end wanted somebody else in its place, and then the target does not answer."""
    desk = talking()
    desk.person_transfers(TARGET)
    target_is_called(desk)
    target_answers(desk)
    desk.tell(e.SipReferReceived(leg=OUT, op=OpId(700), target=Address("tel:+12025550199")))
    desk.expect_all(c.NotifySip, c.OfferSuccessor)
    desk.tell(e.HangupRequested(call=SECOND, by=PERSON))
    assert ended(desk, CALL).cause == "ended_by_admin"


# --- what may not be ----------------------------------------------------------------------------


def test_a_person_may_not_have_called_whom_they_may_not_call() -> None:
    policy = replace(POLICY, access={"mx.test": Access.RECEIVE})
    desk = Desk(policy)
    desk.refers = False
    desk.connected_to_the_person()
    desk.person_transfers(TARGET, call_id=OUR_CALL)
    assert desk.expect(c.SendNotice).text == "You are not allowed to make calls."


def test_a_trunk_that_carries_no_more_calls() -> None:
    desk = talking(Desk(replace(POLICY, trunks={TRUNK: TrunkPolicy(bounds=Bounds(calls=1))})))
    desk.person_transfers(TARGET)
    assert desk.expect(c.SendNotice).text.startswith("Too many calls are being made")


def test_the_two_calls_of_a_transfer_are_one_call_of_the_persons() -> None:
    desk = put_through()
    assert desk.core.left(PERSON, desk.now).calls == LIMITS.calls_per_person - 1
    desk.person_calls(MatrixCallId("anew"))
    assert desk.expect(c.OfferMedia).call == "n-3"


def test_the_time_of_a_call_that_the_person_had_placed_counts() -> None:
    desk = Desk(replace(POLICY, people={PERSON: Bounds(seconds_per_day=100)}))
    desk.refers = False
    desk.connected_to_the_person()
    desk.person_transfers(TARGET, call_id=OUR_CALL)
    target_is_called(desk)
    target_answers(desk)
    desk.wait(101)
    assert ended(desk, SECOND).cause == "minutes_used_up"
    assert ended(desk, CALL).cause == "minutes_used_up"


def test_the_longest_that_either_call_may_last() -> None:
    desk = put_through()
    desk.wait(LIMITS.max_duration + 1)
    assert ended(desk, CALL).cause == "max_duration"
    assert ended(desk, SECOND).cause == "max_duration"


def test_a_call_is_not_put_through_while_its_far_end_is_about_to_change() -> None:
    desk = talking(refers=True)
    desk.person_transfers(TARGET)
    refer = desk.expect(c.ReferSip)
    desk.tell(e.SipReferReceived(leg=OUT, op=OpId(700), target=Address("tel:+12025550199")))
    desk.expect(c.NotifySip)
    desk.tell(
        e.SipInviteReceived(
            leg=LegId("in-9"),
            trunk=TRUNK,
            caller=Address("tel:+12025550199"),
            caller_name="",
            dialled="",
            sdp="offer",
            sip_call_id="x",
            replaces=OUT,
        )
    )
    desk.expect(c.RejectSip)
    desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=405))
    target_is_called(desk)


def test_a_call_whose_answer_is_being_dealt_with_is_not_put_through() -> None:
    """The person talks already, to what was to be heard before the answer."""
    desk = Desk(EARLY_POLICY)
    desk.refers = False
    desk.rings_at_the_phone()
    desk.phone_rings(183, "early")
    early = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=early.op, sdp="answer to matrix"))
    desk.expect(c.SendMatrixAnswer)
    desk.phone_answers()
    desk.expect(c.AnswerMedia)
    desk.person_transfers(TARGET)
    assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED


# --- what happens meanwhile ---------------------------------------------------------------------


def test_a_telephone_that_was_on_hold_is_taken_off() -> None:
    desk = talking()
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    hold = desk.expect(c.SendSipReinvite)
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=hold.op, sdp="held"))
    desk.media_answers(Side.SIP, "held")
    desk.expect(c.SendMatrixNegotiate)
    desk.person_transfers(TARGET)
    said = desk.expect_all(
        c.SendMatrixHangup, c.BridgeMedia, c.OfferMedia, c.BridgeMedia, c.OfferMedia
    )
    anew = said[2]
    assert isinstance(anew, c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=anew.op, sdp="free"))
    reinvite = desk.expect(c.SendSipReinvite)
    assert (reinvite.leg, reinvite.sdp) == (OUT, "free")
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="freed"))
    told = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp=""))
    assert not desk.said


def test_a_hold_that_was_under_way_is_finished_first() -> None:
    desk = talking()
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    hold = desk.expect(c.SendSipReinvite)
    desk.person_transfers(TARGET)
    desk.expect_all(c.SendMatrixHangup, c.BridgeMedia, c.BridgeMedia, c.OfferMedia)
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=hold.op, sdp="held"))
    told = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp=""))
    nothing_to_change(desk)


def test_what_the_client_was_being_asked_is_answered_for_it() -> None:
    desk = talking()
    desk.phone_reinvites(500)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    desk.expect(c.SendMatrixNegotiate)
    desk.person_transfers(TARGET)
    said = desk.expect_all(
        c.SendMatrixHangup, c.BridgeMedia, c.AnswerMedia, c.BridgeMedia, c.OfferMedia
    )
    told = said[2]
    assert isinstance(told, c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="answer to sip"))
    assert isinstance(desk.said.pop(0), c.AnswerSipReinvite)
    nothing_to_change(desk)


def test_a_hold_by_a_telephone_is_answered_at_once() -> None:
    desk = put_through()
    desk.phone_reinvites(500)
    asked = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=asked.op, sdp="", needed=False, answer="you hold"))
    assert desk.expect(c.AnswerSipReinvite).sdp == "you hold"


def test_keys_go_from_one_telephone_to_the_other() -> None:
    desk = put_through()
    desk.tell(e.SipKeyPressed(leg=OUT, key="5", duration=0.2))
    assert desk.expect(c.PlayKey).call == CALL
    desk.tell(e.MediaKeyPressed(call=SECOND, key="5", duration=0.2))
    assert desk.expect(c.SendSipKey).leg == SECOND_OUT


def test_an_engine_that_cannot_connect_them_ends_both() -> None:
    desk = put_through()
    desk.tell(e.MediaLost(call=CALL, side=Side.SIP, fault=e.MediaFault.INTERNAL))
    assert ended(desk, CALL).cause == "media_failed"
    assert ended(desk, SECOND).cause == "media_failed"


def test_an_engine_that_dies_ends_both() -> None:
    """It says so of the client's side, on which nobody is."""
    desk = put_through()
    desk.tell(e.MediaSilent(call=CALL, side=Side.MATRIX, seconds=3, heard=True))
    assert not [each for each in desk.records if isinstance(each, c.RecordSilence)]
    desk.tell(e.MediaLost(call=CALL, side=Side.MATRIX, fault=e.MediaFault.INTERNAL))
    assert ended(desk, CALL).cause == "media_failed"
    assert ended(desk, SECOND).cause == "media_failed"


def test_the_new_party_may_be_told_apart_in_either_call() -> None:
    """What is asserted of it concerns nobody in Matrix any more."""
    desk = put_through()
    for leg in (OUT, SECOND_OUT):
        desk.tell(e.SipIdentityChanged(leg=leg, address=Address("tel:+12025550199"), name="N"))
    assert not desk.said


# --- one call of the person's into another ------------------------------------------------------


def consulting(*, refers: bool = False) -> Desk:
    """The person talks to the first, and asks the second whether they want to."""
    desk = talking(refers=refers)
    desk.person_calls(SECOND_CALL, address=TARGET, room=SECOND_ROOM)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=SECOND, op=offer.op, sdp="offer to sip"))
    desk.expect(c.SendSipInvite)
    desk.tell(e.SipAnswered(leg=SECOND_OUT, sdp="sip answer"))
    answer = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=SECOND, op=answer.op, sdp="answer to matrix"))
    desk.expect(c.SendMatrixAnswer)
    desk.tell(e.MediaConnected(call=SECOND, matrix_codec="x", sip_codec="x"))
    return desk


def waits_second(desk: Desk) -> None:
    desk.person_transfers(NUMBER, waits=True, call_id=SECOND_CALL, room=SECOND_ROOM)


def joined(desk: Desk) -> None:
    """Both far ends talk with each other, and the person is out of both calls."""
    said = desk.expect_all(
        *(c.SendMatrixHangup, c.BridgeMedia, c.OfferMedia),
        *(c.SendMatrixHangup, c.BridgeMedia, c.OfferMedia),
    )
    bridged = [(b.call, b.other) for b in said if isinstance(b, c.BridgeMedia)]
    assert bridged == [(CALL, SECOND), (SECOND, CALL)]
    desk.said.extend(each for each in said if isinstance(each, c.OfferMedia))
    nothing_to_change(desk, CALL)
    nothing_to_change(desk, SECOND)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("leg", [OUT, SECOND_OUT])
def test_two_calls_of_a_person_become_one(first: bool, leg: LegId) -> None:
    desk = consulting()
    if first:
        waits_second(desk)
    desk.person_transfers(TARGET)
    joined(desk)
    if not first:
        waits_second(desk)
    client_is_gone(desk)
    client_is_gone(desk, SECOND)
    assert not desk.said
    desk.phone_ends(leg)
    desk.expect_all(c.CloseMedia, c.ByeSip, c.CloseMedia)
    desk.is_over("normal", "sip")


@pytest.mark.parametrize("statuses", [(405,), (100, 486)])
def test_two_calls_become_one_where_the_far_end_does_not_do_it(statuses: tuple[int, ...]) -> None:
    desk = consulting(refers=True)
    waits_second(desk)
    desk.person_transfers(TARGET)
    refer = desk.expect(c.ReferSip)
    for status in statuses:
        desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=status))
    joined(desk)


def test_two_calls_become_one_for_as_long_as_they_may_last() -> None:
    desk = consulting()
    waits_second(desk)
    desk.person_transfers(TARGET)
    joined(desk)
    desk.wait(LIMITS.max_duration - 10)
    assert len(desk.core.active()) == 2
    desk.wait(20)
    assert ended(desk, SECOND).cause == "max_duration"


def test_a_call_that_was_not_answered_is_not_joined() -> None:
    desk = talking()
    desk.person_calls(SECOND_CALL, address=TARGET, room=SECOND_ROOM)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=SECOND, op=offer.op, sdp="offer to sip"))
    desk.expect(c.SendSipInvite)
    desk.person_transfers(TARGET)
    assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED


def test_a_call_that_waits_is_not_sent_elsewhere() -> None:
    desk = consulting()
    waits_second(desk)
    desk.person_transfers(NUMBER, call_id=SECOND_CALL, room=SECOND_ROOM)
    assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED


def test_who_wants_no_notices_gets_none() -> None:
    desk = talking(Desk(replace(POLICY, notices=Notices.NONE)))
    desk.person_transfers(TARGET)
    target_is_called(desk)
    desk.tell(e.SipEnded(leg=SECOND_OUT, status=486))
    assert not any(isinstance(each, c.SendNotice) for each in desk.said)
