# SPDX-License-Identifier: GPL-3.0-or-later
"""A far end refuses a call that offers video, and is called once more with audio alone."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.cause_mapping import blames_description
from bridge.call.ids import Address, LegId, OpId, Side
from bridge.call.policy import Policy
from bridge.call.rules import OutboundRule, TrunkPolicy
from bridge.call.terms import Terms
from tests.call.desk import CALL, IN, LAST, LIMITS, OUT, POLICY, SPARE, TRUNK, Desk

SHOWN = Terms(video=True)
SEEN = replace(
    POLICY,
    trunks={TRUNK: TrunkPolicy(terms=SHOWN), SPARE: TrunkPolicy(terms=SHOWN)},
    outbound=[OutboundRule(trunks=(TRUNK, SPARE), prefix="+1")],
)
AGAIN = LegId("n-1-out-2")


def showing(policy: Policy = SEEN) -> Desk:
    """A person calls with their camera on."""
    desk = Desk(policy)
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer", video=True)
    assert desk.expect(c.SendSipInvite).leg == OUT
    return desk


def offers_audio(desk: Desk) -> None:
    """The engine is asked for an offer without video, and has one."""
    offer = desk.expect(c.OfferMedia)
    assert (offer.side, offer.sdp, offer.audio_alone) == (Side.MATRIX, "matrix offer", True)
    assert offer.terms == SHOWN  # Video may come later.
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="audio offer"))


@pytest.mark.parametrize("status", [415, 488, 606])
def test_it_is_called_once_more_without_video(status: int) -> None:
    desk = showing()
    desk.phone_ends(OUT, status)
    offers_audio(desk)
    invite = desk.expect(c.SendSipInvite)
    assert (invite.leg, invite.trunk, invite.sdp) == (AGAIN, TRUNK, "audio offer")
    record = desk.recorded(c.RecordAttempts)
    assert record.trunk == TRUNK
    assert record.failed == (
        c.Attempt(trunk=TRUNK, cause="no_common_codec", status=status, video=True),
    )
    desk.tell(e.SipProgressed(leg=AGAIN, status=180))
    desk.tell(e.SipAnswered(leg=AGAIN, sdp="sip answer"))
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixAnswer)
    desk.media_connects()
    desk.phone_ends(AGAIN)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_a_second_refusal_counts() -> None:
    desk = showing()
    desk.phone_ends(OUT, 488)
    offers_audio(desk)
    desk.expect(c.SendSipInvite)
    desk.phone_ends(AGAIN, 488)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("no_common_codec", "sip")


def test_where_the_trunk_then_fails_the_next_is_offered_audio() -> None:
    desk = showing()
    desk.phone_ends(OUT, 488)
    offers_audio(desk)
    desk.expect(c.SendSipInvite)
    desk.phone_ends(AGAIN, 503)
    invite = desk.expect(c.SendSipInvite)
    assert (invite.leg, invite.trunk, invite.sdp) == (LegId("n-1-out-3"), SPARE, "audio offer")
    failed = desk.recorded(c.RecordAttempts).failed
    assert [(each.status, each.video) for each in failed] == [(488, True), (503, False)]
    desk.phone_ends(invite.leg, 486)
    desk.is_over("busy", "sip")


@pytest.mark.parametrize(
    ("status", "q850", "again"),
    [
        (488, 0, True),
        (488, 88, True),
        (606, 65, True),
        (488, 17, False),
        (415, 21, False),
        (400, 0, False),
        (406, 0, False),
        (486, 0, False),
        (500, 88, False),
    ],
)
def test_what_may_be_about_video(status: int, q850: int, again: bool) -> None:
    assert blames_description(status, q850) is again


def test_nobody_is_called_again_for_nothing() -> None:
    """No video was offered; it rang already; we refused it ourselves."""
    desk = Desk(SEEN)
    desk.rings_at_the_phone()
    desk.phone_ends(OUT, 488)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("no_common_codec", "sip")
    rang = showing()
    rang.phone_rings()
    rang.phone_ends(OUT, 488)
    rang.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    rang.is_over("no_common_codec", "sip")
    ours = showing()
    ours.phone_ends(OUT, 488, remote=False)
    ours.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    ours.is_over("no_common_codec", "sip")


def test_both_share_the_ring_time() -> None:
    desk = showing()
    desk.wait(40)
    desk.phone_ends(OUT, 488)
    offers_audio(desk)
    desk.expect(c.SendSipInvite)
    desk.wait(LIMITS.ring_time - 40)
    desk.expect_all(c.SendMatrixReject, c.CancelSip, c.CloseMedia, c.SendNotice)
    desk.phone_ends(AGAIN, 487)
    desk.is_over("no_answer", "bridge")
    late = showing()
    late.now += LIMITS.ring_time
    late.phone_ends(OUT, 488)
    late.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    late.is_over("no_common_codec", "sip")


def test_the_person_hangs_up_in_between() -> None:
    desk = showing()
    desk.phone_ends(OUT, 488)
    offer = desk.expect(c.OfferMedia)
    desk.person_hangs_up()
    desk.expect(c.CloseMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="too late"))
    assert not desk.said
    desk.is_over("cancelled", "matrix")


def test_the_number_calls_in_between() -> None:
    desk = showing()
    desk.phone_ends(OUT, 488)
    desk.expect(c.OfferMedia)
    desk.phone_calls()
    desk.media_joins()
    desk.expect_all(c.AnswerSip, c.SendMatrixAnswer)
    desk.phone_acknowledges()
    desk.phone_ends(IN)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_what_the_person_hears_is_not_taken_from_them() -> None:
    desk = showing(
        replace(
            SEEN, trunks={TRUNK: TrunkPolicy(terms=SHOWN, early_media=True), LAST: TrunkPolicy()}
        )
    )
    desk.phone_rings(183, "announcement")
    assert desk.expect(c.AnswerMedia).provisional
    desk.phone_ends(OUT, 488)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("no_common_codec", "sip")


def test_a_call_on_request_has_answered_with_what_it_has() -> None:
    desk = Desk(SEEN)
    desk.requested_and_rings_here()
    desk.person_answers()
    assert isinstance(desk.said.pop(0), c.SendMatrixSelectAnswer)
    told = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="offer"))
    desk.expect(c.SendSipInvite)
    desk.phone_ends(OUT, 488)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    desk.is_over("no_common_codec", "sip")


# --- whom the far end wants in its place ----------------------------------------------------------

NEXT = LegId("n-1-out-2")
NEXT_AGAIN = LegId("n-1-out-2-2")


def transferring() -> Desk:
    """The far end has us call somebody else, who is offered video."""
    desk = Desk(SEEN)
    desk.connected_to_the_phone()
    desk.tell(
        e.SipReferReceived(
            leg=OUT,
            op=OpId(-1),
            target=Address("tel:+12025550177"),
            replaces="a;from-tag=b;to-tag=c",
            referred_by="<sip:phone@pbx.test>",
        )
    )
    _, offer = desk.expect_all(c.NotifySip, c.OfferSuccessor)
    assert isinstance(offer, c.OfferSuccessor)
    assert (offer.terms, offer.audio_alone) == (SHOWN, False)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="video offer", video=True))
    assert desk.expect(c.SendSipInvite).leg == NEXT
    return desk


def told(desk: Desk, status: int) -> None:
    """The far end learns of the end of its transfer, and the call goes on."""
    _, notify = desk.expect_all(c.DropSuccessor, c.NotifySip)
    assert isinstance(notify, c.NotifySip)
    assert (notify.leg, notify.status) == (OUT, status)
    assert desk.core.active()[0].state == "connected"
    desk.phone_ends(OUT)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_a_successor_that_wants_no_video_is_called_again_too() -> None:
    desk = transferring()
    desk.phone_ends(NEXT, 488)
    offer = desk.expect(c.OfferSuccessor)
    assert (offer.terms, offer.audio_alone) == (SHOWN, True)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="audio offer"))
    invite = desk.expect(c.SendSipInvite)
    assert (invite.leg, invite.trunk, invite.sdp) == (NEXT_AGAIN, TRUNK, "audio offer")
    assert (invite.replaces, invite.referred_by) == (
        "a;from-tag=b;to-tag=c",
        "<sip:phone@pbx.test>",
    )
    desk.tell(e.SipProgressed(leg=NEXT_AGAIN, status=180))
    assert desk.expect(c.NotifySip).status == 180
    desk.tell(e.SipAnswered(leg=NEXT_AGAIN, sdp="answer of the next"))
    _, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.SwitchMedia)
    assert isinstance(switch, c.SwitchMedia)
    desk.tell(e.MediaSwitched(call=CALL, op=switch.op))
    desk.expect_all(c.NotifySip, c.ByeSip)
    desk.phone_ends(OUT)
    desk.phone_ends(NEXT_AGAIN)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_a_successor_that_refuses_that_too_does_not_come() -> None:
    desk = transferring()
    desk.phone_ends(NEXT, 488)
    offer = desk.expect(c.OfferSuccessor)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="audio offer"))
    desk.expect(c.SendSipInvite)
    desk.phone_ends(NEXT_AGAIN, 488)
    told(desk, 488)


def test_a_successor_by_another_trunk_takes_the_same_place() -> None:
    desk = transferring()
    desk.phone_ends(NEXT, 503)
    offer = desk.expect(c.OfferSuccessor)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="video offer", video=True))
    invite = desk.expect(c.SendSipInvite)
    assert (invite.leg, invite.trunk, invite.sdp) == (NEXT_AGAIN, SPARE, "video offer")
    assert (invite.replaces, invite.referred_by) == (
        "a;from-tag=b;to-tag=c",
        "<sip:phone@pbx.test>",
    )
    desk.phone_ends(NEXT_AGAIN, 503)
    told(desk, 503)
