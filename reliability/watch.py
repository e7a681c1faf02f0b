# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bridge uses, from its start to its end; and whether that grows."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import aiohttp

from reliability.place import Place
from tests.simulators.usage import Usage

EVERY: Final = 5.0
_MEGABYTE: Final = 1024
"""In kB."""
MEMORY_SHARE: Final = 0.05
MEMORY_FLOOR: Final = 6.0
"""MB. What is no growth: less than that, or than a share of what there was."""
SLACK: Final = {"files": 4, "tasks": 4, "threads": 1}
"""What may differ between two rests, of connections that are kept open for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the bridge and its media workers use, together. `at`: seconds since the beginning."""

    at: float
    memory_mb: float
    files: int
    threads: int
    tasks: int
    """Of asyncio, in the process that signals."""
    workers: int
    calls: int
    """Which the bridge says that there are."""
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of one thing, from rest to rest: at the start, in the middle, at the end."""

    what: str
    values: tuple[float, ...]
    trend: float
    """By how much it grows in a thousand calls."""
    good: bool


class Watch:
    """Takes a sample every few seconds, and writes it down."""

    def __init__(self, place: Place, path: Path) -> None:
        self.samples: list[Sample] = []
        self._place = place
        self._path = path
        self._began = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> Sample:
        """Take a sample now."""
        usage = Usage.of(self._place.bridge.pid)
        metrics = await self._place.metrics()
        active = (value for name, value in metrics.items() if "_calls_active{" in name)
        sample = Sample(
            at=round(time.monotonic() - self._began, 1),
            memory_mb=round(usage.memory_kb / _MEGABYTE, 1),
            files=usage.files,
            threads=usage.threads,
            tasks=round(metrics["matrix_sip_tasks"]),
            workers=round(metrics.get("matrix_sip_media_workers", 0)),
            calls=round(sum(active)),
            cpu_s=round(usage.cpu_s, 1),
        )
        self.samples.append(sample)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(sample)) + "\n")
        return sample

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except (OSError, KeyError, aiohttp.ClientError, TimeoutError):
                pass  # A process that ends just now; and a bridge that is away is seen by others.
            await asyncio.sleep(EVERY)


def growth(rests: Sequence[Sample], calls: int) -> list[Growth]:
    """What grew between rests, the first of which is after the warm-up.

    `calls`: those between the last two rests. What counts is what was added there: until then,
    caches fill.
    """
    before, last = rests[-2], rests[-1]
    per_thousand = 1000 / max(1, calls)
    bound = max(MEMORY_FLOOR, MEMORY_SHARE * before.memory_mb)
    found = [
        Growth(
            "memory, MB",
            tuple(each.memory_mb for each in rests),
            round((last.memory_mb - before.memory_mb) * per_thousand, 1),
            last.memory_mb - before.memory_mb <= bound,
        )
    ]
    for what, words in (
        ("files", "file descriptors"),
        ("tasks", "tasks"),
        ("threads", "threads"),
    ):
        values = tuple(float(getattr(each, what)) for each in rests)
        found.append(
            Growth(
                words,
                values,
                round((values[-1] - values[-2]) * per_thousand, 1),
                values[-1] - values[-2] <= SLACK[what],
            )
        )
    return found
