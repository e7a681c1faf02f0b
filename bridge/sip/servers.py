# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a trunk's servers to use: the first that is not known to be away."""

from collections.abc import Collection, Sequence
from typing import Final

from bridge.sip.lookup import Target

AVOIDED: Final = 120.0
"""Seconds for which a server that did not answer is passed over, if there is another; twice as many
each time that it does not answer again."""
_LONGEST: Final = 1800.0


class Servers:
    """The servers of one trunk, best first. `now` is seconds of any clock that does not go back."""

    def __init__(self, targets: Sequence[Target] = ()) -> None:
        self._targets = tuple(targets)
        self._away_until: dict[Target, float] = {}
        self._failures: dict[Target, int] = {}

    def are(self, targets: Sequence[Target]) -> None:
        """What the trunk's name stands for has been looked up again.

        Nothing found means that name servers are away, not that the servers are.
        """
        if targets:
            self._targets = tuple(targets)
            for gone in self._away_until.keys() - set(targets):
                self.works(gone)

    def __len__(self) -> int:
        return len(self._targets)

    def best(self, now: float, tried: Collection[Target] = ()) -> Target | None:
        """The one to use; if all are away, the one that has been for longest.

        `tried`: those that it may not be. None if there is none.
        """
        left = [target for target in self._targets if target not in tried]
        return min(left, key=lambda target: self._left(target, now), default=None)

    def failed(self, target: Target, now: float, wish: float = 0.0) -> float:
        """It did not answer, or has no service (503). Gives the seconds that it is avoided for.

        `wish`: seconds in its Retry-After header (RFC 3261 section 21.5.4), 0 if there is none.
        """
        failures = self._failures[target] = self._failures.get(target, 0) + 1
        pause = min(max(AVOIDED * 2.0 ** min(failures - 1, 20), wish), _LONGEST)
        self._away_until[target] = now + pause
        return pause

    def works(self, target: Target) -> None:
        """It answered."""
        self._away_until.pop(target, None)
        self._failures.pop(target, None)

    def _left(self, target: Target, now: float) -> float:
        return max(0.0, self._away_until.get(target, 0.0) - now)
