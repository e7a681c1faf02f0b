# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals and ghosts that were asked for lately: each call wants to know them several times."""

from collections.abc import Hashable
from typing import Any, Final

from mautrix.util.async_db import Database

from bridge.call.ids import Address, RoomId, UserId
from bridge.records import Portal
from bridge.store.portals import Portals

_MOST: Final = 10_000
"""Answers kept; when there are more, all are asked for again."""


class RememberedPortals(Portals):
    """The same, for the one process that writes them. What there is not is asked for each time."""

    def __init__(self, database: Database, most: int = _MOST) -> None:
        super().__init__(database)
        self._most = most
        self._known: dict[Hashable, Any] = {}
        self._changes = 0
        """Of the database: what was read before one is not kept after it."""

    async def portal_by_room(self, room: RoomId) -> Portal | None:
        """The portal that this room is, if it is one."""
        known: Portal | None = self._known.get(room)
        if known is None:
            changes = self._changes
            known = await super().portal_by_room(room)
            self._keep(known, changes)
        return known

    async def portal_by_pair(self, person: UserId, address: Address) -> Portal | None:
        """The portal of this person and this address; there is at most one."""
        known: Portal | None = self._known.get((person, address))
        if known is None:
            changes = self._changes
            known = await super().portal_by_pair(person, address)
            self._keep(known, changes)
        return known

    async def save_portal(self, portal: Portal) -> None:
        """Remember a portal, in place of any other with the same room or the same pair."""
        try:
            await super().save_portal(portal)
        finally:
            self._drop(portal.room)
            self._drop((portal.person, portal.address))

    async def forget_portal(self, room: RoomId) -> None:
        """The room is not a portal any more; harmless if it never was."""
        try:
            await super().forget_portal(room)
        finally:
            self._drop(room)

    async def ghost_name(self, address: Address) -> str | None:
        """The display name last given to this address's ghost; None if it was never made."""
        known: str | None = self._known.get(address)
        if known is None:
            changes = self._changes
            known = await super().ghost_name(address)
            if known is not None and changes == self._changes:
                self._make_room()
                self._known[address] = known
        return known

    async def save_ghost_name(self, address: Address, name: str) -> None:
        """The ghost of this address exists and now has this display name."""
        try:
            await super().save_ghost_name(address, name)
        finally:
            self._changes += 1
            self._known.pop(address, None)

    # --- inside -----------------------------------------------------------------------------

    def _keep(self, portal: Portal | None, changes: int) -> None:
        """Under both names, so that each leads to the other when one of them has to go."""
        if portal is not None and changes == self._changes:
            self._make_room()
            self._known[portal.room] = portal
            self._known[portal.person, portal.address] = portal

    def _make_room(self) -> None:
        if len(self._known) >= self._most:
            self._known.clear()

    def _drop_all(self) -> None:
        self._changes += 1
        self._known.clear()

    def _drop(self, key: Hashable) -> None:
        self._changes += 1
        portal = self._known.get(key)
        if portal is not None:
            self._known.pop(portal.room, None)
            self._known.pop((portal.person, portal.address), None)
