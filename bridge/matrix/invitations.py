# SPDX-License-Identifier: GPL-3.0-or-later
"""Invitations of ghosts: taken or refused, those from other homeservers no sooner than these can.

Server-Server API, "Inviting to a room": the homeserver of who invites stores the invitation only
after ours has taken it. Who answers within that moment is told not to be invited; worse, Synapse
then takes a refusal for done, and only the one who invited never hears of it.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bridge.call.ids import UserId
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.homeserver import Homeserver, Patience, Refused

T = TypeVar("T")

_PATIENCE: Final = 60.0
"""Seconds for which the homeserver may be away while an invitation is answered."""
_SETTLING: Final = 3.0
"""Seconds after which another homeserver has stored its invitation, busy or not."""


class Invitations:
    """Answers them for the ghosts of `domain`. Methods raise `HomeserverError`."""

    def __init__(self, homeserver: Homeserver, patience: Patience, domain: str) -> None:
        self._homeserver = homeserver
        self._patience = patience
        self._domain = domain

    async def take(self, event: RoomEvent, ghost: UserId) -> None:
        """Join; again after a moment, if another homeserver does not know its invitation yet."""
        try:
            await self._persist(lambda: self._homeserver.join(event.room, ghost))
        except Refused:
            if not self._from_elsewhere(event):
                raise
            await self._patience.sleep(_SETTLING)
            await self._persist(lambda: self._homeserver.join(event.room, ghost))

    async def refuse(self, event: RoomEvent, ghost: UserId, reason: str) -> None:
        """Leave the room to which the ghost is invited."""
        if self._from_elsewhere(event):
            await self._patience.sleep(_SETTLING)
        await self._persist(lambda: self._homeserver.leave(event.room, ghost, reason))

    def _from_elsewhere(self, event: RoomEvent) -> bool:
        return event.sender.partition(":")[2] != self._domain

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        deadline = self._patience.clock() + _PATIENCE
        return await self._patience.persist(attempt, lambda: deadline)
