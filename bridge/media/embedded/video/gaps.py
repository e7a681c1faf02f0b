# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets that are missing of a stream: when to ask for them again, and when to give them up."""

import math
from dataclasses import dataclass
from typing import Final

TRIES: Final = 5
"""How often a packet is asked for."""
PATIENCE: Final = 0.1
"""Seconds that a packet may be late where nobody can be asked for it."""
LEAST_PAUSE: Final = 0.05
"""Seconds between two tries, unless the way there and back takes longer."""
MOST: Final = 128
"""Packets: who misses more needs another picture."""


@dataclass(slots=True)
class _Missing:
    due: float
    tries: int = 0


class Gaps:
    """What is missing of the run that goes on. Times are monotonic, in seconds."""

    __slots__ = ("_missing", "asking", "due", "pause")

    def __init__(self) -> None:
        self.asking = False
        """Whether the sender repeats packets on demand."""
        self.pause = LEAST_PAUSE
        """Seconds between two tries."""
        self.due = math.inf
        """When something is to be done about it."""
        self._missing: dict[int, _Missing] = {}

    def __len__(self) -> int:
        return len(self._missing)

    def clear(self) -> None:
        """Nothing is missing: what follows is another run."""
        self._missing.clear()
        self.due = math.inf

    def open(self, first: int, count: int, now: float) -> bool:
        """So many packets from `first` on have not come; False where they are too many to mend."""
        if len(self._missing) + count > MOST:
            self.clear()
            return False
        due = now if self.asking else now + PATIENCE
        for number in range(first, first + count):
            self._missing[number & 0xFFFF] = _Missing(due)
        self.due = min(self.due, due)
        return True

    def fill(self, sequence: int) -> bool:
        """It came after all; False if it was not missed."""
        return self._missing.pop(sequence, None) is not None

    def look(self, now: float) -> tuple[list[int], int]:
        """Which packets to ask for now, and how many were given up."""
        wanted: list[int] = []
        given_up = 0
        due = math.inf
        for number, missing in list(self._missing.items()):
            if missing.due <= now:
                if not self.asking or missing.tries >= TRIES:
                    del self._missing[number]
                    given_up += 1
                    continue
                missing.tries += 1
                missing.due = now + self.pause
                wanted.append(number)
            due = min(due, missing.due)
        self.due = due
        return wanted, given_up
