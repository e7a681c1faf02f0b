# SPDX-License-Identifier: GPL-3.0-or-later
"""What the loop wants done on the SIP thread, in order, and what comes of it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from bridge.errors import LocalError

if TYPE_CHECKING:
    from bridge.sip.worker import Worker

log = structlog.get_logger(__name__)

T = TypeVar("T")
Errand = Callable[["Worker"], None]


class Errands:
    """A queue from the loop to the SIP thread; results come back as futures of the loop."""

    def __init__(self) -> None:
        self._queue: deque[Errand] = deque()
        self._open: set[asyncio.Future[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = True

    # --- on the loop ------------------------------------------------------------------------

    def open(self) -> None:
        """The SIP thread is about to run."""
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def refuse(self) -> None:
        """The SIP thread is about to end: it runs what is in the queue, and nothing more."""
        self._closed = True

    def cancel(self) -> None:
        """The SIP thread has ended: nothing comes back."""
        for future in list(self._open):
            future.cancel()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def send(self, errand: Errand) -> None:
        """Have something done, at once or when the thread runs."""
        self._queue.append(errand)

    async def ask(self, errand: Callable[["Worker"], T]) -> T:
        """What `errand` returns or raises. Raises LocalError when there is no SIP thread."""

        def start(worker: "Worker", told: Callable[[T], None]) -> None:
            told(errand(worker))

        return await self.wait(start)

    async def wait(self, start: Callable[["Worker", Callable[[T], None]], None]) -> T:
        """What is told, now or later, after `start(worker, told)`. Raises as `ask` does."""
        if self._closed or self._loop is None:
            raise LocalError("the SIP endpoint does not run")
        result: asyncio.Future[T] = self._loop.create_future()
        self._open.add(result)
        result.add_done_callback(self._open.discard)

        def told(value: T) -> None:
            self.post(_settle, result, value)

        def run(worker: "Worker") -> None:
            try:
                start(worker, told)
            except Exception as error:
                self.post(_fail, result, detached(error))

        self._queue.append(run)
        return await result

    # --- on the SIP thread ------------------------------------------------------------------

    def run(self, worker: "Worker", most: int) -> None:
        """Do what has waited longest, `most` errands at a time: the network has its turn, too."""
        for _ in range(min(most, len(self._queue))):
            _do(self._queue.popleft(), worker)

    def finish(self, worker: "Worker") -> None:
        """Do all that there is to do."""
        while self._queue:
            _do(self._queue.popleft(), worker)

    def post(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function on the loop."""
        assert self._loop
        self._loop.call_soon_threadsafe(function, *arguments)


def detached(error: BaseException) -> BaseException:
    """`error` without the frames that would keep pjsua2's objects alive on another thread."""
    link: BaseException | None = error
    while link:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def _do(errand: Errand, worker: "Worker") -> None:
    """One that fails is no reason for the thread, and with it every call, to end."""
    try:
        errand(worker)
    except Exception:
        log.exception("SIP errand failed")


def _settle(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
