# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session does by the clock: RTCP reports, and the pauses of transcoded speech."""

import asyncio
import random
from collections.abc import Callable
from time import monotonic, time

from bridge.media.embedded.rtcp import INTERVAL
from bridge.media.embedded.streams import Streams
from bridge.media.packets import until_round

TICK = 0.02
"""Seconds: a packet of audio."""

SendRtcp = Callable[[bytes], None]


class Upkeep:
    """Two timers; the second runs only while audio is transcoded."""

    def __init__(self, streams: Streams, to_matrix: SendRtcp, to_sip: SendRtcp) -> None:
        self._streams = streams
        self._to_matrix = to_matrix
        self._to_sip = to_sip
        self._reports: asyncio.TimerHandle | None = None
        self._ticks: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, or go on after a change of codecs."""
        if self._reports is None:
            self._schedule_report()
        if self._ticks is None and self._streams.mode == "transcode":
            self._tick()

    def stop(self) -> None:
        """End, with a goodbye to both sides if there was ever a report due."""
        if self._ticks is not None:
            self._ticks.cancel()
            self._ticks = None
        if self._reports is None:
            return
        self._reports.cancel()
        self._reports = None
        now, wall = monotonic(), time()
        self._to_matrix(self._streams.matrix_rtcp.goodbye(now, wall))
        self._to_sip(self._streams.sip_rtcp.goodbye(now, wall))

    def _schedule_report(self) -> None:
        delay = INTERVAL * random.uniform(0.5, 1.5)  # RFC 3550 6.2
        self._reports = asyncio.get_running_loop().call_later(until_round(delay), self._report)

    def _report(self) -> None:
        now, wall = monotonic(), time()
        self._to_matrix(self._streams.matrix_rtcp.report(now, wall))
        self._to_sip(self._streams.sip_rtcp.report(now, wall))
        self._schedule_report()

    def _tick(self) -> None:
        if self._streams.mode != "transcode":
            self._ticks = None
            return
        self._streams.tick(monotonic())
        self._ticks = asyncio.get_running_loop().call_later(TICK, self._tick)
