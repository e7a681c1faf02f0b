# SPDX-License-Identifier: GPL-3.0-or-later
"""A `PortalStore` that keeps everything in memory."""

from collections.abc import Sequence

from bridge.call.ids import Address, RoomId, UserId
from bridge.records import Portal


class MemoryPortalStore:
    """Give the same object to a second adapter to play a restart."""

    def __init__(self) -> None:
        self.portals: dict[RoomId, Portal] = {}
        self.unanswered: dict[RoomId, float] = {}
        """When the last call came of those portals in which none was ever answered."""
        self.ghost_names: dict[Address, str] = {}
        self.events: dict[str, float] = {}

    async def portal_by_room(self, room: RoomId) -> Portal | None:
        return self.portals.get(room)

    async def portal_by_pair(self, person: UserId, address: Address) -> Portal | None:
        for portal in self.portals.values():
            if (portal.person, portal.address) == (person, address):
                return portal
        return None

    async def save_portal(self, portal: Portal) -> None:
        old = await self.portal_by_pair(portal.person, portal.address)
        if old is not None:
            del self.portals[old.room]
        self.portals[portal.room] = portal

    async def forget_portal(self, room: RoomId) -> None:
        self.portals.pop(room, None)

    async def unanswered_portals(self, before: float) -> Sequence[Portal]:
        return [self.portals[room] for room, at in self.unanswered.items() if at < before]

    async def ghost_name(self, address: Address) -> str | None:
        return self.ghost_names.get(address)

    async def save_ghost_name(self, address: Address, name: str) -> None:
        self.ghost_names[address] = name

    async def remember_event(self, event_id: str, at: float) -> bool:
        if event_id in self.events:
            return False
        self.events[event_id] = at
        return True

    async def prune_events(self, before: float) -> None:
        self.events = {event: at for event, at in self.events.items() if at >= before}
