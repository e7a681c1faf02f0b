# SPDX-License-Identifier: GPL-3.0-or-later
"""How the bot reads what is encrypted, also where the key comes after the event."""

from collections.abc import Awaitable, Callable

import structlog

from bridge.call.ids import RoomId, UserId
from bridge.matrix.encryption.seam import Encryption, MissingKey, Unreadable
from bridge.matrix.encryption.waiting import Waiting
from bridge.matrix.envelope import RoomEvent

log = structlog.get_logger(__name__)


class Reader:
    """Opens encrypted events for `user`.

    `again` is given an event back whose key has come; `lost` is told of one whose key never came.
    """

    def __init__(
        self,
        user: UserId,
        encryption: Encryption,
        *,
        again: Callable[[RoomEvent], None],
        lost: Callable[[RoomEvent], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._user = user
        self._encryption = encryption
        self._again = again
        self._waiting = Waiting(self._ask, self._resume, lost, sleep)

    async def able(self) -> bool:
        """Whether encrypted rooms can be read at all."""
        return await self._encryption.settled()

    async def read(self, event: RoomEvent) -> RoomEvent | None:
        """What an event says; None if nobody knows, or not yet. Raises `HomeserverError`."""
        session = event.content.get("session_id")
        if isinstance(session, str) and self._waiting.holds(session):
            self._waiting.put(event, session)
            return None
        try:
            return await self._encryption.decrypt(event, self._user)
        except MissingKey as missing:
            self._waiting.put(event, missing.session)
        except Unreadable as error:
            log.warning("encrypted event dropped", room=event.room, reason=str(error))
        return None

    def key_arrived(self, session: str) -> None:
        """The key of a Megolm session has come."""
        self._waiting.arrived(session)

    async def close(self) -> None:
        """Stop waiting."""
        await self._waiting.close()

    async def _ask(self, event: RoomEvent) -> None:
        await self._encryption.ask(event, self._user)

    def _resume(self, room: RoomId, session: str) -> None:
        for event in self._waiting.take(session):
            self._again(event)
        self._waiting.settled(room)
