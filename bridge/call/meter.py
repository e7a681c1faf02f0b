# SPDX-License-Identifier: GPL-3.0-or-later
"""How often something was done within the last minute, and how long within the last 24 hours."""

from collections import deque
from collections.abc import Hashable

MINUTE = 60.0
"""Seconds for which placing a call counts."""
DAY = 86400.0
"""Seconds for which a call counts, from its end on."""


class Rates:
    """How often somebody did something within the last minute."""

    def __init__(self) -> None:
        self._done: dict[Hashable, deque[float]] = {}

    def add(self, who: Hashable, now: float) -> None:
        """They did it."""
        self.of(who, now)
        self._done.setdefault(who, deque()).append(now)

    def of(self, who: Hashable, now: float) -> int:
        """How often they did."""
        done = self._done.get(who, deque())
        while done and done[0] <= now - MINUTE:
            done.popleft()
        return len(done)


class Meter:
    """How many seconds somebody has talked, in calls that ended within the last 24 hours."""

    def __init__(self) -> None:
        self._talks: dict[Hashable, deque[tuple[float, float]]] = {}
        self._sums: dict[Hashable, float] = {}

    def add(self, who: Hashable, seconds: float, ended: float) -> None:
        """They talked; in the order in which it ended."""
        self.used(who, ended)  # What is too old goes even where nobody asks.
        self._talks.setdefault(who, deque()).append((ended, seconds))
        self._sums[who] = self._sums.get(who, 0.0) + seconds

    def used(self, who: Hashable, now: float) -> float:
        """How long they did."""
        talks = self._talks.get(who, deque())
        while talks and talks[0][0] <= now - DAY:
            self._sums[who] -= talks.popleft()[1]
        if not talks:
            self._sums.pop(who, None)  # and what adding and subtracting left of it
        return self._sums.get(who, 0.0)
