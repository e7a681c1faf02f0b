# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of encrypted rooms, on either database."""

from mautrix.util.async_db import Database

from bridge.matrix.encryption.seam import KeyTraffic
from tests.matrix.encryption.world import ALICE, GHOST, ROOM, World


async def test_keys_last_and_devices_are_compared(database: Database) -> None:
    world = await World(database).start()
    phone = await world.device("PHONE")
    first = await world.say()
    event = await phone.write(ROOM, [GHOST])
    await world.deliver()
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"
    await world.encryption.stop()

    world.again()
    await world.start()
    assert (await world.say())["session_id"] == first["session_id"]
    tablet = await world.device("TABLET")
    await world.encryption.receive(KeyTraffic(changed=[ALICE]))
    second = await world.say()
    assert second["session_id"] != first["session_id"]
    for device in (phone, tablet):
        await device.hear()
        assert await device.read(ROOM, second)
    later = await phone.write(ROOM, [GHOST], "m.call.hangup")
    await world.deliver()
    assert (await world.encryption.decrypt(later, GHOST)).type == "m.call.hangup"
    await world.encryption.stop()
