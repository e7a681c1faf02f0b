# SPDX-License-Identifier: GPL-3.0-or-later
"""UPDATE (RFC 3311), which has to be answered at once, and reliable ringing (RFC 3262)."""

from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip, AnswerSipReinvite, RejectSipReinvite, SendSipProgress
from bridge.call.events import (
    SipAnswered,
    SipConfirmed,
    SipEnded,
    SipInviteReceived,
    SipProgressed,
    SipReinviteReceived,
)
from tests.sip.calls import bye, called, calling
from tests.sip.phone import CALL, description

pytestmark = pytest.mark.e2e


async def test_update_is_answered_at_once_and_the_core_follows(tmp_path: Path) -> None:
    async with calling("callee_updates", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipAnswered)
        for direction, mark in (
            *(("sendonly", "m=audio 60"), ("inactive", "m=audio 60")),
            *(("sendrecv", "m=audio 6500"), ("sendrecv", "m=image 6600")),
        ):
            update = await bridge.expect(SipReinviteReceived)
            assert update.sdp
            assert f"a={direction}" in update.sdp
            assert mark in update.sdp
            sdp = description("sendrecv", version=99)  # Not sent: the answer is out.
            bridge.sip.do(AnswerSipReinvite(call=CALL, leg=leg, op=update.op, sdp=sdp))
        await phone.has_received("200", 5)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert "o=- 1 99" not in phone.messages()
        assert bridge.nothing_more()


async def test_core_that_is_busy_is_told_again(tmp_path: Path) -> None:
    async with calling("callee_updates", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipAnswered)
        updates = [await bridge.expect(SipReinviteReceived) for _ in range(4)]
        for update in updates:
            bridge.sip.do(RejectSipReinvite(call=CALL, leg=leg, op=update.op, status=491))
        await phone.has_received("200", 5)
        again = await bridge.expect(SipReinviteReceived)
        assert again.sdp == updates[-1].sdp
        assert again.op not in {update.op for update in updates}
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_reliable_ringing_and_early_media_that_moves(tmp_path: Path) -> None:
    async with calling("callee_rings_reliably", tmp_path) as (bridge, phone, leg):
        early = await bridge.expect(SipProgressed)
        assert (early.status, early.sdp is None) == (183, False)
        moved = await bridge.expect(SipProgressed)
        assert moved.sdp
        assert "m=audio 6510" in moved.sdp
        answer = await bridge.expect(SipAnswered)
        assert answer.sdp == moved.sdp
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


@pytest.mark.parametrize(("early", "refusal"), [(None, "500"), (description(), "488")])
async def test_caller_that_requires_it_gets_reliable_ringing(
    tmp_path: Path, early: str | None, refusal: str
) -> None:
    """Its UPDATE has to wait while its first offer does (RFC 3311 section 5.2)."""
    keys = {"refusal": refusal, "early": "180", "brings": "RSeq"}
    if early:
        keys |= {"early": "183", "brings": "m=audio 41000"}
    async with called("caller_requires_prack", tmp_path, keys=keys) as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(SendSipProgress(call=CALL, leg=leg, status=180))
        await phone.has_received("200", 1)
        bridge.sip.do(SendSipProgress(call=CALL, leg=leg, status=183, sdp=early))
        await phone.has_received(refusal, 1)
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
        await bridge.expect(SipConfirmed)
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()
        assert ("Retry-After:" in phone.messages()) == (early is None)


async def test_caller_that_supports_it_gets_reliable_ringing_if_we_want_it(tmp_path: Path) -> None:
    settings = {"reliable_provisionals": "if_supported"}
    async with called("caller_supports_prack", tmp_path, settings=settings) as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(SendSipProgress(call=CALL, leg=leg, status=180))
        await phone.has_received("200", 1)
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
        await bridge.expect(SipConfirmed)
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_ringing_that_would_have_to_offer_is_left_out(tmp_path: Path) -> None:
    scenario = "caller_requires_prack_offering_nothing"
    async with called(scenario, tmp_path) as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(SendSipProgress(call=CALL, leg=leg, status=180))
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
        assert (await bridge.expect(SipConfirmed)).sdp
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_we_require_reliable_ringing(tmp_path: Path) -> None:
    settings = {"reliable_provisionals": "required"}
    async with calling("callee_rings_reliably", tmp_path, settings=settings) as (
        bridge,
        phone,
        leg,
    ):
        await bridge.expect(SipProgressed)
        await bridge.expect(SipProgressed)
        await bridge.expect(SipAnswered)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert "Require: 100rel" in phone.messages().partition("Contact:")[2].partition("v=0")[0]
