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

    def reset(self) -> None:
        """What comes next is of another sender."""


class Encoder(Protocol):
    """From samples to payloads."""

    rate: int
    """Samples per second."""

    def encode(self, samples: bytes) -> bytes:
        """The payload of one packet."""

    def expect_loss(self, percent: int) -> None:
        """So much of what is sent does not arrive."""


def faded(samples: bytes, first: float, last: float) -> bytes:
    """The samples with a gain that goes from `first` to `last`."""
    source = array("h", samples)
    step = (last - first) / max(len(source), 1)
    return array("h", [int(s * (first + i * step)) for i, s in enumerate(source)]).tobytes()


def crossed(old: bytes, new: bytes) -> bytes:
    """`new` with its beginning blended in from `old`, over as much as there is of that."""
    before, after = array("h", old), array("h", new)
    size = min(len(before), len(after))
    for n in range(size):
        after[n] = before[n] + (after[n] - before[n]) * n // size
    return after.tobytes()
