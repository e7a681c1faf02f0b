# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way by which our users' events leave: encrypted where the room is."""

from collections.abc import Mapping
from typing import Any

from bridge.call.ids import RoomId, UserId
from bridge.matrix.encryption.seam import Encryption
from bridge.matrix.homeserver import Homeserver
from bridge.ports import PortalStore


class Post:
    """Sends events. Methods raise `HomeserverError`."""

    def __init__(self, homeserver: Homeserver, encryption: Encryption, store: PortalStore) -> None:
        self._homeserver = homeserver
        self._encryption = encryption
        self._store = store

    async def send(
        self,
        room: RoomId,
        user: UserId,
        event_type: str,
        content: Mapping[str, Any],
        txn: str,
        person: UserId | None = None,
    ) -> None:
        """Send an event that `person` may read (None: the person of the portal, else all members).

        `txn` makes repetitions harmless.
        """
        if self._encryption.active and person is None:
            portal = await self._store.portal_by_room(room)
            person = None if portal is None else portal.person
        event_type, content = await self._encryption.encrypt(
            room, user, person, event_type, content
        )
        await self._homeserver.send(room, user, event_type, content, txn)
