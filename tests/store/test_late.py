# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals while somebody else has the lock of the database: no call waits, and nothing is lost."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest_asyncio

from bridge.call.ids import Address, RoomId, UserId
from bridge.records import Portal
from bridge.store.database import open_database
from bridge.store.late import LatePortals
from bridge.store.portals import Portals
from bridge.store.writer import Writer

ALICE, BOB = UserId("@alice:mx.test"), UserId("@bob:mx.test")
NUMBER, ROOM, OTHER = Address("tel:+12025550123"), RoomId("!a"), RoomId("!b")
PORTAL = Portal(room=ROOM, person=ALICE, address=NUMBER)


class Store:
    """A database that can be locked, and what is in front of it."""

    def __init__(self, path: Path, portals: LatePortals, truth: Portals, writer: Writer) -> None:
        self.portals, self.truth = portals, truth
        self._path, self._writer = path, writer

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nothing can be written meanwhile."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    async def written(self) -> None:
        """Wait until the database has it all."""
        await self._writer.flush()


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    path = tmp_path / "a.db"
    async with open_database(f"sqlite:{path}") as database:
        await database.execute("PRAGMA busy_timeout = 100")
        writer = Writer(database, sleep=lambda _: asyncio.sleep(0.01))
        writer.start()
        portals = LatePortals(database, writer, patience=0.05)
        yield Store(path, portals, Portals(database), writer)
        await writer.close()


async def test_what_cannot_be_written_is_known_and_written_later(store: Store) -> None:
    with store.locked():
        await store.portals.save_portal(PORTAL)
        await store.portals.save_ghost_name(NUMBER, "Ann")
        assert await store.portals.remember_event("$one", 1.0)
        assert await store.portals.portal_by_room(ROOM) == PORTAL
        assert await store.portals.portal_by_pair(ALICE, NUMBER) == PORTAL
        assert await store.portals.ghost_name(NUMBER) == "Ann"
        assert not await store.portals.remember_event("$one", 1.0)
        assert await store.truth.portal_by_room(ROOM) is None
    await store.written()
    for portals in (store.truth, store.portals):
        assert await portals.portal_by_room(ROOM) == PORTAL
        assert await portals.ghost_name(NUMBER) == "Ann"
        assert not await portals.remember_event("$one", 1.0)


async def test_a_portal_takes_the_place_of_those_before_it(store: Store) -> None:
    await store.portals.save_portal(PORTAL)
    await store.portals.save_portal(Portal(room=OTHER, person=BOB, address=NUMBER))
    moved = Portal(room=OTHER, person=ALICE, address=NUMBER)
    with store.locked():
        await store.portals.save_portal(moved)
        assert await store.portals.portal_by_room(OTHER) == moved
        assert await store.portals.portal_by_room(ROOM) is None
        assert await store.portals.portal_by_pair(BOB, NUMBER) is None
    await store.written()
    assert await store.truth.portal_by_pair(ALICE, NUMBER) == moved
    assert await store.truth.portal_by_room(ROOM) is None


async def test_a_portal_is_forgotten(store: Store) -> None:
    await store.portals.save_portal(PORTAL)
    with store.locked():
        await store.portals.forget_portal(ROOM)
        assert await store.portals.portal_by_room(ROOM) is None
        assert await store.portals.portal_by_pair(ALICE, NUMBER) is None
        await store.portals.forget_portal(OTHER)
    await store.written()
    assert await store.truth.portal_by_room(ROOM) is None


async def test_the_order_is_kept_when_the_lock_is_gone(store: Store) -> None:
    with store.locked():
        await store.portals.save_ghost_name(NUMBER, "first")
    await store.portals.save_ghost_name(NUMBER, "last")
    await store.written()
    assert await store.truth.ghost_name(NUMBER) == "last"
    assert await store.portals.ghost_name(NUMBER) == "last"
