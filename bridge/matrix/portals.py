# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals: find, make, accept and watch the two-member rooms of people and ghosts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import structlog

from bridge.call.ids import Address, RoomId, UserId
from bridge.errors import RemoteError
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.ghosts import Ghosts, display_name
from bridge.matrix.homeserver import Homeserver, HomeserverError, Patience, Refused
from bridge.ports import Portal, PortalStore

log = structlog.get_logger(__name__)

T = TypeVar("T")

Pair = tuple[UserId, Address]

_PATIENCE: Final = 60.0
"""Seconds for which the homeserver may be away while a portal is prepared or joined."""
_NOT_THERE: Final = (403, 404)
"""Statuses that tell of the room, and not of our token, say."""
_NOT_ALLOWED: Final = "You are not allowed to make calls here; ask the bridge's administrator."
_PUBLIC: Final = "This room is public, so calls do not work here. Please start a direct chat."
_CROWDED: Final = (
    "Calls work only in a room of the two of us, and this room has other members."
    " Please start a direct chat."
)
_MOVED: Final = "You have opened a newer chat with this number; calls work there from now on."


class PortalError(RemoteError):
    """No room in which this person could ring; the message is a sentence."""


class Portals:
    """The rooms of this homeserver's ghosts. Methods raise `HomeserverError` unless they say."""

    def __init__(
        self,
        *,
        ghosts: Ghosts,
        homeserver: Homeserver,
        store: PortalStore,
        patience: Patience,
        may_use: Callable[[UserId], bool],
        is_address: Callable[[Address], bool],
    ) -> None:
        self.ghosts = ghosts
        self._homeserver = homeserver
        self._store = store
        self._patience = patience
        self._may_use = may_use
        self._is_address = is_address
        self._registered: set[Address] = set()
        self._good: set[RoomId] = set()
        self._unchanged: set[RoomId] = set()
        """Rooms of which nothing was heard since somebody began to look at them."""
        self._told: set[RoomId] = set()
        self._joining: dict[Pair, list[asyncio.Future[RoomId | None]]] = {}
        self._locks: WeakValueDictionary[Pair, asyncio.Lock] = WeakValueDictionary()

    async def by_room(self, room: RoomId) -> Portal | None:
        """The portal that this room is, if it is one."""
        return await self._store.portal_by_room(room)

    def address_of(self, user: str) -> Address | None:
        """The address whose ghost `user` is; None for anybody else, and for one that cannot be."""
        address = self.ghosts.address(user)
        return address if address is not None and self._is_address(address) else None

    async def ensure_ghost(self, address: Address, caller_name: str = "") -> UserId:
        """The ghost of an address, made and named where necessary."""
        ghost = self.ghosts.user_id(address)
        if address not in self._registered:
            await self._homeserver.register(ghost)
            self._registered.add(address)
        known = await self._store.ghost_name(address)
        name = display_name(address, caller_name)
        # A call without a name does not take away the name of the call before.
        if known is None or (caller_name and known != name):
            await self._homeserver.set_display_name(ghost, name)
            await self._store.save_ghost_name(address, name)
        return ghost

    async def prepare(
        self,
        person: UserId,
        address: Address,
        caller_name: str,
        invited: Callable[[RoomId], None] = lambda _: None,
    ) -> RoomId:
        """A portal that both have joined; waits for the person. Raises `PortalError` too.

        `invited` is told the room if the person has to join it first.
        """
        pair = (person, address)
        joined: asyncio.Future[RoomId | None] = asyncio.get_running_loop().create_future()
        waiting = self._joining.setdefault(pair, [])
        waiting.append(joined)
        try:
            async with self._locks.setdefault(pair, asyncio.Lock()):
                room, present = await self._persist(lambda: self._find_or_make(pair, caller_name))
            if present:
                return room
            if not joined.done():
                invited(room)
            if (entered := await joined) is None:
                raise PortalError("The person declined the invitation to the room.")
            return entered
        finally:
            waiting.remove(joined)
            if not waiting:
                self._joining.pop(pair, None)

    async def room_for(self, person: UserId, address: Address, caller_name: str) -> RoomId:
        """A portal to which the person has come, or is invited. Raises `PortalError` too."""
        pair = (person, address)
        async with self._locks.setdefault(pair, asyncio.Lock()):
            room, _ = await self._persist(lambda: self._find_or_make(pair, caller_name))
        return room

    async def accept(self, event: RoomEvent) -> Portal | None:
        """A person invited a ghost: join where calls can work, else say why not.

        The room is not this person's portal before `adopt`.
        """
        ghost = UserId(event.state_key or "")
        address = self.address_of(ghost)
        if address is None:
            log.info("invitation of a ghost without an address", room=event.room, ghost=ghost)
            return None
        bound = log.bind(room=event.room, person=event.sender, address=address)
        await self._persist(lambda: self.ensure_ghost(address))
        refusal = self._refusal(event)
        if refusal is not None:
            await self._persist(lambda: self._homeserver.leave(event.room, ghost, refusal))
            bound.info("invitation refused", reason=refusal)
            return None
        portal = Portal(room=event.room, person=event.sender, address=address)
        if await self._store.portal_by_pair(portal.person, address) is None:
            # Before joining: a crash in between must not leave a room in which nothing rings.
            await self._store.save_portal(portal)
        try:
            await self._persist(lambda: self._homeserver.join(event.room, ghost))
        except Refused:
            await self.forget(event.room)
            raise
        unfit = await self._persist(lambda: self.unfit(portal))
        if unfit is None:
            return portal
        await self.forget(event.room)
        await self.tell_once(portal, unfit, event.id)
        await self._persist(lambda: self._homeserver.leave(event.room, ghost, unfit))
        bound.info("room left", reason=unfit)
        return None

    async def adopt(self, portal: Portal) -> Portal | None:
        """From now on this is the pair's portal; returns the one whose place it takes."""
        old = await self._store.portal_by_pair(portal.person, portal.address)
        await self._store.save_portal(portal)
        self.joined(portal)
        log.info("portal adopted", room=portal.room, person=portal.person, address=portal.address)
        return old if old is not None and old.room != portal.room else None

    async def abandon(self, old: Portal) -> None:
        """Leave a room whose place another has taken: nobody shall call into a dead one."""
        self.changed(old.room)
        ghost = self.ghosts.user_id(old.address)
        try:
            await self._tell(old, _MOVED, f"moved.{old.room}")
            await self._homeserver.leave(old.room, ghost, _MOVED)
        except HomeserverError as error:
            log.warning("older room could not be left", room=old.room, reason=str(error))

    async def unfit(self, portal: Portal) -> str | None:
        """Why calls cannot work in this room, as a sentence; None if they can."""
        reason, _ = await self._look(portal)
        return reason

    def changed(self, room: RoomId) -> None:
        """Members or rules of a room changed: look again before the next call."""
        self._good.discard(room)
        self._unchanged.discard(room)

    def joined(self, portal: Portal) -> None:
        """The person of a portal has joined it."""
        self._resolve(portal, portal.room)

    def declined(self, portal: Portal) -> None:
        """The person of a portal will not join it."""
        self._resolve(portal, None)

    async def forget(self, room: RoomId) -> None:
        """The room is not a portal any more."""
        self.changed(room)
        self._told.discard(room)
        await self._store.forget_portal(room)

    async def tell_once(self, portal: Portal, text: str, cause: str) -> None:
        """A notice about the room itself, not repeated until the room has been found good.

        `cause` is the id of the event that brought it about.
        """
        if portal.room in self._told:
            return
        self._told.add(portal.room)
        await self._tell(portal, text, f"told.{cause}")

    async def say(
        self, portal: Portal, text: str, transaction: str, kind: str = "m.notice"
    ) -> None:
        """A message of a portal's ghost; `transaction` makes repetitions harmless."""
        await self._persist(lambda: self._tell(portal, text, transaction, kind))

    def _resolve(self, portal: Portal, room: RoomId | None) -> None:
        for waiter in self._joining.get((portal.person, portal.address), ()):
            if not waiter.done():
                waiter.set_result(room)

    def _refusal(self, event: RoomEvent) -> str | None:
        """What can be known against an invitation before accepting it."""
        if not self._may_use(event.sender):
            return _NOT_ALLOWED
        for state in event.invite_state:
            content = state.get("content")
            if state.get("type") == "m.room.join_rules" and isinstance(content, dict):
                return _PUBLIC if content.get("join_rule") == "public" else None
        return None

    async def _find_or_make(self, pair: Pair, caller_name: str) -> tuple[RoomId, bool]:
        """The portal's room, and whether the person is in it; if not, they are invited."""
        person, address = pair
        ghost = await self.ensure_ghost(address, caller_name)
        portal = await self._store.portal_by_pair(person, address)
        if portal is None:
            return await self._make(person, address, ghost), False
        try:
            unfit, present = await self._look(portal)
        except Refused as error:
            if error.status not in _NOT_THERE:
                raise
            unfit, present = f"the ghost is not in the room: {error}", False
        if unfit is not None:
            log.info("portal given up", room=portal.room, reason=unfit)
            await self.forget(portal.room)
            return await self._make(person, address, ghost), False
        if not present:
            await self._invite_again(portal, ghost)
        return portal.room, present

    async def _look(self, portal: Portal) -> tuple[str | None, bool]:
        """Why calls cannot work in the room, if so, and whether the person has joined it."""
        if portal.room in self._good:
            return None, True
        ghost = self.ghosts.user_id(portal.address)
        self._unchanged.add(portal.room)
        members = await self._homeserver.joined_members(portal.room, ghost)
        present = portal.person in members
        if members - {portal.person, ghost}:
            return _CROWDED, present
        rules = await self._homeserver.state(portal.room, ghost, "m.room.join_rules")
        if rules.get("join_rule") == "public":
            return _PUBLIC, present
        if present and portal.room in self._unchanged:
            self._good.add(portal.room)
            self._told.discard(portal.room)
        return None, present

    async def _make(self, person: UserId, address: Address, ghost: UserId) -> RoomId:
        room = await self._homeserver.create_room(
            ghost,
            {
                "is_direct": True,
                # Makes the person as powerful as the ghost: it is their room.
                "preset": "trusted_private_chat",
                "invite": [person],
            },
        )
        portal = Portal(room=room, person=person, address=address)
        await self._store.save_portal(portal)
        log.info("portal made", room=room, person=person, address=address)
        # Homeservers and clients may accept for the person before we know of the room.
        if person in await self._homeserver.joined_members(room, ghost):
            self.joined(portal)
        return room

    async def _invite_again(self, portal: Portal, ghost: UserId) -> None:
        member = await self._homeserver.state(portal.room, ghost, "m.room.member", portal.person)
        if member.get("membership") == "invite":
            return
        try:
            await self._homeserver.invite(portal.room, ghost, portal.person)
        except Refused as error:
            raise PortalError(f"The person cannot be invited to the room again: {error}") from error

    async def _tell(
        self, portal: Portal, text: str, transaction: str, kind: str = "m.notice"
    ) -> None:
        content = {"msgtype": kind, "body": text}
        ghost = self.ghosts.user_id(portal.address)
        await self._homeserver.send(portal.room, ghost, "m.room.message", content, transaction)

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        deadline = self._patience.clock() + _PATIENCE
        return await self._patience.persist(attempt, lambda: deadline)
