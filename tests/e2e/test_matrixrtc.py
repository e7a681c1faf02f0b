# SPDX-License-Identifier: GPL-3.0-or-later
"""Element X and Element Call start MatrixRTC sessions: matrix-js-sdk does what they do."""

from typing import Any

import pytest

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ, BrowserClient
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.waiting import until, until_async

SHORT: dict[str, Any] = {
    "membershipEventExpiryMs": 2000,
    "membershipEventExpiryHeadroomMs": 1000,
}
"""A membership that is refreshed each second, where clients usually take hours."""


@pytest.mark.parametrize("sticky", [False, True])
async def test_the_ghost_says_once_for_each_session_who_can_call(
    stage: GatedStage, new_browser_client: NewBrowserClient, sticky: bool
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    credentials = await stage.synapse.another_device(person.credentials)
    async with MatrixClient(stage.synapse.url, credentials) as watcher:
        for attempt in (1, 2):
            await client.do("rtcJoin", room, {"sticky": sticky, **SHORT})
            await _is_told(watcher, room, attempt)
            await _is_refreshed(watcher, room, attempt)
            await client.do("rtcLeave", room)
            await _has_left(client, room)
        # What the ghost says later shows that nothing more was to come before.
        async with stage.phone(PCMU) as phone:
            await client.do("place", room)
            await client.reaches("connected")
            await phone.hears(MICROPHONE_HERTZ)
            await client.do("hangUp")
            await phone.sees("CALL_CLOSED")
        said = _notices(watcher, room)
    assert len([text for text in said if "Element Web" in text]) == 2


async def _is_told(watcher: MatrixClient, room: str, times: int) -> None:
    await until(
        lambda: len(_notices(watcher, room)) == times,
        within=10,
        what="the ghost said who can call",
    )


async def _is_refreshed(watcher: MatrixClient, room: str, attempt: int) -> None:
    """Both the membership and the notification have been sent, and state is refreshed, too."""

    def enough() -> bool:
        kinds = [event.type for event in watcher.events if event.room == room]
        members = sum(kind.endswith((".call.member", ".rtc.member")) for kind in kinds)
        rings = sum(kind.endswith(".rtc.notification") for kind in kinds)
        return members >= 2 * attempt and rings >= attempt

    await until(enough, within=10, what="the session was announced and refreshed")


async def _has_left(client: BrowserClient, room: str) -> None:
    async def left() -> bool:
        return bool((await client.do("rtcMembers", room)) == 0)

    await until_async(left, within=10, what="the client left its session")


def _notices(watcher: MatrixClient, room: str) -> list[str]:
    return [
        str(event.content["body"])
        for event in watcher.seen("m.room.message", room=room)
        if event.sender == PCMU.ghost
    ]
