# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done from time to time, so that neither the database, room lists nor memory fill up."""

import asyncio
import ctypes
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from bridge.app.in_force import InForce
from bridge.config.models import Records
from bridge.matrix.adapter import MatrixAdapter
from bridge.store.calls import Calls

log = structlog.get_logger(__name__)

_HOUR: Final = 3600.0
_DAY: Final = 86400.0

Sweep = Callable[[float], Awaitable[None]]
"""Does away with what is older than a time (seconds since the epoch)."""


def give_memory_back() -> None:
    """Return what is free in the C library's heaps to the system; glibc alone knows how.

    It keeps what starting and the busiest hour have needed, as long as anything lies behind it.
    Takes 6 ms.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def sweeps_of(
    in_force: InForce, calls: Calls, matrix: MatrixAdapter
) -> Sequence[tuple[Sweep, Callable[[], float | None]]]:
    """What is done away with, and how old that is: as the settings say by then."""

    def days(count: Callable[[Records], int]) -> Callable[[], float | None]:
        return lambda: count(in_force.config.records) * _DAY or None  # 0: never.

    return [
        (calls.prune_ladders, days(lambda records: records.keep_ladders)),
        (calls.prune_calls, days(lambda records: records.keep_calls)),
        (matrix.leave_unanswered, lambda: in_force.config.portals.leave_unanswered_after),
    ]


async def keep_up(
    sweeps: Sequence[tuple[Sweep, Callable[[], float | None]]],
    *,
    give_back: Callable[[], None] = give_memory_back,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Sweep now and every hour: each with the age in seconds that is too old, None for never.

    The age is asked for each time: settings may change.
    """
    while True:
        give_back()
        wanted = [(sweep, age) for sweep, age_of in sweeps if (age := age_of()) is not None]
        for sweep, age in wanted:
            await _try(sweep, clock() - age)
        await sleep(min([_HOUR, *(age for _, age in wanted)]))


async def _try(sweep: Sweep, before: float) -> None:
    try:
        await sweep(before)
    except Exception:
        log.exception("upkeep failed; trying again later", what=getattr(sweep, "__name__", ""))
