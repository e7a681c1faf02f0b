# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics for Prometheus. Labels are closed sets: no numbers, no rooms, no people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.call.causes import Cause
from bridge.call.commands import (
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordQuality,
    RecordRinging,
    RecordSilence,
    RecordStart,
    RecordStatistics,
    StoreCommand,
)
from bridge.call.events import Event, MediaEvent, SipEvent
from bridge.call.ids import CallId, Direction, Side
from bridge.call.outcomes import outcome_of
from bridge.call.quality import Flow
from bridge.call.silence import Silence
from bridge.web.video_metrics import VideoMetrics

_SETUP: Final = (0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90)
_LENGTH: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_MOS: Final = (1.5, 2, 2.5, 3, 3.5, 3.8, 4, 4.2, 4.4)
_DELAY: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1)


_MEDIA: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10)
_LAG: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_MEDIA_STEPS: Final = {
    "connect_s": "connected",
    "matrix_audio_after_s": "audio_to_matrix",
    "sip_audio_after_s": "audio_to_sip",
}
_DROPPED: Final = {
    "late": "packets_late",
    "not_wanted": "packets_dropped",
    "undecipherable": "undecipherable",
    "stranger": "strangers",
    "network": "unsent",
}
"""Reasons, and what the statistics of a call name them, behind the side."""


@dataclass(slots=True)
class _Course:
    """How far a call has come; times are seconds since the epoch."""

    direction: Direction
    started: float
    rang: float | None = None
    answered: float | None = None


class _Counts(Collector):
    """Counters that are read when they are asked for."""

    def __init__(
        self, name: str, meaning: str, label: str, counts: Callable[[], Mapping[str, float]]
    ) -> None:
        self._name, self._meaning, self._label, self._counts = name, meaning, label, counts

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._meaning, labels=[self._label])
        for value, count in self._counts().items():
            family.add_metric([value], count)
        yield family


class _Numbers(Collector):
    """Numbers that are read when they are asked for, of things that come and go."""

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        numbers: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        self._name, self._meaning, self._labels, self._numbers = name, meaning, labels, numbers

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, number in self._numbers().items():
            family.add_metric(values, number)
        yield family


class _Quality:
    """What was measured of the audio, by the side that it comes from."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(
                f"matrix_sip_audio_{name}", meaning, ["side"], buckets=buckets, registry=registry
            )

        self._packets = Counter(
            "matrix_sip_audio_packets",
            "Packets of audio that came from a side.",
            ["side"],
            registry=registry,
        )
        self._lost = Counter(
            "matrix_sip_audio_packets_lost",
            "Those that were lost on the way to the bridge, or as the other side reports, beyond.",
            ["side", "where"],
            registry=registry,
        )
        self._mos = histogram("mos", "What people would say of some seconds of audio.", _MOS)
        self._jitter = histogram("jitter_seconds", "Jitter of what came from a side.", _DELAY)
        self._round_trip = histogram(
            "round_trip_seconds", "Time to a side's far end and back.", _DELAY
        )

    def observe(self, side: Side, flow: Flow) -> None:
        """Some seconds of one direction."""
        self._packets.labels(side.value).inc(flow.packets)
        self._lost.labels(side.value, "before").inc(flow.lost)
        self._lost.labels(side.value, "beyond").inc(flow.lost_beyond)
        if flow.mos is not None:
            self._mos.labels(side.value).observe(flow.mos)
            self._jitter.labels(side.value).observe(flow.jitter_ms / 1000)
        if flow.round_trip_ms is not None:
            self._round_trip.labels(side.value).observe(flow.round_trip_ms / 1000)


"""Says in which state something is."""


class Metrics:
    """Counts what calls do, and asks for the rest when it is read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # In use only while a call is alive.
        self._calls: dict[CallId, _Course] = {}
        ProcessCollector(registry=self.registry)
        Info("matrix_sip_build", "Version of the bridge.", registry=self.registry).info(
            {"version": version("matrix-sip")}
        )
        self._ended = Counter(
            "matrix_sip_calls",
            "Calls that have ended, by the way that they went, whose doing it was, and why.",
            ["direction", "outcome", "cause"],
            registry=self.registry,
        )
        for direction, ending in product(Direction, Cause):
            self._ended.labels(direction.value, outcome_of(ending).value, ending.value)
        self._uncarried = Counter(
            "matrix_sip_calls_uncarried",
            "Calls that a trunk could not carry, and that were given to another.",
            ["trunk"],
            registry=self.registry,
        )
        self._setup = Histogram(
            "matrix_sip_call_setup_seconds",
            "Time from the start of a call to its answer.",
            ["direction"],
            buckets=_SETUP,
            registry=self.registry,
        )
        self._steps = Histogram(
            "matrix_sip_call_step_seconds",
            "What the time until the answer went to: until it rang, and until it was picked up.",
            ["direction", "step"],
            buckets=_SETUP,
            registry=self.registry,
        )
        self._media = Histogram(
            "matrix_sip_media_setup_seconds",
            "From the answer until ICE and DTLS were up, and until the first packet to a side.",
            ["step"],
            buckets=_MEDIA,
            registry=self.registry,
        )
        self._dropped = Counter(
            "matrix_sip_packets_dropped",
            "Packets that were not passed on, by the side that they came from, and the reason.",
            ["side", "reason"],
            registry=self.registry,
        )
        for side, reason in product(Side, _DROPPED):
            self._dropped.labels(side.value, reason)
        self._lag = Histogram(
            "matrix_sip_loop_lag_seconds",
            "How late the event loop was, four times a second.",
            buckets=_LAG,
            registry=self.registry,
        )
        self._length = Histogram(
            "matrix_sip_call_seconds",
            "Time from a call's answer to its end.",
            ["direction"],
            buckets=_LENGTH,
            registry=self.registry,
        )
        self._events = Counter(
            "matrix_sip_events",
            "What the homeserver, SIP peers and the media engine reported about calls.",
            ["leg"],
            registry=self.registry,
        )
        for leg in ("matrix", "sip", "media"):
            self._events.labels(leg)
        self._silences = Counter(
            "matrix_sip_silences",
            "Times that nothing was heard from a side in a call, by the likely cause.",
            ["side", "cause"],
            registry=self.registry,
        )
        for side in Side:
            for cause in Silence:
                self._silences.labels(side.value, cause.value)
        self._quality = _Quality(self.registry)
        self._video = VideoMetrics(self.registry)
        active = Gauge(
            "matrix_sip_calls_active",
            "Calls that have begun and not ended.",
            ["direction"],
            registry=self.registry,
        )
        for direction in Direction:
            active.labels(direction.value).set_function(partial(self._count, direction))

    def count(self, event: Event) -> None:
        """Count a report of one of the sides."""
        match event:
            case SipEvent():
                self._events.labels("sip").inc()
            case MediaEvent():
                self._events.labels("media").inc()
            case _:
                self._events.labels("matrix").inc()

    def observe(self, command: StoreCommand, at: float) -> None:
        """Count a record. `at` is seconds since the epoch."""
        match command:
            case RecordStart(call=call, direction=direction):
                self._calls[call] = _Course(direction, at)
            case RecordAttempts(failed=failed) if not failed[-1].video:
                self._uncarried.labels(failed[-1].trunk).inc()
            case RecordRinging(call=call) if call in self._calls:
                self._rings(self._calls[call], at)
            case RecordAnswer(call=call) if call in self._calls:
                self._answered(self._calls[call], at)
            case RecordQuality(matrix=matrix, sip=sip):
                self._quality.observe(Side.MATRIX, matrix)
                self._quality.observe(Side.SIP, sip)
            case RecordSilence(side=side, cause=reason):
                self._silences.labels(side.value, reason).inc()
            case RecordStatistics(statistics=statistics):
                self._measured(statistics)
                self._video.observe(statistics)
            case RecordEnd(call=call, cause=cause) if call in self._calls:
                course = self._calls.pop(call)
                outcome = outcome_of(Cause(cause)).value
                self._ended.labels(course.direction.value, outcome, cause).inc()
                if course.answered is not None:
                    self._length.labels(course.direction.value).observe(at - course.answered)

    def _rings(self, course: "_Course", at: float) -> None:
        if course.rang is None:
            course.rang = at
            self._steps.labels(course.direction.value, "ring").observe(at - course.started)

    def _answered(self, course: "_Course", at: float) -> None:
        if course.answered is not None:
            return
        course.answered = at
        self._setup.labels(course.direction.value).observe(at - course.started)
        if course.rang is not None:
            self._steps.labels(course.direction.value, "pickup").observe(at - course.rang)

    def _measured(self, statistics: Mapping[str, int | float | str]) -> None:
        for key, step in _MEDIA_STEPS.items():
            if key in statistics:
                self._media.labels(step).observe(float(statistics[key]))
        for side, (reason, key) in product(Side, _DROPPED.items()):
            count = statistics.get(f"{side.value}_{key}", 0)
            self._dropped.labels(side.value, reason).inc(float(count))

    def total(self, name: str) -> float:
        """What all samples of a metric are together."""
        samples = (each for family in self.registry.collect() for each in family.samples)
        return float(sum(each.value for each in samples if each.name == f"matrix_sip_{name}"))

    def late(self, seconds: float) -> None:
        """The event loop was late by so much."""
        self._lag.observe(seconds)

    def watch_trunks(self, usable: Callable[[], Mapping[str, bool]]) -> None:
        """Show whether each trunk that there is can be used."""
        self.registry.register(
            _Numbers(
                "matrix_sip_trunk_up",
                "Whether the trunk can be used: registered, or needs no registration.",
                ["trunk"],
                lambda: {(trunk,): float(works) for trunk, works in usable().items()},
            )
        )

    def watch_states(
        self,
        name: str,
        meaning: str,
        label: str,
        states: Sequence[str],
        now: Callable[[], Mapping[str, str]],
    ) -> None:
        """Show for each of `now` in which state it is: 1 for that one, 0 for the others."""
        self.registry.register(
            _Numbers(
                f"matrix_sip_{name}",
                meaning,
                [label, "state"],
                lambda: {
                    (each, possible): float(state == possible)
                    for (each, state), possible in product(now().items(), states)
                },
            )
        )

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show a number that somebody else keeps."""
        Gauge(f"matrix_sip_{name}", meaning, registry=self.registry).set_function(value)

    def watch_counts(
        self, name: str, meaning: str, label: str, counts: Callable[[], Mapping[str, float]]
    ) -> None:
        """Show numbers that somebody else keeps, and that only grow, by a closed set of labels."""
        self.registry.register(_Counts(f"matrix_sip_{name}", meaning, label, counts))

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _count(self, wanted: Direction) -> float:
        return sum(course.direction is wanted for course in self._calls.values())
