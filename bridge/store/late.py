# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals while the database cannot be written: somebody has its lock, or the disk is full."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from mautrix.util.async_db import Connection, Database

from bridge.call.ids import Address, RoomId, UserId
from bridge.errors import StoreUnavailable
from bridge.records import Portal
from bridge.store.portals import NAME, SEEN, replace_portal, without_portal
from bridge.store.remembered import RememberedPortals
from bridge.store.writer import Row, Write, Writer

log = structlog.get_logger(__name__)

PATIENCE: Final = 1.0
"""Seconds that a call waits for the database: SQLite alone would wait for five."""
T = TypeVar("T")


class LatePortals(RememberedPortals):
    """The same, but no call waits for what is to be written.

    What cannot be written now is known here meanwhile, and written by the writer when that can be
    done. A crash before then takes it along: rooms are found again by what is in them.
    """

    def __init__(self, database: Database, writer: Writer, *, patience: float = PATIENCE) -> None:
        super().__init__(database)
        self._writer = writer
        self._patience = patience
        self._turn = asyncio.Lock()
        """One at a time: those that wait for a lock would take every connection."""
        self._until = 0
        """How many writes of the writer's have to be done before the database knows it all."""
        self._rooms: dict[RoomId, Portal | None] = {}
        self._pairs: dict[tuple[UserId, Address], Portal | None] = {}
        self._names: dict[Address, str] = {}
        self._events: set[str] = set()

    async def portal_by_room(self, room: RoomId) -> Portal | None:
        """The portal that this room is, if it is one."""
        if self._is_late and room in self._rooms:
            return self._rooms[room]
        return await super().portal_by_room(room)

    async def portal_by_pair(self, person: UserId, address: Address) -> Portal | None:
        """The portal of this person and this address; there is at most one."""
        if self._is_late and (person, address) in self._pairs:
            return self._pairs[person, address]
        return await super().portal_by_pair(person, address)

    async def save_portal(self, portal: Portal) -> None:
        """Remember a portal, in place of any other with the same room or the same pair."""
        if await self._done(super().save_portal(portal)) is not None:
            return
        await self._forget(await self.portal_by_room(portal.room))
        await self._forget(await self.portal_by_pair(portal.person, portal.address))
        self._rooms[portal.room] = self._pairs[portal.person, portal.address] = portal
        self._later(partial(replace_portal, portal=portal))

    async def forget_portal(self, room: RoomId) -> None:
        """The room is not a portal any more; harmless if it never was."""
        if await self._done(super().forget_portal(room)) is None:
            await self._forget(await self.portal_by_room(room))
            self._later(partial(without_portal, room=room))

    async def ghost_name(self, address: Address) -> str | None:
        """The display name last given to this address's ghost; None if it was never made."""
        if self._is_late and address in self._names:
            return self._names[address]
        return await super().ghost_name(address)

    async def save_ghost_name(self, address: Address, name: str) -> None:
        """The ghost of this address exists and now has this display name."""
        if await self._done(super().save_ghost_name(address, name)) is None:
            self._names[address] = name
            self._later(Row(NAME, (address, name)))

    async def remember_event(self, event_id: str, at: float) -> bool:
        """Remember a Matrix event; False if it was known already. `at`: seconds since the epoch."""
        known = await self._done(super().remember_event(event_id, at))
        if known is not None:
            return known[0]
        if event_id in self._events:
            return False
        self._events.add(event_id)
        self._later(Row(SEEN, (event_id, float(at))))
        return True

    # --- inside -----------------------------------------------------------------------------

    @property
    def _is_late(self) -> bool:
        if self._until and self._until <= self._writer.settled:
            self._until = 0
            for known in (self._rooms, self._pairs, self._names, self._events):
                known.clear()
            self._drop_all()
        return self._until > 0

    async def _done(self, work: Coroutine[Any, Any, T]) -> tuple[T] | None:
        """What came of it, if it could be done now, and after all that was before it."""
        async with self._turn:
            if self._is_late:
                work.close()
                return None
            attempt = asyncio.ensure_future(work)
            await asyncio.wait((attempt,), timeout=self._patience)
            if not attempt.done():
                # SQLite cannot be kept from doing it yet: nothing may be written before it has.
                self._later(partial(_ended, attempt))
                log.warning("the database is written later", reason="no answer")
                return None
            try:
                return (attempt.result(),)
            except StoreUnavailable as error:
                log.warning("the database is written later", reason=str(error))
                return None

    def _later(self, write: Write) -> None:
        self._writer.put(write)
        self._until = self._writer.accepted

    async def _forget(self, portal: Portal | None) -> None:
        if portal is not None:
            self._rooms[portal.room] = None
            self._pairs[portal.person, portal.address] = None


async def _ended(attempt: asyncio.Future[Any], _: Connection) -> None:
    """A `Write` that only waits for an earlier one, whatever comes of that."""
    with suppress(StoreUnavailable):
        await attempt
