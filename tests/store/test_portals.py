# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals, ghosts and seen events."""

import asyncio
from typing import Any, cast

import pytest
from mautrix.util.async_db import Database

from bridge.call.ids import Address, Direction, RoomId, UserId
from bridge.errors import StoreUnavailable
from bridge.ports import PortalStore
from bridge.records import Portal
from bridge.store.late import LatePortals
from bridge.store.portals import Portals
from bridge.store.remembered import RememberedPortals
from bridge.store.writer import Writer

ALICE = UserId("@alice:mx.test")
BOB = UserId("@bob:mx.test")
NUMBER = Address("tel:+12025550123")
DOOR = Address("sip:door@pbx.example.org")


def written_now(database: Database) -> LatePortals:
    return LatePortals(database, Writer(database), patience=20)


@pytest.fixture(params=[Portals, RememberedPortals, written_now])
def portals(database: Database, request: pytest.FixtureRequest) -> PortalStore:
    return cast(PortalStore, request.param(database))


def portal(room: str, person: UserId = ALICE, address: Address = NUMBER) -> Portal:
    return Portal(room=RoomId(room), person=person, address=address)


async def test_a_portal_is_found_both_ways(portals: PortalStore) -> None:
    saved = portal("!a:mx.test")
    await portals.save_portal(saved)
    assert await portals.portal_by_room(saved.room) == saved
    assert await portals.portal_by_pair(ALICE, NUMBER) == saved
    assert await portals.portal_by_pair(BOB, NUMBER) is None
    assert await portals.portal_by_pair(ALICE, DOOR) is None


async def test_a_pair_has_one_room(portals: PortalStore) -> None:
    await portals.save_portal(portal("!old:mx.test"))
    await portals.save_portal(portal("!new:mx.test"))
    assert await portals.portal_by_pair(ALICE, NUMBER) == portal("!new:mx.test")
    assert await portals.portal_by_room(RoomId("!old:mx.test")) is None


async def test_a_room_has_one_pair(portals: PortalStore) -> None:
    await portals.save_portal(portal("!a:mx.test", ALICE, NUMBER))
    await portals.save_portal(portal("!a:mx.test", BOB, DOOR))
    assert await portals.portal_by_pair(ALICE, NUMBER) is None
    assert await portals.portal_by_room(RoomId("!a:mx.test")) == portal("!a:mx.test", BOB, DOOR)


async def test_a_portal_takes_the_place_of_two(portals: PortalStore) -> None:
    await portals.save_portal(portal("!a:mx.test", ALICE, NUMBER))
    await portals.save_portal(portal("!b:mx.test", BOB, DOOR))
    await portals.save_portal(portal("!a:mx.test", BOB, DOOR))
    assert await portals.portal_by_room(RoomId("!b:mx.test")) is None
    assert await portals.portal_by_pair(ALICE, NUMBER) is None


async def test_saving_twice_at_once(portals: PortalStore) -> None:
    await asyncio.gather(*(portals.save_portal(portal(f"!{n}:mx.test")) for n in range(8)))
    found = await portals.portal_by_pair(ALICE, NUMBER)
    assert found is not None
    assert await portals.portal_by_room(found.room) == found


async def test_a_portal_is_forgotten(portals: PortalStore) -> None:
    await portals.save_portal(portal("!a:mx.test"))
    await portals.forget_portal(RoomId("!a:mx.test"))
    await portals.forget_portal(RoomId("!never:mx.test"))
    assert await portals.portal_by_pair(ALICE, NUMBER) is None


async def test_ghosts_have_names(portals: PortalStore) -> None:
    assert await portals.ghost_name(NUMBER) is None
    await portals.save_ghost_name(NUMBER, "Ann")
    await portals.save_ghost_name(NUMBER, "Ann B.")
    await portals.save_ghost_name(DOOR, "")
    assert await portals.ghost_name(NUMBER) == "Ann B."
    assert await portals.ghost_name(DOOR) == ""


async def test_an_event_is_new_once(portals: PortalStore) -> None:
    assert await portals.remember_event("$1", 100.0)
    assert not await portals.remember_event("$1", 200.0)
    assert await portals.remember_event("$2", 200.0)


async def test_of_concurrent_calls_one_is_first(portals: PortalStore) -> None:
    answers = await asyncio.gather(*(portals.remember_event("$1", 100.0) for _ in range(16)))
    assert sum(answers) == 1


async def test_old_events_are_forgotten(portals: PortalStore) -> None:
    await portals.remember_event("$old", 100.0)
    await portals.remember_event("$new", 200.0)
    await portals.prune_events(150.0)
    assert await portals.remember_event("$old", 300.0)
    assert not await portals.remember_event("$new", 300.0)


async def test_a_database_that_is_away_is_worth_another_attempt() -> None:
    class Away:
        async def fetchrow(self, *_: object) -> None:
            raise ConnectionRefusedError("no server")

    with pytest.raises(StoreUnavailable, match="no server"):
        await Portals(cast(Database, Away())).portal_by_room(RoomId("!r"))


# --- callers whom nobody ever answered --------------------------------------------------------


async def call(
    database: Database,
    number: int,
    *,
    at: float = 100.0,
    person: UserId = ALICE,
    direction: Direction = Direction.TO_MATRIX,
    answered: float | None = None,
    ended: float | None = 130.0,
) -> None:
    await database.execute(
        "INSERT INTO call (call, direction, person, address, trunk, started_at, answered_at, "
        "ended_at) VALUES ($1, $2, $3, $4, 'provider', $5, $6, $7)",
        f"c{number}",
        direction.value,
        person,
        NUMBER,
        at,
        answered,
        ended,
    )


async def test_a_portal_of_missed_calls_is_unanswered(
    database: Database, portals: PortalStore
) -> None:
    await portals.save_portal(portal("!alice"))
    await portals.save_portal(portal("!bob", BOB))
    assert await portals.unanswered_portals(1000) == []
    await call(database, 1, at=100)
    await call(database, 2, at=200)
    assert await portals.unanswered_portals(1000) == [portal("!alice")]
    assert await portals.unanswered_portals(200) == []
    assert await portals.unanswered_portals(200.5) == [portal("!alice")]


@pytest.mark.parametrize(
    "other",
    [
        {"answered": 105.0},
        {"direction": Direction.TO_SIP},
        {"ended": None},
    ],
)
async def test_one_other_call_makes_it_another_matter(
    database: Database, portals: PortalStore, other: dict[str, Any]
) -> None:
    await portals.save_portal(portal("!alice"))
    await call(database, 1)
    await call(database, 2, **other)
    assert await portals.unanswered_portals(1000) == []
