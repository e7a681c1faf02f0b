# SPDX-License-Identifier: GPL-3.0-or-later
"""How the numbers of a received run become those of the stream that we send, without gaps.

What is left out of the stream moves all that follows, but not what was sent before: a packet that
comes late, or again, has to get the number that was kept free for it.
"""

from collections import deque
from typing import Final

REMEMBERED: Final = 64
"""Places where something was left out; what is older than all of them is too late."""


class Numbers:
    """Offsets of sequence numbers, modulo 2**16."""

    __slots__ = ("_breaks", "offset")

    def __init__(self) -> None:
        self.offset = 0
        """Of what is newest."""
        self._breaks: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)

    def anchor(self, sequence: int, target: int) -> None:
        """What comes as `sequence` leaves as `target`; what was before is forgotten."""
        self._breaks.clear()
        self.offset = (target - sequence) & 0xFFFF

    def leave_out(self, sequence: int) -> None:
        """The newest packet is not sent on: the next one gets its number."""
        after = (sequence + 1) & 0xFFFF
        breaks = self._breaks
        if breaks and breaks[-1][0] == sequence:
            breaks[-1] = (after, breaks[-1][1])
        else:
            breaks.append((after, self.offset))
        self.offset = (self.offset - 1) & 0xFFFF

    def of_late(self, sequence: int) -> int:
        """The number of a packet that is older than the newest one."""
        offset = self.offset
        for after, before in reversed(self._breaks):
            if not (sequence - after) & 0x8000:
                break
            offset = before
        return (sequence + offset) & 0xFFFF
