# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call takes of the SIP stack's memory, and that it gives all of it back."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip, ByeSip, SendSipProgress
from bridge.call.events import SipAnswered, SipConfirmed, SipEnded, SipInviteReceived
from bridge.call.ids import LegId
from tests.simulators.waiting import PATIENCE, until_async
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, description, encrypted, trunk
from tests.sip.pools import Pools, pools_of, soon_forgotten

pytestmark = pytest.mark.e2e

CALLS = 8
KINDS = {"dlg", "glck", "inv", "tdta", "tploop", "tsx"}
"""A dialog with its locks, session, messages and transactions, and what stands for the audio."""
MOST = 64 * 1024
"""Bytes for each call: 53 kB where it came in, 50 kB where it was placed."""


def taken(before: Mapping[str, Pools], after: Mapping[str, Pools]) -> dict[str, Pools]:
    """The kinds of which there are more."""
    more = {
        kind: Pools(now.count - before[kind].count, now.size - before[kind].size)
        if kind in before
        else now
        for kind, now in after.items()
    }
    return {kind: pools for kind, pools in more.items() if pools.count}


async def is_as_before(bridge: Bridge, before: Mapping[str, Pools]) -> bool:
    """Whether every pool that came since is gone."""
    return not taken(before, await pools_of(bridge))


def check(before: Mapping[str, Pools], during: Mapping[str, Pools]) -> None:
    """Nothing but what a call needs, and not much of that."""
    held = taken(before, during)
    assert held.keys() <= KINDS
    assert held["dlg"].count == CALLS
    assert sum(pools.size for pools in held.values()) < MOST * CALLS, held


@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "encrypted"])
async def test_calls_that_were_placed(tmp_path: Path, keyed: bool) -> None:
    scenario = "callee_answers_encrypted" if keyed else "callee_answers"
    async with (
        Sipp(scenario, tmp_path, times=CALLS) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        before = await pools_of(bridge)
        with soon_forgotten(500):
            legs = [
                bridge.call(f"leg-{number}", sdp=encrypted(description()) if keyed else "")
                for number in range(CALLS)
            ]
            await some(bridge, SipAnswered)
            check(before, await pools_of(bridge))
            for leg in legs:
                bridge.sip.do(ByeSip(call=CALL, leg=leg))
            await some(bridge, SipEnded)
            await until_async(lambda: is_as_before(bridge, before), what="all is given back")
        await phone.succeeds()


async def test_calls_that_came_in(tmp_path: Path) -> None:
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        before = await pools_of(bridge)
        with soon_forgotten(500):
            async with Sipp("caller_waits_for_bye", tmp_path, calls=bridge.port, times=CALLS) as it:
                legs = await answered(bridge)
                check(before, await pools_of(bridge))
                for leg in legs:
                    bridge.sip.do(ByeSip(call=CALL, leg=leg))
                await some(bridge, SipEnded)
                await it.succeeds()
            await until_async(lambda: is_as_before(bridge, before), what="all is given back")


async def answered(bridge: Bridge) -> list[LegId]:
    """Answer every call that comes."""
    legs: list[LegId] = []
    confirmed = 0
    async with asyncio.timeout(PATIENCE):
        while confirmed < CALLS:
            match await bridge.any_event():
                case SipInviteReceived() as invite:
                    legs.append(invite.leg)
                    ringing = SendSipProgress(call=CALL, leg=invite.leg, status=180, sdp=None)
                    bridge.sip.do(ringing)
                    bridge.sip.do(AnswerSip(call=CALL, leg=invite.leg, sdp=description()))
                case SipConfirmed():
                    confirmed += 1
                case _:
                    pass
    return legs


async def some(bridge: Bridge, kind: type[SipAnswered | SipEnded]) -> None:
    """Wait for one of these of each call."""
    count = 0
    async with asyncio.timeout(PATIENCE):
        while count < CALLS:
            count += isinstance(await bridge.any_event(), kind)
