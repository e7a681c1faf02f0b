# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics: what is counted, and what must never be in a label."""

from prometheus_client.parser import text_string_to_metric_families

from bridge.call.commands import (
    Attempt,
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordQuality,
    RecordRinging,
    RecordSilence,
    RecordStart,
    RecordStatistics,
)
from bridge.call.events import MatrixMemberLeft, MediaClosed, SipAnswered
from bridge.call.ids import Address, CallId, Direction, LegId, RoomId, Side, TrunkName, UserId
from bridge.call.quality import Flow
from bridge.web.metrics import Metrics


def start(call: str, direction: Direction = Direction.TO_SIP) -> RecordStart:
    return RecordStart(
        call=CallId(call),
        direction=direction,
        person=UserId("@alice:mx.test"),
        address=Address("tel:+12025550123"),
        trunk=TrunkName("provider"),
    )


def end(call: str, cause: str) -> RecordEnd:
    return RecordEnd(call=CallId(call), cause=cause, status=0, ended_by="sip")


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Values of our own metrics by name and the values of their labels."""
    return {
        (sample.name, "/".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name.startswith("matrix_sip") and "le" not in sample.labels
    }


def test_calls_are_counted_by_direction_and_cause() -> None:
    metrics = Metrics()
    metrics.observe(start("a"), 100.0)
    metrics.observe(RecordRinging(call=CallId("a")), 102.0)
    metrics.observe(RecordRinging(call=CallId("a")), 103.0)
    metrics.observe(RecordAnswer(call=CallId("a")), 107.0)
    metrics.observe(RecordAnswer(call=CallId("a")), 109.0)
    metrics.observe(start("b", Direction.TO_MATRIX), 110.0)
    metrics.observe(start("c"), 111.0)
    metrics.observe(end("a", "normal"), 137.0)
    metrics.observe(end("c", "busy"), 137.0)
    found = samples(metrics)
    assert found["matrix_sip_calls_total", "normal/to_sip/success"] == 1
    assert found["matrix_sip_calls_total", "busy/to_sip/callee"] == 1
    assert found["matrix_sip_calls_active", "to_sip"] == 0
    assert found["matrix_sip_calls_active", "to_matrix"] == 1
    assert found["matrix_sip_call_setup_seconds_sum", "to_sip"] == 7
    assert found["matrix_sip_call_setup_seconds_count", "to_sip"] == 1
    assert found["matrix_sip_call_seconds_sum", "to_sip"] == 30
    assert found["matrix_sip_call_step_seconds_sum", "to_sip/ring"] == 2
    assert found["matrix_sip_call_step_seconds_sum", "to_sip/pickup"] == 5
    assert found["matrix_sip_call_step_seconds_count", "to_sip/ring"] == 1


def test_what_was_measured_of_a_call_is_counted_at_its_end() -> None:
    metrics = Metrics()
    assert samples(metrics)["matrix_sip_packets_dropped_total", "stranger/sip"] == 0
    measured: dict[str, int | float | str] = {
        "connect_s": 0.25,
        "sip_audio_after_s": 1.5,
        "sip_strangers": 3,
        "mode": "relay",
    }
    metrics.observe(RecordStatistics(call=CallId("a"), statistics=measured), 100.0)
    metrics.observe(
        RecordStatistics(call=CallId("b"), statistics={"matrix_packets_late": 2}), 100.0
    )
    found = samples(metrics)
    assert found["matrix_sip_media_setup_seconds_sum", "connected"] == 0.25
    assert found["matrix_sip_media_setup_seconds_sum", "audio_to_sip"] == 1.5
    assert found["matrix_sip_packets_dropped_total", "stranger/sip"] == 3
    assert found["matrix_sip_packets_dropped_total", "late/matrix"] == 2


def test_video_is_counted_at_the_end_of_calls_that_had_some() -> None:
    metrics = Metrics()
    measured: dict[str, int | float | str] = {
        "video_mode": "none",
        "matrix_video_codec": "VP8/90000",
        "sip_video_codec": "VP8/90000",
        "sip_video_packets_received": 90,
        "sip_video_packets_oversize": 4,
        "sip_video_pictures_asked": 2,
        "matrix_video_packets_repeated": 5,
    }
    audio: dict[str, int | float | str] = {"mode": "relay"}
    for statistics in (measured, audio):
        metrics.observe(RecordStatistics(call=CallId("a"), statistics=statistics), 100.0)
    found = samples(metrics)
    assert found["matrix_sip_video_calls_total", "VP8"] == 1
    assert found["matrix_sip_video_packets_total", "sip"] == 90
    assert found["matrix_sip_video_packets_dropped_total", "oversize/sip"] == 4
    assert found["matrix_sip_video_pictures_asked_total", "sip"] == 2
    assert found["matrix_sip_video_packets_repeated_total", "matrix"] == 5
    assert found["matrix_sip_video_packets_lost_total", "matrix"] == 0
    assert found["matrix_sip_packets_dropped_total", "late/sip"] == 0


def test_all_samples_of_a_metric_together() -> None:
    metrics = Metrics()
    assert metrics.total("packets_dropped_total") == 0
    for side in ("sip", "matrix"):
        measured: dict[str, int | float | str] = {f"{side}_packets_late": 2}
        metrics.observe(RecordStatistics(call=CallId("a"), statistics=measured), 100.0)
    assert metrics.total("packets_dropped_total") == 4
    assert metrics.total("no_such") == 0


def test_a_loop_that_is_late() -> None:
    metrics = Metrics()
    metrics.late(0.3)
    assert samples(metrics)["matrix_sip_loop_lag_seconds_sum", ""] == 0.3


def test_reports_are_counted_by_leg() -> None:
    metrics = Metrics()
    assert samples(metrics)["matrix_sip_events_total", "matrix"] == 0
    metrics.count(SipAnswered(leg=LegId("l"), sdp=""))
    metrics.count(MediaClosed(call=CallId("a")))
    metrics.count(MediaClosed(call=CallId("a")))
    metrics.count(MatrixMemberLeft(room=RoomId("!r:mx.test"), user=UserId("@alice:mx.test")))
    found = samples(metrics)
    assert found["matrix_sip_events_total", "sip"] == 1
    assert found["matrix_sip_events_total", "media"] == 2
    assert found["matrix_sip_events_total", "matrix"] == 1


def test_records_of_unknown_calls_are_no_calls() -> None:
    metrics = Metrics()
    metrics.observe(RecordAnswer(call=CallId("x")), 1.0)
    metrics.observe(end("x", "normal"), 2.0)
    found = samples(metrics)
    assert not any(value for (name, _), value in found.items() if name == "matrix_sip_calls_total")


def test_nothing_personal_is_in_a_label() -> None:
    metrics = Metrics()
    metrics.observe(start("a"), 100.0)
    metrics.observe(end("a", "normal"), 137.0)
    text = metrics.render().decode()
    assert str(start("a").address).removeprefix("tel:") not in text
    assert "alice" not in text


def test_others_can_be_watched() -> None:
    metrics = Metrics()
    up = {"provider": True, "pbx": False}
    metrics.watch_trunks(lambda: up)
    metrics.watch("writes_waiting", "Writes that wait.", lambda: 3.0)
    found = samples(metrics)
    assert found["matrix_sip_trunk_up", "provider"] == 1
    assert found["matrix_sip_trunk_up", "pbx"] == 0
    assert found["matrix_sip_writes_waiting", ""] == 3
    up["pbx"] = True
    del up["provider"]
    found = samples(metrics)
    assert found["matrix_sip_trunk_up", "pbx"] == 1
    assert ("matrix_sip_trunk_up", "provider") not in found


def test_one_of_some_states() -> None:
    metrics = Metrics()
    state = {"provider": "registered"}
    states = ["registered", "failed"]
    metrics.watch_states("trunk_state", "How.", "trunk", states, lambda: state)
    assert samples(metrics)["matrix_sip_trunk_state", "registered/provider"] == 1
    state["provider"] = "failed"
    found = samples(metrics)
    assert found["matrix_sip_trunk_state", "registered/provider"] == 0
    assert found["matrix_sip_trunk_state", "failed/provider"] == 1


def test_trunks_that_fail_are_counted() -> None:
    metrics = Metrics()
    failed = tuple(
        Attempt(trunk=TrunkName(name), cause="congestion", status=503) for name in ("a", "b")
    )
    unseen = Attempt(trunk=TrunkName("c"), cause="no_common_codec", status=488, video=True)
    for count, following in ((1, "b"), (2, "c"), (3, "c")):
        tried = (*failed, unseen)[:count]
        metrics.observe(
            RecordAttempts(call=CallId("1"), trunk=TrunkName(following), failed=tried), 100.0
        )
    found = samples(metrics)
    assert found["matrix_sip_calls_uncarried_total", "a"] == 1
    assert found["matrix_sip_calls_uncarried_total", "b"] == 1
    assert ("matrix_sip_calls_uncarried_total", "c") not in found


def flow(mos: float | None, round_trip: float | None = 40.0) -> Flow:
    return Flow(
        packets=245, lost=5, lost_beyond=2, jitter_ms=3.0, round_trip_ms=round_trip, mos=mos
    )


def test_what_was_heard_is_summed_up_by_side() -> None:
    metrics = Metrics()
    metrics.observe(RecordQuality(call=CallId("a"), matrix=flow(4.4), sip=flow(None, None)), 1.0)
    metrics.observe(RecordQuality(call=CallId("a"), matrix=flow(4.0), sip=flow(3.0)), 6.0)
    found = samples(metrics)
    assert found["matrix_sip_audio_packets_total", "matrix"] == 490
    assert found["matrix_sip_audio_packets_lost_total", "sip/before"] == 10
    assert found["matrix_sip_audio_packets_lost_total", "sip/beyond"] == 4
    assert found["matrix_sip_audio_mos_sum", "matrix"] == 8.4
    assert found["matrix_sip_audio_mos_count", "sip"] == 1
    assert found["matrix_sip_audio_jitter_seconds_sum", "sip"] == 0.003
    assert found["matrix_sip_audio_round_trip_seconds_count", "sip"] == 1


def test_silences_are_counted_by_their_cause() -> None:
    metrics = Metrics()
    assert samples(metrics)["matrix_sip_silences_total", "no_ice_pair/matrix"] == 0
    metrics.observe(RecordSilence(call=CallId("a"), side=Side.SIP, cause="never_sent"), 1.0)
    assert samples(metrics)["matrix_sip_silences_total", "never_sent/sip"] == 1
