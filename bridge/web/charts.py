# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a call was heard, drawn over time: one line for each direction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.call.ids import Side
from bridge.records import QualitySample

WIDTH: Final = 420
HEIGHT: Final = 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 8, 8, 22
_WORDS: Final = {Side.MATRIX: "from the client", Side.SIP: "from the telephone"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of a chart. `path` is SVG's; empty where nothing was measured."""

    side: str
    words: str
    path: str
    least: float
    most: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One measure of both directions."""

    name: str
    unit: str
    better: str
    """Which way is better: `higher` or `lower`."""
    curves: tuple[Curve, ...]
    ticks: tuple[Tick, ...]
    seconds: tuple[Tick, ...]


Measure = Callable[[QualitySample], float | None]


def charts_of(start: float, samples: Sequence[QualitySample]) -> list[Chart]:
    """What was measured; nothing where nothing was."""
    if not samples:
        return []
    return [
        _chart(start, samples, "Heard as (MOS)", "", "higher", lambda each: each.flow.mos, 4.5),
        _chart(start, samples, "Lost", "%", "lower", _loss, 5.0),
        _chart(start, samples, "Jitter", "ms", "lower", lambda each: each.flow.jitter_ms, 40.0),
    ]


def _loss(sample: QualitySample) -> float | None:
    flow = sample.flow
    whole = flow.packets + flow.lost
    return 100 * (flow.lost + flow.lost_beyond) / whole if whole else None


def _chart(
    start: float,
    samples: Sequence[QualitySample],
    name: str,
    unit: str,
    better: str,
    measure: Measure,
    top: float,
) -> Chart:
    values = [value for each in samples if (value := measure(each)) is not None]
    low = 1.0 if name.startswith("Heard") else 0.0
    high = max([top, *values])
    length = max(1.0, max(each.at for each in samples) - start)

    def x(at: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * max(0.0, at - start) / length, 1)

    def y(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share, 1)

    def curve(side: Side) -> Curve:
        points = [
            (each.at, value)
            for each in samples
            if each.side is side and (value := measure(each)) is not None
        ]
        path = "".join(
            f"{'L' if index else 'M'}{x(at)} {y(value)}" for index, (at, value) in enumerate(points)
        )
        # One point alone has no length, and would not be seen.
        path += "h1" if len(points) == 1 else ""
        found = [value for _, value in points] or [0.0]
        return Curve(
            side=side.value,
            words=_WORDS[side],
            path=path,
            least=min(found),
            most=max(found),
            last=found[-1],
        )

    marks = [low, (low + high) / 2, high]
    return Chart(
        name=name,
        unit=unit,
        better=better,
        curves=tuple(curve(side) for side in Side),
        ticks=tuple(Tick(at=y(mark), label=f"{mark:.3g}") for mark in marks),
        seconds=tuple(
            Tick(at=x(start + length * part), label=f"{length * part:.0f} s")
            for part in (0.0, 0.5, 1.0)
        ),
    )
