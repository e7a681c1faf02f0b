# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy this process is: how late the event loop is, and its share of a processor."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

_EVERY: Final = 0.25
_SPAN: Final = 20
"""Looks after which the shown values begin anew: five seconds."""


class Load:
    """Looks often enough to see what holds the loop up; `late` is told of every look.

    `clock` is the loop's, `used` the processor's time of this process, `audio` that of those that
    carry audio; all in seconds.
    """

    def __init__(
        self,
        late: Callable[[float], None],
        audio: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.lag = 0.0
        """The most that the loop was late lately, in seconds."""
        self.share = 0.0
        """Of one processor, lately: 1.0 is all of it."""
        self.audio_share = 0.0
        """That of the processes that carry audio, together."""
        self._audio = audio
        self._late = late
        self._clock = clock
        self._used = used
        self._sleep = sleep

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            began, spent, sounded, most = self._clock(), self._used(), self._audio(), 0.0
            for _ in range(_SPAN):
                most = max(most, await self._look())
            self.lag = most
            passed = max(self._clock() - began, _EVERY)
            self.share = (self._used() - spent) / passed
            self.audio_share = max(0.0, self._audio() - sounded) / passed

    async def _look(self) -> float:
        due = self._clock() + _EVERY
        await self._sleep(_EVERY)
        lag = max(0.0, self._clock() - due)
        self._late(lag)
        return lag
