# SPDX-License-Identifier: GPL-3.0-or-later
"""Rooms with the bot and people's settings, on both databases."""

from mautrix.util.async_db import Database

from bridge.call.ids import Address, RoomId, UserId
from bridge.ports import ManagementRooms
from bridge.records import PersonSettings
from bridge.store.people import People

ANN, BOB = UserId("@ann:mx.test"), UserId("@bob:mx.test")


async def test_settings_are_kept_and_replaced(database: Database) -> None:
    people = People(database)
    assert await people.settings() == {}
    away = PersonSettings(forward=Address("tel:+12025550123"), withhold=False)
    await people.save_settings(ANN, PersonSettings(dnd=True, withhold=True))
    await people.save_settings(BOB, away)
    assert await people.settings() == {
        ANN: PersonSettings(dnd=True, withhold=True),
        BOB: away,
    }
    await people.save_settings(BOB, PersonSettings())
    assert (await People(database).settings())[BOB] == PersonSettings()


async def test_rooms_are_kept_until_forgotten(database: Database) -> None:
    people: ManagementRooms = People(database)
    room = RoomId("!a:mx.test")
    assert await people.person_of(room) is None
    await people.save_room(room, ANN, 1)
    await people.save_room(room, ANN, 2)
    assert await people.person_of(room) == ANN
    await people.forget_room(room)
    await people.forget_room(room)
    assert await people.person_of(room) is None


async def test_everybody_is_listed_with_their_newest_room(database: Database) -> None:
    people = People(database)
    await people.save_room(RoomId("!new:mx.test"), ANN, 3)
    await people.save_room(RoomId("!old:mx.test"), ANN, 1)
    await people.save_room(RoomId("!bob:mx.test"), BOB, 2)
    assert dict(await people.rooms()) == {ANN: "!new:mx.test", BOB: "!bob:mx.test"}
