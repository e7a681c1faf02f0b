# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sides call each other at once: one call survives, and both sides mean the same one."""

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import Address, MatrixCallId, Side
from bridge.call.policy import Access, Policy
from bridge.call.rules import InboundRule, OutboundRule
from tests.call.desk import (
    CALL,
    EARLY_POLICY,
    IN,
    MOBILE,
    OUR_CALL,
    OUT,
    PERSON,
    THEIR_CALL,
    TRUNK,
    Desk,
)


def joined(desk: Desk) -> None:
    """The engine answers both offers, and both sides are answered with that."""
    desk.media_joins()
    answer_sip, answer_matrix = desk.expect_all(c.AnswerSip, c.SendMatrixAnswer)
    assert isinstance(answer_sip, c.AnswerSip)
    assert isinstance(answer_matrix, c.SendMatrixAnswer)
    assert (answer_sip.leg, answer_sip.sdp) == (IN, "answer to sip")
    assert (answer_matrix.call_id, answer_matrix.sdp) == (THEIR_CALL, "answer to matrix")
    desk.phone_acknowledges()
    desk.person_selects()
    desk.media_connects()
    assert [view.state for view in desk.core.active()] == ["connected"]


# --- a telephone calls, then the person does ------------------------------------------------


def test_before_our_invite_is_sent_theirs_is_accepted() -> None:
    desk = Desk()
    desk.phone_calls()
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    desk.person_calls()
    joined(desk)
    desk.portal_is_ready(prepare.op)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="late"))
    assert desk.said == []
    assert desk.core.call_of(e.SipEvent(leg=IN)) == CALL
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.is_over("normal", "matrix")


def test_after_our_invite_is_sent_the_lesser_call_id_survives_and_that_is_theirs() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_calls()
    select, aborted = desk.said.pop(0), desk.said.pop(0)
    assert isinstance(select, c.SendMatrixSelectAnswer)
    assert isinstance(aborted, c.SendMatrixHangup)
    assert aborted.call_id == OUR_CALL
    joined(desk)
    desk.person_answers(MOBILE)  # Crossed our hangup.
    desk.person_hangs_up(OUR_CALL)
    assert desk.said == []


def test_a_greater_call_id_is_refused_and_ours_goes_on() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_calls(MatrixCallId("~~"))
    reject = desk.expect(c.SendMatrixReject)
    assert reject.call_id == "~~"
    desk.person_calls(MatrixCallId("~~"))
    desk.person_hangs_up(MatrixCallId("~~"))
    assert desk.said == []
    desk.person_answers()
    desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)


def test_the_invite_that_came_in_had_no_offer() -> None:
    desk = Desk()
    desk.rings_at_the_person(sdp=None)
    desk.person_calls()
    assert isinstance(desk.said.pop(0), c.SendMatrixSelectAnswer)
    assert isinstance(desk.said.pop(0), c.SendMatrixHangup)
    desk.media_offers(Side.MATRIX, "matrix offer")
    assert desk.expect(c.AnswerSip).sdp == "offer to sip"
    desk.phone_acknowledges(sdp="answer in the ack")
    desk.media_answers(Side.SIP, "answer in the ack")
    assert desk.expect(c.SendMatrixAnswer).sdp == "answer to matrix"


def test_once_the_person_has_answered_it_is_no_glare() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_answers()
    desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
    desk.person_calls(sender=MOBILE)
    desk.expect_all(c.SendMatrixReject, c.SendNotice)


def test_a_person_who_may_only_receive_can_still_meet_the_caller() -> None:
    policy = Policy(
        access={PERSON: Access.RECEIVE},
        inbound=[InboundRule(people=(PERSON,))],
        outbound=[OutboundRule(trunks=(TRUNK,))],
    )
    desk = Desk(policy)
    desk.rings_at_the_person()
    desk.person_calls()
    desk.expect_all(c.SendMatrixSelectAnswer, c.SendMatrixHangup, c.JoinMedia)


def test_the_engine_cannot_join() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_calls()
    *_, join = desk.expect_all(c.SendMatrixSelectAnswer, c.SendMatrixHangup, c.JoinMedia)
    assert isinstance(join, c.JoinMedia)
    desk.tell(e.MediaFailed(call=CALL, op=join.op, fault=e.MediaFault.NO_COMMON_CODEC))
    reject, refuse, _, notice = desk.expect_all(
        c.SendMatrixReject, c.RejectSip, c.CloseMedia, c.SendNotice
    )
    assert isinstance(reject, c.SendMatrixReject)
    assert isinstance(refuse, c.RejectSip)
    assert isinstance(notice, c.SendNotice)
    assert (reject.call_id, refuse.status) == (THEIR_CALL, 488)
    assert notice.text == "Your app and the telephone network have no audio format in common."
    desk.is_over("no_common_codec", "media")


# --- the person calls, then the telephone does ----------------------------------------------


def test_our_invite_is_cancelled_and_theirs_answered() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_calls()
    cancel = desk.said.pop(0)
    assert isinstance(cancel, c.CancelSip)
    assert cancel.leg == OUT
    joined(desk)
    desk.phone_ends(OUT, 487)
    assert desk.said == []
    desk.phone_ends(IN)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_a_200_to_the_cancelled_invite_is_followed_by_bye() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_calls()
    desk.expect_all(c.CancelSip, c.JoinMedia)
    desk.phone_answers()
    bye = desk.expect(c.ByeSip)
    assert bye.leg == OUT


def test_our_invite_was_not_even_sent() -> None:
    desk = Desk()
    desk.person_calls()
    offer = desk.expect(c.OfferMedia)
    desk.phone_calls()
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="late"))
    joined(desk)


def test_their_invite_has_no_offer() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_calls(sdp=None)
    assert isinstance(desk.said.pop(0), c.CancelSip)
    desk.media_offers(Side.MATRIX, "matrix offer")
    assert desk.expect(c.AnswerSip).leg == IN


def test_the_lost_cancel_leaves_nothing_behind() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_calls()
    assert isinstance(desk.said.pop(0), c.CancelSip)
    joined(desk)
    desk.wait(41)
    desk.phone_ends(IN)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_once_the_telephone_has_answered_it_is_no_glare() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.phone_calls()
    desk.expect_all(c.SendNotice, c.RejectSip)


def test_once_early_media_is_heard_it_is_no_glare() -> None:
    desk = Desk(EARLY_POLICY)
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer")
    desk.expect(c.SendSipInvite)
    desk.phone_rings(183, "early")
    desk.expect(c.AnswerMedia)
    desk.phone_calls()
    desk.expect_all(c.SendNotice, c.RejectSip)


def test_another_number_is_no_glare() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.phone_calls(caller=Address("tel:+12025550177"))
    desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert len(desk.core.active()) == 2
