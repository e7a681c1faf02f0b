# SPDX-License-Identifier: GPL-3.0-or-later
"""A person in a browser and a telephone call each other at the same moment.

Whatever came first, the person ends with one connected call. matrix-js-sdk, as Element Web
uses it, knows of no glare: its own call goes on, and the other is ignored. benchmarks/glare.py
repeats this more often.
"""

import pytest

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ
from tests.simulators.collision import collide, phone_legs
from tests.simulators.waiting import until


async def test_its_own_call_survives_when_the_bridge_has_not_invited_yet(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """*Preparing*: the caller's new name waits at the gate, and the invite behind it."""
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU, name=f"Workshop {person.number[-2:]}") as phone:
        with stage.gate.closed("/displayname$"):
            await phone.dial(stage.uri(person))
            await until(lambda: stage.gate.waiting, what="the bridge prepares")
            placed = await client.do("place", room)
            await until(
                lambda: placed in stage.bridge.output(),
                what="the bridge heard of the person's invite",
            )
        assert (await client.reaches("connected")).call_id == placed
        await phone.sees("CALL_ESTABLISHED")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        assert not [one for one in await client.said("m.call.invite") if one.sender]
        assert not phone.seen("CALL_INCOMING")
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert record.cause == "normal"
    assert len(stage.bridge.calls(person.user_id)) == 1


async def test_its_own_call_survives_when_the_invites_cross(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """*Sent*: both invites are in the room before either side has seen the other's."""
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        with stage.gate.closed("/send/m.call.invite/"):
            await phone.dial(stage.uri(person))
            await until(lambda: stage.gate.waiting, what="the bridge invites")
            placed = await client.do("place", room)
        assert (await client.reaches("connected")).call_id == placed
        await phone.sees("CALL_ESTABLISHED")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        assert not phone.seen("CALL_INCOMING")
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"
    assert len(stage.bridge.calls(person.user_id)) == 1


async def test_its_call_survives_that_was_not_sent_when_the_bridge_invited(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """The bridge's call comes to a client that is still writing the offer of its own."""
    person, client = await new_browser_client(options={"offerDelay": 700})
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("beginToPlace", room)
        await phone.dial(stage.uri(person))
        await client.is_told("m.call.invite")
        said = await client.said("m.call.invite")
        assert all(invite.sender for invite in said), "the client was faster: nothing was tried"
        connected = await client.reaches("connected")
        assert connected.call_id
        assert not connected.call_id.startswith("~")
        await phone.sees("CALL_ESTABLISHED")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        assert not phone.seen("CALL_INCOMING")
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"
    assert len(stage.bridge.calls(person.user_id)) == 1


@pytest.mark.parametrize("offset", [-0.2, -0.05, 0.0, 0.05, 0.2])
async def test_whoever_is_first_one_call_connects(
    stage: GatedStage, new_browser_client: NewBrowserClient, offset: float
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        collision = await collide(client, room, phone, stage.uri(person), offset)
        assert len(collision.connected) == 1, collision
        assert collision.legs == 1, collision
        await client.do("hangUp")
        await until(
            lambda: (
                phone_legs(phone) == 0
                and all(record.ended_at for record in stage.bridge.calls(person.user_id))
            ),
            what="nothing is left of it",
        )
