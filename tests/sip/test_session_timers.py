# SPDX-License-Identifier: GPL-3.0-or-later
"""Session timers (RFC 4028): a call of hours goes on, one whose peer is lost does not."""

from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip
from bridge.call.events import SipAnswered, SipConfirmed, SipEnded, SipInviteReceived
from tests.sip.calls import bye, called, calling
from tests.sip.hasty import Hasty
from tests.sip.phone import CALL, Sipp, description

pytestmark = pytest.mark.e2e

LOST = "status=408, reason='Session expired', q850=102, remote=True"


@pytest.mark.parametrize(
    ("scenario", "method"),
    [("callee_has_us_refresh_by_update", "UPDATE"), ("callee_has_us_refresh_by_invite", "INVITE")],
)
async def test_we_refresh_and_nobody_else_notices(
    tmp_path: Path, scenario: str, method: str
) -> None:
    async with Sipp(scenario, tmp_path) as phone, Hasty(tmp_path, phone.port) as bridge:
        await bridge.says("SipAnswered")
        await phone.has_received(method, 3 if method == "INVITE" else 2)
        await phone.has_received("ACK", 3 if method == "INVITE" else 1)
        assert [event for event in bridge.events if "Reinvite" in event] == []
        bridge.hang_up()
        assert "status=200" in await bridge.says("SipEnded")
        await phone.succeeds()


async def test_we_refresh_a_call_that_came_in(tmp_path: Path) -> None:
    async with Hasty(tmp_path) as bridge:
        port = int((await bridge.says("port")).split()[1])
        async with Sipp("caller_has_us_refresh", tmp_path, calls=port) as phone:
            await bridge.says("SipConfirmed")
            await phone.has_received("UPDATE", 2)
            bridge.hang_up()
            await bridge.says("SipEnded")
            await phone.succeeds()


async def test_call_that_nobody_refreshes_ends(tmp_path: Path) -> None:
    async with Sipp("callee_never_refreshes", tmp_path) as phone:
        async with Hasty(tmp_path, phone.port) as bridge:
            await bridge.says("SipAnswered")
            assert "status=408, reason='Session expired', q850=102" in await bridge.says("SipEnded")
            await phone.succeeds()


async def test_call_that_the_far_end_lost_ends_with_the_refresh(tmp_path: Path) -> None:
    async with Sipp("callee_lost_what_we_refresh", tmp_path) as phone:
        async with Hasty(tmp_path, phone.port) as bridge:
            await bridge.says("SipAnswered")
            assert LOST in await bridge.says("SipEnded")
            await phone.succeeds()


async def test_longer_interval_is_taken(tmp_path: Path) -> None:
    async with calling("callee_wants_longer_interval", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipAnswered)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_timers_that_are_off_are_not_asked_for(tmp_path: Path) -> None:
    off = {"session_timers": "off"}
    async with calling("callee_knows_no_timers", tmp_path, settings=off) as (bridge, phone, leg):
        await bridge.expect(SipAnswered)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_interval_that_is_too_short_is_refused(tmp_path: Path) -> None:
    async with called("caller_wants_short_interval", tmp_path) as (bridge, phone):
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_caller_without_timers_is_refused_where_they_are_required(tmp_path: Path) -> None:
    required = {"session_timers": "required"}
    async with called("caller_without_timers", tmp_path, settings=required) as (bridge, phone):
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_refreshes_of_every_kind_do_not_reach_the_core(tmp_path: Path) -> None:
    async with called("caller_refreshes", tmp_path) as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
        await bridge.expect(SipConfirmed)
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=200)
        await phone.succeeds()
        assert bridge.nothing_more()
