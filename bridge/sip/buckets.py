# SPDX-License-Identifier: GPL-3.0-or-later
"""How often something may happen: token buckets, one for each of a bounded number of keys."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

_MOST: Final = 4096
"""Keys remembered. Beyond that, the one that was quiet for longest starts anew."""


class Buckets:
    """`clock`: seconds that only go forward; `most`: keys remembered."""

    def __init__(self, clock: Callable[[], float], most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """What is left in each bucket, and when that was so."""

    def take(self, key: Hashable, rate: float, burst: float) -> bool:
        """Whether it may happen once more now, `rate` times a second and `burst` at once.

        If it may, it has.
        """
        now = self._clock()
        left, at = self._left.pop(key, (burst, now))
        left = min(burst, left + (now - at) * rate)
        allowed = left >= 1
        self._left[key] = (left - 1 if allowed else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return allowed

    def __len__(self) -> int:
        return len(self._left)
