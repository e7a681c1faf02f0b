# SPDX-License-Identifier: GPL-3.0-or-later
"""People's rooms with the bot, and what they chose there."""

from collections.abc import Mapping, Sequence
from typing import Final

from mautrix.util.async_db import Database

from bridge.call.ids import Address, RoomId, UserId
from bridge.records import PersonSettings

_COLUMNS: Final = (
    "person",
    "dnd",
    "forward",
    "withhold",
    "voicemail",
    "voicemail_delay",
    "greeting",
)


class People:
    """`ManagementRooms` and everybody's settings, on the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settings(self) -> Mapping[UserId, PersonSettings]:
        """What people chose, where it is not what everybody starts with."""
        rows = await self._database.fetch(f"SELECT {', '.join(_COLUMNS)} FROM person_settings")
        return {
            UserId(row["person"]): PersonSettings(
                dnd=bool(row["dnd"]),
                forward=None if row["forward"] is None else Address(row["forward"]),
                withhold=None if row["withhold"] is None else bool(row["withhold"]),
                voicemail=bool(row["voicemail"]),
                voicemail_delay=row["voicemail_delay"],
                greeting=bool(row["greeting"]),
            )
            for row in rows
        }

    async def save_settings(self, person: UserId, settings: PersonSettings) -> None:
        """Remember what a person chose."""
        changes = ", ".join(f"{column}=excluded.{column}" for column in _COLUMNS[1:])
        await self._database.execute(
            f"INSERT INTO person_settings ({', '.join(_COLUMNS)}) "
            f"VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (person) DO UPDATE SET {changes}",
            person,
            settings.dnd,
            settings.forward,
            settings.withhold,
            settings.voicemail,
            settings.voicemail_delay,
            settings.greeting,
        )

    async def person_of(self, room: RoomId) -> UserId | None:
        """Whose room with the bot this is, if it is one."""
        person = await self._database.fetchval(
            "SELECT person FROM management_room WHERE room=$1", room
        )
        return None if person is None else UserId(person)

    async def save_room(self, room: RoomId, person: UserId, at: float) -> None:
        """The bot has come into this person's room; `at`: seconds since the epoch."""
        await self._database.execute(
            "INSERT INTO management_room (room, person, at) VALUES ($1, $2, $3) "
            "ON CONFLICT (room) DO UPDATE SET person=excluded.person, at=excluded.at",
            room,
            person,
            float(at),
        )

    async def forget_room(self, room: RoomId) -> None:
        """The bot is no longer there; harmless if it never was."""
        await self._database.execute("DELETE FROM management_room WHERE room=$1", room)

    async def rooms(self) -> Sequence[tuple[UserId, RoomId]]:
        """Everybody who has a room with the bot, each with their newest one."""
        rows = await self._database.fetch("SELECT person, room FROM management_room ORDER BY at")
        return [*{UserId(row["person"]): RoomId(row["room"]) for row in rows}.items()]
