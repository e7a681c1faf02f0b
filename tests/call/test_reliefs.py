# SPDX-License-Identifier: GPL-3.0-or-later
"""The person transfers a call to somebody in Matrix, who is called, and then has the far end.

That is a call of its own: the far end is offered it by a re-INVITE as soon as they have answered.
"""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.bounds import Bounds
from bridge.call.ids import Address, Direction, LegId, MatrixCallId, OpId, Side, UserId
from bridge.call.notices import CANNOT_BE_CALLED, NOT_TRANSFERRED
from bridge.call.policy import Policy
from bridge.call.rules import TrunkPolicy
from tests.call.desk import (
    CALL,
    COLLEAGUE,
    COLLEAGUES_ROOM,
    IN,
    LIMITS,
    NUMBER,
    OUR_CALL,
    OUT,
    PERSON,
    POLICY,
    SECOND,
    SECOND_CALL,
    TABLET,
    TRUNK,
    Desk,
)

ENDED = "The call was not transferred, and has ended."
_UNANSWERED = "The call could not be transferred: nobody answered."


def client_is_gone(desk: Desk) -> None:
    desk.tell(e.MediaLost(call=CALL, side=Side.MATRIX, fault=e.MediaFault.ICE_FAILED))


def passed_on(policy: Policy = POLICY) -> Desk:
    """It rings at the colleague."""
    desk = Desk(policy)
    desk.connected_to_the_phone()
    desk.passed_on()
    return desk


def moving() -> Desk:
    """The colleague has answered, and the far end is offered their call."""
    desk = passed_on()
    desk.colleague_answers()
    return desk


def moved() -> Desk:
    """The colleague talks."""
    desk = moving()
    desk.far_end_moves()
    told, *ending = desk.expect_all(c.AnswerMedia, c.SendMatrixHangup, c.CloseMedia)
    assert isinstance(told, c.AnswerMedia)
    assert (told.call, told.side, told.sdp) == (SECOND, Side.SIP, "moved")
    assert [each.call for each in ending] == [CALL, CALL]
    desk.tell(e.MediaClosed(call=CALL))
    desk.tell(e.MediaAnswerReady(call=SECOND, op=told.op, sdp=""))
    desk.tell(e.MediaConnected(call=SECOND, matrix_codec="PCMA/8000", sip_codec="PCMA/8000"))
    return desk


def colleague_hangs_up(desk: Desk) -> None:
    desk.tell(
        e.MatrixHangupReceived(
            room=COLLEAGUES_ROOM, call_id=SECOND_CALL, sender=TABLET, reason="user_hangup"
        )
    )


def colleague_declines(desk: Desk, reason: str = "") -> None:
    desk.tell(
        e.MatrixRejectReceived(
            room=COLLEAGUES_ROOM, call_id=SECOND_CALL, sender=TABLET, reason=reason
        )
    )


def notices(commands: list[c.Command]) -> list[str]:
    return [each.text for each in commands if isinstance(each, c.SendNotice)]


# --- it is taken --------------------------------------------------------------------------------


def test_the_far_end_goes_on_with_the_colleague() -> None:
    desk = moved()
    [view] = desk.core.active()
    assert (view.call, view.person, view.address) == (SECOND, COLLEAGUE, NUMBER)
    assert (view.direction, view.state) == (Direction.TO_MATRIX, "connected")
    end = desk.recorded(c.RecordEnd)
    assert (end.call, end.cause, end.ended_by) == (CALL, "transferred", "matrix")
    desk.phone_ends(OUT)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_the_colleague_hangs_up_on_the_far_end() -> None:
    desk = moved()
    colleague_hangs_up(desk)
    bye, _ = desk.expect_all(c.ByeSip, c.CloseMedia)
    assert isinstance(bye, c.ByeSip)
    assert (bye.call, bye.leg) == (SECOND, OUT)
    desk.is_over("normal", "matrix")


def test_a_telephone_that_called_is_transferred_just_so() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    desk.tell(e.SipDialogChanged(leg=IN, state="dialog"))
    desk.passed_on(OUR_CALL)
    desk.colleague_answers()
    desk.far_end_moves(IN)
    desk.expect_all(c.AnswerMedia, c.SendMatrixHangup, c.CloseMedia)
    legs = [each for each in desk.records if isinstance(each, c.RecordLegs)]
    [taken] = [each for each in legs if each.call == SECOND and each.sip_dialog]
    assert (taken.sip_call_id, taken.sip_dialog) == ("call-id@pbx.test", "dialog")
    desk.phone_ends(IN)
    desk.wait(1000)
    desk.audit.all_is_over()


def test_the_colleague_may_hold_the_call_and_pass_it_back() -> None:
    desk = moved()
    desk.tell(
        e.MatrixNegotiateReceived(
            room=COLLEAGUES_ROOM,
            call_id=SECOND_CALL,
            sender=TABLET,
            type=e.SdpType.OFFER,
            sdp="hold",
            lifetime=60,
        )
    )
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=SECOND, op=offer.op, sdp="held"))
    reinvite = desk.expect(c.SendSipReinvite)
    assert (reinvite.call, reinvite.leg) == (SECOND, OUT)
    desk.tell(
        e.MatrixReplacesReceived(
            room=COLLEAGUES_ROOM, call_id=SECOND_CALL, sender=TABLET, target=None, person=PERSON
        )
    )
    prepare, _ = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert (prepare.person, prepare.address) == (PERSON, NUMBER)


def test_a_colleague_who_passes_it_back_before_they_were_heard_is_not_waited_for() -> None:
    """The engine has not even written them an answer, and says nothing any more."""
    desk = passed_on()
    desk.colleague_answers()
    desk.far_end_moves()
    desk.tell(
        e.MatrixReplacesReceived(
            room=COLLEAGUES_ROOM, call_id=SECOND_CALL, sender=TABLET, target=None, person=PERSON
        )
    )
    desk.wait(10_000)
    assert not desk.core.active()


def test_the_person_leaves_while_it_rings() -> None:
    desk = passed_on()
    client_is_gone(desk)
    desk.person_hangs_up()
    assert not desk.said
    desk.colleague_answers()
    desk.far_end_moves()
    desk.expect_all(c.AnswerMedia, c.CloseMedia)
    end = desk.recorded(c.RecordEnd)
    assert (end.call, end.cause) == (CALL, "transferred")


def test_a_colleague_who_calls_the_far_end_meanwhile_has_it() -> None:
    desk = Desk(replace(POLICY, access={"mx.test": POLICY.access["mx.test"]}))
    desk.connected_to_the_phone()
    bob = UserId("@bob:mx.test")
    desk.person_transfers(None, person=bob)
    desk.expect_all(c.PreparePortal, c.OfferMedia)
    sender = replace(TABLET, user=bob)
    desk.person_calls(MatrixCallId("x"), sender=sender, room=COLLEAGUES_ROOM)
    offer = desk.said[-1]
    assert isinstance(offer, c.OfferMedia)
    assert (offer.call, offer.sdp) == (SECOND, "matrix offer")
    desk.said.clear()
    desk.tell(e.MediaOfferReady(call=SECOND, op=offer.op, sdp="offer of another call"))
    desk.far_end_moves()
    told = desk.said.pop(0)
    assert isinstance(told, c.AnswerMedia)
    desk.said.clear()
    desk.tell(e.MediaAnswerReady(call=SECOND, op=told.op, sdp="answer to bob"))
    answer = desk.expect(c.SendMatrixAnswer)
    assert (answer.call, answer.sdp) == (SECOND, "answer to bob")


# --- until then the call goes on ----------------------------------------------------------------


def test_keys_go_both_ways_while_it_rings() -> None:
    desk = passed_on()
    desk.tell(e.SipKeyPressed(leg=OUT, key="1", duration=0.1))
    desk.expect(c.PlayKey)
    desk.tell(e.MediaKeyPressed(call=CALL, key="2", duration=0.1))
    desk.expect(c.SendSipKey)


def test_the_far_end_may_hold_while_it_rings() -> None:
    desk = passed_on()
    desk.phone_reinvites(500)
    offer = desk.expect(c.OfferMedia)
    assert offer.call == CALL
    desk.colleague_answers()
    assert not desk.said, "one change at a time"
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="", needed=False, answer="held"))
    answered, reinvite = desk.expect_all(c.AnswerSipReinvite, c.SendSipReinvite)
    assert isinstance(reinvite, c.SendSipReinvite)
    assert reinvite.sdp == "offer of another call"
    assert isinstance(answered, c.AnswerSipReinvite)


def test_nobody_else_gets_the_far_end_meanwhile() -> None:
    desk = passed_on()
    desk.tell(e.SipReferReceived(leg=OUT, op=OpId(700), target=Address("tel:+12025550177")))
    assert desk.expect(c.NotifySip).status == 491
    desk.person_transfers(None, person=UserId("@bob:mx.test"))
    assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED
    desk.person_transfers(Address("tel:+12025550177"))
    assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED


def test_the_far_end_does_not_ring_them_twice() -> None:
    inbound = [replace(POLICY.inbound[0], people=(COLLEAGUE,))]
    desk = passed_on(replace(POLICY, inbound=inbound))
    desk.phone_calls(LegId("in-2"))
    notice, refused = desk.expect_all(c.SendNotice, c.RejectSip)
    assert isinstance(refused, c.RejectSip)
    assert refused.status == 486
    assert isinstance(notice, c.SendNotice)


# --- it is not taken ----------------------------------------------------------------------------


def test_nobody_answers() -> None:
    desk = passed_on()
    desk.wait(LIMITS.ring_time + 1)
    said = desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice, c.SendNotice)
    missed, why = notices(said)
    assert missed.startswith("You missed a call")
    assert why == _UNANSWERED
    desk.person_negotiates("hold")
    assert desk.expect(c.OfferMedia).call == CALL
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("", "The call could not be transferred: it was declined."),
        ("user_busy", "The call could not be transferred: the line was busy."),
    ],
)
def test_the_colleague_declines(reason: str, sentence: str) -> None:
    desk = passed_on()
    colleague_declines(desk, reason)
    assert notices(desk.said)[-1] == sentence
    desk.said.clear()
    desk.person_negotiates("hold")
    assert desk.expect(c.OfferMedia).call == CALL


def test_the_colleague_declines_when_the_person_has_left() -> None:
    desk = passed_on()
    client_is_gone(desk)
    colleague_declines(desk)
    assert notices(desk.said)[-1] == "The call could not be transferred: it was declined."
    [prepare] = [each for each in desk.said if isinstance(each, c.PreparePortal)]
    assert (prepare.call, prepare.person, prepare.address) == ("n-3", PERSON, NUMBER)
    desk.tell(e.PortalFailed(call=prepare.call, op=prepare.op, reason="No room."))
    desk.is_over("not_transferred", "matrix")


def test_the_far_end_hangs_up_while_it_rings() -> None:
    desk = passed_on()
    desk.phone_ends(OUT)
    assert notices(desk.said)[-1].startswith("You missed a call")
    ends = {each.call: each for each in desk.records if isinstance(each, c.RecordEnd)}
    assert (ends[CALL].cause, ends[SECOND].cause) == ("normal", "cancelled")
    desk.wait(200)
    desk.audit.all_is_over()


def test_the_call_lasts_too_long_while_it_rings() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.wait(LIMITS.max_duration - 10)
    desk.passed_on()
    desk.wait(11)
    ends = {each.call: each for each in desk.records if isinstance(each, c.RecordEnd)}
    assert ends[CALL].cause == ends[SECOND].cause == "max_duration"


def test_a_transfer_does_not_make_a_call_longer() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.wait(LIMITS.max_duration - 10)
    desk.passed_on()
    desk.colleague_answers()
    desk.far_end_moves()
    told = desk.said[0]
    assert isinstance(told, c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=SECOND, op=told.op, sdp=""))
    desk.wait(11)
    desk.is_over("max_duration", "bridge")


# --- the far end does not take it ---------------------------------------------------------------


def test_a_far_end_that_refuses_stays_where_it_is() -> None:
    desk = moving()
    reinvite = desk.expect(c.SendSipReinvite)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=488))
    said, desk.said = desk.said, []
    assert notices(said) == [NOT_TRANSFERRED, ENDED]
    ending = [each.call for each in said if isinstance(each, c.SendMatrixHangup | c.CloseMedia)]
    assert ending == [SECOND, SECOND]
    desk.phone_reinvites(501)
    assert desk.expect(c.OfferMedia).call == CALL


def test_two_offers_that_cross_are_made_again() -> None:
    desk = moving()
    for _ in range(6):
        reinvite = desk.expect(c.SendSipReinvite)
        desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=491))
        assert not desk.said
        desk.wait(4.1)
    desk.far_end_moves()
    desk.expect_all(c.AnswerMedia, c.SendMatrixHangup, c.CloseMedia)


def test_offers_that_cross_for_ever_come_to_nothing() -> None:
    desk = moving()
    for _ in range(7):
        reinvite = desk.expect(c.SendSipReinvite)
        desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=491))
        desk.wait(4.1) if not desk.said else None
    assert NOT_TRANSFERRED in notices(desk.said)


def test_a_re_invite_that_meets_ours_is_sent_back() -> None:
    desk = moving()
    reinvite = desk.expect(c.SendSipReinvite)
    desk.phone_reinvites(500)
    assert desk.expect(c.RejectSipReinvite).status == 491
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="moved"))
    assert isinstance(desk.said[0], c.AnswerMedia)
    desk.phone_reinvites(501)
    assert isinstance(desk.said[-1], c.RejectSipReinvite), "the first is not dealt with"


@pytest.mark.parametrize("lost", [True, False])
def test_a_far_end_that_says_nothing_is_lost(lost: bool) -> None:
    desk = moving()
    reinvite = desk.expect(c.SendSipReinvite)
    if lost:
        desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=481))
    else:
        desk.wait(36)
    ends = {each.call: each for each in desk.records if isinstance(each, c.RecordEnd)}
    assert ends[CALL].cause == ends[SECOND].cause == "connection_lost"


def test_a_colleague_who_leaves_as_the_far_end_comes_leaves_nobody() -> None:
    """It may have taken their offer by now: there is no way back."""
    desk = moving()
    desk.expect(c.SendSipReinvite)
    colleague_hangs_up(desk)
    ends = {each.call: each for each in desk.records if isinstance(each, c.RecordEnd)}
    assert (ends[CALL].cause, ends[SECOND].cause) == ("not_transferred", "normal")
    assert any(isinstance(each, c.ByeSip) for each in desk.said)


# --- what may not be ----------------------------------------------------------------------------


def test_who_may_not_be_called_is_not() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_transfers(None, person=UserId("@eve:other.test"))
    assert desk.expect(c.SendNotice).text == CANNOT_BE_CALLED


def test_nobody_is_transferred_to_who_talks_to_the_far_end() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_transfers(None, person=PERSON)
    assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED


def test_who_is_not_to_be_disturbed_reads_that_they_missed_a_call() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.tell(e.PersonChanged(person=COLLEAGUE, dnd=True))
    desk.person_transfers(None, person=COLLEAGUE)
    prepare, why = desk.expect_all(c.PreparePortal, c.SendNotice)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(why, c.SendNotice)
    assert why.text == NOT_TRANSFERRED
    desk.tell(e.PortalReady(call=SECOND, op=prepare.op, room=COLLEAGUES_ROOM))
    assert "do not disturb was on" in desk.expect(c.SendNotice).text


def test_a_transfer_to_a_person_counts_as_a_call() -> None:
    desk = Desk(replace(POLICY, limits=replace(LIMITS, calls_per_minute=1)))
    desk.connected_to_the_phone()
    desk.person_transfers(None, person=COLLEAGUE)
    assert desk.expect(c.SendNotice).text.startswith("Too many calls within a minute.")


def test_it_is_the_time_of_who_placed_the_call() -> None:
    desk = passed_on(replace(POLICY, people={PERSON: Bounds(seconds_per_day=100)}))
    desk.wait(20)
    desk.colleague_answers()
    desk.far_end_moves()
    told = desk.said[0]
    assert isinstance(told, c.AnswerMedia)
    desk.said.clear()
    desk.tell(e.MediaAnswerReady(call=SECOND, op=told.op, sdp=""))
    desk.tell(e.MediaConnected(call=SECOND, matrix_codec="x", sip_codec="x"))
    left = desk.core.left(PERSON, desk.now).seconds
    assert left == pytest.approx(80)
    desk.wait(81)
    desk.is_over("minutes_used_up", "bridge")


def test_a_call_that_is_passed_on_is_one_on_its_trunk() -> None:
    trunks = {TRUNK: TrunkPolicy(bounds=Bounds(calls=2))}
    desk = passed_on(replace(POLICY, trunks=trunks))
    assert desk.core.why_not(UserId("@bob:mx.test"), NUMBER, desk.now) is None


def test_names_are_forgotten_with_the_call_that_has_them() -> None:
    desk = moved()
    desk.tell(e.SipEnded(leg=OUT, status=200))
    desk.tell(e.MediaClosed(call=SECOND))
    desk.wait(700)
    desk.tell(e.SipEnded(leg=OUT, status=200))
    assert desk.core.call_of(e.SipEnded(leg=OUT, status=200)) is None
