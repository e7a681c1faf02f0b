# SPDX-License-Identifier: GPL-3.0-or-later
"""The dial pad, used as Element Web uses it, by a real browser towards a real telephone."""

import pytest

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ, BrowserClient

CRYPTO = pytest.mark.parametrize(
    "crypto", [False, True, "signed"], ids=["plain", "encrypted", "for cross-signed devices alone"]
)


async def test_the_client_shows_its_dial_pad(new_browser_client: NewBrowserClient) -> None:
    _, client = await new_browser_client()
    protocols = await client.do("protocols")
    assert {"m.protocol.pstn", "im.vector.protocol.pstn"} <= protocols.keys()


@CRYPTO
async def test_dials_and_is_connected_and_dials_again(
    stage: GatedStage, new_browser_client: NewBrowserClient, crypto: bool | str
) -> None:
    """The second time, the number is typed in another way, and the room is there already."""
    person, client = await new_browser_client(options={"crypto": crypto})
    rooms = []
    for typed in ("(202) 555-0110", "00 1 202.555.0110 ext. 5"):
        async with stage.phone(PCMU) as phone:
            dialled = await client.do("dialNumber", typed)
            assert dialled["ghost"] == PCMU.ghost
            rooms.append(dialled["room"])
            await client.reaches("connected")
            await phone.hears(MICROPHONE_HERTZ)
            await client.hears(1000)
            await client.do("hangUp")
            await phone.sees("CALL_CLOSED")
    assert rooms[0] == rooms[1]
    assert await _is_encrypted(client, rooms[0]) is bool(crypto)
    records = [await stage.bridge.ended(person.user_id, count=count) for count in (1, 2)]
    assert [(one.cause, one.ended_by, one.address) for one in records] == [
        ("normal", "matrix", f"tel:{PCMU.number}")
    ] * 2


@CRYPTO
async def test_calls_before_the_ghost_has_joined(
    stage: GatedStage, new_browser_client: NewBrowserClient, crypto: bool | str
) -> None:
    """The client waits for the ghost to be invited; nobody pushes what it says before the join."""
    _, client = await new_browser_client(options={"crypto": crypto})
    assert await client.dial_pad(PCMU.number) == PCMU.ghost
    log = len(stage.bridge.output())
    async with stage.phone(PCMU) as phone:
        with stage.gate.closed("/join"):
            dialled = await client.do("dialNumber", PCMU.number)
            await client.reaches("invite_sent")
            assert await client.do("members", dialled["room"]) == 1
        await client.reaches("connected")
        assert "call event from before the ghost joined" in stage.bridge.output()[log:]
        await phone.hears(MICROPHONE_HERTZ)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("911", "tel:911: emergency_number"),
        ("9911", "tel:9911: emergency_number"),
        ("+1 900 555 0110", "tel:+19005550110: premium_number"),
        ("door", "4 characters that are no number and no SIP address"),
    ],
)
async def test_dials_what_leads_nowhere(
    stage: GatedStage, new_browser_client: NewBrowserClient, typed: str, why: str
) -> None:
    person, client = await new_browser_client()
    log = len(stage.bridge.output())
    assert await client.do("dialNumber", typed) is None
    assert why in stage.bridge.output()[log:]
    assert not stage.bridge.calls(person.user_id)


async def _is_encrypted(client: BrowserClient, room: str) -> bool:
    """Whether Element Web's rule, that a chat is encrypted if all can read it, made it so."""
    wires = {event["wire"] for event in await client.do("timeline", room)}
    return "m.room.encrypted" in wires
