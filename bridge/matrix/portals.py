# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals: find, make, accept and watch the two-member rooms of people and ghosts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import structlog

from bridge.call.ids import Address, RoomId, UserId
from bridge.errors import RemoteError
from bridge.matrix.doubles import Doubles
from bridge.matrix.encryption.seam import NONE, Encryption
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.ghosts import Ghosts, display_name
from bridge.matrix.homeserver import Homeserver, HomeserverError, Patience, Refused
from bridge.matrix.invitations import Invitations
from bridge.matrix.post import Post
from bridge.matrix.rooms import PUBLIC, Look, Rooms
from bridge.matrix.search import Search
from bridge.ports import PortalStore
from bridge.records import Portal

log = structlog.get_logger(__name__)

T = TypeVar("T")

Pair = tuple[UserId, Address]

_PATIENCE: Final = 60.0
"""Seconds for which the homeserver may be away while a portal is prepared or joined."""
_NOT_ALLOWED: Final = "You are not allowed to make calls here; ask the bridge's administrator."
_MOVED: Final = "You have opened a newer chat with this number; calls work there from now on."
_ELSEWHERE: Final = "Calls go to another chat with this number."


class PortalError(RemoteError):
    """No room in which this person could ring; the message is a sentence."""


class NoSuchPerson(PortalError):
    """The homeserver has no such user, though a rule led there."""


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
        doubles: Doubles | None = None,
        encryption: Encryption = NONE,
    ) -> None:
        self.ghosts = ghosts
        self._homeserver = homeserver
        self._store = store
        self._doubles = doubles or Doubles(None, ghosts.domain)
        self._rooms = Rooms(homeserver, ghosts, encryption)
        self._search = Search(homeserver, store, self._doubles, self._rooms)
        self._post = Post(homeserver, encryption, store)
        self._encryption = encryption
        self._patience = patience
        self._invitations = Invitations(homeserver, patience, ghosts.domain)
        self._may_use = may_use
        self._is_address = is_address
        self._registered: set[Address] = set()
        self._newborn: set[Address] = set()
        """Those whose ghost did not exist before, and was in no room yet."""
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
            if await self._homeserver.register(ghost):
                self._newborn.add(address)
                await self._encryption.forget(ghost)
            # Before anybody looks it up: clients then decide whether their rooms are encrypted.
            await self._encryption.ready(ghost)
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

        `invited` is told the room if the person has to join it first. In an encrypted portal,
        their devices can read what comes next: clients drop a call event that they cannot.
        """
        room = await self._joined_room(person, address, caller_name, invited)
        ghost = self.ghosts.user_id(address)
        await self._persist(lambda: self._encryption.prepare(room, ghost, person))
        return room

    async def _joined_room(
        self,
        person: UserId,
        address: Address,
        caller_name: str,
        invited: Callable[[RoomId], None],
    ) -> RoomId:
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
            await self._invitations.refuse(event, ghost, refusal)
            bound.info("invitation refused", reason=refusal)
            return None
        portal = Portal(room=event.room, person=event.sender, address=address)
        if await self._store.portal_by_pair(portal.person, address) is None:
            # Before joining: a crash in between must not leave a room in which nothing rings.
            await self._store.save_portal(portal)
        try:
            await self._invitations.take(event, ghost)
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
        await self._take_leave(old, _MOVED)

    async def unfit(self, portal: Portal) -> str | None:
        """Why calls cannot work in this room, as a sentence; None if they can."""
        return (await self._look(portal)).unfit

    def changed(self, room: RoomId) -> None:
        """Members or rules of a room changed: look again before the next call."""
        self._rooms.changed(room)

    def joined(self, portal: Portal) -> None:
        """The person of a portal has joined it."""
        self._resolve(portal, portal.room)

    def declined(self, portal: Portal) -> None:
        """The person of a portal will not join it."""
        self._resolve(portal, None)

    async def recover(self, event: RoomEvent) -> Portal | None:
        """The portal that a room is although the database does not know of it: it may be lost."""
        if not self._may_use(event.sender):
            return None
        return await self._search.behind(event, self.address_of)

    async def mark_direct(self, portal: Portal, instead_of: Portal | None) -> None:
        """Have the person's clients know the portal for what it is, where we may tell them."""
        ghost = self.ghosts.user_id(portal.address)
        old = None if instead_of is None else instead_of.room
        await self._doubles.mark_direct(portal.person, ghost, portal.room, instead_of=old)

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
        await self._tell(portal, text, f"told.{cause}")
        self._told.add(portal.room)

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
                return PUBLIC if content.get("join_rule") == "public" else None
        return None

    async def _find_or_make(self, pair: Pair, caller_name: str) -> tuple[RoomId, bool]:
        """The portal's room, and whether the person is in it; if not, they are invited."""
        person, address = pair
        ghost = await self.ensure_ghost(address, caller_name)
        portal = await self._store.portal_by_pair(person, address)
        if portal is not None:
            look = await self._rooms.look_inside(portal)
            if look.unfit is None:
                return portal.room, look.present or await self._invite_again(portal, ghost)
            await self._give_up(portal, look.unfit)
            successor = await self._follow(portal, look.successor)
            if successor is not None:
                return successor.room, True
        if address in self._newborn:  # It cannot be in any room.
            return await self._make(person, address, ghost)
        found = await self._search.between(person, address, ghost)
        if found is None:
            return await self._make(person, address, ghost)
        if found.present:
            await self.adopt(found.portal)
            return found.portal.room, True
        await self._store.save_portal(found.portal)
        return found.portal.room, await self._enter(found.portal, ghost)

    async def _look(self, portal: Portal) -> Look:
        look = await self._rooms.look(portal)
        if look.unfit is None and look.present:
            self._told.discard(portal.room)
        return look

    async def _give_up(self, portal: Portal, reason: str) -> None:
        """Calls cannot work in this room any more: nobody shall call into it, and wonder."""
        log.info("portal given up", room=portal.room, reason=reason)
        await self.forget(portal.room)
        await self._take_leave(portal, reason)

    async def _take_leave(self, portal: Portal, reason: str) -> None:
        try:
            await self._tell(portal, reason, f"left.{portal.room}")
            await self._homeserver.leave(portal.room, self.ghosts.user_id(portal.address), reason)
        except HomeserverError as error:
            log.warning("room could not be left", room=portal.room, reason=str(error))

    async def _follow(self, old: Portal, successor: RoomId | None) -> Portal | None:
        """The room that took the old one's place, if the ghost may join and calls work there."""
        if successor is None:
            return None
        portal = Portal(room=successor, person=old.person, address=old.address)
        ghost = self.ghosts.user_id(old.address)
        try:
            await self._homeserver.join(successor, ghost)
        except Refused as error:
            log.info("replacement cannot be joined", room=successor, reason=str(error))
            return None
        look = await self._look(portal)
        if look.unfit is not None or not look.present:
            await self._take_leave(portal, look.unfit or _ELSEWHERE)
            return None
        await self.adopt(portal)
        return portal

    async def _make(self, person: UserId, address: Address, ghost: UserId) -> tuple[RoomId, bool]:
        if not await self._exists(person):
            raise NoSuchPerson("There is nobody of this name on this homeserver.")
        room = await self._homeserver.create_room(
            ghost,
            {
                "is_direct": True,
                # Makes the person as powerful as the ghost: it is their room.
                "preset": "trusted_private_chat",
                "invite": [person],
                "initial_state": self._encryption.initial_state(),
            },
        )
        self._newborn.discard(address)
        portal = Portal(room=room, person=person, address=address)
        await self._store.save_portal(portal)
        log.info("portal made", room=room, person=person, address=address)
        return room, await self._enter(portal, ghost)

    async def _exists(self, person: UserId) -> bool:
        """Whether the person is there to be invited; of other servers, that is theirs to know."""
        ours = person.endswith(f":{self.ghosts.domain}")
        return not ours or await self._homeserver.exists(person)

    async def _enter(self, portal: Portal, ghost: UserId) -> bool:
        """Accept for the invited person, where we may; whether they are in the room then."""
        joined, _ = await asyncio.gather(
            self._doubles.join(portal.room, portal.person),
            self._doubles.mark_direct(portal.person, ghost, portal.room),
        )
        # Homeservers and clients may accept for the person before we know of the room.
        if not joined:
            members = await self._homeserver.joined_members(portal.room, ghost)
            joined = portal.person in members
        if not joined:
            return False
        self.joined(portal)
        return True

    async def _invite_again(self, portal: Portal, ghost: UserId) -> bool:
        """Invite who left; whether they are in the room then, as they may be by themselves."""
        membership = await self._rooms.membership(portal)
        if membership == "join":
            return True
        if membership != "invite":
            try:
                await self._homeserver.invite(portal.room, ghost, portal.person)
            except Refused as error:
                if await self._rooms.membership(portal) == "join":
                    return True
                raise PortalError(
                    f"The person cannot be invited to the room again: {error}"
                ) from error
        return await self._enter(portal, ghost)

    async def _tell(
        self, portal: Portal, text: str, transaction: str, kind: str = "m.notice"
    ) -> None:
        content = {"msgtype": kind, "body": text}
        ghost = self.ghosts.user_id(portal.address)
        to = portal.person
        await self._post.send(portal.room, ghost, "m.room.message", content, transaction, to)

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        deadline = self._patience.clock() + _PATIENCE
        return await self._patience.persist(attempt, lambda: deadline)
