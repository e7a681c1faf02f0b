# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of portals is what the database says, and spares asking it."""

import asyncio
import random
from pathlib import Path

import pytest

from bridge.call.ids import Address, RoomId, UserId
from bridge.errors import StoreUnavailable
from bridge.records import Portal
from bridge.store.database import open_database
from bridge.store.portals import Portals
from bridge.store.remembered import RememberedPortals

ALICE, NUMBER, ROOM = UserId("@alice:mx.test"), Address("tel:+12025550123"), RoomId("!a")
PORTAL = Portal(room=ROOM, person=ALICE, address=NUMBER)


async def test_what_is_known_is_not_asked_for_again(tmp_path: Path) -> None:
    async with open_database(f"sqlite:{tmp_path}/a.db") as database:
        portals = RememberedPortals(database)
        await portals.save_portal(PORTAL)
        await portals.save_ghost_name(NUMBER, "Ann")
        assert await portals.portal_by_room(ROOM) == PORTAL
        assert await portals.ghost_name(NUMBER) == "Ann"
    # The database is closed.
    assert await portals.portal_by_room(ROOM) == PORTAL
    assert await portals.portal_by_pair(ALICE, NUMBER) == PORTAL
    assert await portals.ghost_name(NUMBER) == "Ann"


async def test_never_another_answer_than_the_database_has(tmp_path: Path) -> None:
    chance = random.Random(1)
    rooms = [RoomId(f"!{number}") for number in range(4)]
    people = [UserId(f"@{number}:mx.test") for number in range(3)]
    async with open_database(f"sqlite:{tmp_path}/a.db") as database:
        portals, truth = RememberedPortals(database, most=5), Portals(database)
        for turn in range(300):
            room, person = chance.choice(rooms), chance.choice(people)
            match chance.randrange(4):
                case 0:
                    await portals.save_portal(Portal(room=room, person=person, address=NUMBER))
                case 1:
                    await portals.forget_portal(room)
                case 2:
                    await portals.save_ghost_name(Address(person), str(turn))
            for each in rooms:
                assert await portals.portal_by_room(each) == await truth.portal_by_room(each)
            for one in people:
                found = await portals.portal_by_pair(one, NUMBER)
                assert found == await truth.portal_by_pair(one, NUMBER)
                name = await portals.ghost_name(Address(one))
                assert name == await truth.ghost_name(Address(one))
            assert len(portals._known) <= 6


async def test_what_was_read_before_a_change_is_not_kept_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, go_on = asyncio.Event(), asyncio.Event()
    original = Portals.portal_by_room

    async def slowly(self: Portals, room: RoomId) -> Portal | None:
        found = await original(self, room)
        read.set()
        await go_on.wait()
        return found

    async with open_database(f"sqlite:{tmp_path}/a.db") as database:
        portals = RememberedPortals(database)
        await portals.save_portal(PORTAL)
        monkeypatch.setattr(Portals, "portal_by_room", slowly)
        asking = asyncio.create_task(portals.portal_by_room(ROOM))
        await read.wait()
        await portals.forget_portal(ROOM)
        go_on.set()
        assert await asking == PORTAL
        assert await portals.portal_by_room(ROOM) is None
        assert await portals.portal_by_pair(ALICE, NUMBER) is None


async def test_a_change_that_failed_may_have_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Portals, room: RoomId) -> None:
        raise StoreUnavailable("away")

    async with open_database(f"sqlite:{tmp_path}/a.db") as database:
        portals = RememberedPortals(database)
        await portals.save_portal(PORTAL)
        assert await portals.portal_by_room(ROOM) == PORTAL
        monkeypatch.setattr(Portals, "forget_portal", fail)
        with pytest.raises(StoreUnavailable):
            await portals.forget_portal(ROOM)
        await database.execute("DELETE FROM portal")
        assert await portals.portal_by_room(ROOM) is None
