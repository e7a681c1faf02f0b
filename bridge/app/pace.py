# SPDX-License-Identifier: GPL-3.0-or-later
"""How often somebody may do something."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

_MINUTE: Final = 60.0
_KEPT: Final = 10_000


class Pace:
    """How many within any minute. `most` may change; `clock` counts seconds."""

    def __init__(self, most: Callable[[], int], clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._times: dict[Hashable, deque[float]] = {}

    def allows(self, who: Hashable) -> bool:
        """Whether one more is not too many; if so, it counts."""
        now = self._clock()
        if len(self._times) > _KEPT:
            lately = [k for k, each in self._times.items() if each and each[-1] > now - _MINUTE]
            self._times = {k: self._times[k] for k in lately}
        times = self._times.setdefault(who, deque())
        while times and times[0] <= now - _MINUTE:
            times.popleft()
        if len(times) >= self._most():
            return False
        times.append(now)
        return True
