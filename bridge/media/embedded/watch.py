# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether both sides of a call are heard, and how well: looked at by the clock, not by packets."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bridge.call.events import MediaAudible, MediaEvent, MediaFault, MediaMeasured, MediaSilent
from bridge.call.ids import CallId, Side
from bridge.call.quality import INTERVAL, Measured
from bridge.media.embedded.path import Path
from bridge.media.embedded.rtcp import Reporter
from bridge.media.embedded.streams import Streams
from bridge.media.packets import until_round

LOOK = 1.0
"""Seconds between two looks at the counters."""
PATIENCE = 3
"""Looks without a packet before a side counts as silent: noticed before 5 seconds are over."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a leg knows about why nothing comes. The counts are those of the whole call."""

    hurdle: MediaFault | None = None
    strangers: int = 0
    undecipherable: int = 0


class _Ear:
    """One side: what came of it, as far as that was seen."""

    def __init__(self, path: Path, back: Path, reporter: Reporter) -> None:
        self._path = path
        self._back = back
        self._reporter = reporter
        self._packets = self._others = 0
        self._before: tuple[int, ...] = (0, 0, 0, 0, 0)
        self._quiet = 0
        self._told: tuple[object, ...] | None = None
        self._baseline: Facts | None = Facts()
        """What was known when it was heard last; None: that is to be asked."""

    def restart(self, facts: Facts) -> None:
        """Another peer is on this side, of whom nothing can have come."""
        self._quiet = 0
        self._others = self._packets
        self._baseline = facts

    def is_heard(self) -> bool:
        """Whether more has come, as nearly always. Then there is nothing new."""
        packets = self._path.reception.packets
        if packets == self._packets or self._quiet:
            return False
        self._packets, self._baseline = packets, None
        return True

    def look(self, facts: Facts, *, wanted: bool) -> tuple[bool, Facts | None]:
        """Whether it is heard, and if it is not, what is known; None: nothing new."""
        packets = self._path.reception.packets
        if packets != self._packets or not wanted:
            self._packets, self._quiet, self._baseline = packets, 0, facts
            news, self._told = self._told, None
            return True, facts if news else None
        self._quiet += 1
        before = self._baseline = self._baseline or facts
        if self._quiet < PATIENCE:
            return True, None
        since = Facts(
            facts.hurdle,
            facts.strangers - before.strangers,
            facts.undecipherable - before.undecipherable,
        )
        known = (since.hurdle, since.strangers > 0, since.undecipherable > 0)
        if known == self._told:
            return False, None
        self._told = known
        return False, since

    @property
    def quiet(self) -> int:
        """How many looks it has been quiet."""
        return self._quiet

    @property
    def heard(self) -> bool:
        """Whether anything ever came of who is there now."""
        return self._packets > self._others

    def measure(self) -> Measured:
        """What came since this was asked before."""
        reception, far_end = self._path.reception, self._reporter.far_end
        now = (
            reception.packets,
            reception.lost,
            far_end.packets,
            far_end.lost,
            self._back.emission.packets,
        )
        packets, lost, reports, far_lost, sent = (
            max(0, new - old) for new, old in zip(now, self._before, strict=True)
        )
        self._before = now
        return Measured(
            packets=packets,
            lost=lost,
            jitter_ms=reception.jitter_ms,
            reports=reports,
            far_lost=far_lost,
            far_jitter_ms=far_end.jitter_ms,
            sent=sent,
            round_trip_ms=None if far_end.round_trip_ms < 0 else far_end.round_trip_ms,
        )


class Watch:
    """Tells who is not heard, and every few seconds what was measured. One timer."""

    def __init__(
        self,
        call: CallId,
        streams: Streams,
        wants: Callable[[Side], bool],
        facts: Callable[[Side], Facts],
        emit: Callable[[MediaEvent], None],
    ) -> None:
        self._call = call
        self._wants = wants
        self._facts = facts
        self._emit = emit
        self._timer: asyncio.TimerHandle | None = None
        self._looks = 0
        to_sip, to_matrix = streams.to_sip, streams.to_matrix
        self._ears = {
            Side.MATRIX: _Ear(to_sip, to_matrix, streams.matrix_rtcp),
            Side.SIP: _Ear(to_matrix, to_sip, streams.sip_rtcp),
        }

    def start(self) -> None:
        """Begin: both sides have agreed. Harmless if it has begun."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(until_round(LOOK), self._look)

    def restart(self, side: Side) -> None:
        """Somebody else is on a side."""
        self._ears[side].restart(self._facts(side))

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(until_round(LOOK), self._look)
        for side, ear in self._ears.items():
            self._look_at(side, ear)
        self._looks += 1
        if self._looks * LOOK >= INTERVAL:
            self._looks = 0
            matrix, sip = (self._ears[side].measure() for side in (Side.MATRIX, Side.SIP))
            self._emit(MediaMeasured(call=self._call, matrix=matrix, sip=sip))

    def _look_at(self, side: Side, ear: _Ear) -> None:
        if ear.is_heard():
            return
        heard, news = ear.look(self._facts(side), wanted=self._wants(side))
        if news is None:
            return
        if heard:
            self._emit(MediaAudible(call=self._call, side=side))
            return
        self._emit(
            MediaSilent(
                call=self._call,
                side=side,
                seconds=ear.quiet * LOOK,
                heard=ear.heard,
                hurdle=news.hurdle,
                strangers=news.strangers,
                undecipherable=news.undecipherable,
            )
        )
