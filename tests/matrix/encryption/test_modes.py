# SPDX-License-Identifier: GPL-3.0-or-later
"""What the settings want, and what the homeserver can do."""

import asyncio

import pytest
from mautrix.util.async_db import Database
from structlog.testing import capture_logs

from bridge.config import EncryptionMode
from bridge.errors import ConfigurationError
from bridge.matrix.encryption.seam import NONE, KeyTraffic, Unreadable
from bridge.matrix.homeserver import Refused, Unavailable
from tests.matrix.encryption.world import ALICE, BOT, GHOST, MEGOLM, ROOM, World, event
from tests.simulators.waiting import until

NO_DEVICES = Refused("no such device", status=404, errcode="M_NOT_FOUND")


async def test_a_homeserver_that_can_do_it(world: World) -> None:
    assert world.encryption.active
    assert await world.encryption.settled()


async def test_one_that_lets_nobody_make_devices(database: Database) -> None:
    world = World(database)
    world.server.failures["devices/"] = NO_DEVICES
    with capture_logs() as lines:
        await world.start()
    await _goes_on_without(world)
    [line] = [each for each in lines if each["log_level"] == "warning"]
    assert "MSC4190" in line["reason"]
    assert "encryption.mode" in line["remedy"]
    await world.encryption.stop()


async def test_one_that_hands_no_messages_on(database: Database) -> None:
    world = World(database)
    await world.encryption.open()
    with capture_logs() as lines:
        await world.encryption.find_out(BOT, wait=0.01)
    await _goes_on_without(world)
    [line] = [each for each in lines if each["log_level"] == "warning"]
    assert "MSC2409" in line["reason"]
    # It was only slow.
    await world.encryption.receive(KeyTraffic(to_device=world.server.take(BOT)))
    assert world.encryption.active
    await world.encryption.ready(GHOST)
    assert world.server.devices[GHOST]
    await world.encryption.stop()


async def test_one_that_drops_the_first_message(world: World) -> None:
    """Synapse does, as long as it takes the bridge to be away."""
    world.again()
    await world.encryption.open()
    finding = asyncio.ensure_future(world.encryption.find_out(BOT, wait=0.5))
    for _ in range(2):
        message = await until(lambda: world.server.take(BOT), what="a message was sent")
    await world.encryption.receive(KeyTraffic(to_device=message))
    await finding
    assert world.encryption.active
    await world.encryption.stop()


async def _goes_on_without(world: World) -> None:
    assert not world.encryption.active
    await world.encryption.ready(GHOST)
    await world.encryption.prepare(ROOM, GHOST, ALICE)
    assert not world.server.devices[GHOST]
    said = await world.encryption.encrypt(ROOM, GHOST, ALICE, "m.room.message", {"body": "a"})
    assert said == ("m.room.message", {"body": "a"})
    assert world.encryption.initial_state() == []
    with pytest.raises(Unreadable):
        await world.encryption.decrypt(event(ROOM, ALICE, {}), GHOST)


async def test_where_it_is_required_the_bridge_does_not_start_without(database: Database) -> None:
    world = World(database, EncryptionMode.REQUIRE)
    world.server.failures["devices/"] = NO_DEVICES
    with pytest.raises(ConfigurationError, match=r"encryption\.mode is require, but .*MSC4190"):
        await world.start()
    await world.encryption.stop()


async def test_a_homeserver_that_is_away_is_no_answer(database: Database) -> None:
    world = World(database)
    world.server.failures["devices/"] = Unavailable("restarting")
    with pytest.raises(Unavailable):
        await world.start()


@pytest.mark.parametrize(
    ("mode", "encrypted"),
    [(EncryptionMode.ALLOW, False), (EncryptionMode.DEFAULT, True), (EncryptionMode.REQUIRE, True)],
)
async def test_rooms_of_ours(database: Database, mode: EncryptionMode, encrypted: bool) -> None:
    world = await World(database, mode).start()
    state = world.encryption.initial_state()
    assert [each["content"] for each in state] == ([MEGOLM] if encrypted else [])
    await world.encryption.stop()


async def test_where_it_is_required_plain_rooms_are_refused(database: Database) -> None:
    world = await World(database, EncryptionMode.REQUIRE).start()
    assert await world.encryption.unfit(ROOM, GHOST) is None
    world.homeserver.encryption.clear()
    world.encryption.changed(ROOM)
    assert "encrypted rooms" in str(await world.encryption.unfit(ROOM, GHOST))
    await world.encryption.stop()


async def test_elsewhere_both_kinds_will_do(world: World) -> None:
    world.homeserver.encryption.clear()
    assert await world.encryption.unfit(ROOM, GHOST) is None


async def test_a_room_is_looked_at_once(world: World) -> None:
    await world.device()
    for _ in range(3):
        await world.say()
    assert world.homeserver.asked == 1


async def test_without_encryption_nothing_is_done() -> None:
    assert not NONE.active
    assert not await NONE.settled()
    await NONE.ready(GHOST)
    await NONE.prepare(ROOM, GHOST, ALICE)
    await NONE.ask(event(ROOM, ALICE, {}), GHOST)
    await NONE.receive(KeyTraffic())
    NONE.changed(ROOM)
    assert NONE.initial_state() == []
    assert await NONE.unfit(ROOM, GHOST) is None
    assert await NONE.encrypt(ROOM, GHOST, ALICE, "a", {"b": 1}) == ("a", {"b": 1})
    with pytest.raises(Unreadable):
        await NONE.decrypt(event(ROOM, ALICE, {}), GHOST)
