# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted events whose key has not arrived.

They wait beside their room's queue and not in it: what follows goes on, so that no lost key can
keep a hangup, or the room, waiting. What was encrypted with the same key waits behind them, so
that each device of a person is still heard in order. An invite that was overtaken by its own end
does not ring any more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from bridge.call.ids import RoomId
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.homeserver import HomeserverError

log = structlog.get_logger(__name__)

ASK_AFTER: Final = (1.0, 9.0, 20.0)
"""Seconds until the key is asked for, and again: it usually is a moment behind its event, and a
client that was away answers when it is back."""
GIVE_UP_AFTER: Final = 30.0
"""Seconds after the last asking; by then no invite rings any more."""
_MOST_SESSIONS: Final = 1000
_MOST_EVENTS: Final = 200
_ENDS: Final = frozenset({"m.call.hangup", "m.call.reject"})


@dataclass(slots=True, eq=False)
class _Parked:
    room: RoomId
    events: list[RoomEvent]
    timer: asyncio.Task[None]
    arrived: bool = False


@dataclass(slots=True)
class Waiting:
    """Parked events by session.

    `ask` asks for the key of an event, `resume` is told when a session's events can be taken,
    `give_up` is told of the first event of a session whose key never came.
    """

    ask: Callable[[RoomEvent], Awaitable[None]]
    resume: Callable[[RoomId, str], None]
    give_up: Callable[[RoomEvent], Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _parked: dict[str, _Parked] = field(default_factory=dict)
    _ended: dict[RoomId, set[object]] = field(default_factory=dict)

    def holds(self, session: object) -> bool:
        """Whether events of this session wait, so that others of it have to as well."""
        return isinstance(session, str) and session in self._parked

    def put(self, event: RoomEvent, session: str) -> None:
        """Let an event wait for the key of its session."""
        parked = self._parked.get(session)
        if parked is None:
            if len(self._parked) >= _MOST_SESSIONS:
                log.warning("too many keys are missing, event dropped", room=event.room)
                return
            timer = asyncio.get_running_loop().create_task(self._wait(session, event))
            self._parked[session] = _Parked(event.room, [event], timer)
            log.info("event waits for its key", room=event.room, sender=event.sender)
        elif len(parked.events) >= _MOST_EVENTS:
            log.warning("too many events wait for a key, event dropped", room=event.room)
        else:
            parked.events.append(event)

    def arrived(self, session: str) -> None:
        """The key of a session has come."""
        parked = self._parked.get(session)
        if parked is not None and not parked.arrived:
            parked.arrived = True
            parked.timer.cancel()
            self.resume(parked.room, session)

    def take(self, session: str) -> list[RoomEvent]:
        """The events of a session, oldest first; they wait no longer."""
        parked = self._parked.pop(session, None)
        return [] if parked is None else parked.events

    def passed(self, event: RoomEvent) -> None:
        """A readable event went by; it may be the end of a call whose beginning still waits."""
        waits = any(each.room == event.room for each in self._parked.values())
        if event.type in _ENDS and waits:
            self._ended.setdefault(event.room, set()).add(str(event.content.get("call_id")))

    def is_over(self, event: RoomEvent) -> bool:
        """Whether an event that waited belongs to a call that ended meanwhile."""
        return str(event.content.get("call_id")) in self._ended.get(event.room, ())

    def settled(self, room: RoomId) -> None:
        """The events that waited were acted upon."""
        if not any(each.room == room for each in self._parked.values()):
            self._ended.pop(room, None)

    async def close(self) -> None:
        """Stop waiting."""
        timers = [each.timer for each in self._parked.values()]
        for timer in timers:
            timer.cancel()
        await asyncio.gather(*timers, return_exceptions=True)
        self._parked.clear()

    async def _wait(self, session: str, event: RoomEvent) -> None:
        for pause in ASK_AFTER:
            await self.sleep(pause)
            try:
                await self.ask(event)
            except HomeserverError as error:
                log.warning("key not asked for", room=event.room, reason=str(error))
            except Exception:
                log.exception("key could not be asked for", room=event.room)
        await self.sleep(GIVE_UP_AFTER)
        lost = self.take(session)
        self.settled(event.room)
        log.warning("events dropped, their key never came", room=event.room, events=len(lost))
        try:
            await self.give_up(event)
        except HomeserverError as error:
            log.warning("person not told of a missing key", room=event.room, reason=str(error))
