# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do in rooms, told to the core: in order per room, and once.

Homeservers repeat a transaction until it is acknowledged, and again after a restart of ours, so the
id of an event is remembered before the event is acted upon.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from bridge.call.events import MatrixCallEvent, MatrixInviteReceived, MatrixMemberLeft
from bridge.call.ids import RoomId, UserId
from bridge.matrix.content import CALL_EVENT_TYPES, Unusable, read_call_event
from bridge.matrix.encryption.seam import ENCRYPTED, ENCRYPTION, NONE, Encryption
from bridge.matrix.envelope import RoomEvent, finite, read_room_event
from bridge.matrix.homeserver import Homeserver, HomeserverError, Patience
from bridge.matrix.lanes import Lanes
from bridge.matrix.portals import Portals
from bridge.matrix.rtc import RTC_EVENT_TYPES, RtcWatch
from bridge.matrix.sealed import Sealed
from bridge.matrix.words import is_correction, is_notice, text_of
from bridge.ports import Emit, PortalStore
from bridge.records import Portal, Typed

log = structlog.get_logger(__name__)

REMEMBERED: Final = 7 * 86400.0
"""Seconds for which an event counts as a repetition; a call event is stale long before that."""
_PRUNE_EVERY: Final = 3600.0
_READ_BACK: Final = 50
_MATTERS: Final = 60.0
"""Seconds for which acting upon an event is worth trying: a call that ends is told that long."""
_ONCE: Final = 0.1
_CALLS: Final = CALL_EVENT_TYPES | RTC_EVENT_TYPES
_ENDS: Final = frozenset({"m.call.hangup", "m.call.reject"})
_OTHER_TYPES: Final = frozenset(
    {
        "m.room.member",
        "m.room.join_rules",
        "m.room.tombstone",
        "m.room.message",
        ENCRYPTED,
        ENCRYPTION,
    }
    | RTC_EVENT_TYPES
)


@dataclass(frozen=True, slots=True)
class _KeyArrived:
    """The events of a session that waited can be read."""

    session: str


class Inbox:
    """Receives transactions and emits what they mean.

    `elsewhere` takes the events of rooms that are no portals, `typed` what people write in portals.
    """

    def __init__(
        self,
        *,
        bot: UserId,
        portals: Portals,
        homeserver: Homeserver,
        store: PortalStore,
        emit: Emit,
        clock: Callable[[], float],
        patience: Patience,
        encryption: Encryption = NONE,
    ) -> None:
        self._bot = bot
        self.elsewhere: Callable[[RoomEvent], Awaitable[None]] = _not_ours
        self.typed: Callable[[Typed], None] = _not_read
        self._portals = portals
        self._ghosts = portals.ghosts
        self._homeserver = homeserver
        self._store = store
        self._emit = emit
        self._clock = clock
        self._patience = patience
        self._rtc = RtcWatch(portals.say, clock)
        self._encryption = encryption
        self._lanes: Lanes[RoomId, RoomEvent | _KeyArrived] = Lanes(self._handle)
        self._sealed = Sealed(encryption, portals, self._resume)
        self._pruned_at = -_PRUNE_EVERY

    async def receive(self, raw_events: list[Any]) -> None:
        """Take the events of one transaction; when this returns it may be acknowledged."""
        now = self._clock()
        for raw in raw_events:
            event = read_room_event(raw, now)
            if event is not None and self._concerns_us(event) and await self._is_new(event.id):
                self._lanes.put(event.room, event)
        await self._prune(now)

    @property
    def waiting(self) -> int:
        """How many events wait for those before them."""
        return self._lanes.waiting

    async def drained(self) -> None:
        """Wait until everything received has been acted upon."""
        await self._lanes.drained()

    def key_arrived(self, session: str) -> None:
        """The key of a Megolm session has come: what waits for it can be read."""
        self._sealed.waiting.arrived(session)

    def again(self, event: RoomEvent) -> None:
        """Handle an event once more, after what waits in its room."""
        self._lanes.put(event.room, event)

    async def close(self) -> None:
        """Stop acting upon events."""
        await self._sealed.waiting.close()
        await self._lanes.close()

    def _concerns_us(self, event: RoomEvent) -> bool:
        known = event.type in CALL_EVENT_TYPES or event.type in _OTHER_TYPES
        return known and event.sender != self._bot and not self._ghosts.owns(event.sender)

    async def _is_new(self, event_id: str) -> bool:
        try:
            return await self._store.remember_event(event_id, self._clock())
        except Exception:
            # A repetition is rare and harmless to the core; a call that is not taken is neither.
            log.exception("cannot tell whether an event is new", event_id=event_id)
            return True

    async def _prune(self, now: float) -> None:
        if now - self._pruned_at < _PRUNE_EVERY:
            return
        self._pruned_at = now
        try:
            await self._store.prune_events(now - REMEMBERED)
        except Exception:
            log.exception("cannot forget old events")

    async def _handle(self, event: RoomEvent | _KeyArrived) -> None:
        """Act upon an event, repeatedly while homeserver or database are away and it matters."""
        if isinstance(event, _KeyArrived):
            waited = self._sealed.waiting.take(event.session)
            for each in waited:
                await self._handle(each)
            if waited:
                self._sealed.waiting.settled(waited[0].room)
            return
        deadline = self._patience.clock() + self._time_for(event)
        try:
            await self._patience.persist(lambda: self._dispatch(event), lambda: deadline)
        except HomeserverError as error:
            log.warning("event not acted upon", room=event.room, type=event.type, reason=str(error))

    def _time_for(self, event: RoomEvent) -> float:
        """Seconds for which it is worth trying; whatever it is, it is tried once."""
        if event.type != "m.call.invite":
            return _MATTERS
        lifetime = finite(event.content.get("lifetime"))
        rings = _MATTERS if lifetime is None else min(_MATTERS, lifetime / 1000)
        return max(_ONCE, rings - event.age(self._clock()))

    async def _dispatch(self, event: RoomEvent) -> None:
        ghost_concerned = event.state_key is not None and self._ghosts.owns(event.state_key)
        if event.type == "m.room.member" and ghost_concerned:
            await self._ghost_member(event)
            return
        portal = await self._portals.by_room(event.room)
        if portal is None and event.type in ("m.call.invite", ENCRYPTED):
            portal = await self._recover(event)
        if portal is None:
            await self.elsewhere(event)
        elif event.type == "m.room.member":
            self._person_member(event, portal)
        elif event.type == "m.room.join_rules":
            self._portals.changed(event.room)
        elif event.type == "m.room.tombstone":
            self._replaced(portal)
        elif event.type == ENCRYPTION:
            self._encryption.changed(event.room)
            self._portals.changed(event.room)
        elif event.type == ENCRYPTED:
            clear = await self._sealed.open(event, portal)
            if clear is not None:
                await self._said(clear, portal)
        elif await self._counts(event, portal):
            await self._said(event, portal)

    async def _counts(self, event: RoomEvent, portal: Portal) -> bool:
        """Whether something that was not encrypted is believed."""
        if not self._encryption.requires or event.type in RTC_EVENT_TYPES:
            return True
        if await self._portals.unfit(portal) is not None:
            return True  # The room is not encrypted at all, and the person is told so.
        log.warning("event dropped, as it is not encrypted", room=event.room, type=event.type)
        return False

    async def _said(self, event: RoomEvent, portal: Portal) -> None:
        """What somebody said in a portal, readable by now."""
        if event.type == "m.room.message":
            self._message(event, portal)
        else:
            await self._any_call_event(event, portal)

    def _resume(self, room: RoomId, session: str) -> None:
        self._lanes.put(room, _KeyArrived(session))

    async def _ghost_member(self, event: RoomEvent) -> None:
        membership = event.content.get("membership")
        if membership == "invite":
            portal = await self._portals.accept(event)
            if portal is not None:
                await self._open(portal)
        elif membership in ("leave", "ban"):
            portal = await self._portals.by_room(event.room)
            if portal is not None and self._ghosts.address(event.state_key or "") == portal.address:
                await self._portal_over(portal, "the ghost was removed")

    async def _open(self, portal: Portal) -> None:
        old = await self._portals.adopt(portal)
        if old is not None:
            self._emit(MatrixMemberLeft(room=old.room, user=old.person))
            await self._portals.abandon(old)
        await self._read_back(portal)
        await self._portals.mark_direct(portal, instead_of=old)

    async def _recover(self, event: RoomEvent) -> Portal | None:
        portal = await self._portals.recover(event)
        if portal is not None:
            log.info("portal found again", room=portal.room, person=portal.person)
            await self._portals.adopt(portal)
        return portal

    def _person_member(self, event: RoomEvent, portal: Portal) -> None:
        self._portals.changed(event.room)
        if event.state_key != portal.person:
            return
        membership = event.content.get("membership")
        if membership == "join":
            self._portals.joined(portal)
        elif membership in ("leave", "ban"):
            self._portals.declined(portal)
            self._emit(MatrixMemberLeft(room=portal.room, user=portal.person))

    def _replaced(self, portal: Portal) -> None:
        """The room says where to go on; until the ghost is invited there, whoever calls is told."""
        log.info("portal replaced by a newer room", room=portal.room)
        self._portals.changed(portal.room)
        self._emit(MatrixMemberLeft(room=portal.room, user=portal.person))

    async def _portal_over(self, portal: Portal, why: str) -> None:
        """No call can go on in a room that has ended for one of the two."""
        log.info("portal forgotten", room=portal.room, reason=why)
        await self._portals.forget(portal.room)
        self._emit(MatrixMemberLeft(room=portal.room, user=portal.person))

    def _message(self, event: RoomEvent, portal: Portal) -> None:
        if event.sender != portal.person or is_notice(event.content):
            return
        typed = Typed(
            portal=portal,
            event_id=event.id,
            age=event.age(self._clock()),
            text=text_of(event.content),
            correction=is_correction(event.content),
        )
        self.typed(typed)

    async def _any_call_event(self, event: RoomEvent, portal: Portal) -> None:
        """An event of either kind of call, decrypted."""
        if event.type in RTC_EVENT_TYPES:
            await self._rtc.receive(event, portal)
        elif event.type in CALL_EVENT_TYPES:
            await self._call_event(event, portal)

    async def _call_event(self, event: RoomEvent, portal: Portal) -> None:
        bound = log.bind(room=event.room, type=event.type, sender=event.sender)
        if event.sender != portal.person:
            bound.info("call event ignored: not from the person of this portal")
            return
        self._sealed.waiting.passed(event)
        if event.type == "m.call.invite" and self._sealed.waiting.is_over(event):
            bound.info("invite ignored: its call ended while it waited for its key")
            return
        if event.type == "m.call.invite" and not await self._may_ring(event, portal):
            return
        for told in self._read(event, portal):
            self._emit(told)

    def _is_ours(self, user: str) -> bool:
        return user == self._bot or self._ghosts.owns(user)

    def _read(self, event: RoomEvent, portal: Portal) -> tuple[MatrixCallEvent, ...]:
        ghost = self._ghosts.user_id(portal.address)
        read = read_call_event(
            event,
            portal.address,
            ghost,
            self._clock(),
            address_of=self._portals.address_of,
            is_ours=self._is_ours,
        )
        if isinstance(read, Unusable):
            log.warning("call event dropped", room=event.room, type=event.type, reason=read.reason)
            return ()
        return read

    async def _may_ring(self, event: RoomEvent, portal: Portal) -> bool:
        try:
            unfit = await self._portals.unfit(portal)
        except HomeserverError as error:
            # The room was a portal when last seen, and the person is waiting.
            log.warning("room could not be checked", room=event.room, reason=str(error))
            return True
        if unfit is not None:
            log.info("invite ignored", room=event.room, reason=unfit)
            await self._portals.tell_once(portal, unfit, event.id)
        return unfit is None

    async def _read_back(self, portal: Portal) -> None:
        """Deliver what was said before the ghost had joined: homeservers do not push that."""
        ghost = UserId(self._ghosts.user_id(portal.address))
        raw_events = await self._homeserver.latest_events(portal.room, ghost, _READ_BACK)
        now = self._clock()
        found = [read_room_event(raw, now, portal.room) for raw in raw_events]
        theirs = [event for event in found if event and event.sender == portal.person]
        opened = [await self._sealed.open_old(e, portal, now, self._is_new) for e in theirs]
        events = [event for event in opened if event and event.type in _CALLS]
        ringing = {
            told.call_id
            for event in events
            if event.type in CALL_EVENT_TYPES
            for told in self._read(event, portal)
            if isinstance(told, MatrixInviteReceived) and told.age < told.lifetime
        }
        given_up = {e.content.get("call_id") for e in events if e.type in _ENDS}
        for event in events:
            rings = event.content.get("call_id") in ringing - given_up
            if (rings or event.type in RTC_EVENT_TYPES) and await self._is_new(event.id):
                log.info("call event from before the ghost joined", room=event.room)
                await self._any_call_event(event, portal)


async def _not_ours(event: RoomEvent) -> None:
    log.debug("not a portal", room=event.room, type=event.type)


def _not_read(typed: Typed) -> None:
    log.debug("text not read", room=typed.portal.room)
