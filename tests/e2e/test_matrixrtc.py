# SPDX-License-Identifier: GPL-3.0-or-later
"""Element X and Element Call start MatrixRTC sessions: matrix-js-sdk does what they do."""

from typing import Any

import pytest

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ, BrowserClient
from tests.simulators.waiting import until_async

SHORT: dict[str, Any] = {
    "membershipEventExpiryMs": 2000,
    "membershipEventExpiryHeadroomMs": 1000,
}
"""A membership that is refreshed each second, where clients usually take hours."""


@pytest.mark.parametrize("crypto", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("sticky", [False, True], ids=["state", "sticky"])
async def test_the_ghost_says_once_for_each_session_who_can_call(
    stage: GatedStage, new_browser_client: NewBrowserClient, sticky: bool, crypto: bool
) -> None:
    _, client = await new_browser_client(options={"crypto": crypto})
    room = await client.room_with(PCMU.ghost, encrypted=crypto)
    for attempt in (1, 2):
        await client.do("rtcJoin", room, {"sticky": sticky, **SHORT})
        await _is_told(client, room, attempt)
        await _is_refreshed(client, room, attempt)
        await client.do("rtcLeave", room)
        await _has_left(client, room)
    # A call is handled in order with what came before, of which nothing more was to be said.
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert len(await _explanations(client, room)) == 2


async def test_it_is_seen_when_it_began_before_the_ghost_had_joined(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    _, client = await new_browser_client()
    assert await client.dial_pad(PCMU.number) == PCMU.ghost
    with stage.gate.closed("/join"):
        room = str(await client.do("room", PCMU.ghost))
        await _is_known(client, room)
        await client.do("rtcJoin", room)
        await _rings(client, room)
        assert await client.do("members", room) == 1
    await _is_told(client, room, 1)
    await client.do("rtcLeave", room)


async def _is_known(client: BrowserClient, room: str) -> None:
    async def known() -> bool:
        return bool(await client.do("members", room))

    await until_async(known, what="the client has its room")


async def _rings(client: BrowserClient, room: str) -> None:
    async def announced() -> bool:
        kinds = [event["type"] for event in await client.do("timeline", room)]
        return any(kind.endswith(".rtc.notification") for kind in kinds)

    await until_async(announced, what="the session was announced")


async def _is_told(client: BrowserClient, room: str, times: int) -> None:
    async def told() -> bool:
        return len(await _explanations(client, room)) == times

    await until_async(told, what="the ghost said who can call")


async def _is_refreshed(client: BrowserClient, room: str, attempt: int) -> None:
    """The membership and the notification have been sent, and the membership once more."""

    async def enough() -> bool:
        kinds = [event["type"] for event in await client.do("timeline", room)]
        members = sum(kind.endswith((".call.member", ".rtc.member")) for kind in kinds)
        rings = sum(kind.endswith(".rtc.notification") for kind in kinds)
        # Each earlier attempt also has its end.
        return bool(members >= 3 * attempt - 1 and rings >= attempt)

    await until_async(enough, what="the session was announced and refreshed")


async def _has_left(client: BrowserClient, room: str) -> None:
    async def left() -> bool:
        return bool((await client.do("rtcMembers", room)) == 0)

    await until_async(left, what="the client left its session")


async def _explanations(client: BrowserClient, room: str) -> list[str]:
    return [
        event["body"]
        for event in await client.do("timeline", room)
        if event["sender"] == PCMU.ghost and "Element Web" in (event["body"] or "")
    ]
