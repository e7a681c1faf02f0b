# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the direct chats of people and ghosts that the database does not know: it may be lost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.call.ids import Address, UserId
from bridge.matrix.doubles import Doubles
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.homeserver import Homeserver
from bridge.matrix.rooms import Rooms
from bridge.ports import PortalStore
from bridge.records import Portal

_MOST_LOOKED_AT: Final = 200
"""Rooms of a ghost among which the one with a certain person is searched for."""


@dataclass(frozen=True, slots=True)
class Found:
    """A room that can be the portal."""

    portal: Portal
    present: bool
    """Whether the person has joined it; if not, they are invited."""


class Search:
    """Looks where the homeserver says that people and ghosts are. Raises `HomeserverError`."""

    def __init__(
        self, homeserver: Homeserver, store: PortalStore, doubles: Doubles, rooms: Rooms
    ) -> None:
        self._homeserver = homeserver
        self._store = store
        self._doubles = doubles
        self._rooms = rooms

    async def between(self, person: UserId, address: Address, ghost: UserId) -> Found | None:
        """A room with just these two; one that the person has joined, if there is any."""
        direct = await self._doubles.direct_rooms(person, ghost)
        rooms = dict.fromkeys([*direct, *await self._homeserver.joined_rooms(ghost)])
        invited: Found | None = None
        for room in list(rooms)[:_MOST_LOOKED_AT]:
            if await self._store.portal_by_room(room) is not None:
                continue  # somebody else's
            portal = Portal(room=room, person=person, address=address)
            look = await self._rooms.look_inside(portal)
            if look.unfit is None and look.present:
                return Found(portal, present=True)
            if look.unfit is None and await self._rooms.membership(portal) == "invite":
                invited = invited or Found(portal, present=False)
        return invited

    async def behind(
        self, event: RoomEvent, address_of: Callable[[str], Address | None]
    ) -> Portal | None:
        """The portal that the room of a person's event could be.

        Whose ghost is there, only the event itself may say, or the person's own view of the room.
        """
        invitee = event.content.get("invitee")
        inside = await self._doubles.members(event.room, event.sender)
        for ghost in {*inside, *([invitee] if isinstance(invitee, str) else [])}:
            address = address_of(ghost)
            if address is None:
                continue
            portal = Portal(room=event.room, person=event.sender, address=address)
            look = await self._rooms.look_inside(portal)
            if look.unfit is None and look.present:
                return portal
        return None
