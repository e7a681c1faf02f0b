# SPDX-License-Identifier: GPL-3.0-or-later
"""One queue per room: order is kept within a room, and no room waits for another."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

K = TypeVar("K")
T = TypeVar("T")

LANE_LENGTH: Final = 1000
"""Items that may wait in one lane; what comes on top of that is dropped, and logged."""


class Lanes(Generic[K, T]):
    """Handles the items of a key one after another. A lane exists only while it has items."""

    def __init__(self, handle: Callable[[T], Awaitable[None]]) -> None:
        self._handle = handle
        self._waiting: dict[K, deque[T]] = {}
        self._workers: set[asyncio.Task[None]] = set()

    def put(self, key: K, item: T) -> bool:
        """Queue an item; never blocks. False if there was no place for it."""
        lane = self._waiting.get(key)
        if lane is not None:
            if len(lane) >= LANE_LENGTH:
                log.error("queue is full, dropped", key=key)
                return False
            lane.append(item)
            return True
        self._waiting[key] = deque([item])
        worker = asyncio.get_running_loop().create_task(self._work(key))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)
        return True

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return sum(map(len, self._waiting.values()))

    async def drained(self) -> None:
        """Wait until nothing is queued or being handled."""
        while self._workers:
            await asyncio.wait(self._workers)

    async def close(self) -> None:
        """Drop what waits, and stop what is being handled."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._waiting.clear()

    async def _work(self, key: K) -> None:
        lane = self._waiting[key]
        try:
            while lane:
                try:
                    await self._handle(lane.popleft())
                except Exception:
                    log.exception("could not be handled", key=key)
        finally:
            del self._waiting[key]
