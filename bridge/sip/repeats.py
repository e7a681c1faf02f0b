# SPDX-License-Identifier: GPL-3.0-or-later
"""INVITEs that are sent again: none of them is a new call."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

_MOST: Final = 4096
"""INVITEs remembered."""
_AGAIN: Final = 64.0
"""Seconds in which one may come again: sent for 32 (RFC 3261 section 17.1.1.2), it may wait."""
T = TypeVar("T")


class Repeats(Generic[T]):
    """What became of INVITEs of late. `clock`: seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[int, tuple[T, float]] = OrderedDict()

    def before(self, *invite: Hashable) -> T | None:
        """What became of it when it came first; None if this is the first time."""
        known = self._known.get(hash(invite))
        return known[0] if known and self._clock() - known[1] < _AGAIN else None

    def remember(self, fate: T, *invite: Hashable) -> None:
        """It has come for the first time: all of it, and from where."""
        mark = hash(invite)
        self._known[mark] = (fate, self._clock())
        self._known.move_to_end(mark)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
