# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether calls can work in a room, and why not: asked of the homeserver, not more than needed."""

import asyncio
from dataclasses import dataclass
from typing import Final

from bridge.call.ids import RoomId
from bridge.matrix.encryption.seam import NONE, Encryption
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.homeserver import Homeserver, Refused
from bridge.records import Portal

PUBLIC: Final = "This room is public, so calls do not work here. Please start a direct chat."
CROWDED: Final = (
    "Calls work only in a room of the two of us, and this room has other members."
    " Please start a direct chat."
)
REPLACED: Final = (
    "This room has been replaced by a newer one, so calls do not work here any more."
    " Please invite me to the newer one, or start a direct chat."
)
_NOT_THERE: Final = (403, 404)
"""Statuses that tell of the room, and not of our token, say."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a room."""

    unfit: str | None
    """Why calls cannot work in it, as a sentence; None if they can."""
    present: bool
    """Whether the person has joined it."""
    successor: RoomId | None = None
    """The room that has taken its place, where its tombstone names one."""


_GOOD: Final = Look(None, True)


class Rooms:
    """Looks at rooms, and at good ones only once until something is heard of them."""

    def __init__(
        self, homeserver: Homeserver, ghosts: Ghosts, encryption: Encryption = NONE
    ) -> None:
        self._homeserver = homeserver
        self._encryption = encryption
        self._ghosts = ghosts
        self._good: set[RoomId] = set()
        self._unchanged: set[RoomId] = set()
        """Rooms of which nothing was heard since somebody began to look at them."""

    def changed(self, room: RoomId) -> None:
        """Members or rules of a room changed: look again before the next call."""
        self._good.discard(room)
        self._unchanged.discard(room)

    async def look(self, portal: Portal) -> Look:
        """What the room is like. Raises `Refused` where the ghost has not joined it."""
        if portal.room in self._good:
            return _GOOD
        self._unchanged.add(portal.room)
        look = await self._ask(portal)
        if look == _GOOD and portal.room in self._unchanged:
            self._good.add(portal.room)
        return look

    async def look_inside(self, portal: Portal) -> Look:
        """The same, where the ghost may not have joined."""
        try:
            return await self.look(portal)
        except Refused as error:
            if error.status not in _NOT_THERE:
                raise
            return Look(f"I am not in this room any more ({error}).", False)

    async def membership(self, portal: Portal) -> object:
        """What the person is in the room: `join`, `invite`, `leave`, …, or None."""
        ghost = self._ghosts.user_id(portal.address)
        member = await self._homeserver.state(portal.room, ghost, "m.room.member", portal.person)
        return member.get("membership")

    async def _ask(self, portal: Portal) -> Look:
        ghost, room = self._ghosts.user_id(portal.address), portal.room
        # At once: a caller waits, and a busy homeserver may take seconds for each.
        members, rules, tombstone = await asyncio.gather(
            self._homeserver.joined_members(room, ghost),
            self._homeserver.state(room, ghost, "m.room.join_rules"),
            self._homeserver.state(room, ghost, "m.room.tombstone"),
        )
        present = portal.person in members
        if members - {portal.person, ghost}:
            return Look(CROWDED, present)
        if rules.get("join_rule") == "public":
            return Look(PUBLIC, present)
        if tombstone.keys() & {"body", "replacement_room"}:
            successor = tombstone.get("replacement_room")
            named = isinstance(successor, str) and successor.startswith("!")
            return Look(REPLACED, present, RoomId(str(successor)) if named else None)
        return Look(await self._encryption.unfit(room, ghost), present)
