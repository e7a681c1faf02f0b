# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold, resume, ICE restart, new addresses: what was agreed changes while people talk."""

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import CallId, OpId, Side
from bridge.call.renegotiation import backoff
from tests.call.desk import CALL, IN, OLD_CLIENT, OUR_CALL, OUT, Desk

ANSWER = e.SdpType.ANSWER


def connected(desk: Desk) -> None:
    desk.connected_to_the_phone()
    desk.person_selects()


def offer_ready(desk: Desk, side: Side, *, needed: bool = True) -> None:
    """The engine was asked, and says whether the other side has to be."""
    asked = desk.expect(c.OfferMedia)
    assert asked.side is side
    desk.tell(
        e.MediaOfferReady(
            call=CALL,
            op=asked.op,
            sdp="new offer" if needed else "",
            needed=needed,
            answer="" if needed else "answer at once",
        )
    )


def person_holds(desk: Desk, sdp: str = "matrix hold") -> c.SendSipReinvite:
    """The client offered, and our re-INVITE is out."""
    desk.person_negotiates(sdp)
    offer_ready(desk, Side.MATRIX)
    return desk.expect(c.SendSipReinvite)


def phone_holds(desk: Desk, op: int = 501) -> c.SendMatrixNegotiate:
    """A re-INVITE waits, and the client was asked."""
    desk.phone_reinvites(op)
    offer_ready(desk, Side.SIP)
    return desk.expect(c.SendMatrixNegotiate)


def rejected(desk: Desk, op: int, status: int) -> None:
    reject = desk.expect(c.RejectSipReinvite)
    assert (reject.op, reject.status) == (op, status)


# --- the client wants a change ----------------------------------------------------------------


def test_the_client_holds() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    assert (reinvite.leg, reinvite.sdp) == (OUT, "new offer")
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="held"))
    desk.media_answers(Side.SIP, "held")
    answer = desk.expect(c.SendMatrixNegotiate)
    assert (answer.type, answer.sdp) == (ANSWER, "answer to matrix")
    person_holds(desk, "matrix resume")


def test_the_client_restarts_ice_and_sip_need_not_know() -> None:
    desk = Desk()
    connected(desk)
    desk.person_negotiates("restart")
    offer_ready(desk, Side.MATRIX, needed=False)
    answer = desk.expect(c.SendMatrixNegotiate)
    assert (answer.type, answer.sdp) == (ANSWER, "answer at once")
    desk.person_negotiates("restart")  # Delivered again.
    assert desk.said == []


def test_an_offer_before_the_call_is_up_waits() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_answers()
    desk.said.pop(0)
    desk.media_answers(Side.MATRIX, "matrix answer")
    desk.expect(c.AnswerSip)
    desk.person_negotiates("eager", call_id=OUR_CALL)
    assert desk.said == []
    desk.phone_acknowledges()
    offer_ready(desk, Side.MATRIX)
    assert desk.expect(c.SendSipReinvite).leg == IN


def test_a_refused_reinvite_leaves_sip_as_it_was() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=OpId(reinvite.op + 99), status=488))
    assert desk.said == []
    desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=488))
    told = desk.media_answers(Side.SIP, "sip answer")  # What SIP said before.
    assert told.refused
    assert desk.expect(c.SendMatrixNegotiate).type is ANSWER


def test_an_answer_that_says_what_was_said_before_is_no_refusal() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="sip answer"))
    assert not desk.media_answers(Side.SIP, "sip answer").refused


@pytest.mark.parametrize("status", [408, 481])
def test_a_reinvite_that_finds_no_dialog_ends_the_call(status: int) -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=status))
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    assert desk.recorded(c.RecordEnd).status == status
    desk.is_over("connection_lost", "sip")


def test_a_reinvite_that_is_never_answered_ends_the_call() -> None:
    desk = Desk()
    connected(desk)
    person_holds(desk)
    desk.wait(36)
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.is_over("connection_lost", "sip")


def test_the_engine_cannot_use_the_clients_offer() -> None:
    desk = Desk()
    connected(desk)
    desk.person_negotiates("nonsense")
    asked = desk.expect(c.OfferMedia)
    failed = e.MediaFailed(call=CALL, op=asked.op, fault=e.MediaFault.BAD_SDP)
    desk.tell(failed)
    desk.expect(c.RollbackMedia)
    desk.tell(failed)
    assert desk.said == []
    person_holds(desk)


def test_the_engine_cannot_use_what_sip_answered() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="nonsense"))
    told = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaFailed(call=CALL, op=told.op, fault=e.MediaFault.BAD_SDP))
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.is_over("media_failed", "media")


def test_a_newer_offer_takes_the_place_of_one_that_waits_for_the_engine() -> None:
    desk = Desk()
    connected(desk)
    desk.person_negotiates("first")
    asked = desk.expect(c.OfferMedia)
    desk.person_negotiates("second")
    assert desk.said == []
    desk.tell(e.MediaOfferReady(call=CALL, op=asked.op, sdp="for the first"))
    _, again = desk.expect_all(c.RollbackMedia, c.OfferMedia)
    assert isinstance(again, c.OfferMedia)
    assert again.sdp == "second"


def test_a_newer_offer_takes_the_place_of_one_that_waits_for_sip() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk, "first")
    desk.person_negotiates("second")
    desk.person_negotiates("second")
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="held"))
    desk.media_answers(Side.SIP, "held")
    assert desk.expect(c.OfferMedia).sdp == "second"  # The first is not answered any more.


def test_a_v0_client_does_not_negotiate() -> None:
    desk = Desk()
    desk.connected_to_the_phone(version=0, sender=OLD_CLIENT, capabilities=e.Capabilities())
    desk.person_negotiates("whatever", sender=OLD_CLIENT)
    assert desk.said == []


# --- the telephone wants a change ---------------------------------------------------------------


def test_the_telephone_holds() -> None:
    desk = Desk()
    connected(desk)
    negotiate = phone_holds(desk)
    assert (negotiate.type, negotiate.sdp) == (e.SdpType.OFFER, "new offer")
    desk.person_negotiates("held", ANSWER)
    desk.media_answers(Side.MATRIX, "held")
    answer = desk.expect(c.AnswerSipReinvite)
    assert (answer.op, answer.sdp) == (501, "answer to sip")
    desk.person_negotiates("held again", ANSWER)
    assert desk.said == []


def test_the_telephone_moves_and_the_client_need_not_know() -> None:
    desk = Desk()
    connected(desk)
    desk.phone_reinvites(501)
    offer_ready(desk, Side.SIP, needed=False)
    assert desk.expect(c.AnswerSipReinvite).sdp == "answer at once"


def test_a_client_that_cannot_be_asked_stays_as_it_was() -> None:
    desk = Desk()
    desk.connected_to_the_person(version=0, capabilities=e.Capabilities())
    desk.phone_reinvites(501, leg=IN)
    offer_ready(desk, Side.SIP)
    desk.media_answers(Side.MATRIX, "matrix answer")  # What it said before.
    assert desk.expect(c.AnswerSipReinvite).op == 501


def test_a_client_that_does_not_answer_stays_as_it_was() -> None:
    desk = Desk()
    connected(desk)
    phone_holds(desk)
    desk.wait(11)
    desk.media_answers(Side.MATRIX, "matrix offer")
    desk.expect(c.AnswerSipReinvite)
    desk.person_negotiates("too late", ANSWER)
    assert desk.said == []


def test_a_negotiate_that_cannot_be_delivered() -> None:
    desk = Desk()
    connected(desk)
    negotiate = phone_holds(desk)
    desk.tell(e.MatrixSendFailed(call=CALL, op=negotiate.op, reason="No homeserver."))
    desk.media_answers(Side.MATRIX, "matrix offer")
    desk.expect(c.AnswerSipReinvite)
    desk.tell(e.MatrixSendFailed(call=CALL, op=negotiate.op, reason="No homeserver."))
    assert desk.said == []


def test_the_engine_cannot_use_the_reinvite() -> None:
    desk = Desk()
    connected(desk)
    desk.phone_reinvites(501)
    asked = desk.expect(c.OfferMedia)
    desk.tell(e.MediaFailed(call=CALL, op=asked.op, fault=e.MediaFault.NO_COMMON_CODEC))
    reject, _ = desk.expect_all(c.RejectSipReinvite, c.RollbackMedia)
    assert isinstance(reject, c.RejectSipReinvite)
    assert reject.status == 488


def test_the_engine_is_silent_about_the_reinvite() -> None:
    desk = Desk()
    connected(desk)
    desk.phone_reinvites(501)
    desk.expect(c.OfferMedia)
    desk.wait(16)
    desk.expect_all(c.RejectSipReinvite, c.RollbackMedia)


def test_a_reinvite_without_an_offer_is_answered_with_ours() -> None:
    desk = Desk()
    connected(desk)
    desk.phone_reinvites(501, None)
    asked = desk.expect(c.OfferMedia)
    assert asked.sdp is None
    desk.tell(e.MediaOfferReady(call=CALL, op=asked.op, sdp="", needed=False, answer="our offer"))
    assert desk.expect(c.AnswerSipReinvite).sdp == "our offer"
    desk.phone_acknowledges(OUT, "answer in the ack")
    told = desk.expect(c.AnswerMedia)
    assert (told.side, told.sdp) == (Side.SIP, "answer in the ack")
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp=""))
    desk.phone_acknowledges(OUT, "answer in the ack")
    desk.phone_acknowledges(OUT)
    assert desk.said == []
    phone_holds(desk, 502)


def test_an_ack_that_never_answers_our_offer() -> None:
    desk = Desk()
    connected(desk)
    desk.phone_reinvites(501, None)
    offer_ready(desk, Side.SIP, needed=False)
    desk.expect(c.AnswerSipReinvite)
    desk.phone_reinvites(502)
    rejected(desk, 502, 491)
    desk.wait(36)
    desk.expect(c.RollbackMedia)


def test_an_answer_in_the_ack_that_cannot_be_used() -> None:
    desk = Desk()
    connected(desk)
    desk.phone_reinvites(501, None)
    offer_ready(desk, Side.SIP, needed=False)
    desk.expect(c.AnswerSipReinvite)
    desk.phone_acknowledges(OUT, "nonsense")
    told = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaFailed(call=CALL, op=told.op, fault=e.MediaFault.BAD_SDP))
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    desk.is_over("media_failed", "media")


def test_a_second_reinvite_while_the_first_waits() -> None:
    desk = Desk()
    connected(desk)
    phone_holds(desk)
    desk.phone_reinvites(502)
    rejected(desk, 502, 500)
    desk.phone_reinvites(502)
    assert desk.said == []


def test_a_reinvite_before_the_call_is_up() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_answers()
    desk.expect(c.AnswerMedia)
    desk.phone_reinvites(501)
    rejected(desk, 501, 491)
    desk.phone_acknowledges(OUT, "an answer that nobody asked for")
    assert desk.said == []


# --- both at once: SIP --------------------------------------------------------------------------


def test_their_reinvite_meets_ours() -> None:
    desk = Desk()
    connected(desk)
    person_holds(desk)
    desk.phone_reinvites(501)
    rejected(desk, 501, 491)


def test_our_reinvite_meets_theirs_and_is_sent_again() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=491))
    desk.expect(c.RollbackMedia)
    desk.wait(2.09)  # The Call-ID is ours: 2.1 to 4 seconds.
    assert desk.said == []
    desk.wait(2)
    offer_ready(desk, Side.MATRIX)
    again = desk.expect(c.SendSipReinvite)
    assert again.op != reinvite.op


def test_their_reinvite_goes_first_while_we_wait() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    desk.person_negotiates("matrix hold", call_id=OUR_CALL)
    offer_ready(desk, Side.MATRIX)
    reinvite = desk.expect(c.SendSipReinvite)
    desk.tell(e.SipReinviteFailed(leg=IN, op=reinvite.op, status=491))
    desk.expect(c.RollbackMedia)
    desk.phone_reinvites(501, leg=IN)
    offer_ready(desk, Side.SIP, needed=False)
    answer, ours = desk.expect_all(c.AnswerSipReinvite, c.OfferMedia)
    assert isinstance(answer, c.AnswerSipReinvite)
    assert isinstance(ours, c.OfferMedia)
    assert ours.sdp == "matrix hold"


def test_their_reinvite_needs_a_client_that_offered_first() -> None:
    desk = Desk()
    connected(desk)
    desk.phone_reinvites(501)
    asked = desk.expect(c.OfferMedia)
    desk.person_negotiates("matrix hold")
    desk.tell(e.MediaOfferReady(call=CALL, op=asked.op, sdp="new offer"))
    reject, _, ours = desk.expect_all(c.RejectSipReinvite, c.RollbackMedia, c.OfferMedia)
    assert isinstance(reject, c.RejectSipReinvite)
    assert isinstance(ours, c.OfferMedia)
    assert (reject.status, ours.side) == (491, Side.MATRIX)


def test_glare_without_end_is_taken_for_a_refusal() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    for _ in range(6):
        desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=491))
        desk.expect(c.RollbackMedia)
        desk.wait(4)
        offer_ready(desk, Side.MATRIX)
        reinvite = desk.expect(c.SendSipReinvite)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=491))
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixNegotiate)


def test_a_newer_offer_of_the_client_while_we_wait() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=491))
    desk.expect(c.RollbackMedia)
    desk.person_negotiates("matrix resume")
    assert desk.said == []
    desk.wait(4)
    assert desk.expect(c.OfferMedia).sdp == "matrix resume"


@pytest.mark.parametrize(("owns_call_id", "least", "most"), [(True, 2.1, 4.0), (False, 0.0, 2.0)])
def test_the_timers_of_rfc_3261(owns_call_id: bool, least: float, most: float) -> None:
    waits = {
        backoff(CallId(f"n-{call}"), attempt, owns_call_id=owns_call_id)
        for call in range(100)
        for attempt in range(5)
    }
    assert least <= min(waits) < least + 0.1
    assert most - 0.1 < max(waits) <= most
    assert all(round(wait * 100) == pytest.approx(wait * 100) for wait in waits)


# --- both at once: Matrix -----------------------------------------------------------------------


def test_the_polite_callee_takes_its_offer_back() -> None:
    desk = Desk()
    connected(desk)  # The person called: we are the callee.
    phone_holds(desk)
    desk.person_negotiates("matrix hold")
    reject, _, theirs = desk.expect_all(c.RejectSipReinvite, c.RollbackMedia, c.OfferMedia)
    assert isinstance(reject, c.RejectSipReinvite)
    assert isinstance(theirs, c.OfferMedia)
    assert (reject.status, theirs.sdp) == (491, "matrix hold")
    desk.person_negotiates("answer to what was taken back", ANSWER)
    assert desk.said == []


def test_the_impolite_caller_ignores_their_offer() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    desk.phone_reinvites(501, leg=IN)
    offer_ready(desk, Side.SIP)
    desk.expect(c.SendMatrixNegotiate)
    desk.person_negotiates("matrix hold", call_id=OUR_CALL)
    assert desk.said == []
    desk.person_negotiates("held", ANSWER, call_id=OUR_CALL)
    desk.media_answers(Side.MATRIX, "held")
    assert desk.expect(c.AnswerSipReinvite).op == 501


# --- the end ------------------------------------------------------------------------------------


def test_the_call_ends_while_something_changes() -> None:
    desk = Desk()
    connected(desk)
    reinvite = person_holds(desk)
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="held"))
    desk.phone_reinvites(501)
    assert desk.said == []
    desk.is_over("normal", "matrix")
