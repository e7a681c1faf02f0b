# SPDX-License-Identifier: GPL-3.0-or-later
"""A person calls a telephone."""

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import Address, MatrixCallId, OpId, PartyId, RoomId, Side
from bridge.call.policy import Access, Policy
from bridge.call.rules import OutboundRule
from bridge.call.switchboard import PARTY
from bridge.call.terms import Terms
from tests.call.desk import (
    CALL,
    EARLY_POLICY,
    LAPTOP,
    LIMITS,
    MOBILE,
    NUMBER,
    OLD_CLIENT,
    OURS,
    OUT,
    PERSON,
    ROOM,
    THEIR_CALL,
    TRUNK,
    Desk,
)


def test_a_call_from_invite_to_hangup() -> None:
    desk = Desk()
    desk.person_calls()
    asked = desk.expect(c.OfferMedia)
    assert (asked.side, asked.sdp, asked.terms) == (
        Side.MATRIX,
        "matrix offer",
        Terms(codecs=("PCMA",)),
    )
    desk.tell(e.MediaOfferReady(call=CALL, op=asked.op, sdp="offer to sip"))
    assert desk.expect(c.SendSipInvite) == c.SendSipInvite(
        call=CALL,
        leg=OUT,
        trunk=TRUNK,
        target="+12025550123",
        caller=OURS,
        caller_name="",
        sdp="offer to sip",
    )
    desk.phone_rings()
    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    answer = desk.expect(c.SendMatrixAnswer)
    assert (answer.room, answer.call_id, answer.party) == (ROOM, THEIR_CALL, PARTY)
    assert (answer.version, answer.sdp) == (1, "answer to matrix")
    desk.person_selects()
    desk.media_connects()
    assert [view.state for view in desk.core.active()] == ["connected"]

    desk.person_hangs_up()
    bye, _ = desk.expect_all(c.ByeSip, c.CloseMedia)
    assert bye == c.ByeSip(call=CALL, leg=OUT, q850=16)
    desk.phone_ends(OUT)
    desk.tell(e.MediaClosed(call=CALL, statistics={"packets": 3}))
    assert desk.recorded(c.RecordStatistics).statistics == {"packets": 3}
    assert desk.core.active() == []
    assert [type(record) for record in desk.records] == [
        c.RecordStart,
        c.RecordLegs,
        c.RecordRinging,
        c.RecordAnswer,
        c.RecordEnd,
        c.RecordStatistics,
    ]
    desk.is_over("normal", "matrix")


def test_the_telephone_hangs_up() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.phone_ends(OUT)
    hangup, _ = desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    assert isinstance(hangup, c.SendMatrixHangup)
    assert hangup.reason == "user_hangup"
    desk.phone_ends(OUT)
    assert desk.said == []
    desk.is_over("normal", "sip")


@pytest.mark.parametrize(
    ("status", "q850", "cause", "reason", "text"),
    [
        (486, 0, "busy", "user_busy", "The line is busy."),
        (603, 0, "declined", "user_hangup", "The call was declined."),
        (404, 0, "not_in_service", "unknown_error", "This number is not in service."),
        (480, 19, "no_answer", "invite_timeout", "Nobody answered."),
        (
            488,
            0,
            "no_common_codec",
            "user_media_failed",
            "Your app and the telephone network have no audio format in common.",
        ),
    ],
)
def test_a_refusal_is_rejected_and_explained(
    status: int, q850: int, cause: str, reason: str, text: str
) -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_ends(OUT, status, q850)
    reject, _, notice = desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    assert isinstance(reject, c.SendMatrixReject)
    assert isinstance(notice, c.SendNotice)
    assert (reject.reason, notice.text) == (reason, text)
    assert desk.recorded(c.RecordEnd).status == status
    desk.is_over(cause, "sip")


def test_a_trunk_that_was_never_heard() -> None:
    desk = Desk()
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer")
    desk.expect(c.SendSipInvite)
    desk.phone_ends(OUT, 408, remote=False)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("trunk_down", "sip")


def test_a_v0_client_is_answered_and_hung_up_as_v0() -> None:
    desk = Desk()
    desk.rings_at_the_phone(version=0, sender=OLD_CLIENT, capabilities=e.Capabilities())
    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.expect(c.SendMatrixAnswer).version == 0
    desk.phone_ends(OUT)
    hangup, _ = desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    assert isinstance(hangup, c.SendMatrixHangup)
    assert hangup.version == 0
    desk.is_over("normal", "sip")


def test_a_v0_client_is_refused_with_a_hangup() -> None:
    desk = Desk()
    desk.rings_at_the_phone(version=0, sender=OLD_CLIENT, capabilities=e.Capabilities())
    desk.phone_ends(OUT, 486)
    hangup, _, _ = desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    assert isinstance(hangup, c.SendMatrixHangup)
    assert hangup.reason == "user_busy"
    desk.is_over("busy", "sip")


# --- the person gives up --------------------------------------------------------------------


def test_the_person_cancels_while_it_rings() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.person_hangs_up()
    desk.expect_all(c.CancelSip, c.CloseMedia)
    desk.phone_ends(OUT, 487)
    desk.is_over("cancelled", "matrix")


def test_a_200_that_crosses_the_cancel_is_followed_by_bye() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.person_hangs_up()
    desk.expect_all(c.CancelSip, c.CloseMedia)
    desk.phone_answers()
    desk.expect(c.ByeSip)
    desk.phone_answers()  # Retransmitted.
    desk.phone_ends(OUT)
    desk.is_over("cancelled", "matrix")


def test_the_person_cancels_before_the_invite_is_sent() -> None:
    desk = Desk()
    desk.person_calls()
    offer = desk.expect(c.OfferMedia)
    desk.person_hangs_up()
    desk.expect(c.CloseMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="late"))
    assert desk.said == []
    desk.is_over("cancelled", "matrix")


def test_another_partys_hangup_is_not_ours() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_hangs_up(sender=MOBILE)
    assert desk.said == []


def test_the_person_leaves_the_room() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.tell(e.MatrixMemberLeft(room=RoomId("!other:mx.test"), user=PERSON))
    assert desk.said == []
    gone = e.MatrixMemberLeft(room=ROOM, user=PERSON)
    assert desk.core.call_of(gone) == CALL
    desk.tell(gone)
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.is_over("normal", "matrix")


def test_the_clients_own_failure_is_told_to_the_telephone() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_hangs_up(reason="ice_failed")
    bye, _ = desk.expect_all(c.ByeSip, c.CloseMedia)
    assert isinstance(bye, c.ByeSip)
    assert bye.q850 == 41
    desk.is_over("ice_failed", "matrix")


# --- select_answer --------------------------------------------------------------------------


def test_select_answer_that_names_another_party_ends_silently() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_selects(PartyId("SOMEBODY"))
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.is_over("answered_elsewhere", "matrix")


def test_a_second_select_answer_changes_nothing() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_selects()
    desk.person_selects(PartyId("SOMEBODY"))
    assert desk.said == []


# --- candidates -----------------------------------------------------------------------------


def test_candidates_go_to_the_engine_as_they_come() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.person_trickles("candidate:1", "")
    assert desk.expect(c.AddRemoteCandidates).candidates == ("candidate:1", "")
    desk.person_trickles("candidate:2", sender=MOBILE)
    assert desk.said == []


# --- what is not taken ------------------------------------------------------------------------


@pytest.mark.parametrize(("lifetime", "age"), [(60, 61), (60, 58), (90, 88)])
def test_an_invite_without_time_left_does_not_ring(lifetime: float, age: float) -> None:
    desk = Desk()
    desk.person_calls(lifetime=lifetime, age=age)
    assert desk.said == []
    assert desk.records == []


def test_an_invite_rings_no_longer_than_it_lives() -> None:
    desk = Desk()
    desk.rings_at_the_phone(lifetime=60, age=30)
    desk.wait(29)
    assert desk.said == []
    desk.wait(2)
    reject, *_ = desk.expect_all(c.SendMatrixReject, c.CancelSip, c.CloseMedia, c.SendNotice)
    assert isinstance(reject, c.SendMatrixReject)
    assert reject.reason == "invite_timeout"
    desk.is_over("no_answer", "bridge")


def test_a_repeated_invite_is_the_same_call() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.person_calls()
    assert desk.said == []
    desk.person_hangs_up()
    desk.expect_all(c.CancelSip, c.CloseMedia)
    desk.is_over("cancelled", "matrix")
    desk.person_calls()
    assert desk.said == []


def test_an_ended_call_is_forgotten_after_a_while() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.person_hangs_up()
    desk.expect_all(c.CancelSip, c.CloseMedia)
    invite = e.SipEvent(leg=OUT)
    desk.is_over("cancelled", "matrix")
    assert desk.core.call_of(invite) == CALL
    desk.wait(601)
    desk.person_calls(MatrixCallId("later"))
    desk.expect(c.OfferMedia)
    assert desk.core.call_of(invite) is None


def refused(desk: Desk) -> tuple[str, str]:
    reject, notice = desk.expect_all(c.SendMatrixReject, c.SendNotice)
    assert isinstance(reject, c.SendMatrixReject)
    assert isinstance(notice, c.SendNotice)
    return desk.recorded(c.RecordEnd).cause, reject.reason


def test_a_person_without_permission_is_told_so() -> None:
    desk = Desk(Policy(access={"*": Access.RECEIVE}, outbound=[OutboundRule(trunks=(TRUNK,))]))
    desk.person_calls()
    assert refused(desk) == ("not_permitted", "unknown_error")
    assert desk.core.active() == []
    assert desk.core.call_of(e.SipEvent(leg=OUT)) == CALL


def test_a_number_without_a_trunk_is_refused() -> None:
    desk = Desk()
    desk.person_calls(address=Address("tel:+442079460123"))
    assert refused(desk) == ("no_route", "unknown_error")


def test_a_second_call_to_the_same_number_is_busy() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_calls(MatrixCallId("second"), sender=MOBILE)
    assert refused(desk) == ("in_call", "user_busy")


def test_a_third_call_at_once_is_too_many() -> None:
    desk = Desk()
    for number in range(LIMITS.calls_per_person + 1):
        desk.person_calls(
            MatrixCallId(f"call-{number}"), address=Address(f"tel:+1202555013{number}")
        )
    desk.said = desk.said[2:]
    assert refused(desk) == ("too_many_calls", "user_busy")


def test_calls_in_quick_succession_are_too_frequent() -> None:
    desk = Desk()
    for number in range(LIMITS.calls_per_minute):
        call_id = MatrixCallId(f"call-{number}")
        desk.person_calls(call_id)
        desk.expect(c.OfferMedia)
        desk.person_hangs_up(call_id)
        desk.expect(c.CloseMedia)
    desk.person_calls(MatrixCallId("one too many"))
    assert refused(desk) == ("too_frequent", "unknown_error")
    desk.wait(61)
    desk.person_calls(MatrixCallId("later"))
    desk.expect(c.OfferMedia)


# --- early media ------------------------------------------------------------------------------


def early(desk: Desk) -> None:
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer")
    desk.expect(c.SendSipInvite)
    desk.phone_rings(183, "early answer")


def test_early_media_is_ignored_unless_the_trunk_wants_it() -> None:
    desk = Desk()
    early(desk)
    assert desk.said == []


def test_early_media_answers_the_client_before_the_telephone_does() -> None:
    desk = Desk(EARLY_POLICY)
    early(desk)
    told = desk.expect(c.AnswerMedia)
    assert (told.side, told.sdp, told.provisional) == (Side.SIP, "early answer", True)
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="early answer to matrix"))
    assert desk.expect(c.SendMatrixAnswer).sdp == "early answer to matrix"
    desk.person_selects()
    desk.media_connects()
    desk.phone_rings(183, "early answer")
    assert desk.said == []
    assert [view.state for view in desk.core.active()] == ["ringing"]

    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.said == []
    assert desk.core.active()[0].answered_at == desk.now
    desk.wait(100)
    assert [view.state for view in desk.core.active()] == ["connected"]


def with_early_media(desk: Desk) -> None:
    early(desk)
    desk.tell(e.MediaAnswerReady(call=CALL, op=desk.expect(c.AnswerMedia).op, sdp="early"))
    desk.expect(c.SendMatrixAnswer)


def test_of_several_branches_the_last_is_heard() -> None:
    desk = Desk(EARLY_POLICY)
    with_early_media(desk)
    desk.phone_rings(183, "second branch")
    told = desk.expect(c.AnswerMedia)
    assert (told.sdp, told.provisional) == ("second branch", True)
    desk.phone_rings(183, "third branch")
    desk.phone_rings(183, "fourth branch")
    assert desk.said == []
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="early"))
    told = desk.expect(c.AnswerMedia)
    assert told.sdp == "fourth branch"
    desk.phone_answers()
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="early"))
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.said == []
    assert desk.core.active()[0].answered_at == desk.now


def test_a_branch_that_cannot_be_heard_leaves_the_one_before() -> None:
    desk = Desk(EARLY_POLICY)
    with_early_media(desk)
    desk.phone_rings(183, "second branch")
    told = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaFailed(call=CALL, op=told.op, fault=e.MediaFault.BAD_SDP))
    assert desk.said == []
    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.said == []


def test_when_the_first_branch_cannot_be_heard_the_next_may_be() -> None:
    desk = Desk(EARLY_POLICY)
    early(desk)
    told = desk.expect(c.AnswerMedia)
    desk.phone_rings(183, "second branch")
    desk.tell(e.MediaFailed(call=CALL, op=told.op, fault=e.MediaFault.BAD_SDP))
    told = desk.expect(c.AnswerMedia)
    assert told.sdp == "second branch"
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="early"))
    desk.expect(c.SendMatrixAnswer)


def test_early_media_does_not_keep_an_unanswered_call_alive() -> None:
    desk = Desk(EARLY_POLICY)
    early(desk)
    desk.tell(e.MediaAnswerReady(call=CALL, op=desk.expect(c.AnswerMedia).op, sdp="early"))
    desk.expect(c.SendMatrixAnswer)
    desk.media_connects()
    desk.wait(61)
    desk.expect_all(c.SendMatrixHangup, c.CancelSip, c.CloseMedia, c.SendNotice)
    desk.is_over("no_answer", "bridge")


def test_a_refusal_after_early_media_hangs_up() -> None:
    desk = Desk(EARLY_POLICY)
    early(desk)
    desk.tell(e.MediaAnswerReady(call=CALL, op=desk.expect(c.AnswerMedia).op, sdp="early"))
    desk.expect(c.SendMatrixAnswer)
    desk.phone_ends(OUT, 486)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    desk.is_over("busy", "sip")


def test_early_media_that_fails_is_done_without() -> None:
    desk = Desk(EARLY_POLICY)
    early(desk)
    told = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaFailed(call=CALL, op=told.op, fault=e.MediaFault.BAD_SDP))
    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixAnswer)


def test_the_telephone_answers_while_early_media_is_set_up() -> None:
    desk = Desk(EARLY_POLICY)
    early(desk)
    told = desk.expect(c.AnswerMedia)
    desk.phone_answers()
    assert desk.said == []
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="early answer to matrix"))
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.expect(c.SendMatrixAnswer).sdp == "answer to matrix"


# --- failures on the way ------------------------------------------------------------------------


def test_the_engine_cannot_use_the_offer() -> None:
    desk = Desk()
    desk.person_calls()
    op = desk.expect(c.OfferMedia).op
    desk.tell(e.MediaFailed(call=CALL, op=op, fault=e.MediaFault.NO_COMMON_CODEC))
    reject, *_ = desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    assert isinstance(reject, c.SendMatrixReject)
    assert reject.reason == "user_media_failed"
    desk.is_over("no_common_codec", "media")


def test_the_engine_cannot_use_the_answer() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_answers()
    op = desk.expect(c.AnswerMedia).op
    desk.tell(e.MediaFailed(call=CALL, op=op, fault=e.MediaFault.BAD_SDP))
    desk.expect_all(c.SendMatrixReject, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.is_over("media_failed", "media")


def test_the_engine_never_answers() -> None:
    desk = Desk()
    desk.person_calls()
    desk.expect(c.OfferMedia)
    desk.wait(16)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("media_failed", "media")


def test_the_answer_cannot_be_delivered() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    answer = desk.expect(c.SendMatrixAnswer)
    desk.tell(e.MatrixSendFailed(call=CALL, op=OpId(answer.op + 100), reason="Not ours."))
    assert desk.said == []
    desk.tell(e.MatrixSendFailed(call=CALL, op=answer.op, reason="No homeserver."))
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.is_over("undeliverable", "matrix")


def test_audio_never_gets_through() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixAnswer)
    desk.wait(31)
    hangup, *_ = desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    assert isinstance(hangup, c.SendMatrixHangup)
    assert hangup.reason == "ice_timeout"
    desk.is_over("ice_timeout", "media")


def test_audio_is_lost() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    lost = e.MediaLost(call=CALL, side=Side.MATRIX, fault=e.MediaFault.ICE_FAILED)
    desk.tell(lost)
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.tell(lost)
    assert desk.said == []
    desk.is_over("ice_failed", "media")


def test_the_longest_time_is_over() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.wait(LIMITS.max_duration - 1)
    assert desk.said == []
    desk.wait(2)
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.is_over("max_duration", "bridge")


def test_a_fault_inside_ends_the_call() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.tell(e.CallFaulted(call=CALL))
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.tell(e.CallFaulted(call=CALL))
    assert desk.said == []
    desk.is_over("error", "bridge")


def test_the_bridge_stops() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.tell(e.ShutdownRequested())
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.person_calls(MatrixCallId("too late"), sender=LAPTOP, address=NUMBER)
    assert refused(desk) == ("shutdown", "unknown_error")
    desk.is_over("shutdown", "bridge")


# --- the record -------------------------------------------------------------------------------


def test_what_ends_the_dialog_after_a_crash_is_recorded() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.tell(e.SipDialogChanged(leg=OUT, state="cseq=3"))
    assert desk.recorded(c.RecordLegs) == c.RecordLegs(call=CALL, sip_dialog="cseq=3")
    desk.person_hangs_up()
    count = len(desk.records)
    desk.tell(e.SipDialogChanged(leg=OUT, state="cseq=4"))
    assert len(desk.records) == count


def test_events_of_nobodys_call_are_ignored() -> None:
    desk = Desk()
    desk.person_hangs_up()
    desk.phone_answers()
    desk.media_connects()
    desk.tell(e.MatrixMuteChanged(room=ROOM, call_id=THEIR_CALL, sender=LAPTOP, muted=True))
    assert desk.said == []
    assert desk.core.call_of(e.ShutdownRequested()) is None


def test_only_what_comes_from_whom_is_called_is_ringing_and_only_before_the_answer() -> None:
    desk = Desk()
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer")
    desk.expect(c.SendSipInvite)
    desk.phone_rings(100)
    assert not any(isinstance(each, c.RecordRinging) for each in desk.records)
    desk.phone_rings(183)
    desk.phone_rings(180)
    desk.phone_answers()
    desk.phone_rings(180)
    assert [type(each) for each in desk.records].count(c.RecordRinging) == 1
