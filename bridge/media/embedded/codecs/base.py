# SPDX-License-Identifier: GPL-3.0-or-later
"""What every codec here looks like: payloads on one side, 16-bit mono samples on the other."""

from array import array
from typing import Protocol

SAMPLE_SIZE = 2
"""Octets of a sample: signed, in the machine's byte order."""


class Decoder(Protocol):
    """From payloads to samples."""

    rate: int
    """Samples per second."""

    def decode(self, payload: bytes) -> bytes:
        """The samples of one packet. Raises RemoteError for what cannot be decoded."""

    def conceal(self, samples: int, following: bytes) -> bytes:
        """Samples in the place of lost ones; `following` is the packet after them."""

    def rest(self, samples: int) -> bytes:
        """What to play while the sender pauses."""


class Encoder(Protocol):
    """From samples to payloads."""

    rate: int
    """Samples per second."""

    def encode(self, samples: bytes) -> bytes:
        """The payload of one packet."""


def faded(samples: bytes, first: float, last: float) -> bytes:
    """The samples with a gain that goes from `first` to `last`."""
    source = array("h", samples)
    step = (last - first) / max(len(source), 1)
    return array("h", [int(s * (first + i * step)) for i, s in enumerate(source)]).tobytes()


class Repetition:
    """Conceals loss by the last packet again, quieter each time, as G.711 appendix I does at heart.

    After `LIMIT` packets there is silence.
    """

    LIMIT = 3

    __slots__ = ("_gain", "_last", "_used")

    def __init__(self) -> None:
        self._last = b""
        self._used = 0
        self._gain = 1.0

    def heard(self, samples: bytes) -> None:
        """Note what was decoded last."""
        self._last = samples
        self._used = 0

    def conceal(self, samples: int) -> bytes:
        """That many samples."""
        wanted = samples * SAMPLE_SIZE
        pieces = bytearray()
        while len(pieces) < wanted and self._last and self._used < self.LIMIT:
            gain = 1 - self._used / self.LIMIT
            pieces += faded(self._last, gain, gain - 1 / self.LIMIT)
            self._used += 1
        return bytes(pieces[:wanted]).ljust(wanted, b"\0")
