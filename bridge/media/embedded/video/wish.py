# SPDX-License-Identifier: GPL-3.0-or-later
"""The wish for a whole picture of a sender: said at once, repeated, but never too often."""

import math
from typing import Final

LEAST: Final = 1.0
"""Seconds between two requests. A whole picture is large: asked for more often, it does harm."""
TRIES: Final = 6
"""Requests in a row that nothing comes of, each after twice the time. Some encoders never obey."""


class Wish:
    """Whether a picture is waited for. Times are monotonic, in seconds."""

    __slots__ = ("_asked_at", "_tries", "due", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        """Whether a whole picture is waited for."""
        self.due = math.inf
        """When to ask for it, or to ask again."""
        self._asked_at = -math.inf
        self._tries = 0

    def want(self, now: float) -> None:
        """A whole picture is needed."""
        if not self.wanted:
            self.wanted = True
            self._tries = 0
        self.due = min(self.due, max(now, self._asked_at + LEAST))

    def granted(self) -> None:
        """One comes."""
        self.wanted = False
        self.due = math.inf

    def take(self, now: float) -> bool:
        """Whether to ask now; the caller then does."""
        if not self.wanted or now < self.due:
            return False
        self._asked_at = now
        self._tries += 1
        if self._tries < TRIES:
            self.due = now + LEAST * 2 ** (self._tries - 1)
        else:
            self.granted()
        return True
