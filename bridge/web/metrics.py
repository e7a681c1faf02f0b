# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics for Prometheus. Labels are closed sets: no numbers, no rooms, no people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
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
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.call.commands import (
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordQuality,
    RecordSilence,
    RecordStart,
    StoreCommand,
)
from bridge.call.events import Event, MediaEvent, SipEvent
from bridge.call.ids import CallId, Direction, Side
from bridge.call.quality import Flow
from bridge.call.silence import Silence

_SETUP: Final = (0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90)
_LENGTH: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_MOS: Final = (1.5, 2, 2.5, 3, 3.5, 3.8, 4, 4.2, 4.4)
_DELAY: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1)


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


class Metrics:
    """Counts what calls do, and asks for the rest when it is read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # In use only while a call is alive: direction, start, answer.
        self._calls: dict[CallId, tuple[Direction, float, float | None]] = {}
        ProcessCollector(registry=self.registry)
        Info("matrix_sip_build", "Version of the bridge.", registry=self.registry).info(
            {"version": version("matrix-sip")}
        )
        self._ended = Counter(
            "matrix_sip_calls",
            "Calls that have ended, by the way that they went and why they ended.",
            ["direction", "cause"],
            registry=self.registry,
        )
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
                self._calls[call] = (direction, at, None)
            case RecordAttempts(failed=failed):
                self._uncarried.labels(failed[-1].trunk).inc()
            case RecordAnswer(call=call) if call in self._calls:
                direction, started, answered = self._calls[call]
                if answered is None:
                    self._calls[call] = (direction, started, at)
                    self._setup.labels(direction.value).observe(at - started)
            case RecordQuality(matrix=matrix, sip=sip):
                self._quality.observe(Side.MATRIX, matrix)
                self._quality.observe(Side.SIP, sip)
            case RecordSilence(side=side, cause=reason):
                self._silences.labels(side.value, reason).inc()
            case RecordEnd(call=call, cause=cause) if call in self._calls:
                direction, _, answered = self._calls.pop(call)
                self._ended.labels(direction.value, cause.lower()).inc()
                if answered is not None:
                    self._length.labels(direction.value).observe(at - answered)

    def watch_trunks(self, names: Mapping[str, Callable[[], bool]]) -> None:
        """Show whether each trunk can be used."""
        gauge = Gauge(
            "matrix_sip_trunk_up",
            "Whether the trunk can be used: registered, or needs no registration.",
            ["trunk"],
            registry=self.registry,
        )
        for name, usable in names.items():
            gauge.labels(name).set_function(usable)

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
        return sum(direction is wanted for direction, _, _ in self._calls.values())
