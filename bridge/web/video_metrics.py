# SPDX-License-Identifier: GPL-3.0-or-later
"""What is counted of video, at the end of each call that had some."""

from collections.abc import Mapping
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from bridge.call.ids import Side

_DROPPED: Final = {
    "not_wanted": "packets_dropped",
    "oversize": "packets_oversize",
    "undecipherable": "undecipherable",
    "stranger": "strangers",
}
"""Reasons, and what the statistics of a call name them, behind the side and `video_`."""


class VideoMetrics:
    """Counters that calls add to; all of them are there from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"matrix_sip_video_{name}", meaning, labels, registry=registry)

        self._calls = counter("calls", "Calls that had video, by its codec.", "codec")
        self._packets = counter("packets", "Packets of video that came from a side.", "side")
        self._lost = counter(
            "packets_lost",
            "Those that were lost on the way to the bridge and not made good.",
            "side",
        )
        self._repeated = counter(
            "packets_repeated", "Packets that a side had missed and got again.", "side"
        )
        self._asked = counter("pictures_asked", "Whole pictures that a side was asked for.", "side")
        self._dropped = counter(
            "packets_dropped",
            "Packets of video that were not passed on, by where they came from, and why.",
            "side",
            "reason",
        )
        for side in Side:
            for each in (self._packets, self._lost, self._repeated, self._asked):
                each.labels(side.value)
        for side, reason in product(Side, _DROPPED):
            self._dropped.labels(side.value, reason)

    def observe(self, statistics: Mapping[str, int | float | str]) -> None:
        """A call is over; its statistics may say nothing of video."""
        if "video_mode" not in statistics:
            return
        self._calls.labels(str(statistics["sip_video_codec"]).partition("/")[0]).inc()

        def found(side: Side, name: str) -> float:
            return float(statistics.get(f"{side.value}_video_{name}", 0))

        for side in Side:
            self._packets.labels(side.value).inc(found(side, "packets_received"))
            self._lost.labels(side.value).inc(found(side, "packets_lost"))
            self._repeated.labels(side.value).inc(found(side, "packets_repeated"))
            self._asked.labels(side.value).inc(found(side, "pictures_asked"))
            for reason, name in _DROPPED.items():
                self._dropped.labels(side.value, reason).inc(found(side, name))
