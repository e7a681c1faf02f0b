# SPDX-License-Identifier: GPL-3.0-or-later
"""What people ask of the bridge without a client's call button: to be connected, to end a call."""

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.causes import Cause
from bridge.call.ids import Address, LegId, Side, UserId
from bridge.call.policy import Policy, Refusal
from tests.call.desk import (
    CALL,
    IN,
    LAPTOP,
    LIMITS,
    NUMBER,
    OUR_CALL,
    OUT,
    PERSON,
    POLICY,
    ROOM,
    TRUNK,
    Desk,
)

ADMIN = UserId("@admin:mx.test")


def test_a_requested_call_from_ring_to_bye() -> None:
    desk = Desk()
    desk.requested_and_rings_here()
    assert [view.state for view in desk.core.active()] == ["preparing"]
    desk.person_answers()
    select, told = desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
    assert isinstance(told, c.AnswerMedia)
    assert isinstance(select, c.SendMatrixSelectAnswer)
    assert (told.side, told.sdp, select.selected) == (Side.MATRIX, "matrix answer", LAPTOP.party)
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="offer to sip"))
    invite = desk.expect(c.SendSipInvite)
    assert (invite.leg, invite.target, invite.sdp) == (OUT, "+12025550123", "offer to sip")
    desk.phone_rings()
    assert [view.state for view in desk.core.active()] == ["ringing"]
    desk.phone_answers()
    told = desk.expect(c.AnswerMedia)
    assert (told.side, told.sdp) == (Side.SIP, "sip answer")
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp=""))
    desk.media_connects()
    assert desk.said == []
    assert desk.recorded(c.RecordAnswer).call == CALL
    legs = desk.recorded(c.RecordLegs)
    assert (legs.room, legs.matrix_call_id) == (ROOM, OUR_CALL)
    desk.person_hangs_up(OUR_CALL)
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.phone_ends(OUT)
    desk.is_over("normal", "matrix")


def test_the_person_hears_early_media_of_a_requested_call() -> None:
    desk = Desk()
    desk.requested_and_rings_there()
    desk.phone_rings(183, "early")
    told = desk.expect(c.AnswerMedia)
    assert (told.side, told.sdp, told.provisional) == (Side.SIP, "early", True)
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp=""))
    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    assert [view.state for view in desk.core.active()] == ["connected"]


def test_the_portal_is_ready_before_the_offer_of_a_requested_call() -> None:
    desk = Desk()
    desk.tell(e.CallRequested(person=PERSON, address=NUMBER))
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    desk.portal_is_ready(prepare.op)
    assert desk.said == []
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    desk.expect(c.SendMatrixInvite)


def test_who_asked_for_a_call_does_not_come() -> None:
    desk = Desk()
    desk.requested_and_rings_here()
    desk.wait(LIMITS.ring_time)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("no_answer", "bridge")


def test_who_asked_for_a_call_declines_it() -> None:
    desk = Desk()
    desk.requested_and_rings_here()
    desk.person_rejects()
    desk.expect_all(c.SendMatrixSelectAnswer, c.CloseMedia)
    desk.is_over("declined", "matrix")


def test_a_requested_call_is_refused_there() -> None:
    desk = Desk()
    desk.requested_and_rings_there()
    desk.phone_ends(OUT, 486)
    hangup, _, notice = desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    assert isinstance(hangup, c.SendMatrixHangup)
    assert isinstance(notice, c.SendNotice)
    assert (hangup.reason, notice.text) == ("user_busy", "The line is busy.")
    desk.is_over("busy", "sip")


def test_a_requested_call_without_audio() -> None:
    desk = Desk()
    desk.tell(e.CallRequested(person=PERSON, address=NUMBER))
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    desk.tell(e.MediaFailed(call=CALL, op=offer.op, fault=e.MediaFault.NO_RESOURCES))
    desk.expect(c.CloseMedia)
    desk.portal_is_ready(prepare.op)
    assert (
        desk.expect(c.SendNotice).text
        == "The bridge has no room for more calls. Please try again later."
    )
    desk.is_over("no_resources", "media")


def test_a_call_that_may_not_be_made_is_not_made() -> None:
    desk = Desk(Policy(outbound=POLICY.outbound))
    assert desk.core.why_not(PERSON, NUMBER, desk.now) == Refusal(Cause.NOT_PERMITTED)
    desk.tell(e.CallRequested(person=PERSON, address=NUMBER))
    assert desk.said == []
    assert desk.core.active() == []


def test_one_call_at_a_time_in_a_portal() -> None:
    desk = Desk()
    assert desk.core.why_not(PERSON, NUMBER, desk.now) is None
    desk.requested_and_rings_here()
    assert desk.core.why_not(PERSON, NUMBER, desk.now) == Refusal(Cause.IN_CALL)
    desk.tell(e.CallRequested(person=PERSON, address=NUMBER))
    assert desk.said == []


# --- both at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("rings", [False, True])
def test_who_asked_for_a_call_calls(rings: bool) -> None:
    """Their own call takes the place of ours to them; the far end was not called yet."""
    desk = Desk()
    if rings:
        desk.requested_and_rings_here()
    else:
        desk.tell(e.CallRequested(person=PERSON, address=NUMBER))
        desk.said.clear()
    desk.person_calls()
    if rings:
        desk.said = desk.said[2:]
    desk.media_offers(Side.MATRIX, "matrix offer")
    assert desk.expect(c.SendSipInvite).sdp == "offer to sip"


@pytest.mark.parametrize("sdp", ["sip offer", None])
@pytest.mark.parametrize("portal", ["awaited", "joining", "ready"])
def test_who_is_to_be_called_calls(portal: str, sdp: str | None) -> None:
    """While nobody rings yet, the incoming call is as good."""
    desk = Desk()
    desk.tell(e.CallRequested(person=PERSON, address=NUMBER))
    prepare, _ = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    if portal == "joining":
        desk.tell(e.PersonInvited(call=CALL, op=prepare.op, room=ROOM))
    elif portal == "ready":
        desk.portal_is_ready(prepare.op)
    desk.phone_calls(sdp=sdp)
    if portal == "joining":
        assert isinstance(desk.said.pop(0), c.SendSipProgress)
    desk.media_offers(Side.SIP, sdp)
    if portal != "ready":
        desk.portal_is_ready(prepare.op)
    desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)
    desk.person_answers()
    assert isinstance(desk.said.pop(0), c.SendMatrixSelectAnswer)
    desk.media_answers(Side.MATRIX, "matrix answer")
    desk.expect(c.AnswerSip)


def test_who_is_to_be_called_calls_too_late() -> None:
    """The person rings for that number already: what they were offered fits no other offer."""
    desk = Desk()
    desk.requested_and_rings_here()
    desk.phone_calls()
    notice, reject = desk.expect_all(c.SendNotice, c.RejectSip)
    assert isinstance(notice, c.SendNotice)
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 486


def test_what_is_said_before_the_portal_is_ready_is_told_then() -> None:
    desk = Desk()
    desk.phone_calls()
    prepare, _ = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    desk.phone_calls(LegId("in-2"))
    assert desk.expect(c.RejectSip).status == 486
    desk.portal_is_ready(prepare.op)
    assert "missed another call" in desk.expect(c.SendNotice).text


# --- an admin ends a call ---------------------------------------------------------------------


def test_an_admin_ends_a_call() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.tell(e.HangupRequested(call=CALL, by=ADMIN))
    *_, notice = desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    assert isinstance(notice, c.SendNotice)
    assert notice.text == "An administrator ended the call."
    desk.phone_ends(OUT)
    assert desk.recorded(c.RecordEnd).detail == "ended by @admin:mx.test"
    desk.is_over("ended_by_admin", "bridge")


def test_who_ends_a_call_may_say_why() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.tell(e.HangupRequested(call=CALL, by=ADMIN, why="the line is needed"))
    desk.phone_ends(OUT)
    detail = desk.recorded(c.RecordEnd).detail
    assert detail == "ended by @admin:mx.test: the line is needed"


def test_an_admin_ends_a_call_that_rings() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.tell(e.HangupRequested(call=CALL, by=ADMIN))
    _, reject, *_ = desk.expect_all(c.SendMatrixHangup, c.RejectSip, c.CloseMedia, c.SendNotice)
    assert isinstance(reject, c.RejectSip)
    assert (reject.leg, reject.status) == (IN, 480)
    assert desk.core.active()[0].trunk == TRUNK
    assert desk.core.active()[0].address == Address("tel:+12025550123")


@pytest.mark.parametrize("chosen", [None, True, False])
@pytest.mark.parametrize("this_time", [None, True, False])
def test_who_asks_may_stay_unknown(chosen: bool | None, this_time: bool | None) -> None:
    desk = Desk()
    desk.tell(e.PersonChanged(person=PERSON, withhold=chosen))
    desk.tell(e.CallRequested(person=PERSON, address=NUMBER, withhold=this_time))
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    desk.portal_is_ready(prepare.op)
    desk.expect(c.SendMatrixInvite)
    desk.person_answers()
    assert isinstance(desk.said.pop(0), c.SendMatrixSelectAnswer)
    desk.media_answers(Side.MATRIX, "matrix answer")
    wish = chosen if this_time is None else this_time
    assert desk.expect(c.SendSipInvite).withheld is bool(wish)
