# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaves the rooms of callers with whom nobody ever had to do: advertisers, wrong numbers."""

from typing import Final

import structlog

from bridge.call.ids import RoomId
from bridge.matrix.encryption.seam import ENCRYPTED, Encryption, MissingKey, Unreadable
from bridge.matrix.envelope import RoomEvent, read_room_event
from bridge.matrix.homeserver import Homeserver, HomeserverError
from bridge.matrix.portals import Portals
from bridge.ports import PortalStore
from bridge.records import Portal

log = structlog.get_logger(__name__)

_READ: Final = 100
"""The newest events of a room among which the person's words are searched for."""
_ANSWERS: Final = frozenset({"m.call.invite", "m.call.answer"})
_REASON: Final = "Nobody has answered this caller for a while."


class Unanswered:
    """Takes ghosts out of rooms where their caller was never answered, called back or written to.

    `store` tells whose calls were never answered; whether the person wrote, the room itself.
    """

    def __init__(
        self,
        *,
        portals: Portals,
        homeserver: Homeserver,
        store: PortalStore,
        encryption: Encryption,
    ) -> None:
        self._portals = portals
        self._homeserver = homeserver
        self._store = store
        self._encryption = encryption
        self._kept: set[RoomId] = set()
        """Rooms in which the person wrote: those stay."""

    async def leave(self, before: float) -> None:
        """Leave those whose last call was before this time (seconds since the epoch).

        Raises `StoreUnavailable`; a homeserver that is away is asked again the next time.
        """
        for portal in await self._store.unanswered_portals(before):
            if portal.room in self._kept:
                continue
            try:
                await self._leave(portal)
            except HomeserverError as error:
                log.warning("room not left", room=portal.room, reason=str(error))

    async def _leave(self, portal: Portal) -> None:
        if await self._wrote(portal):
            self._kept.add(portal.room)
            return
        ghost = self._portals.ghosts.user_id(portal.address)
        await self._homeserver.leave(portal.room, ghost, _REASON)
        await self._portals.forget(portal.room)
        log.info("room of an unanswered caller left", room=portal.room, address=portal.address)

    async def _wrote(self, portal: Portal) -> bool:
        """Whether the person said anything but no."""
        ghost = self._portals.ghosts.user_id(portal.address)
        for raw in await self._homeserver.latest_events(portal.room, ghost, _READ):
            event = read_room_event(raw, 0.0, portal.room)
            if event is None or event.sender != portal.person or event.state_key is not None:
                continue
            if await self._is_word(event, portal):
                return True
        return False

    async def _is_word(self, event: RoomEvent, portal: Portal) -> bool:
        if event.type == ENCRYPTED:
            ghost = self._portals.ghosts.user_id(portal.address)
            try:
                event = await self._encryption.decrypt(event, ghost)
            except (MissingKey, Unreadable):
                return True  # It may well be.
        return event.type in _ANSWERS or not event.type.startswith("m.call.")
