# SPDX-License-Identifier: GPL-3.0-or-later
"""The tone by which a telephone hears that another one rings (ITU-T E.180)."""

import asyncio
import math
from array import array
from functools import lru_cache
from time import monotonic

from bridge.media.embedded.codecs import make_encoder, packet_time_for, rate_for
from bridge.media.embedded.codecs.base import SAMPLE_SIZE, Encoder
from bridge.media.embedded.path import Path
from bridge.sdp.agreement import LegMedia
from bridge.sdp.codecs import PCMU

HERTZ = 425
FIRST = 0.5
"""Seconds of quiet before the first tone: who is connected at once hears none."""
TONE, PERIOD = 1.0, 5.0
"""Seconds that a tone lasts, and from one to the next."""
_FRAME = 20
"""Milliseconds in a packet."""
_AMPLITUDE = 4000


class Ringback:
    """Plays into a path, in place of what would pass there."""

    def __init__(self, path: Path, opus_bitrate: int) -> None:
        """`opus_bitrate`: bits per second, where the peer wants Opus."""
        self._path = path
        self._bitrate = opus_bitrate
        self._timer: asyncio.TimerHandle | None = None
        self._encoder: Encoder | None = None
        self._ptime = _FRAME
        self._clock = 8000
        self._frame = 0
        self._timestamp = 0

    def start(self, leg: LegMedia) -> None:
        """Begin, or go on as the peer wants to hear it now. Raises LocalError."""
        self._ptime = packet_time_for(leg.codec, _FRAME)
        self._clock = leg.codec.clock
        rate = rate_for(leg.codec, PCMU)
        self._encoder = make_encoder(leg.codec, rate, self._ptime, leg.parameters, self._bitrate)
        if self._timer is None:
            self._wait_until(asyncio.get_running_loop().time() + FIRST)

    def stop(self) -> None:
        """Be quiet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._frame = 0
            self._path.restart()

    def _wait_until(self, when: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(when, self._play, when)

    def _play(self, due: float) -> None:
        assert self._encoder is not None
        now = monotonic()
        if self._frame == 0:
            self._timestamp = self._path.begin_key(now)
        samples = _tone(self._encoder.rate)
        size = self._encoder.rate * self._ptime // 1000 * SAMPLE_SIZE
        payload = self._encoder.encode(samples[self._frame * size : (self._frame + 1) * size])
        self._path.play(payload, self._timestamp, marker=self._frame == 0, now=now)
        self._timestamp += self._clock * self._ptime // 1000
        self._frame += 1
        if self._frame * self._ptime < TONE * 1000:
            self._wait_until(due + self._ptime / 1000)
        else:
            self._frame = 0
            self._wait_until(due + PERIOD - TONE)


@lru_cache
def _tone(rate: int) -> bytes:
    """All samples of a tone: a whole number of waves."""
    step = 2 * math.pi * HERTZ / rate
    return array("h", (round(_AMPLITUDE * math.sin(n * step)) for n in range(rate))).tobytes()
