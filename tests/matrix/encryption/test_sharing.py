# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can read what ghosts say: all devices of the person, as they are when it is said."""

import asyncio

import pytest

from bridge.matrix.encryption.seam import KeyTraffic
from bridge.matrix.homeserver import Unavailable
from tests.matrix.encryption.world import (
    ALICE,
    ELSEWHERE,
    GHOST,
    MEGOLM,
    OTHER,
    ROOM,
    World,
)
from tests.matrix.fakes import FakeRoom
from tests.simulators.waiting import PATIENCE

CHANGED = KeyTraffic(changed=[ALICE])


async def test_every_device_of_the_person_reads_what_a_ghost_says(world: World) -> None:
    phone, tablet = await world.device("PHONE"), await world.device("TABLET")
    content = await world.say()
    for device in (phone, tablet):
        await device.hear()
        assert await device.read(ROOM, content) == ("m.call.invite", {"call_id": "~1"})


async def test_the_key_is_out_before_anything_is_said(world: World) -> None:
    """Clients drop a call event that they cannot read at once."""
    phone = await world.device()
    await world.encryption.prepare(ROOM, GHOST, ALICE)
    await phone.hear()
    before = len(world.server.requests)
    content = await world.say()
    assert world.server.requests[before:] == []
    assert await phone.read(ROOM, content)


async def test_a_key_serves_for_many_events_and_after_a_restart(world: World) -> None:
    await world.device()
    first = await world.say()
    assert (await world.say())["session_id"] == first["session_id"]
    await world.encryption.stop()
    world.again()
    await world.start()
    assert (await world.say())["session_id"] == first["session_id"]


async def test_a_new_device_can_read_what_comes_next(world: World) -> None:
    await world.device("PHONE")
    old = await world.say()
    tablet = await world.device("TABLET")
    await world.encryption.receive(CHANGED)
    new = await world.say()
    await tablet.hear()
    assert new["session_id"] != old["session_id"]
    assert await tablet.read(ROOM, new)
    with pytest.raises(LookupError):
        await tablet.read(ROOM, old)


async def test_a_device_that_is_gone_reads_nothing_more(world: World) -> None:
    await world.device("PHONE")
    lost = await world.device("LOST")
    await world.say()
    await lost.hear()
    world.server.log_out(ALICE, "LOST")
    await world.encryption.receive(CHANGED)
    content = await world.say()
    assert await lost.hear() == []
    with pytest.raises(LookupError):
        await lost.read(ROOM, content)


async def test_a_device_that_takes_anothers_id_is_another_device(world: World) -> None:
    await world.device("PHONE")
    old = await world.say()
    world.server.log_out(ALICE, "PHONE")
    world.server.messages.clear()
    await world.device("PHONE")
    await world.encryption.receive(CHANGED)
    # Nobody trusts a device whose keys were exchanged; it has to be another one.
    assert (await world.say())["session_id"] != old["session_id"]


async def test_the_change_counts_for_every_ghost_though_one_alone_fetches_it(
    world: World,
) -> None:
    """All accounts share the lists of devices, and only who fetches one is told that it changed."""
    await world.device("PHONE")
    rooms = {GHOST: ROOM, OTHER: ELSEWHERE}
    old = {user: await world.say(room, user) for user, room in rooms.items()}
    tablet = await world.device("TABLET")
    await world.encryption.receive(CHANGED)
    before = len(world.server.requests)
    new = {user: await world.say(room, user) for user, room in rooms.items()}
    await tablet.hear()
    for user, room in rooms.items():
        assert new[user]["session_id"] != old[user]["session_id"]
        assert await tablet.read(room, new[user])
    asked = [each for each in world.server.requests[before:] if "keys/query" in each]
    assert len(asked) == 1


async def test_what_changed_while_the_bridge_was_down_is_noticed(world: World) -> None:
    await world.device("PHONE")
    await world.say()
    await world.encryption.stop()
    tablet = await world.device("TABLET")
    world.again()
    await world.start()
    content = await world.say()
    await tablet.hear()
    assert await tablet.read(ROOM, content)


async def test_a_device_without_keys_left_gets_the_key_of_the_next_call(world: World) -> None:
    await world.device("PHONE")
    tablet = await world.device("TABLET")
    world.server.one_time[ALICE, "TABLET"].clear()
    missed = await world.say()
    assert (await world.say())["session_id"] == missed["session_id"]  # not anew for each event
    await tablet.machine.share_keys(0)
    await world.encryption.prepare(ROOM, GHOST, ALICE)
    content = await world.say()
    await tablet.hear()
    assert await tablet.read(ROOM, content)


async def test_the_only_device_without_keys_left_does_not_stop_a_call(world: World) -> None:
    await world.device("PHONE")
    world.server.one_time[ALICE, "PHONE"].clear()
    assert await world.say()


async def test_a_server_that_does_not_name_the_devices_is_asked_again(world: World) -> None:
    phone = await world.device()
    world.server.lost.add("example.org")
    with pytest.raises(Unavailable, match="devices of @alice"):
        await world.say()
    world.server.lost.clear()
    content = await world.say()
    await phone.hear()
    assert await phone.read(ROOM, content)


async def test_an_unencrypted_room_stays_so(world: World) -> None:
    del world.homeserver.encryption[ROOM]
    said = await world.encryption.encrypt(ROOM, GHOST, ALICE, "m.call.invite", {"call_id": "~1"})
    assert said == ("m.call.invite", {"call_id": "~1"})


async def test_encryption_that_is_turned_on_counts_at_once(world: World) -> None:
    await world.device()
    del world.homeserver.encryption[ROOM]
    await world.encryption.prepare(ROOM, GHOST, ALICE)
    world.homeserver.encryption[ROOM] = {"algorithm": "m.megolm.v1.aes-sha2"}
    world.encryption.changed(ROOM)
    assert await world.say()


async def test_without_a_person_all_members_can_read(world: World) -> None:
    phone = await world.device()
    world.homeserver.users |= {ALICE, GHOST}
    world.homeserver.rooms[ROOM] = _room(ALICE, GHOST)
    _, content = await world.encryption.encrypt(ROOM, GHOST, None, "m.room.message", {"body": "a"})
    await phone.hear()
    assert await phone.read(ROOM, content) == ("m.room.message", {"body": "a"})


async def test_many_at_once_do_not_wait_for_each_other_for_ever(world: World) -> None:
    """mautrix holds a connection while it waits for another; as many as there are wait for ever."""
    people = [f"@person{n}:example.org" for n in range(12)]
    for each in people:
        await world.device("PHONE", each)  # type: ignore[arg-type]
    ghosts = [f"@sip_1202555{n:04}:example.org" for n in range(12)]
    rooms = [f"!{n}:example.org" for n in range(12)]
    world.homeserver.encryption |= {each: MEGOLM for each in rooms}
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(
            *(
                world.encryption.prepare(room, ghost, person)  # type: ignore[arg-type]
                for room, ghost, person in zip(rooms, ghosts, people, strict=True)
            )
        )


def _room(*members: str) -> FakeRoom:
    return FakeRoom(members=dict.fromkeys(members, "join"))
