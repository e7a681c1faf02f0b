# SPDX-License-Identifier: GPL-3.0-or-later
"""A telephone calls a person."""

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import ANONYMOUS, Address, LegId, OpId, Party, PartyId, Side, UserId
from bridge.call.policy import Access, Policy
from bridge.call.rules import InboundRule
from bridge.call.switchboard import PARTY
from bridge.call.terms import Terms
from tests.call.desk import (
    CALL,
    IN,
    LAPTOP,
    MOBILE,
    NUMBER,
    OLD_CLIENT,
    OUR_CALL,
    OURS,
    PERSON,
    ROOM,
    Desk,
)


def test_a_call_from_invite_to_bye() -> None:
    desk = Desk()
    desk.phone_calls()
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    assert (prepare.person, prepare.address, prepare.display_name) == (PERSON, NUMBER, "Caller")
    assert (offer.side, offer.sdp, offer.terms) == (
        Side.SIP,
        "sip offer",
        Terms(codecs=("PCMA",)),
    )

    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    assert desk.said == []
    desk.portal_is_ready(prepare.op)
    invite, ringing = desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)
    assert isinstance(invite, c.SendMatrixInvite)
    assert isinstance(ringing, c.SendSipProgress)
    assert (invite.call_id, invite.party, invite.version) == (OUR_CALL, PARTY, 1)
    assert (invite.sdp, invite.lifetime, invite.invitee) == ("offer to matrix", 60, PERSON)
    assert ringing.status == 180
    assert [view.state for view in desk.core.active()] == ["ringing"]

    desk.person_answers()
    select, told = desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
    assert isinstance(select, c.SendMatrixSelectAnswer)
    assert isinstance(told, c.AnswerMedia)
    assert select.selected == LAPTOP.party
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="answer to sip"))
    assert desk.expect(c.AnswerSip).sdp == "answer to sip"
    desk.phone_acknowledges()
    desk.media_connects()
    assert desk.recorded(c.RecordAnswer).call == CALL

    desk.phone_ends(IN)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_the_portal_is_ready_before_the_offer() -> None:
    desk = Desk()
    desk.phone_calls()
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    desk.portal_is_ready(prepare.op)
    assert desk.said == []
    assert [view.state for view in desk.core.active()] == ["preparing"]
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)


def test_the_person_hangs_up() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    desk.person_hangs_up(OUR_CALL)
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.phone_ends(IN)
    desk.is_over("normal", "matrix")


def test_an_invite_without_an_offer() -> None:
    desk = Desk()
    desk.rings_at_the_person(sdp=None)
    desk.person_answers()
    desk.said.pop(0)
    desk.media_answers(Side.MATRIX, "matrix answer")
    assert desk.expect(c.AnswerSip).sdp == "answer to sip"  # To SIP, it is an offer.
    desk.phone_acknowledges(sdp="answer in the ack")
    told = desk.expect(c.AnswerMedia)
    assert (told.side, told.sdp) == (Side.SIP, "answer in the ack")
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp=""))
    desk.media_connects()
    assert desk.said == []
    assert [view.state for view in desk.core.active()] == ["connected"]


def test_an_ack_that_lacks_the_answer() -> None:
    desk = Desk()
    desk.rings_at_the_person(sdp=None)
    desk.person_answers()
    desk.said.pop(0)
    desk.media_answers(Side.MATRIX, "matrix answer")
    desk.expect(c.AnswerSip)
    desk.phone_acknowledges()
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.is_over("media_failed", "sip")


# --- several devices --------------------------------------------------------------------------


def test_the_first_device_to_answer_wins() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_answers(MOBILE)
    select, _ = desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
    assert isinstance(select, c.SendMatrixSelectAnswer)
    assert select.selected == MOBILE.party
    desk.person_answers(LAPTOP)
    desk.person_rejects(LAPTOP)
    desk.person_hangs_up(OUR_CALL, LAPTOP)
    assert desk.said == []


def test_a_reject_after_the_answer_comes_too_late() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    desk.person_rejects()
    assert desk.said == []


def test_one_devices_reject_ends_the_call_at_all() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_rejects(MOBILE)
    select, reject, _ = desk.expect_all(c.SendMatrixSelectAnswer, c.RejectSip, c.CloseMedia)
    assert isinstance(select, c.SendMatrixSelectAnswer)
    assert isinstance(reject, c.RejectSip)
    assert (select.selected, reject.status) == (MOBILE.party, 603)
    desk.person_answers(LAPTOP)
    assert desk.said == []
    desk.phone_ends(IN, 603)
    desk.is_over("declined", "matrix")


def test_busy_is_busy() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_rejects(reason="user_busy")
    _, reject, _, notice = desk.expect_all(
        c.SendMatrixSelectAnswer, c.RejectSip, c.CloseMedia, c.SendNotice
    )
    assert isinstance(reject, c.RejectSip)
    assert isinstance(notice, c.SendNotice)
    assert reject.status == 486
    assert notice.text == "You missed a call at {time}: you were in another call."
    assert desk.recorded(c.RecordEnd).status == 486
    desk.is_over("busy", "matrix")


def test_candidates_before_the_answer_are_kept_for_who_answers() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_trickles("of the laptop", call_id=OUR_CALL)
    desk.person_trickles("of the mobile", call_id=OUR_CALL, sender=MOBILE)
    assert desk.said == []
    desk.person_answers(MOBILE)
    *_, added = desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia, c.AddRemoteCandidates)
    assert isinstance(added, c.AddRemoteCandidates)
    assert added.candidates == ("of the mobile",)


def test_a_stranger_in_the_room_has_no_say() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    stranger = Party(UserId("@eve:mx.test"), PartyId("EVE"))
    desk.person_answers(stranger)
    desk.person_hangs_up(OUR_CALL, stranger)
    assert desk.said == []


# --- v0 clients -------------------------------------------------------------------------------


def test_a_v0_client_answers() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_answers(OLD_CLIENT, version=0)
    desk.media_answers(Side.MATRIX, "matrix answer")  # And no select_answer.
    desk.expect(c.AnswerSip)
    assert desk.recorded(c.RecordLegs).matrix_version == 0
    desk.phone_acknowledges()
    desk.phone_ends(IN)
    hangup, _ = desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    assert isinstance(hangup, c.SendMatrixHangup)
    assert hangup.version == 0
    desk.is_over("normal", "sip")


def test_a_v0_client_declines_with_a_hangup() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_hangs_up(OUR_CALL, OLD_CLIENT)
    reject, _ = desk.expect_all(c.RejectSip, c.CloseMedia)
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 603
    desk.is_over("declined", "matrix")


# --- missed calls -----------------------------------------------------------------------------


def test_the_caller_gives_up() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.tell(e.SipCancelled(leg=IN))
    hangup, _, notice = desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    assert isinstance(hangup, c.SendMatrixHangup)
    assert isinstance(notice, c.SendNotice)
    assert (hangup.reason, notice.text) == ("user_hangup", "You missed a call at {time}.")
    desk.phone_ends(IN, 487)
    desk.is_over("cancelled", "sip")


@pytest.mark.parametrize("cause", [200, 26])
def test_a_call_answered_elsewhere_is_not_missed(cause: int) -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.tell(e.SipCancelled(leg=IN, cause=cause))
    select, *_ = desk.expect_all(c.SendMatrixSelectAnswer, c.SendMatrixHangup, c.CloseMedia)
    assert isinstance(select, c.SendMatrixSelectAnswer)
    assert select.selected == PARTY  # None of theirs: "answered elsewhere".
    desk.is_over("answered_elsewhere", "sip")


def test_nobody_answers() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.wait(61)
    hangup, reject, _, notice = desk.expect_all(
        c.SendMatrixHangup, c.RejectSip, c.CloseMedia, c.SendNotice
    )
    assert isinstance(hangup, c.SendMatrixHangup)
    assert isinstance(reject, c.RejectSip)
    assert isinstance(notice, c.SendNotice)
    assert (hangup.reason, reject.status) == ("invite_timeout", 480)
    assert notice.text == "You missed a call at {time}. It rang for 1 min."
    desk.is_over("no_answer", "bridge")


def test_the_caller_gives_up_before_it_rings() -> None:
    desk = Desk()
    desk.phone_calls()
    prepare, _ = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    desk.tell(e.SipCancelled(leg=IN))
    desk.expect(c.CloseMedia)
    desk.portal_is_ready(prepare.op)
    assert desk.expect(c.SendNotice).text == "You missed a call at {time}."
    desk.is_over("cancelled", "sip")


# --- failures on the way ----------------------------------------------------------------------


def test_there_is_no_portal() -> None:
    desk = Desk()
    desk.phone_calls()
    prepare, _ = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    desk.tell(e.PortalFailed(call=CALL, op=OpId(99), reason="Not ours."))
    assert desk.said == []
    desk.tell(e.PortalFailed(call=CALL, op=prepare.op, reason="The person left."))
    reject, _ = desk.expect_all(c.RejectSip, c.CloseMedia)
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 480
    desk.is_over("unreachable", "matrix")


def test_there_is_no_such_person() -> None:
    desk = Desk()
    desk.phone_calls()
    prepare, _ = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    desk.tell(e.PortalFailed(call=CALL, op=prepare.op, reason="Nobody.", unknown=True))
    reject, _ = desk.expect_all(c.RejectSip, c.CloseMedia)
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 404
    desk.phone_ends(IN, 404)
    desk.is_over("not_in_service", "matrix")


def test_the_portal_takes_too_long() -> None:
    desk = Desk()
    desk.phone_calls()
    _, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(offer, c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    desk.wait(61)
    desk.expect_all(c.RejectSip, c.CloseMedia)
    desk.is_over("unreachable", "bridge")


# --- callers who withhold their number --------------------------------------------------------


def test_a_second_caller_without_a_number_finds_the_line_busy() -> None:
    """They share a ghost, hence a room, and a room has one call."""
    desk = Desk()
    desk.phone_calls(caller=ANONYMOUS)
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    desk.portal_is_ready(prepare.op)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)
    desk.phone_calls(LegId("in-2"), caller=ANONYMOUS)
    _, busy = desk.expect_all(c.SendNotice, c.RejectSip)
    assert isinstance(busy, c.RejectSip)
    assert (busy.leg, busy.status) == ("in-2", 486)
    assert [view.call for view in desk.core.active() if view.state == "ringing"] == [CALL]


def test_one_without_a_number_cannot_be_called_back() -> None:
    desk = Desk()
    desk.person_calls(address=ANONYMOUS)
    _, notice = desk.expect_all(c.SendMatrixReject, c.SendNotice)
    assert isinstance(notice, c.SendNotice)
    assert "withheld" in notice.text
    desk.is_over("number_withheld", "bridge")


# --- a person who has to join the room first --------------------------------------------------


def _joining(desk: Desk) -> OpId:
    """A telephone called, and hears it ring; the person is invited to the room."""
    desk.phone_calls()
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    desk.tell(e.PersonInvited(call=CALL, op=prepare.op, room=ROOM))
    assert desk.expect(c.SendSipProgress).status == 180
    return prepare.op


def test_who_joins_in_time_is_rung_for_as_long_as_anybody() -> None:
    desk = Desk()
    op = _joining(desk)
    desk.tell(e.PersonInvited(call=CALL, op=OpId(99), room=ROOM))
    desk.wait(55)
    assert [view.state for view in desk.core.active()] == ["preparing"]
    desk.portal_is_ready(op)
    invite, _ = desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)
    assert isinstance(invite, c.SendMatrixInvite)
    assert invite.lifetime == 60
    desk.wait(59)
    assert desk.said == []
    desk.wait(2)
    desk.expect_all(c.SendMatrixHangup, c.RejectSip, c.CloseMedia, c.SendNotice)
    desk.is_over("no_answer", "bridge")


def test_who_does_not_join_in_time_reads_later_of_a_missed_call() -> None:
    desk = Desk()
    op = _joining(desk)
    desk.wait(61)
    reject, _, notice = desk.expect_all(c.RejectSip, c.CloseMedia, c.SendNotice)
    assert isinstance(reject, c.RejectSip)
    assert isinstance(notice, c.SendNotice)
    assert reject.status == 480
    assert (notice.room, notice.text) == (ROOM, "You missed a call at {time}.")
    desk.portal_is_ready(op)
    assert desk.said == []
    desk.is_over("no_answer", "bridge")


def test_so_does_who_had_not_joined_when_the_caller_gave_up() -> None:
    desk = Desk()
    _joining(desk)
    desk.tell(e.SipCancelled(leg=IN))
    desk.expect_all(c.CloseMedia, c.SendNotice)
    desk.is_over("cancelled", "sip")


def test_a_portal_that_fails_while_the_person_joins() -> None:
    desk = Desk()
    op = _joining(desk)
    desk.tell(e.PortalFailed(call=CALL, op=op, reason="No homeserver."))
    desk.expect_all(c.RejectSip, c.CloseMedia, c.SendNotice)
    desk.is_over("unreachable", "matrix")


def test_who_declines_the_room_declines_the_call() -> None:
    desk = Desk()
    _joining(desk)
    desk.tell(e.MatrixMemberLeft(room=ROOM, user=PERSON))
    reject, _ = desk.expect_all(c.RejectSip, c.CloseMedia)
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 603
    desk.is_over("declined", "matrix")


def test_the_invite_cannot_be_delivered() -> None:
    desk = Desk()
    desk.phone_calls()
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    desk.portal_is_ready(prepare.op)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    invite, _ = desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)
    assert isinstance(invite, c.SendMatrixInvite)
    desk.tell(e.MatrixSendFailed(call=CALL, op=invite.op, reason="No homeserver."))
    desk.expect_all(c.SendMatrixHangup, c.RejectSip, c.CloseMedia, c.SendNotice)
    desk.is_over("undeliverable", "matrix")


def test_the_engine_cannot_use_the_offer() -> None:
    desk = Desk()
    desk.phone_calls()
    _, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(offer, c.OfferMedia)
    failed = e.MediaFailed(call=CALL, op=offer.op, fault=e.MediaFault.NO_COMMON_CODEC)
    desk.tell(failed)
    reject, _ = desk.expect_all(c.RejectSip, c.CloseMedia)
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 488
    desk.is_over("no_common_codec", "media")


def test_the_ack_never_comes() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_answers()
    desk.said.pop(0)
    desk.media_answers(Side.MATRIX, "matrix answer")
    desk.expect(c.AnswerSip)
    desk.media_connects()
    desk.wait(36)  # BYE waits for the ACK, but not for ever.
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice, c.ByeSip)
    desk.is_over("connection_lost", "bridge")


def test_bye_waits_for_the_ack() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_answers()
    desk.said.pop(0)
    desk.media_answers(Side.MATRIX, "matrix answer")
    desk.expect(c.AnswerSip)
    desk.person_hangs_up(OUR_CALL)
    desk.expect(c.CloseMedia)
    desk.phone_acknowledges()
    desk.expect(c.ByeSip)
    desk.is_over("normal", "matrix")


def test_the_caller_hangs_up_before_the_ack() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_answers()
    desk.said.pop(0)
    desk.media_answers(Side.MATRIX, "matrix answer")
    desk.expect(c.AnswerSip)
    desk.phone_ends(IN)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_the_bye_is_never_confirmed() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    desk.person_hangs_up(OUR_CALL)
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.wait(39)
    assert [view.state for view in desk.core.active()] == ["ending"]
    desk.wait(2)
    assert desk.core.active() == []


# --- what is not taken ------------------------------------------------------------------------


def refused(desk: Desk) -> tuple[str, int]:
    reject = desk.expect(c.RejectSip)
    return desk.recorded(c.RecordEnd).cause, reject.status


def test_a_number_that_nobody_has_is_not_busy() -> None:
    desk = Desk()
    desk.phone_calls(dialled="+12025550199")
    assert refused(desk) == ("not_in_service", 404)
    assert desk.recorded(c.RecordStart).person == ""
    desk.phone_ends(IN, 404)
    assert desk.core.active() == []


def test_a_person_who_may_not_be_called() -> None:
    desk = Desk(Policy(access={PERSON: Access.BLOCKED}, inbound=[InboundRule(people=(PERSON,))]))
    desk.phone_calls()
    assert refused(desk) == ("not_permitted", 403)


def test_a_second_call_from_the_same_number_is_busy_and_told() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    desk.phone_calls(LegId("in-2"))
    notice, reject = desk.expect_all(c.SendNotice, c.RejectSip)
    assert isinstance(notice, c.SendNotice)
    assert isinstance(reject, c.RejectSip)
    assert (notice.room, reject.status) == (ROOM, 486)


def test_a_repeated_invite_is_the_same_leg() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.phone_calls()
    assert desk.said == []


def test_too_many_calls_are_busy() -> None:
    desk = Desk()
    for number in range(3):
        desk.phone_calls(LegId(f"in-{number}"), caller=Address(f"tel:+1202555013{number}"))
    desk.said = desk.said[5:]  # Without the portal where they will read of the third.
    assert refused(desk) == ("too_many_calls", 486)


def test_a_full_bridge_has_room_for_the_record() -> None:
    desk = Desk()
    desk.phone_calls(full=True)
    prepare, reject = desk.expect_all(c.PreparePortal, c.RejectSip)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(reject, c.RejectSip)
    assert (reject.status, reject.retry_after) == (503, 10)
    desk.tell(e.PortalReady(call=prepare.call, op=prepare.op, room=ROOM))
    missed = "You missed a call at {time}: the bridge had no room for more calls."
    assert desk.expect(c.SendNotice).text == missed


def test_the_bridge_is_stopping() -> None:
    desk = Desk()
    desk.tell(e.ShutdownRequested())
    desk.phone_calls(dialled=f"tel:{OURS}")
    assert refused(desk) == ("shutdown", 503)


def test_when_it_rang_is_recorded_once_and_by_which_rule() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    assert desk.recorded(c.RecordStart).rule == "inbound[0]"
    assert [type(each) for each in desk.records].count(c.RecordRinging) == 1
    desk.person_rejects()
    assert desk.recorded(c.RecordEnd).reason == "user_hangup"
