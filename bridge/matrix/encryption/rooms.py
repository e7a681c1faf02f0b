# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rooms are encrypted, and how."""

from collections.abc import Mapping
from typing import Any, Final

from mautrix.crypto import StateStore
from mautrix.types import EncryptionAlgorithm, RoomEncryptionStateEventContent

from bridge.call.ids import RoomId, UserId
from bridge.matrix.encryption.seam import ENCRYPTION
from bridge.matrix.homeserver import Homeserver

_HOUR: Final = 3_600_000
_WEEK: Final = 7 * 24 * _HOUR
"""Milliseconds."""
_FEW: Final = 10
_MANY: Final = 100


class Rooms(StateStore):
    """A room's encryption, asked of the homeserver once, and again when it may have changed."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver
        self._known: dict[RoomId, Mapping[str, Any]] = {}
        self._unchanged: set[RoomId] = set()
        """Rooms of which no change was heard since somebody began to ask."""

    def changed(self, room: RoomId) -> None:
        """Ask again."""
        self._known.pop(room, None)
        self._unchanged.discard(room)

    def saw_encrypted(self, room: RoomId) -> None:
        """An encrypted event was in the room: if it is not known as encrypted, ask again."""
        if not self._known.get(room, True):
            self.changed(room)

    async def encrypted(self, room: RoomId, user: UserId) -> bool:
        """Whether the room is encrypted. `user` has joined it."""
        known = self._known.get(room)
        if known is None:
            self._unchanged.add(room)
            known = await self._homeserver.state(room, user, ENCRYPTION)
            if room in self._unchanged:
                self._known[room] = known
        return bool(known)

    async def is_encrypted(self, room_id: Any) -> bool:
        """For mautrix: as far as is known."""
        return bool(self._known.get(room_id))

    async def get_encryption_info(self, room_id: Any) -> RoomEncryptionStateEventContent:
        """For mautrix: when keys are to be replaced."""
        known = self._known.get(room_id, {})
        return RoomEncryptionStateEventContent(
            # What else there may be, nobody could decrypt.
            algorithm=EncryptionAlgorithm.MEGOLM_V1,
            rotation_period_ms=_within(known.get("rotation_period_ms"), _HOUR, _WEEK),
            rotation_period_msgs=_within(known.get("rotation_period_msgs"), _FEW, _MANY),
        )

    async def find_shared_rooms(self, user_id: Any) -> list[Any]:
        """For mautrix, which would forget keys shared in them; ours are checked when used."""
        return []


def _within(value: object, least: int, most: int) -> int:
    """What a room wants, within reason: not a key for each event, nor one for ever."""
    return max(least, min(value, most)) if isinstance(value, int) else most
