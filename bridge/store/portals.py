# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals, the ghosts in them, and the events that were seen already."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from mautrix.util.async_db import Connection, Database

from bridge.call.ids import Address, Direction, RoomId, UserId
from bridge.errors import StoreUnavailable
from bridge.records import Portal
from bridge.store.database import TRANSIENT, transaction

NAME: Final = (
    "INSERT INTO ghost (address, display_name) VALUES ($1, $2) "
    "ON CONFLICT (address) DO UPDATE SET display_name=excluded.display_name"
)
SEEN: Final = (
    "INSERT INTO seen_event (event_id, at) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING"
)
P = ParamSpec("P")
T = TypeVar("T")


def _while_it_answers(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Errors that go away by themselves become `StoreUnavailable`."""

    @wraps(method)
    async def ask(*arguments: P.args, **more: P.kwargs) -> T:
        try:
            return await method(*arguments, **more)
        except TRANSIENT as error:
            raise StoreUnavailable(f"the database cannot be used: {error!r}") from error

    return ask


class Portals:
    """A `PortalStore` on the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @_while_it_answers
    async def portal_by_room(self, room: RoomId) -> Portal | None:
        """The portal that this room is, if it is one."""
        row = await self._database.fetchrow("SELECT * FROM portal WHERE room=$1", room)
        return _portal(row)

    @_while_it_answers
    async def portal_by_pair(self, person: UserId, address: Address) -> Portal | None:
        """The portal of this person and this address; there is at most one."""
        row = await self._database.fetchrow(
            "SELECT * FROM portal WHERE person=$1 AND address=$2", person, address
        )
        return _portal(row)

    @_while_it_answers
    async def save_portal(self, portal: Portal) -> None:
        """Remember a portal, in place of any other with the same room or the same pair."""
        async with transaction(self._database) as connection:
            await replace_portal(connection, portal)

    @_while_it_answers
    async def forget_portal(self, room: RoomId) -> None:
        """The room is not a portal any more; harmless if it never was."""
        async with transaction(self._database) as connection:
            await without_portal(connection, room)

    @_while_it_answers
    async def unanswered_portals(self, before: float) -> Sequence[Portal]:
        """Portals whose calls all came from SIP, before this time, and were never answered."""
        rows = await self._database.fetch(
            """
            SELECT portal.room, portal.person, portal.address FROM portal
            JOIN call ON call.person=portal.person AND call.address=portal.address
            WHERE NOT portal.talked
            GROUP BY portal.room, portal.person, portal.address
            HAVING MAX(call.started_at) < $1 AND COUNT(call.ended_at) = COUNT(*)
            AND COUNT(call.answered_at) = 0
            AND COUNT(CASE WHEN call.direction=$2 THEN 1 END) = 0
            """,
            float(before),
            Direction.TO_SIP.value,
        )
        return [Portal(room=row[0], person=row[1], address=row[2]) for row in rows]

    @_while_it_answers
    async def ghost_name(self, address: Address) -> str | None:
        """The display name last given to this address's ghost; None if it was never made."""
        name = await self._database.fetchval(
            "SELECT display_name FROM ghost WHERE address=$1", address
        )
        return None if name is None else str(name)

    @_while_it_answers
    async def save_ghost_name(self, address: Address, name: str) -> None:
        """The ghost of this address exists and now has this display name."""
        await self._database.execute(NAME, address, name)

    @_while_it_answers
    async def remember_event(self, event_id: str, at: float) -> bool:
        """Remember a Matrix event; False if it was known already. `at`: seconds since the epoch."""
        inserted = await self._database.fetchval(f"{SEEN} RETURNING 1", event_id, float(at))
        return inserted is not None

    @_while_it_answers
    async def prune_events(self, before: float) -> None:
        """Forget events remembered before this time (seconds since the epoch)."""
        await self._database.execute("DELETE FROM seen_event WHERE at < $1", float(before))


async def replace_portal(connection: Connection, portal: Portal) -> None:
    """Write a portal, in place of any other with the same room or the same pair."""
    await connection.execute(
        "DELETE FROM portal WHERE room=$1 OR (person=$2 AND address=$3)",
        portal.room,
        portal.person,
        portal.address,
    )
    # Where another task got in between, the last one counts.
    await connection.execute(
        "INSERT INTO portal (room, person, address) VALUES ($1, $2, $3) "
        "ON CONFLICT (person, address) DO UPDATE SET room=excluded.room",
        portal.room,
        portal.person,
        portal.address,
    )


async def without_portal(connection: Connection, room: RoomId) -> None:
    """Delete the portal that a room is, if it is one."""
    await connection.execute("DELETE FROM portal WHERE room=$1", room)


def _portal(row: Mapping[str, Any] | None) -> Portal | None:
    if row is None:
        return None
    return Portal(room=row["room"], person=row["person"], address=row["address"])
