# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted portals with a real client: matrix-js-sdk and its Rust encryption, in Chromium."""

import pytest

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ, BrowserClient
from tests.simulators.waiting import until_async

BOTH = pytest.mark.parametrize(
    "crypto", [True, "signed"], ids=["all devices", "cross-signed devices alone"]
)


@BOTH
async def test_calls_a_telephone_and_hangs_up(
    stage: GatedStage, new_browser_client: NewBrowserClient, crypto: bool | str
) -> None:
    person, client = await new_browser_client(options={"crypto": crypto})
    room = await client.room_with(PCMU.ghost, encrypted=True)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "matrix")
    await _all_encrypted(client, room)


@BOTH
async def test_is_called_and_the_telephone_hangs_up(
    stage: GatedStage, new_browser_client: NewBrowserClient, crypto: bool | str
) -> None:
    person, client = await new_browser_client(options={"crypto": crypto})
    room = await client.room_with(PCMU.ghost, encrypted=True)
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        await client.reaches("ringing")
        await client.do("answer")
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        await phone.hang_up()
        await client.reaches("ended")
    await _all_encrypted(client, room)


async def test_a_call_placed_while_the_bridge_was_away_still_rings(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """The homeserver loses the key meanwhile; the bridge asks the client for it."""
    _, client = await new_browser_client(options={"crypto": True})
    room = await client.room_with(PCMU.ghost, encrypted=True)
    await stage.bridge.stop()
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("invite_sent")
        await stage.bridge.start()
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_a_person_who_encrypts_for_verified_devices_alone_is_told_why_nothing_rings(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    _, client = await new_browser_client(options={"crypto": "verified"})
    room = await client.room_with(PCMU.ghost, encrypted=True)
    await client.do("place", room)

    async def told() -> bool:
        timeline = await client.do("timeline", room)
        return any("not verified" in str(event["body"]) for event in timeline)

    await until_async(told, what="the ghost says why")
    await client.do("hangUp")


async def _all_encrypted(client: BrowserClient, room: str) -> None:
    """Every event of either side went encrypted, and the client could read every one."""

    async def settled() -> bool:
        timeline = await client.do("timeline", room)
        return any(event["type"] == "m.call.hangup" for event in timeline)

    await until_async(settled, what="the hangup is in the room")
    calls = [
        event
        for event in await client.do("timeline", room)
        if event["type"].startswith("m.call.") or event["wire"] == "m.room.encrypted"
    ]
    assert {event["sender"] for event in calls} == {client.user_id, PCMU.ghost}
    assert {event["wire"] for event in calls} == {"m.room.encrypted"}
    assert not [event for event in calls if event["failed"]]
