# SPDX-License-Identifier: GPL-3.0-or-later
"""What is encrypted in portals: opened when it or its key comes; else the person is told."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bridge.call.ids import RoomId
from bridge.matrix.encryption.seam import (
    ENCRYPTED,
    Encryption,
    MissingKey,
    Unreadable,
    Withheld,
)
from bridge.matrix.encryption.waiting import Waiting
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.portals import Portals
from bridge.records import Portal

log = structlog.get_logger(__name__)

_NOT_HERE: Final = (
    "This room is encrypted, and calls do not work in it."
    " Please start a direct chat without encryption."
)
_NO_KEY: Final = (
    "I could not read an encrypted message of yours, because your client has not sent me its key."
    " If it was a call, please call again."
)
_WITHHELD: Final = (
    "Your client does not let me read your messages, so I could not take your call. Please let it"
    " encrypt for devices that you have not verified, or verify mine."
)
_STILL_READ: Final = 120.0
"""Seconds after which an encrypted event from before the ghost joined is no call any more."""


class Sealed:
    """Opens encrypted events of portals. Methods raise `HomeserverError`.

    `waiting` holds those without a key; `resume` is told when a session of them can be taken.
    """

    def __init__(
        self, encryption: Encryption, portals: Portals, resume: Callable[[RoomId, str], None]
    ) -> None:
        self._encryption = encryption
        self._portals = portals
        self.waiting = Waiting(self._ask, resume, self._give_up)

    async def open(self, event: RoomEvent, portal: Portal) -> RoomEvent | None:
        """What an encrypted event says; None if nobody knows, or not yet."""
        if not await self._encryption.settled():
            log.warning("encrypted event cannot be read", room=event.room)
            await self._portals.tell_once(portal, _NOT_HERE, event.id)
            return None
        try:
            return await self._decrypt(event, portal)
        except MissingKey as missing:
            self.waiting.put(event, missing.session)
            return None

    async def open_old(
        self,
        event: RoomEvent,
        portal: Portal,
        now: float,
        is_new: Callable[[str], Awaitable[bool]],
    ) -> RoomEvent | None:
        """An event of the room's history, readable; it may have to wait for its key."""
        if event.type != ENCRYPTED:
            return None if self._encryption.requires else event
        if not self._encryption.active or event.age(now) > _STILL_READ:
            return None
        try:
            return await self._decrypt(event, portal)
        except MissingKey as missing:
            if await is_new(event.id):
                self.waiting.put(event, missing.session)
            return None

    async def _decrypt(self, event: RoomEvent, portal: Portal) -> RoomEvent | None:
        """Raises `MissingKey`. Nothing overtakes what was encrypted with the same key."""
        session = event.content.get("session_id")
        if isinstance(session, str) and self.waiting.holds(session):
            raise MissingKey(session)
        ghost = self._portals.ghosts.user_id(portal.address)
        try:
            return await self._encryption.decrypt(event, ghost)
        except Unreadable as error:
            log.warning("encrypted event dropped", room=event.room, reason=str(error))
            if isinstance(error, Withheld):
                await self._portals.tell_once(portal, _WITHHELD, event.id)
            return None

    async def _ask(self, event: RoomEvent) -> None:
        portal = await self._portals.by_room(event.room)
        if portal is not None:
            await self._encryption.ask(event, self._portals.ghosts.user_id(portal.address))

    async def _give_up(self, event: RoomEvent) -> None:
        portal = await self._portals.by_room(event.room)
        if portal is not None:
            await self._portals.tell_once(portal, _NO_KEY, event.id)
