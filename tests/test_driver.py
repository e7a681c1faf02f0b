# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver: order, time, ladders, and what happens when something breaks."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from bridge.call.commands import (
    Attempt,
    ByeSip,
    Command,
    OfferMedia,
    RecordAnswer,
    RecordAttempts,
    RecordLegs,
    RecordQuality,
    RecordSilence,
    RejectSip,
    SendMatrixAnswer,
    SendNotice,
)
from bridge.call.events import (
    CallFaulted,
    DrainRequested,
    MatrixHangupReceived,
    MatrixInviteReceived,
    MediaMeasured,
    MediaOfferReady,
    MediaSilent,
    ShutdownRequested,
    SipAnswered,
    SipEnded,
    SipInviteReceived,
)
from bridge.call.ids import Address, CallId, Direction, OpId, PartyId, Side, TrunkName
from bridge.call.quality import Flow, Measured
from bridge.driver import ladder
from bridge.driver.calendar import Calendar
from bridge.driver.times import time_of_day, timed
from tests.driving import (
    ADDRESS,
    CALL,
    END,
    HANGUP,
    INVITE,
    LEG,
    MATRIX_CALL,
    MESSAGE,
    NOTICE,
    OFFER,
    ROOM,
    SIP_INVITE,
    SIP_INVITE_IN,
    START,
    Rig,
    make_rig,
)


@pytest.fixture
def rig() -> Rig:
    return make_rig()


def test_commands_go_to_their_ports_in_order(rig: Rig) -> None:
    commands = [START, OFFER, SIP_INVITE, NOTICE]
    rig.core.reactions[MatrixInviteReceived] = commands
    rig.driver.emit(INVITE)
    assert rig.outside.done == commands
    assert rig.outside.stored == [(START, 1e9 + 100)]
    assert rig.records == [START]
    assert rig.core.seen == [(INVITE, 100.0)]


def test_what_a_port_reports_at_once_comes_after_all_commands(rig: Rig) -> None:
    ready = MediaOfferReady(call=CALL, op=OpId(1), sdp="v=0")

    def react(command: Command) -> None:
        if isinstance(command, OfferMedia):
            rig.driver.emit(ready)

    rig.outside.react = react
    rig.core.reactions = {MatrixInviteReceived: [OFFER, NOTICE], MediaOfferReady: [SIP_INVITE]}
    rig.driver.emit(INVITE)
    assert rig.outside.done == [OFFER, NOTICE, SIP_INVITE]


def test_one_timer_follows_the_next_deadline(rig: Rig) -> None:
    rig.core.deadline = 130.0
    rig.driver.emit(INVITE)
    rig.core.deadline = 110.0
    rig.driver.emit(INVITE)
    assert [each.when for each in rig.clock.armed] == [110.0]
    rig.core.on_timer = [NOTICE]
    rig.clock.advance(110.0)
    assert rig.outside.done == [NOTICE]
    assert rig.clock.armed == []


def test_no_deadline_no_timer(rig: Rig) -> None:
    rig.driver.emit(INVITE)
    assert rig.clock.armed == []


def test_close_stops_the_timer(rig: Rig) -> None:
    rig.core.deadline = 130.0
    rig.driver.emit(INVITE)
    rig.driver.close()
    assert rig.clock.armed == []


def test_a_timer_that_fails_is_tried_again_after_a_pause(rig: Rig) -> None:
    rig.core.deadline = 110.0
    rig.driver.emit(INVITE)
    rig.core.on_timer = RuntimeError("boom")
    with capture_logs() as lines:
        rig.clock.advance(111.0)
    assert [each["log_level"] for each in lines] == ["error"]
    assert [each.when for each in rig.clock.armed] == [112.0]
    rig.core.on_timer = [NOTICE]
    rig.clock.advance(112.0)
    assert rig.outside.done == [NOTICE]


def test_an_adapter_that_fails_ends_the_call_once(rig: Rig) -> None:
    rig.outside.breaks_on = OfferMedia
    rig.core.reactions = {
        MatrixInviteReceived: [START, OFFER, OFFER],
        CallFaulted: [OFFER, NOTICE, END],
    }
    with capture_logs() as lines:
        rig.driver.emit(INVITE)
    assert rig.events == [INVITE, CallFaulted(call=CALL)]
    assert rig.outside.done == [START, NOTICE, END]
    assert rig.driver.active == 0
    failures = [each for each in lines if each["log_level"] == "error"]
    assert {each["call"] for each in failures} == {CALL}
    assert len(failures) == 3


def test_a_core_that_fails_ends_the_call_and_goes_on(rig: Rig) -> None:
    rig.core.reactions = {
        MatrixInviteReceived: [START, SIP_INVITE],
        SipAnswered: RuntimeError("boom"),
        CallFaulted: [ByeSip(call=CALL, leg=LEG), END],
    }
    rig.driver.emit(INVITE)
    with capture_logs():
        rig.driver.emit(SipAnswered(leg=LEG, sdp="v=0"))
    assert rig.events[-1] == CallFaulted(call=CALL)
    assert rig.outside.done[-1] == END


def test_what_went_wrong_in_a_call_is_logged_and_the_rest_done(rig: Rig) -> None:
    rig.core.reactions = {MatrixInviteReceived: [START]}
    rig.core.on_timer = [END]
    rig.core.deadline = 130.0
    steps: list[tuple[Callable[[], None], Command]] = [
        (partial(rig.driver.emit, INVITE), START),
        (partial(rig.clock.advance, 130.0), END),
    ]
    for happens, done in steps:
        rig.core.faults = [(CALL, RuntimeError("boom"))]
        with capture_logs() as logs:
            happens()
        (fault,) = [each for each in logs if each["log_level"] == "error"]
        assert (fault["call"], str(fault["exc_info"])) == (CALL, "boom")
        assert rig.outside.done[-1] == done


def test_a_core_that_fails_on_an_incoming_call_leaves_no_caller_waiting(rig: Rig) -> None:
    rig.core.reactions = {SipInviteReceived: RuntimeError("boom")}
    with capture_logs():
        rig.driver.emit(SIP_INVITE_IN)
    assert rig.outside.done == [RejectSip(call=CallId(""), leg=LEG, status=500)]


def test_ladder_of_an_outgoing_call(rig: Rig) -> None:
    answer = SendMatrixAnswer(
        call=CALL,
        op=OpId(3),
        room=ROOM,
        address=ADDRESS,
        call_id=MATRIX_CALL,
        party=PartyId("ours"),
        version=1,
        sdp="v=0",
    )
    failed = RecordAttempts(
        call=CALL,
        trunk=TrunkName("spare"),
        failed=(Attempt(trunk=TrunkName("provider"), cause="congestion", status=503),),
    )
    unseen = Attempt(trunk=TrunkName("spare"), cause="no_common_codec", status=488, video=True)
    again = replace(failed, failed=(*failed.failed, unseen))
    rig.core.reactions = {
        MatrixInviteReceived: [
            START,
            RecordLegs(call=CALL, room=ROOM, matrix_call_id=MATRIX_CALL),
            OFFER,
        ],
        MediaOfferReady: [SIP_INVITE],
        SipAnswered: [failed, again, answer, RecordAnswer(call=CALL)],
        MatrixHangupReceived: [ByeSip(call=CALL, leg=LEG)],
        SipEnded: [END],
    }
    rig.outside.legs["abc@us"] = LEG
    rig.driver.emit(INVITE)
    rig.driver.emit(MediaOfferReady(call=CALL, op=OpId(1), sdp="v=0"))
    rig.driver.sip_message("abc@us", "sent", MESSAGE)
    rig.driver.sip_message("abc@us", "received", "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n")
    rig.driver.emit(SipAnswered(leg=LEG, sdp="v=0"))
    rig.driver.emit(HANGUP)
    rig.driver.emit(SipEnded(leg=LEG, status=200))
    assert rig.outside.ladder == [
        "matrix in: m.call.invite",
        "bridge: start: @alice:mx.test to tel:+12025550123 by provider",
        "media: offer media: matrix",
        "media: media offer ready",
        "sip out: INVITE sip:1@192.0.2.1",
        "sip in: 200 OK (INVITE)",
        "bridge: provider could not: congestion (503); trying spare",
        "bridge: spare could not with video: no_common_codec (488); trying without it",
        "matrix out: m.call.answer",
        "bridge: answer",
        "matrix in: m.call.hangup: user_hangup",
        "sip: sip ended: 200",
        "bridge: end: 486, BUSY, sip",
    ]
    assert {call for call, _ in rig.outside.traced} == {CALL}
    details = "".join(entry.detail for _, entry in rig.outside.traced)
    assert "call_id: m1\nsender: @alice:mx.test p1\nversion: 1\nlifetime: 60" in details
    assert "a=ice-pwd: [hidden]" in details
    assert "Authorization: [hidden]" in details
    assert "keepthisaway" not in details
    assert "0123" not in details


def test_messages_that_come_before_their_call_wait_for_it(rig: Rig) -> None:
    rig.driver.sip_message("abc@pbx", "received", MESSAGE)
    rig.outside.legs["abc@pbx"] = LEG
    assert rig.outside.traced == []
    rig.core.reactions = {SipInviteReceived: [START, OFFER]}
    rig.driver.emit(SIP_INVITE_IN)
    assert "sip in: INVITE sip:1@192.0.2.1" in rig.outside.ladder


def test_messages_that_belong_to_no_call_are_forgotten(rig: Rig) -> None:
    for number in range(1000):
        rig.driver.sip_message(f"{number}@stranger", "received", MESSAGE)
    rig.outside.legs.update({f"{number}@stranger": LEG for number in range(1000)})
    rig.core.reactions = {SipInviteReceived: [START]}
    rig.driver.emit(SIP_INVITE_IN)
    assert len([line for line in rig.outside.ladder if "INVITE" in line]) == 64


@pytest.mark.parametrize("method", ["REGISTER", "OPTIONS"])
def test_messages_outside_of_calls_are_not_kept(rig: Rig, method: str) -> None:
    rig.core.reactions = {SipInviteReceived: [START]}
    rig.driver.sip_message("abc@pbx", "sent", f"{method} sip:x SIP/2.0\r\nCSeq: 2 {method}\r\n\r\n")
    rig.outside.legs["abc@pbx"] = LEG
    rig.driver.emit(SIP_INVITE_IN)
    assert not [line for line in rig.outside.ladder if method in line]


def test_what_is_asked_within_a_call_is_on_its_ladder(rig: Rig) -> None:
    rig.outside.legs["abc@pbx"] = LEG
    rig.core.reactions = {SipInviteReceived: [START]}
    rig.driver.emit(SIP_INVITE_IN)
    rig.driver.sip_message("abc@pbx", "sent", "OPTIONS sip:x SIP/2.0\r\nCSeq: 2 OPTIONS\r\n\r\n")
    assert rig.outside.ladder[-1] == "sip out: OPTIONS sip:x"


async def test_shutting_down_waits_for_the_calls(rig: Rig) -> None:
    rig.core.reactions = {MatrixInviteReceived: [START], ShutdownRequested: [END]}
    rig.driver.emit(INVITE)
    assert rig.driver.active == 1
    assert await rig.driver.shut_down(within=5)
    assert rig.driver.active == 0


async def test_draining_tells_the_core_and_waits_for_the_calls(rig: Rig) -> None:
    rig.core.reactions = {MatrixInviteReceived: [START], DrainRequested: [END]}
    rig.driver.emit(INVITE)
    waiting = asyncio.create_task(rig.driver.quiet())
    await asyncio.sleep(0)
    assert not waiting.done()
    rig.driver.drain(60)
    await waiting


async def test_shutting_down_does_not_wait_for_ever(rig: Rig) -> None:
    rig.core.reactions = {MatrixInviteReceived: [START]}
    rig.driver.emit(INVITE)
    with capture_logs() as lines:
        assert not await rig.driver.shut_down(within=0)
    assert lines[-1]["calls"] == 1


def test_every_line_of_a_call_carries_its_id(rig: Rig) -> None:
    rig.core.reactions = {MatrixInviteReceived: [START, OFFER], MediaOfferReady: [SIP_INVITE]}
    with capture_logs() as lines:
        rig.driver.emit(INVITE)
        rig.driver.emit(MediaOfferReady(call=CALL, op=OpId(1), sdp="v=0"))
        rig.driver.emit(SipAnswered(leg=LEG, sdp="v=0"))
    assert {each["call"] for each in lines} == {CALL}
    assert not any("sdp" in each for each in lines)


# --- times of day -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "time"),
    [
        ("Europe/Berlin", "02:46 CET"),
        ("America/Sao_Paulo", "22:46 UTC-03"),
        ("UTC", "01:46 UTC"),
    ],
)
def test_the_time_of_a_notice_is_filled_in(zone: str, time: str) -> None:
    notice = replace(NOTICE, text="You missed a call at {time}.", ago=600)
    at = datetime(2026, 3, 1, 1, 56, tzinfo=UTC).timestamp()
    filled = timed(notice, at, ZoneInfo(zone))
    assert isinstance(filled, SendNotice)
    assert filled.text == f"You missed a call at {time}."
    assert timed(NOTICE, at, None) is NOTICE


def test_without_a_zone_times_are_the_machines() -> None:
    at = datetime(2026, 3, 1, 1, 56).astimezone()
    assert time_of_day(at.timestamp(), None) == f"01:56 {at.tzname()}"


def test_notices_leave_with_their_time(rig: Rig) -> None:
    notice = replace(NOTICE, text="You missed a call at {time}.", ago=60)
    rig.core.reactions[MatrixInviteReceived] = [START, notice]
    rig.driver.emit(INVITE)
    text = "You missed a call at 01:47 UTC."
    assert rig.outside.done == [START, replace(notice, text=text)]
    assert text in [entry.detail for _, entry in rig.outside.traced]


@pytest.mark.parametrize(
    "line",
    [
        "a=crypto:1 F8 inline:keepthisaway",
        "a=crypto: 1  F8  inline:keepthisaway",
        "a=crypto:1 F8 inline:keepthisaway|2^20|1:4;inline:keepthisaway|2^20|2:4 KDR=1",
        "a=crypto:1 F8 INLINE:keepthisaway",
        "a=crypto:1 inline:keepthisaway",
        "a=crypto:inline:keepthisaway",
    ],
)
def test_no_key_is_in_a_ladder_however_it_is_written(line: str) -> None:
    sdp = f"v=0\r\n{line}\r\na=sendrecv\r\n"
    entry = ladder.of_command(OfferMedia(call=CALL, op=OpId(1), side=Side.SIP, sdp=sdp), at=0.0)
    assert entry is not None
    assert "a=sendrecv" in entry.detail
    assert "keepthisaway" not in entry.detail


def test_a_ladder_says_who_forwarded_the_call(rig: Rig) -> None:
    start = replace(START, direction=Direction.TO_MATRIX, diverted_by=Address("tel:+12025550177"))
    rig.core.reactions = {MatrixInviteReceived: [start]}
    rig.driver.emit(INVITE)
    assert rig.outside.ladder[-1] == (
        "bridge: start: tel:+12025550123 to @alice:mx.test by provider, "
        "forwarded by tel:+12025550177"
    )


def test_what_never_came_to_the_core_is_recorded_too(rig: Rig) -> None:
    rig.driver.record([START, END])
    assert rig.records == [START, END]
    assert rig.driver.active == 0
    assert rig.outside.ladder == [
        "bridge: start: @alice:mx.test to tel:+12025550123 by provider",
        "bridge: end: 486, BUSY, sip",
    ]


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("INFO sip:a\r\nContent-Type: application/dtmf\r\nContent-Length: 1\r\n\r\n5", "Length: 1"),
        ("INFO sip:a\r\n\r\nSignal=5\r\nDuration=250", "Duration=250"),
        ("INVITE sip:a\r\n\r\nv=0\r\na=key-mgmt:mikey 5AA\r\nm=audio", "m=audio"),
        ("INVITE sip:a\r\n\r\nv=0\r\nk=base64:5AA\r\nm=audio", "m=audio"),
    ],
)
def test_keys_are_not_kept_in_a_ladder(message: str, kept: str) -> None:
    detail = ladder.of_sip_message("received", message, 0.0).detail
    assert "5" not in detail.replace("250", "")
    assert kept in detail
    assert "[hidden]" in detail


def test_who_is_not_heard_is_a_warning_and_on_the_ladder_and_measurements_are_neither(
    rig: Rig,
) -> None:
    silent = RecordSilence(call=CALL, side=Side.SIP, cause="never_sent")
    heard = Flow(packets=250, lost=0, lost_beyond=0, jitter_ms=1, round_trip_ms=None, mos=4.4)
    rig.core.reactions = {
        MatrixInviteReceived: [START],
        MediaSilent: [silent],
        MediaMeasured: [RecordQuality(call=CALL, matrix=heard, sip=heard)],
    }
    rig.driver.emit(INVITE)
    with capture_logs() as lines:
        rig.driver.emit(MediaSilent(call=CALL, side=Side.SIP, seconds=3.0, heard=False))
    assert [each["cause"] for each in lines if each["log_level"] == "warning"] == ["never_sent"]
    assert rig.outside.ladder[-1] == "bridge: nothing is heard from sip: never sent"
    before = len(rig.outside.ladder)
    rig.driver.emit(MediaMeasured(call=CALL, matrix=Measured(), sip=Measured()))
    assert len(rig.outside.ladder) == before
    assert isinstance(rig.outside.done[-1], RecordQuality)


# --- clocks -----------------------------------------------------------------------------------


def test_a_call_stays_as_long_as_it_was_however_the_clock_is_set(rig: Rig) -> None:
    rig.core.reactions[MatrixInviteReceived] = [START]
    rig.core.reactions[MatrixHangupReceived] = [END]
    began = 1e9 + rig.clock.now
    rig.driver.emit(INVITE)
    rig.clock.now += 20.0
    rig.ahead = -7200.0
    rig.driver.emit(HANGUP)
    assert [at for _, at in rig.outside.stored] == [began, began + 20.0]
    assert [entry.at for _, entry in rig.outside.traced][-1] == began + 20.0


def test_the_next_call_has_the_clock_as_it_is_then(rig: Rig) -> None:
    rig.core.reactions[MatrixInviteReceived] = [START]
    rig.ahead = 3600.0
    rig.driver.emit(INVITE)
    assert [at for _, at in rig.outside.stored] == [1e9 + 3600.0 + rig.clock.now]


def test_calls_that_are_long_over_are_forgotten() -> None:
    now = [0.0]
    calendar = Calendar(lambda: now[0] + 100.0, lambda: now[0])
    names = [CallId(str(number)) for number in range(1500)]
    for name in names:
        calendar.begin(name)
        calendar.end(name)
    assert len(calendar._ahead) == 1000
    assert calendar.date(names[0], 5.0) == 105.0
