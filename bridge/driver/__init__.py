# SPDX-License-Identifier: GPL-3.0-or-later
"""Feeds events to the core, carries its commands out, and keeps one timer for all its deadlines."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import tzinfo
from typing import Any, Final, Protocol

import structlog

from bridge.call.commands import (
    Command,
    MatrixCommand,
    MediaCommand,
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordSilence,
    RecordStart,
    RejectSip,
    SipCommand,
    StoreCommand,
)
from bridge.call.events import (
    CallFaulted,
    DrainRequested,
    Event,
    MatrixCandidatesReceived,
    MatrixMuteChanged,
    MediaMeasured,
    ShutdownRequested,
    SipDialogChanged,
    SipEvent,
    SipInviteReceived,
)
from bridge.call.ids import CallId, LegId
from bridge.driver import ladder
from bridge.driver.calendar import Calendar
from bridge.driver.times import timed
from bridge.ports import CallStore, MatrixPort, MediaEngine, SipPort
from bridge.records import LadderEntry

__all__ = ["Core", "Driver", "Handle", "Observer", "Ports", "Scheduler"]

log = structlog.get_logger(__name__)
_standard: Final = logging.getLogger(__name__)
"""Knows what is written at all: to put a line together costs more than the core's decision."""

Observer = Callable[[StoreCommand, float], None]
"""Told of every record of a call, and when (seconds since the epoch)."""

_AFTER_FAILURE: Final = 1.0
"""Seconds until a timer that failed is tried again."""
_MINOR: Final = (MatrixCandidatesReceived, MatrixMuteChanged, MediaMeasured, SipDialogChanged)
_MILESTONES: Final = (RecordStart, RecordAttempts, RecordAnswer, RecordEnd)
_NOT_LOGGED: Final = frozenset(
    # Which keys somebody presses may be a password.
    {
        "key",
        "sdp",
        "matrix_sdp",
        "sip_sdp",
        "candidates",
        "statistics",
        "state",
        "call",
        "capabilities",
    }
)


class Core(Protocol):
    """The switchboard, as the driver sees it. Times are seconds of the scheduler's clock."""

    def call_of(self, event: Event) -> CallId | None:
        """The call that an event is about, also for a while after that call has ended."""

    def handle(self, event: Event, now: float) -> Sequence[Command]:
        """What is to be done about an event."""

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called, if ever."""

    def handle_timer(self, now: float) -> Sequence[Command]:
        """What is to be done about the deadlines that have passed."""

    def take_faults(self) -> Sequence[tuple[CallId, Exception]]:
        """What went wrong in single calls, which were given up for it."""


class Handle(Protocol):
    """A timer that can be stopped."""

    def cancel(self) -> None:
        """It will not fire."""


class Scheduler(Protocol):
    """A clock with timers: the event loop, or a fake one."""

    def time(self) -> float:
        """Seconds that only go forward."""

    def call_at(self, when: float, callback: Callable[[], None], /) -> Handle:
        """Call back when the clock says `when`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that carries commands out."""

    matrix: MatrixPort
    sip: SipPort
    media: MediaEngine
    store: CallStore
    leg_of: Callable[[str], LegId | None]
    """The leg of a SIP Call-ID, if there is one."""


class Driver:
    """The one place where events, commands and time meet. For the event loop's thread only.

    `wall` tells seconds since the epoch, `clock` seconds that only go forward (the scheduler's, if
    it is None); `zone` is that of times which people read, the machine's if it is None.
    """

    def __init__(
        self,
        core: Core,
        scheduler: Scheduler,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] | None = None,
        zone: tzinfo | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._core = core
        self._scheduler = scheduler
        self._clock = clock or scheduler.time
        self._calendar = Calendar(wall, self._clock)
        self.zone = zone
        self._observers = observers
        self._ports: Ports | None = None
        self._events: deque[Event] = deque()
        self._busy = False
        self._timer: Handle | None = None
        self._not_before = 0.0
        self._messages = ladder.SipMessages(self._call_of_message, self._trace)
        self._given_up: set[CallId] = set()
        self._active: set[CallId] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()

    def connect(self, ports: Ports) -> None:
        """Name the adapters, which were made with this driver's `emit`."""
        self._ports = ports

    @property
    def active(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._active)

    def emit(self, event: Event) -> None:
        """Take an event; those that come up while one is handled wait for their turn."""
        self._events.append(event)
        self._drain()

    def sip_message(self, sip_call_id: str, direction: str, text: str) -> None:
        """Put a whole SIP message onto the ladder of its call."""
        self._messages.add(sip_call_id, direction, text, self._clock())

    def record(self, commands: Sequence[StoreCommand]) -> None:
        """Keep a record of what never came to the core."""
        self._carry_out(commands, self._clock())

    def drain(self, seconds: float) -> None:
        """Let no call begin: in so many seconds at most, all are ended."""
        self.emit(DrainRequested(seconds=seconds))

    async def quiet(self) -> None:
        """Wait until there is no call."""
        await self._quiet.wait()

    async def shut_down(self, within: float) -> bool:
        """End every call; whether all had ended `within` that many seconds."""
        self.emit(ShutdownRequested())
        try:
            async with asyncio.timeout(within):
                await self._quiet.wait()
        except TimeoutError:
            log.warning("some calls did not end in time", calls=self.active)
            return False
        return True

    def close(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    # --- events -----------------------------------------------------------------------------

    def _drain(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._busy = False
        self._messages.sort()
        self._rearm()

    def _handle(self, event: Event) -> None:
        known = self._core.call_of(event)
        try:
            commands = self._core.handle(event, self._scheduler.time())
        except Exception:
            log.exception("the core failed", call=known, on=ladder.words(event))
            self._save(event, known)
            return
        self._report_faults()
        at = self._clock()
        known = known or self._core.call_of(event)
        calls = [known] if known else list(dict.fromkeys(each.call for each in commands))
        _log_event(event, calls)
        entry = ladder.of_event(event, at)
        for call in calls:
            if entry is not None:
                self._trace(call, entry)
        self._carry_out(commands, at)

    def _save(self, event: Event, call: CallId | None) -> None:
        """The core stumbled: end the call, or at least do not leave a caller without an answer."""
        if call is not None:
            self._give_up(call)
        elif isinstance(event, SipInviteReceived):
            self._dispatch(RejectSip(call=CallId(""), leg=event.leg, status=500), self._clock())

    def _give_up(self, call: CallId) -> None:
        """Have the call ended, once: if even that fails there is no use in insisting."""
        if call in self._given_up:
            return
        self._given_up.add(call)
        self.emit(CallFaulted(call=call))

    # --- time -------------------------------------------------------------------------------

    def _rearm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        deadline = self._core.next_deadline()
        if deadline is not None:
            self._timer = self._scheduler.call_at(max(deadline, self._not_before), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._scheduler.time()
        try:
            commands = self._core.handle_timer(now)
        except Exception:
            log.exception("the core failed", on="timer")
            self._not_before = now + _AFTER_FAILURE
        else:
            self._report_faults()
            self._carry_out(commands, self._clock())
        self._drain()

    def _report_faults(self) -> None:
        for call, error in self._core.take_faults():
            log.error("the core failed; the call is given up", call=call, exc_info=error)

    # --- commands ---------------------------------------------------------------------------

    def _carry_out(self, commands: Sequence[Command], at: float) -> None:
        # What an adapter reports at once waits until all of these are handed over.
        was_busy, self._busy = self._busy, True
        try:
            for each in commands:
                if isinstance(each, RecordStart):
                    self._calendar.begin(each.call)
                command = timed(each, self._calendar.date(each.call, at), self.zone)
                _log_command(command)
                entry = ladder.of_command(command, at)
                self._dispatch(command, at)
                if entry is not None:
                    self._trace(command.call, entry)
        finally:
            self._busy = was_busy

    def _dispatch(self, command: Command, at: float) -> None:
        try:
            self._hand_over(command, at)
        except Exception:
            log.exception("a command failed", call=command.call, command=ladder.words(command))
            self._give_up(command.call)

    def _hand_over(self, command: Command, at: float) -> None:
        assert self._ports is not None, "connect() comes first"
        match command:
            case MatrixCommand():
                self._ports.matrix.do(command)
            case SipCommand():
                self._ports.sip.do(command)
            case MediaCommand():
                self._ports.media.do(command)
            case StoreCommand():
                self._count(command)
                date = self._calendar.date(command.call, at)
                self._ports.store.do(command, date)
                for observe in self._observers:
                    observe(command, date)
            case _:
                raise TypeError(f"nobody carries out {type(command).__name__}")

    def _count(self, command: StoreCommand) -> None:
        if isinstance(command, RecordStart):
            self._active.add(command.call)
            self._quiet.clear()
        elif isinstance(command, RecordEnd):
            self._active.discard(command.call)
            self._calendar.end(command.call)
            self._given_up.discard(command.call)
            if not self._active:
                self._quiet.set()

    # --- ladder -----------------------------------------------------------------------------

    def _trace(self, call: CallId, entry: LadderEntry) -> None:
        assert self._ports is not None, "connect() comes first"
        self._ports.store.trace(call, replace(entry, at=self._calendar.date(call, entry.at)))

    def _call_of_message(self, sip_call_id: str) -> CallId | None:
        leg = self._ports.leg_of(sip_call_id) if self._ports else None
        return None if leg is None else self._core.call_of(SipEvent(leg=leg))


def _log_event(event: Event, calls: Sequence[CallId]) -> None:
    minor = isinstance(event, _MINOR) or not calls
    if minor and not _standard.isEnabledFor(logging.DEBUG):
        return
    write = log.debug if minor else log.info
    for call in calls:
        write(ladder.words(event), call=call, **_plain(event))
    if not calls:
        log.debug(ladder.words(event), **_plain(event))


def _log_command(command: Command) -> None:
    if isinstance(command, RecordSilence):
        side, cause = command.side.value, command.cause
        log.warning("a side is not heard", call=command.call, side=side, cause=cause)
        return
    minor = not isinstance(command, _MILESTONES)
    if minor and not _standard.isEnabledFor(logging.DEBUG):
        return
    write = log.debug if minor else log.info
    write(ladder.words(command), call=command.call, **_plain(command))


def _plain(thing: Any) -> dict[str, Any]:
    """The short fields of an event or command, as log values."""
    values = {each.name: getattr(thing, each.name) for each in fields(thing)}
    return {
        name: getattr(value, "value", value)
        for name, value in values.items()
        if name not in _NOT_LOGGED and value not in (None, "", ())
    }
