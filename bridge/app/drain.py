# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the wish to stop and the end: calls go on for a while, and none begins."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import ceil
from typing import Final, Protocol

import structlog

from bridge.app.notify import notify

log = structlog.get_logger(__name__)

_GOODBYES: Final = 30.0
"""Seconds that the process may take afterwards, until it is gone."""


class Calls(Protocol):
    """All that go on: the driver."""

    @property
    def active(self) -> int:
        """How many there are."""

    def drain(self, seconds: float) -> None:
        """Let no call begin: in so many seconds at most, all are ended."""

    async def quiet(self) -> None:
        """Wait until there is none."""


class Drain:
    """`announce`: has SIP peers told that no call is taken; `tell`: tells the admins."""

    def __init__(
        self,
        calls: Calls,
        *,
        announce: Callable[[float], None],
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._calls = calls
        self._announce = announce
        self._tell = tell
        self._clock = clock
        self._sleep = sleep
        self._until: float | None = None

    @property
    def left(self) -> int | None:
        """Seconds that calls may still go on for; None: nobody wants the bridge to stop."""
        return None if self._until is None else max(0, ceil(self._until - self._clock()))

    async def run(self, seconds: float, hurry: asyncio.Event) -> None:
        """Wait for all calls to end: for so many seconds, or until `hurry` is set."""
        calls = self._calls.active
        if not calls or not seconds or hurry.is_set():
            return
        self._until = self._clock() + seconds
        self._calls.drain(seconds)
        self._announce(seconds)
        log.info("waiting for calls to end", calls=calls, seconds=seconds)
        wait = f"Waiting for {counted(calls)} to end, for {seconds:.0f} s at most."
        notify(f"STATUS={wait}\nEXTEND_TIMEOUT_USEC={(seconds + _GOODBYES) * 1e6:.0f}")
        self._tell(f"The bridge is about to stop, and takes no new calls. {wait}")
        await _first(self._calls.quiet(), hurry.wait(), self._sleep(seconds))
        log.info("waited for calls to end", left=self._calls.active, hurry=hurry.is_set())


def counted(calls: int) -> str:
    """So many calls, in words."""
    return "1 call" if calls == 1 else f"{calls} calls"


async def _first(*things: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(thing) for thing in things]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
