# SPDX-License-Identifier: GPL-3.0-or-later
"""Acting for the people of our own homeserver: joining their portals, keeping their direct chats.

That takes a second registration, whose namespace is everybody's and which has no address: with the
first one, the homeserver would tell the bridge of everything that is said in any room.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog

from bridge.call.ids import RoomId, UserId
from bridge.matrix.homeserver import Homeserver, HomeserverError, Refused

log = structlog.get_logger(__name__)

_DIRECT: Final = "m.direct"


class Doubles:
    """The bridge in the place of people; `people` is None where that was not set up."""

    def __init__(self, people: Homeserver | None, domain: str) -> None:
        self._people = people
        self._domain = domain
        self._locks: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()

    async def join(self, room: RoomId, person: UserId) -> bool:
        """Accept an invitation for the person; whether that was done. Raises `Unavailable`."""
        people = self._of(person)
        if people is None:
            return False
        try:
            await people.join(room, person)
        except Refused as error:
            _warn("join", person, error)
            return False
        return True

    async def direct_rooms(self, person: UserId, ghost: UserId) -> list[RoomId]:
        """The person's direct chats with the ghost, as their clients see it."""
        people = self._of(person)
        if people is None:
            return []
        try:
            return _rooms_of(await people.account_data(person, _DIRECT), ghost)
        except HomeserverError as error:
            _warn("read direct chats", person, error)
            return []

    async def members(self, room: RoomId, person: UserId) -> frozenset[UserId]:
        """Who has joined a room that the person is in; empty where that cannot be known."""
        people = self._of(person)
        if people is None:
            return frozenset()
        try:
            return await people.joined_members(room, person)
        except Refused as error:
            _warn("look at a room", person, error)
            return frozenset()

    async def mark_direct(
        self, person: UserId, ghost: UserId, room: RoomId, *, instead_of: RoomId | None = None
    ) -> None:
        """Have the person's clients take the room for the direct chat with the ghost."""
        people = self._of(person)
        if people is None:
            return
        # Read, change, write: two of us at once would lose one's change.
        async with self._locks.setdefault(person, asyncio.Lock()):
            try:
                content = await people.account_data(person, _DIRECT)
                known = _rooms_of(content, ghost)
                rooms = [room, *(each for each in known if each not in (room, instead_of))]
                if rooms != known:
                    changed: dict[str, Any] = {**content, ghost: rooms}
                    await people.set_account_data(person, _DIRECT, changed)
            except HomeserverError as error:
                _warn("mark a direct chat", person, error)

    def _of(self, person: UserId) -> Homeserver | None:
        return self._people if person.endswith(f":{self._domain}") else None


def _rooms_of(content: Mapping[str, Any], ghost: UserId) -> list[RoomId]:
    rooms = content.get(ghost)
    if not isinstance(rooms, list):
        return []
    return [RoomId(each) for each in rooms if isinstance(each, str)]


def _warn(what: str, person: UserId, error: HomeserverError) -> None:
    log.warning(
        "could not act for a person; is the second registration loaded?",
        what=what,
        person=person,
        reason=str(error),
    )
