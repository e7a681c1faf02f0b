# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a call is heard: what the engine measures, and what people would say of it.

The judgement is the E-model's (ITU-T G.107), with its defaults for all that a bridge cannot know:
delay and loss are what is left. The codecs count as G.711 with concealment, for G.113 has values
neither for Opus nor for G.722 on this scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2, pow

from bridge.call.ids import Side

INTERVAL = 5.0
"""Seconds between two measurements."""
_BEST = 93.2
"""R of a connection without delay or loss: R0 - Is with all defaults (G.107 7.7)."""
_ROBUSTNESS = 25.1
"""Bpl of G.711 with concealment, in percent (G.113 table I.4); its Ie is 0."""
_ENDS = 45.0
"""Milliseconds that a packet of 20 ms, a jitter buffer at rest and a sound card take."""
_DEPTH = 2.0
"""Mean deviations for which a jitter buffer makes up, by holding back what comes in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one side sent within an interval, and what it reported of what it got."""

    packets: int = 0
    lost: int = 0
    """Gaps in their numbers."""
    jitter_ms: float = 0.0
    reports: int = 0
    """RTCP packets."""
    far_lost: int = 0
    """Packets of ours that its far end has not got; only if it reports."""
    far_jitter_ms: float = 0.0
    sent: int = 0
    """Packets that it was sent."""
    round_trip_ms: float | None = None
    """Between the bridge and that side's far end, if it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One direction of a call within an interval: from one side, through the bridge, to the other.

    `mos`: what people would say of what they hear, 1.0 (bad) to 4.5; None: nothing was sent.
    """

    packets: int
    """That came."""
    lost: int
    """On the way to the bridge."""
    lost_beyond: int
    """On the way from the bridge to the other side, as far as that reports it."""
    jitter_ms: float
    """Of what came."""
    round_trip_ms: float | None
    """Between the bridge and the side that it comes from, if that is known."""
    mos: float | None


def flows(sides: Mapping[Side, Measured]) -> dict[Side, Flow]:
    """Both directions, each by the side that it comes from."""
    return {side: _flow(sides[side], sides[side.other]) for side in Side}


def _flow(source: Measured, target: Measured) -> Flow:
    way = _share(source.lost, source.packets + source.lost)
    beyond = _share(target.far_lost, target.sent)
    delay = (
        ((source.round_trip_ms or 0.0) + (target.round_trip_ms or 0.0)) / 2
        + _DEPTH * (source.jitter_ms + target.far_jitter_ms)
        + _ENDS
    )
    lost = 1 - (1 - way) * (1 - beyond)
    return Flow(
        packets=source.packets,
        lost=source.lost,
        lost_beyond=target.far_lost,
        jitter_ms=round(source.jitter_ms, 1),
        round_trip_ms=None if source.round_trip_ms is None else round(source.round_trip_ms, 1),
        mos=round(mos(rating(delay, lost)), 2) if source.packets else None,
    )


def _share(part: int, whole: int) -> float:
    return min(1.0, part / whole) if whole else 0.0


def rating(delay: float, lost: float) -> float:
    """R of G.107: `delay` in milliseconds from mouth to ear, `lost` from 0.0 to 1.0."""
    percent = 100 * lost
    return _BEST - _delay_impairment(delay) - 95 * percent / (percent + _ROBUSTNESS)


def _delay_impairment(delay: float) -> float:
    """Idd of G.107 7.4, for connections without echo."""
    if delay <= 100:
        return 0.0
    x = log2(delay / 100)
    return 25 * (pow(1 + x**6, 1 / 6) - 3 * pow(1 + (x / 3) ** 6, 1 / 6) + 2)


def mos(r: float) -> float:
    """The mean opinion score that a rating stands for (G.107 annex B)."""
    if r <= 0:
        return 1.0
    # The polynomial falls below 1 for the least ratings.
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


class Opinion:
    """The scores of a whole call, for its record."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(Side, 0.0)
        self._counts = dict.fromkeys(Side, 0)
        self._least: dict[Side, float] = {}

    def add(self, by_side: Mapping[Side, Flow]) -> None:
        """Another interval."""
        for side, flow in by_side.items():
            if flow.mos is None:
                continue
            self._sums[side] += flow.mos
            self._counts[side] += 1
            self._least[side] = min(flow.mos, self._least.get(side, flow.mos))

    def statistics(self) -> dict[str, int | float | str]:
        """`S_mos`, `S_mos_least`: of what came from side `S`; nothing where nothing did."""
        result: dict[str, int | float | str] = {}
        for side, least in self._least.items():
            result[f"{side.value}_mos"] = round(self._sums[side] / self._counts[side], 2)
            result[f"{side.value}_mos_least"] = least
        return result
