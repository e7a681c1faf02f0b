# SPDX-License-Identifier: GPL-3.0-or-later
"""Transports of trunks with TLS of their own that no trunk uses any more. SIP thread only."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import structlog

from bridge.call.ids import LegId

log = structlog.get_logger(__name__)

EVERY: Final = 10.0
"""Seconds between two looks."""
_STILL: Final = 128.0
"""Seconds for which nothing may use one: transactions (64*T1) and idle connections have ended."""


@dataclass(slots=True)
class _Left:
    at: float
    legs: set[LegId]
    """Calls of that time, some of which may have begun by it."""


class Unused:
    """Closes them, when the last call that they may carry has ended.

    `own`: those that there are, `used`: those that trunks use, `legs`: calls that are not over.
    """

    def __init__(
        self,
        own: Callable[[], Collection[int]],
        used: Callable[[], Collection[int]],
        legs: Callable[[], Collection[LegId]],
        close: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own, self._used, self._legs = own, used, legs
        self._close = close
        self._clock = clock
        self._left: dict[int, _Left] = {}

    def look(self) -> None:
        """What nobody uses, and has not for a while, is closed."""
        now, used, legs = self._clock(), self._used(), self._legs()
        for number in list(self._own()):
            if number in used:
                self._left.pop(number, None)
                continue
            left = self._left.setdefault(number, _Left(now, set(legs)))
            left.legs.intersection_update(legs)
            if not left.legs and now - left.at >= _STILL:
                del self._left[number]
                self._close(number)
                log.info("closed a TLS transport that no trunk uses any more", transport=number)
