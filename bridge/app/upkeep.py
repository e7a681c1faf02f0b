# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done from time to time, so that neither the database nor room lists fill up."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

LADDERS_KEPT: Final = 30 * 86400.0
"""Seconds that ladders are kept; the records of calls stay."""
_HOUR: Final = 3600.0

Sweep = Callable[[float], Awaitable[None]]
"""Does away with what is older than a time (seconds since the epoch)."""


async def keep_up(
    prune_ladders: Sweep,
    leave_unanswered: Sweep,
    unanswered_after: float | None,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Sweep now and every hour; `unanswered_after` in seconds, None for never."""
    while True:
        await _try(prune_ladders, clock() - LADDERS_KEPT)
        if unanswered_after is not None:
            await _try(leave_unanswered, clock() - unanswered_after)
        await sleep(min(_HOUR, unanswered_after or _HOUR))


async def _try(sweep: Sweep, before: float) -> None:
    try:
        await sweep(before)
    except Exception:
        log.exception("upkeep failed; trying again later", what=getattr(sweep, "__name__", ""))
