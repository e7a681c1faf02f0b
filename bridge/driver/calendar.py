# SPDX-License-Identifier: GPL-3.0-or-later
"""The dates of what happens in calls, however the machine's clock is set meanwhile."""

from collections import deque
from collections.abc import Callable
from typing import Final

from bridge.call.ids import CallId

_REMEMBERED: Final = 1000
"""Calls that are over and may still be heard of."""


class Calendar:
    """Makes dates (seconds since the epoch) of a clock's seconds, which only go forward.

    A call's dates all follow from the one that it began at: its length stays what it was.
    """

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float]) -> None:
        self._wall = wall
        self._clock = clock
        self._ahead: dict[CallId, float] = {}
        """What the wall clock was ahead of the other when a call began."""
        self._over: deque[CallId] = deque()

    def begin(self, call: CallId) -> None:
        """A call begins."""
        self._ahead.setdefault(call, self._wall() - self._clock())

    def end(self, call: CallId) -> None:
        """A call is over; what comes late is still dated as before, for a while."""
        self._over.append(call)
        if len(self._over) > _REMEMBERED:
            self._ahead.pop(self._over.popleft(), None)

    def date(self, call: CallId, at: float) -> float:
        """The date in a call of what happened `at` the clock's seconds."""
        ahead = self._ahead.get(call)
        return at + (self._wall() - self._clock() if ahead is None else ahead)
