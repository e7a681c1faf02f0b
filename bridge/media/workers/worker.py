# SPDX-License-Identifier: GPL-3.0-or-later
"""A media worker as the main process sees it: its calls, and what it owes to each."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bridge.call.commands import CloseMedia, MediaCommand
from bridge.call.events import (
    Event,
    MediaClosed,
    MediaConnected,
    MediaEvent,
    MediaFailed,
    MediaFault,
    MediaLost,
    MediaVideoChanged,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.config import Logging
from bridge.media.workers.template import Template
from bridge.media.workers.wire import Begin, Channel, Logs, Message, Ready, Report, Servers, Unable
from bridge.records import IceServer

TRANSCODED: Final = 4
"""What a call costs whose audio is coded anew, in calls that are relayed."""
FILMED: Final = 2
"""What video adds to that."""
DIED: Final = "the process that carried the audio died"


@dataclass(slots=True)
class _Call:
    load: int = 1
    video: int = 0
    """What its video adds."""
    waiting: set[OpId] = field(default_factory=set)
    """Operations without a result."""
    closing: bool = False


class Worker:
    """One process, from its start to its end."""

    def __init__(
        self,
        begin: Begin,
        *,
        emit: Callable[[Event], None],
        on_ready: Callable[["Worker"], None],
        on_unable: Callable[[Unable], None],
        on_end: Callable[["Worker"], None],
    ) -> None:
        self.number = begin.number
        self.pid = 0
        """0 until it is ready."""
        self.silent = 0
        """How often `check` has found that nothing came."""
        self.longest_pause = 0.0
        """Seconds that a garbage collection has taken in it, at most."""
        self.ended = asyncio.Event()
        self._cpu = 0.0
        self._emit = emit
        self._on_ready, self._on_unable, self._on_end = on_ready, on_unable, on_end
        self._calls: dict[CallId, _Call] = {}
        self._heard = True
        self._channel = Channel(self._take, self._end)
        self._channel.send(begin)

    async def start(self, template: Template) -> None:
        """Have the process made; commands wait until it is there. Failing is an early end."""
        ours, theirs = socket.socketpair()
        try:
            template.copy(theirs)
            await self._channel.open(ours)
        except OSError:
            ours.close()
            self._end()

    @property
    def ready(self) -> bool:
        """Whether it has said that it takes calls."""
        return bool(self.pid)

    @property
    def calls(self) -> int:
        """How many calls it carries."""
        return len(self._calls)

    @property
    def load(self) -> int:
        """What they cost, in calls that are relayed."""
        return sum(call.load + call.video for call in self._calls.values())

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the process has used, by the operating system's account."""
        with contextlib.suppress(OSError):  # It may have died just now.
            if self.pid:
                self._cpu = time.clock_gettime(~self.pid << 3 | 2)  # clock_getcpuclockid(3)
        return self._cpu

    # --- its calls --------------------------------------------------------------------------------

    def do(self, command: MediaCommand) -> None:
        """Pass a command on."""
        call = self._calls.setdefault(command.call, _Call())
        op: OpId | None = getattr(command, "op", None)
        if op is not None:
            call.waiting.add(op)
        call.closing = call.closing or isinstance(command, CloseMedia)
        self._channel.send(command)

    def use_servers(self, servers: tuple[IceServer, ...]) -> None:
        """Have it use other STUN and TURN servers."""
        self._channel.send(Servers(servers=servers))

    def log_as(self, logging: Logging) -> None:
        """Have it write something else to the log."""
        self._channel.send(Logs(logging=logging))

    def _take(self, message: Message) -> None:
        self._heard = True
        match message:
            case MediaEvent():
                self._note(message)
                self._emit(message)
            case Ready(pid=pid):
                self.pid = pid
                self._on_ready(self)
            case Report(longest_pause=longest):
                self.longest_pause = longest
            case Unable():
                self._on_unable(message)

    def _note(self, event: MediaEvent) -> None:
        if isinstance(event, MediaClosed):
            self._calls.pop(event.call, None)
        elif (call := self._calls.get(event.call)) is not None:
            call.waiting.discard(getattr(event, "op", OpId(-1)))
            if isinstance(event, MediaConnected) and event.matrix_codec != event.sip_codec:
                call.load = TRANSCODED
            elif isinstance(event, MediaVideoChanged):
                call.video = FILMED if event.codec else 0

    # --- its end ----------------------------------------------------------------------------------

    def check(self, patience: int) -> None:
        """Kill it if it was silent for more than so many checks: then it hangs."""
        self.silent = 0 if self._heard or not self.pid else self.silent + 1
        self._heard = False
        if self.silent > patience:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
        self._channel.close()

    def finish(self) -> None:
        """Have it end its calls, and then itself."""
        for call in self._calls.values():
            call.closing = True
        self._channel.finish()

    def _end(self) -> None:
        self._channel.close()
        self.ended.set()
        self._on_end(self)

    def drop_calls(self) -> None:
        """Tell of every call that it is over: nobody else will."""
        calls, self._calls = self._calls, {}
        for name, call in calls.items():
            if call.closing:
                self._emit(MediaClosed(call=name))
                continue
            for op in sorted(call.waiting):
                self._emit(MediaFailed(call=name, op=op, fault=MediaFault.INTERNAL, detail=DIED))
            self._emit(
                MediaLost(call=name, side=Side.MATRIX, fault=MediaFault.INTERNAL, detail=DIED)
            )
