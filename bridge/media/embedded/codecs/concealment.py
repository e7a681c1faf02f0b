# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes up lost sound for codecs that cannot themselves, the way of ITU-T G.711 appendix I.

What was heard last is searched for the length of its pitch; that piece is repeated, fades, and is
blended into what comes after. Costs nothing but a copy while nothing is lost.
"""

from array import array
from operator import mul

from bridge.media.embedded.codecs.base import SAMPLE_SIZE, crossed, faded

_SHORTEST, _LONGEST = 5, 15
"""Milliseconds of pitch: 200 to 66 Hz; a higher one fits several times."""
_COMPARED = 20
"""Milliseconds that are compared with what was before."""
_BLEND = 4
"""Milliseconds in which what was made up gives way to what is heard again."""
_STEADY, _SILENT = 10, 60
"""Milliseconds after which it begins to fade, and is gone."""
_SEARCHED = 4000
"""Samples per second that are enough to find the pitch."""


class Concealment:
    """What was heard last of one stream, and what to play in its place."""

    __slots__ = ("_cycle", "_history", "_jump", "_kept", "_made", "_ms")

    def __init__(self, rate: int) -> None:
        self._ms = rate // 1000
        """Samples in a millisecond."""
        self._kept = (_LONGEST + _COMPARED + 1) * self._ms * SAMPLE_SIZE
        self._history = b""
        self._cycle = b""
        self._jump = 0
        """From where the cycle would go on to where the sound was left."""
        self._made = 0
        """Samples made up since something was heard."""

    def heard(self, samples: bytes) -> bytes:
        """Note what was decoded; returns it, joined on to what was made up before it."""
        if self._made:
            size = min(_BLEND * self._ms, len(samples) // SAMPLE_SIZE)
            samples = crossed(self._next(size), samples)
            self._made, self._cycle = 0, b""
        self._history = (self._history + samples)[-self._kept :]
        return samples

    def conceal(self, samples: int) -> bytes:
        """That many samples in the place of lost ones."""
        made = self._next(samples)
        self._history = (self._history + made)[-self._kept :]
        return made

    def forget(self) -> None:
        """What comes next has nothing to do with what was heard."""
        self._history = self._cycle = b""
        self._made = 0

    def _next(self, samples: int) -> bytes:
        if not self._made:
            self._cycle, self._jump = self._find_cycle()
        begin, self._made = self._made, self._made + samples
        cycle, size = self._cycle, samples * SAMPLE_SIZE
        if not cycle or begin >= _SILENT * self._ms:
            return bytes(size)
        offset = begin * SAMPLE_SIZE % len(cycle)
        made = (cycle * ((offset + size) // len(cycle) + 1))[offset : offset + size]
        if not begin and self._jump:
            made = self._led_in(made)
        return self._faded(made, begin)

    def _led_in(self, samples: bytes) -> bytes:
        """Begin where the sound was left."""
        made, size = array("h", samples), min(_BLEND * self._ms, len(samples) // SAMPLE_SIZE)
        for n in range(size):
            made[n] = _clipped(made[n] + self._jump * (size - n) // size)
        return made.tobytes()

    def _faded(self, samples: bytes, begin: int) -> bytes:
        steady, silent = _STEADY * self._ms, _SILENT * self._ms
        untouched = max(0, steady - begin) * SAMPLE_SIZE
        fading = samples[untouched : max(0, silent - begin) * SAMPLE_SIZE]
        if not fading:
            return samples
        first = max(begin, steady)
        last = first + len(fading) // SAMPLE_SIZE
        span = silent - steady
        fading = faded(fading, (silent - first) / span, (silent - last) / span)
        return (samples[:untouched] + fading).ljust(len(samples), b"\0")

    def _find_cycle(self) -> tuple[bytes, int]:
        """The last cycle of the pitch, made fit to follow itself, and the way to its beginning."""
        if len(self._history) < self._kept:
            return b"", 0
        sound = array("h", self._history)
        pitch = self._pitch(sound)
        cycle, blend = sound[-pitch:], pitch // 4
        before = sound[-pitch - blend : -pitch]
        cycle[-blend:] = array("h", crossed(cycle[-blend:].tobytes(), before.tobytes()))
        return cycle.tobytes(), sound[-1] - sound[-pitch - 1]

    def _pitch(self, sound: "array[int]") -> int:
        """Samples after which the sound is most like itself."""
        step = max(1, self._ms * 1000 // _SEARCHED)
        coarse = sound[::-step][::-1]
        size = _COMPARED * self._ms // step
        rough = _likest(
            coarse, size, range(_SHORTEST * self._ms // step, _LONGEST * self._ms // step + 1)
        )
        low, high = max(rough * step - step + 1, 1), min(rough * step + step, _LONGEST * self._ms)
        return _likest(sound, _COMPARED * self._ms, range(low, high + 1))


def _likest(sound: "array[int]", size: int, lags: range) -> int:
    """The lag at which the last `size` samples are most like those before."""
    recent = sound[-size:]
    best, found = 0.0, lags[-1]
    for lag in lags:
        earlier = sound[-size - lag : -lag]
        likeness = sum(map(mul, recent, earlier))
        if likeness > 0:
            measure = likeness * likeness / (sum(map(mul, earlier, earlier)) or 1)
            if measure > best:
                best, found = measure, lag
    return found


def _clipped(sample: int) -> int:
    return max(-32768, min(sample, 32767))
