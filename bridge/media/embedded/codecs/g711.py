# SPDX-License-Identifier: GPL-3.0-or-later
"""G.711 by tables: 8 kHz, one octet for a sample.

Decoding translates into two planes of octets; encoding picks all samples in one call. Without a
loop in Python both take a few microseconds for a packet of 20 ms.
"""

import sys
from collections.abc import Callable
from operator import itemgetter

from bridge.media.embedded.codecs.base import SAMPLE_SIZE
from bridge.media.embedded.codecs.concealment import Concealment

_ULAW_BIAS = 0x84
_ULAW_CLIP = 32635


def _ulaw_sample(code: int) -> int:
    """The value of a mu-law octet (ITU-T G.711 table 2), scaled to 16 bits."""
    code ^= 0xFF
    magnitude = (((code & 0x0F) << 3) + _ULAW_BIAS << (code >> 4 & 7)) - _ULAW_BIAS
    return -magnitude if code & 0x80 else magnitude


def _ulaw_code(sample: int) -> int:
    magnitude = min(abs(sample), _ULAW_CLIP) + _ULAW_BIAS
    exponent = magnitude.bit_length() - 8
    mantissa = magnitude >> exponent + 3 & 0x0F
    return ((0x80 if sample < 0 else 0) | exponent << 4 | mantissa) ^ 0xFF


def _alaw_sample(code: int) -> int:
    """The value of an A-law octet (ITU-T G.711 table 1), scaled to 16 bits."""
    code ^= 0x55
    exponent, mantissa = code >> 4 & 7, code & 0x0F
    magnitude = (mantissa << 4) + 8
    if exponent:
        magnitude = magnitude + 0x100 << exponent - 1
    return magnitude if code & 0x80 else -magnitude


def _alaw_code(sample: int) -> int:
    # Intervals are closed below for positive values, above for negative ones.
    magnitude = sample >> 4 if sample >= 0 else ~sample >> 4
    exponent = max(magnitude.bit_length() - 4, 1) - (magnitude < 16)
    mantissa = magnitude >> max(exponent - 1, 0) & 0x0F
    return ((0x80 if sample >= 0 else 0) | exponent << 4 | mantissa) ^ 0x55


class _Law:
    """The tables of one companding law."""

    __slots__ = ("encoding", "first_plane", "second_plane")

    def __init__(self, sample: Callable[[int], int], code: Callable[[int], int]) -> None:
        values = [sample(c).to_bytes(SAMPLE_SIZE, sys.byteorder, signed=True) for c in range(256)]
        self.first_plane = bytes(value[0] for value in values)
        self.second_plane = bytes(value[1] for value in values)
        # Negative indices count from the end, which is where two's complement puts them.
        self.encoding = bytes(map(code, (*range(32768), *range(-32768, 0))))


_LAWS = {"PCMU": _Law(_ulaw_sample, _ulaw_code), "PCMA": _Law(_alaw_sample, _alaw_code)}


class G711Decoder:
    """PCMU or PCMA."""

    rate = 8000

    def __init__(self, name: str) -> None:
        self._law = _LAWS[name]
        self._concealment = Concealment(self.rate)

    def decode(self, payload: bytes) -> bytes:
        """The samples of one packet."""
        samples = bytearray(len(payload) * SAMPLE_SIZE)
        samples[0::2] = payload.translate(self._law.first_plane)
        samples[1::2] = payload.translate(self._law.second_plane)
        return self._concealment.heard(bytes(samples))

    def conceal(self, samples: int, following: bytes) -> bytes:
        """What was heard last goes on, and fades."""
        return self._concealment.conceal(samples)

    def rest(self, samples: int) -> bytes:
        """Silence."""
        self._concealment.forget()
        return bytes(samples * SAMPLE_SIZE)

    def reset(self) -> None:
        """What comes next is of another sender."""
        self._concealment.forget()


class G711Encoder:
    """PCMU or PCMA."""

    rate = 8000

    def __init__(self, name: str) -> None:
        self._table = _LAWS[name].encoding

    def encode(self, samples: bytes) -> bytes:
        """One octet for each sample; at least two samples."""
        return bytes(itemgetter(*memoryview(samples).cast("h"))(self._table))

    def expect_loss(self, percent: int) -> None:
        """There is nothing that could be done against it."""
