# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of the other kind: MatrixRTC, which Element X and Element Call start instead of `m.call`.

The bridge cannot join them, so the ghost says who can call: once for each attempt. An attempt is a
membership (MSC4143; a state event that is refreshed before it expires and emptied at the end, or a
sticky event, MSC4354) and usually a notification that refers to it (MSC4075). Each part may come
alone or first, and any of the timeline events encrypted.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from bridge.call.ids import RoomId
from bridge.matrix.envelope import RoomEvent, finite
from bridge.records import Portal

log = structlog.get_logger(__name__)

MEMBERSHIPS: Final = frozenset(
    {
        "org.matrix.msc3401.call.member",
        "m.call.member",
        "org.matrix.msc4143.rtc.member",
        "m.rtc.member",
    }
)
NOTIFICATIONS: Final = frozenset(
    {
        "org.matrix.msc4075.call.notify",
        "m.call.notify",
        "org.matrix.msc4075.rtc.notification",
        "m.rtc.notification",
    }
)
RTC_EVENT_TYPES: Final = MEMBERSHIPS | NOTIFICATIONS

WHO_CAN_CALL: Final = (
    "This kind of call does not reach telephones yet: to call me, use Element Web or Desktop"
    " without “Element Call only”, Element Classic on Android or iOS, SchildiChat, FluffyChat or"
    " nheko."
)
_STICKY: Final = 3600.0
"""Seconds that a sticky event lasts: the most that MSC4354 allows."""
_MEMBERSHIP: Final = 4 * 3600.0
_LONGEST_MEMBERSHIP: Final = 24 * 3600.0
_NOTIFICATION: Final = 60.0
_LONGEST_NOTIFICATION: Final = 120.0  # MSC4075
_ATTEMPT: Final = 60.0
"""Seconds within which the events of one attempt come."""
_MANY_ROOMS: Final = 1000
_MANY_DEVICES: Final = 100

Say = Callable[[Portal, str, str], Awaitable[None]]
"""Lets the ghost of a portal say something; the last argument makes a repetition harmless."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A device takes part until then (seconds since the epoch), as before if `again`."""

    key: str
    until: float
    again: bool


@dataclass(frozen=True, slots=True)
class Left:
    """A device takes part no more."""

    key: str


@dataclass(frozen=True, slots=True)
class Notified:
    """Everybody's clients are to ring until then (seconds since the epoch)."""

    until: float


@dataclass(slots=True)
class _Room:
    members: dict[str, float] = field(default_factory=dict)
    rings_until: float = 0.0
    begun_at: float = 0.0
    ended_at: float = 0.0

    def goes_on(self, now: float) -> bool:
        return self.rings_until > now or any(until > now for until in self.members.values())


class Sessions:
    """The MatrixRTC sessions of portals, as far as their events tell. Times as in `RoomEvent`."""

    def __init__(self) -> None:
        self._rooms: dict[RoomId, _Room] = {}

    def starts(self, event: RoomEvent, now: float) -> bool:
        """Take an event; whether it begins an attempt to call that is still going on."""
        read = read_rtc_event(event)
        room = self._rooms.get(event.room, _Room())
        if isinstance(read, Left):
            self._end(room, read, event, now)
            return False
        # One that was encrypted may be read after its session has ended.
        if read.until <= now or event.sent_at <= room.ended_at:
            return False
        begins = not room.goes_on(now) or self._is_repeated(room, read, event)
        self._keep(event.room, room, now)
        if isinstance(read, Notified):
            room.rings_until = max(room.rings_until, read.until)
        else:
            begins = begins and not read.again
            room.members[read.key] = read.until
        if begins:
            room.begun_at = event.sent_at
        return begins

    @staticmethod
    def _is_repeated(room: _Room, read: Joined | Notified, event: RoomEvent) -> bool:
        """Whether somebody tries once more in a session that no event has ended.

        Clients that crash leave it open; one that is in it already would join `again`.
        """
        anew = isinstance(read, Notified) or (read.key in room.members and not read.again)
        return anew and event.sent_at > room.begun_at + _ATTEMPT

    @staticmethod
    def _end(room: _Room, left: Left, event: RoomEvent, now: float) -> None:
        room.members.pop(left.key, None)
        if not any(until > now for until in room.members.values()):
            room.rings_until = 0.0
            room.ended_at = max(room.ended_at, event.sent_at)

    def _keep(self, name: RoomId, room: _Room, now: float) -> None:
        room.members = {k: until for k, until in room.members.items() if until > now}
        if len(room.members) > _MANY_DEVICES:
            room.members.clear()
        self._rooms[name] = room
        if len(self._rooms) > _MANY_ROOMS:
            self._rooms = {n: r for n, r in self._rooms.items() if r is room or r.goes_on(now)}


class RtcWatch:
    """Tells people who start a MatrixRTC session in a portal which clients can call."""

    def __init__(self, say: Say, clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._sessions = Sessions()

    async def receive(self, event: RoomEvent, portal: Portal) -> None:
        """Take an event of `RTC_EVENT_TYPES`, decrypted. Raises `HomeserverError`."""
        if event.sender != portal.person or not self._sessions.starts(event, self._clock()):
            return
        log.info("MatrixRTC call not taken", room=event.room, person=event.sender, type=event.type)
        await self._say(portal, WHO_CAN_CALL, f"rtc.{event.id}")


def read_rtc_event(event: RoomEvent) -> Joined | Left | Notified:
    """What an event of `RTC_EVENT_TYPES` says."""
    if event.type in NOTIFICATIONS:
        return _read_notification(event)
    content = event.content
    if event.state_key is None:
        key = content.get("msc4354_sticky_key", content.get("sticky_key"))
        until = event.sent_at + _STICKY
        again = "m.relation" in content or "m.relates_to" in content
    else:
        key = event.state_key
        created_at = finite(content.get("created_ts"))
        since = event.sent_at if created_at is None else created_at / 1000
        until = since + _seconds(content.get("expires"), _MEMBERSHIP, _LONGEST_MEMBERSHIP)
        again = created_at is not None
    name = f"{event.sender} {key}"
    return Joined(name, until, again) if _takes_part(content) else Left(name)


def _takes_part(content: dict[str, Any]) -> bool:
    """Whoever has left says nothing of an application; earlier drafts had a list of sessions."""
    return bool(content.get("application") or content.get("memberships"))


def _read_notification(event: RoomEvent) -> Notified:
    lifetime = _seconds(event.content.get("lifetime"), _NOTIFICATION, _LONGEST_NOTIFICATION)
    withdrawn = not _without_key(event.content)
    return Notified(event.sent_at if withdrawn else event.sent_at + lifetime)


def _without_key(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a sticky event; nothing is left of one that was withdrawn."""
    return {k: v for k, v in content.items() if k not in ("msc4354_sticky_key", "sticky_key")}


def _seconds(milliseconds: object, default: float, most: float) -> float:
    value = finite(milliseconds)
    return default if value is None else max(0.0, min(value / 1000, most))
