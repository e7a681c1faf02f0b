# SPDX-License-Identifier: GPL-3.0-or-later
"""How many bits a second a receiver of video may get: the least of what is known of it."""

from typing import Final

LEAST: Final = 64_000
"""Bits a second: with less there is no picture."""
MOST: Final = 10_000_000
"""Bits a second that are told where a limit is no more, and at which loss limits nothing."""
HEAVY: Final = 0.1
"""Part of the packets: who loses more gets less."""
LIGHT: Final = 0.02
"""Part of the packets: who loses less may get more again."""


class Bandwidth:
    """Limits in bits a second; None: there is none."""

    __slots__ = ("_bits_before", "_lost_before", "_sent_before", "by_loss", "described", "said")

    def __init__(self) -> None:
        self.described: int | None = None
        """By the receiver's description."""
        self.said: int | None = None
        """By the receiver, since: TMMBR or REMB."""
        self.by_loss: int | None = None
        """By what the receiver reports to lose: senders do not see what is lost behind us."""
        self._lost_before = self._sent_before = self._bits_before = 0

    @property
    def limit(self) -> int | None:
        """The least of them."""
        known = [each for each in (self.described, self.said, self.by_loss) if each is not None]
        return max(LEAST, min(known)) if known else None

    def reported(self, lost: int, sent: int, octets: int, seconds: float) -> None:
        """The receiver has reported: packets lost, packets and octets sent, since the beginning.

        `seconds` since the report before. Less by half of what is lost, more by a twelfth.
        """
        lost, self._lost_before = lost - self._lost_before, lost
        sent, self._sent_before = sent - self._sent_before, sent
        octets, self._bits_before = octets - self._bits_before, octets
        if sent <= 0 or seconds <= 0:
            return
        part = max(0, lost) / sent
        rate = 8 * octets / seconds
        if part > HEAVY:
            least = min(rate, self.by_loss) if self.by_loss is not None else rate
            self.by_loss = max(LEAST, round(least * (1 - min(part, 1) / 2)))
        elif part < LIGHT and self.by_loss is not None:
            more = round(self.by_loss * 13 / 12)
            self.by_loss = more if more < MOST else None
