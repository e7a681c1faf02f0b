# SPDX-License-Identifier: GPL-3.0-or-later
"""The media engine that steers workers: which of them carries a call, and what if one dies."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog

from bridge.call.commands import (
    AddRemoteCandidates,
    BridgeMedia,
    CloseMedia,
    JoinMedia,
    MediaCommand,
    OfferMedia,
)
from bridge.call.events import Event, MediaClosed, MediaFault
from bridge.call.ids import CallId
from bridge.config import PORTS_PER_WORKER, Logging, Media
from bridge.errors import BridgeError, ConfigurationError, LocalError
from bridge.media.early import Early, failed, refuse
from bridge.media.workers.template import Template
from bridge.media.workers.wire import Begin, Unable
from bridge.media.workers.worker import Worker
from bridge.ports import Emit
from bridge.records import IceServer

FILL: Final = 8
"""Relayed calls that each worker carries before there is another."""
START_WITHIN: Final = 30.0
CLOSE_WITHIN: Final = 5.0
CHECK_EVERY: Final = 10.0
PATIENCE: Final = 2
"""Checks at which nothing has come from a worker before it is taken to hang."""
PAUSES: Final = (0.0, 1.0, 5.0, 30.0)
"""Seconds before a worker is replaced: more each time that it dies within a minute."""
LASTING: Final = 60.0

log = structlog.get_logger(__name__)


def workers_for(settings: Media) -> int:
    """How many workers there may be."""
    if settings.workers is not None:
        return settings.workers
    low, high = settings.rtp_ports
    return min(len(os.sched_getaffinity(0)) - 1, (high - low + 1) // PORTS_PER_WORKER)


def port_ranges(ports: tuple[int, int], workers: int) -> list[tuple[int, int]]:
    """A part of the range for each worker; all begin with an even port but perhaps the first."""
    low, high = ports
    bounds = [low + (high + 1 - low) * number // workers for number in range(workers)]
    starts = [low, *(bound + bound % 2 for bound in bounds[1:])]
    return list(zip(starts, [*(start - 1 for start in starts[1:]), high], strict=True))


class WorkerEngine:
    """`MediaEngine` in other processes. One starts at once, the others when calls need them."""

    def __init__(
        self,
        settings: Media,
        logging: Logging,
        emit: Emit,
        *,
        workers: int,
        template: Template | None = None,
        check_every: float = CHECK_EVERY,
    ) -> None:
        self._emit = emit
        self._check_every = check_every
        self._begins = [
            Begin(
                number=number,
                media=settings.model_copy(update={"rtp_ports": ports}),
                logging=logging,
                report_every=check_every / 2,
            )
            for number, ports in enumerate(port_ranges(settings.rtp_ports, workers), start=1)
        ]
        self._servers: tuple[IceServer, ...] = ()
        self._template = template or Template()
        self._workers: dict[int, Worker] = {}
        self._placed: dict[CallId, Worker] = {}
        self._early = Early()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacing: dict[int, asyncio.TimerHandle] = {}
        self._checking: asyncio.TimerHandle | None = None
        self._deaths: dict[int, list[float]] = {}
        self._first: asyncio.Future[None] | None = None
        self._closing = False
        self._lost: Counter[int] = Counter()
        self._cpu_before: dict[int, float] = {}

    # --- what there is ----------------------------------------------------------------------------

    @property
    def pids(self) -> Mapping[int, int]:
        """The processes of the workers that are ready, by the worker's number."""
        return {each.number: each.pid for each in self._workers.values() if each.ready}

    def cpu(self) -> Mapping[str, float]:
        """Seconds of CPU that each worker has used, with those whose place it took."""
        used = dict(self._cpu_before)
        for each in self._workers.values():
            used[each.number] = used.get(each.number, 0.0) + each.cpu
        return {str(number): seconds for number, seconds in used.items()}

    def losses(self) -> Mapping[str, int]:
        """How often each worker has died."""
        return {str(begin.number): self._lost[begin.number] for begin in self._begins}

    @property
    def longest_pause(self) -> float:
        """Seconds that a garbage collection took at most, in the workers that there are."""
        return max((each.longest_pause for each in self._workers.values()), default=0.0)

    # --- what the driver calls --------------------------------------------------------------------

    async def start(self) -> None:
        """Wait for the first worker. Raises ConfigurationError, LocalError."""
        self._first = asyncio.get_running_loop().create_future()
        self._start_worker()
        try:
            await asyncio.wait_for(self._first, START_WITHIN)
        except TimeoutError:
            raise LocalError(
                f"no media worker was ready within {START_WITHIN:.0f} s",
                remedy="Look for what the log says before this, or set media.workers to 0.",
            ) from None

    def do(self, command: MediaCommand) -> None:
        """Start to carry out a command; the order is kept for each call."""
        worker = self._placed.get(command.call)
        if isinstance(command, BridgeMedia):
            self._bridge(command, worker)
        elif worker is not None:
            worker.do(command)
            if isinstance(command, CloseMedia):
                del self._placed[command.call]
        elif isinstance(command, CloseMedia):
            self._early.take(command.call)
            self._soon(MediaClosed(call=command.call))
        elif isinstance(command, OfferMedia | JoinMedia):
            self._place(command)
        elif isinstance(command, AddRemoteCandidates):
            self._early.keep(command)
        else:
            asyncio.get_running_loop().call_soon(refuse, command, self._emit)

    def use_servers(self, servers: Sequence[IceServer]) -> None:
        """Have the workers that there are, and will be, use these."""
        self._servers = tuple(servers)
        for worker in self._workers.values():
            worker.use_servers(self._servers)

    def log_as(self, logging: Logging) -> None:
        """Have the workers that there are, and will be, write this to the log."""
        self._begins = [replace(begin, logging=logging) for begin in self._begins]
        for worker in self._workers.values():
            worker.log_as(logging)

    async def close(self) -> None:
        """End every session and every process."""
        self._closing = True
        if self._checking is not None:
            self._checking.cancel()
        for timer in self._replacing.values():
            timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        workers = list(self._workers.values())
        for worker in workers:
            worker.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await asyncio.gather(*(worker.ended.wait() for worker in workers))
        for worker in workers:
            if not worker.ended.is_set():
                log.warning("media worker does not end", worker=worker.number)
                worker.kill()
                await worker.ended.wait()
        await self._template.close()

    # --- placement --------------------------------------------------------------------------------

    def _bridge(self, command: BridgeMedia, worker: Worker | None) -> None:
        """Calls can only be bridged within one process; a new one comes to where the other is."""
        other = self._placed.get(command.other)
        if worker is None and other is not None:
            self._placed[command.call] = other
            other.do(command)
        elif worker is not None and other in (worker, None):
            worker.do(command)
        else:
            detail = "the two calls are carried by different processes"
            event = failed(command, MediaFault.NO_RESOURCES, detail)
            assert event is not None
            self._soon(event)

    def _place(self, command: OfferMedia | JoinMedia) -> None:
        near = command.near if isinstance(command, OfferMedia) else None
        worker = self._placed.get(near) if near is not None else None
        worker = worker or self._least_loaded()
        if worker is None:
            event = failed(command, MediaFault.NO_RESOURCES, "no media worker is running")
            assert event is not None
            self._soon(event)
            return
        self._placed[command.call] = worker
        for early in self._early.take(command.call):
            worker.do(early)
        worker.do(command)

    def _least_loaded(self) -> Worker | None:
        """Of those that are ready; where all have enough to do, another one is started."""
        if self._closing:
            return None
        ready = [each for each in self._workers.values() if each.ready]
        found = min(ready or self._workers.values(), key=lambda each: each.load, default=None)
        if found is None or found.load >= FILL:
            self._start_worker()
        return found or min(self._workers.values(), key=lambda each: each.load, default=None)

    # --- processes --------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        """Start the next one that is not there, and does not rest after it has died."""
        for begin in self._begins:
            if begin.number not in self._workers and begin.number not in self._replacing:
                self._start(begin)
                return

    def _start(self, begin: Begin) -> None:
        self._replacing.pop(begin.number, None)
        worker = self._workers[begin.number] = Worker(
            replace(begin, servers=self._servers),
            emit=self._emit,
            on_ready=self._ready,
            on_unable=self._unable,
            on_end=self._ended,
        )
        task = asyncio.create_task(worker.start(self._template))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._checking is None:
            self._check()

    def _check(self) -> None:
        for worker in list(self._workers.values()):
            worker.check(PATIENCE)
        loop = asyncio.get_running_loop()
        self._checking = loop.call_later(self._check_every, self._check)

    def _ready(self, worker: Worker) -> None:
        log.info("media worker is ready", worker=worker.number, pid=worker.pid)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def _unable(self, why: Unable) -> None:
        error: BridgeError = ConfigurationError(why.message, remedy=why.remedy)
        if self._first is not None and not self._first.done():
            self._first.set_exception(error)
        else:
            log.error("media worker cannot work", error=why.message)

    def _ended(self, worker: Worker) -> None:
        """It has ended as it was told to, or died: its calls end, and another takes its place."""
        del self._workers[worker.number]
        before = self._cpu_before.get(worker.number, 0.0)
        self._cpu_before[worker.number] = before + worker.cpu
        self._placed = {call: by for call, by in self._placed.items() if by is not worker}
        if not self._closing:
            log.error("media worker is gone", worker=worker.number, calls=worker.calls)
            self._lost[worker.number] += 1
            self._replace(worker.number)
        worker.drop_calls()

    def _replace(self, number: int) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_exception(LocalError("the media worker ended as soon as it began"))
            return
        loop = asyncio.get_running_loop()
        deaths = [each for each in self._deaths.get(number, ()) if loop.time() - each < LASTING]
        self._deaths[number] = [*deaths, loop.time()]
        pause = PAUSES[min(len(deaths), len(PAUSES) - 1)]
        begin = next(each for each in self._begins if each.number == number)
        self._replacing[number] = loop.call_later(pause, self._start, begin)

    def _soon(self, event: Event) -> None:
        asyncio.get_running_loop().call_soon(self._emit, event)
