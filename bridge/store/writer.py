# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes that nobody waits for: queued, in order, retried, and bounded."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import structlog
from mautrix.util.async_db import Connection, Database

from bridge.store.database import TRANSIENT, transaction

log = structlog.get_logger(__name__)

Write = Callable[[Connection], Awaitable[object]]

BATCH = 200
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
GATHER: Final = 0.1
"""Seconds that what is not important may wait for company: each transaction costs its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """A `Write` of one statement; those with the same one that stand together go in together."""

    statement: str
    values: tuple[object, ...]

    async def __call__(self, connection: Connection) -> None:
        """Write it alone."""
        await connection.execute(self.statement, *self.values)


class Writer:
    """Carries queued writes out in the background.

    A write that the database refuses is dropped and logged; while the database is away, they wait.
    When `bound` of them wait, those that are not `important` are dropped, and at twice that, all.
    """

    def __init__(
        self,
        database: Database,
        *,
        bound: int = 10_000,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        """`written` is told whenever something was."""
        self._database = database
        self._written = written
        self._bound = bound
        self._sleep = sleep
        self._queue: deque[Write] = deque()
        self._wakeup = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropped = 0
        self.accepted = 0
        """Writes that were ever queued."""
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathering: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to write; needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="store-writer")
        self._gathered()

    def put(self, write: Write, *, important: bool = True) -> None:
        """Queue a write; never blocks and never raises."""
        if len(self._queue) >= self._bound * (2 if important else 1):
            self._dropped += 1
            if self._dropped == 1:
                log.error("too many writes wait for the database; dropping some")
            return
        self._queue.append(write)
        self.accepted += 1
        self._idle.clear()
        if important:
            self._wakeup.set()
        elif self._gathering is None and self._loop is not None:
            self._gathering = self._loop.call_later(GATHER, self._gathered)

    @property
    def settled(self) -> int:
        """Of those `accepted`, how many are written, or were refused for good."""
        return self.accepted - len(self._queue)

    @property
    def waiting(self) -> int:
        """How many writes wait."""
        return len(self._queue)

    async def flush(self) -> None:
        """Wait until everything queued is written."""
        self._gathered()
        await self._idle.wait()

    async def close(self, patience: float = 3.0) -> None:
        """Write what is queued, for at most `patience` seconds, then stop."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(patience):
                await self.flush()
        except TimeoutError:
            log.error("the database does not answer; records are lost", writes=len(self._queue))
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _gathered(self) -> None:
        if self._gathering:
            self._gathering.cancel()
            self._gathering = None
        if self._queue:
            self._wakeup.set()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._wakeup.wait()
            try:
                await self._write_batch()
            except TRANSIENT as error:
                log.warning("the database cannot be written; trying again", error=repr(error))
                await self._sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            self._written()
            if self._dropped:
                log.error("the database answers again; some writes were dropped", n=self._dropped)
                self._dropped = 0
            if not self._queue:
                self._wakeup.clear()
                self._idle.set()

    async def _write_batch(self) -> None:
        """Write the oldest in one transaction, or one by one if one among them is refused."""
        batch = [self._queue[i] for i in range(min(BATCH, len(self._queue)))]
        try:
            await self._write(batch)
        except TRANSIENT:
            raise
        except Exception:
            for write in batch:
                await self._write_alone(write)
            return
        for _ in batch:
            self._queue.popleft()

    async def _write(self, batch: list[Write]) -> None:
        async with transaction(self._database) as connection:
            for rows in _together(batch):
                if isinstance(rows[0], Row):
                    values = [row.values for row in rows if isinstance(row, Row)]
                    await connection.executemany(rows[0].statement, values)
                else:
                    await rows[0](connection)

    async def _write_alone(self, write: Write) -> None:
        try:
            await self._write([write])
        except TRANSIENT:
            raise
        except Exception:
            log.exception("the database refused a write; it is lost")
        self._queue.popleft()


def _together(batch: Sequence[Write]) -> list[list[Write]]:
    """The same in order, with rows of one statement joined, and everything else alone."""

    def key(numbered: tuple[int, Write]) -> str | int:
        number, write = numbered
        return write.statement if isinstance(write, Row) else number

    return [[write for _, write in group] for _, group in groupby(enumerate(batch), key)]
