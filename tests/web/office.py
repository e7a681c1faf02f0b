# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that nobody made, for the admin page to show: in tests, and in the documentation."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from bridge.call.commands import Attempt
from bridge.call.ids import Address, CallId, Direction, Side, TrunkName, UserId
from bridge.call.outcomes import Outcome
from bridge.call.quality import Flow
from bridge.call.silence import Silence
from bridge.call.view import CallView
from bridge.errors import NotDone
from bridge.records import (
    CallQuery,
    CallRecord,
    LadderEntry,
    LineView,
    LogLine,
    Overview,
    QualitySample,
)

START = 1_772_359_960.0
OFFER = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
    "m=audio 40000 UDP/TLS/RTP/SAVPF 111 9 0 8 110\r\na=rtpmap:111 opus/48000/2\r\n"
    "a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    "a=rtpmap:110 telephone-event/8000\r\na=ice-ufrag:Fu7t\r\na=ice-pwd: [hidden]\r\n"
    "a=setup:actpass\r\n"
)
ANSWER = (
    "v=0\r\no=- 7 7 IN IP4 203.0.113.5\r\ns=-\r\nc=IN IP4 203.0.113.5\r\nt=0 0\r\n"
    "m=audio 16384 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
)


def record(call: str = "5f3c9a12-7", **more: object) -> CallRecord:
    """A call that was talked on for a minute, unless told otherwise."""
    made = CallRecord(
        call=CallId(call),
        direction=Direction.TO_SIP,
        person=UserId("@pat:example.org"),
        address=Address("tel:+12025550123"),
        trunk=TrunkName("provider"),
        rule="outbound[0]",
        started_at=START,
        rang_at=START + 0.9,
        answered_at=START + 6.1,
        ended_at=START + 71.4,
        cause="normal",
        status=200,
        ended_by="sip",
        reason="user_hangup",
        statistics={
            "mode": "relay",
            "matrix_codec": "PCMA/8000",
            "sip_codec": "PCMA/8000",
            "matrix_packets_received": 3262,
            "sip_packets_received": 3258,
            "matrix_packets_lost": 3,
            "sip_packets_lost": 41,
            "matrix_jitter_ms": 2.1,
            "sip_jitter_ms": 11.7,
            "matrix_mos": 4.36,
            "sip_mos": 3.91,
        },
    )
    return replace(made, **more)  # type: ignore[arg-type]


BUSY = record(
    "5f3c9a12-8",
    started_at=START + 310,
    rang_at=None,
    answered_at=None,
    ended_at=START + 310.4,
    cause="busy",
    status=486,
    reason="user_busy",
    statistics={},
)
FAILED = record(
    "5f3c9a12-9",
    direction=Direction.TO_MATRIX,
    address=Address("tel:+12025550144"),
    rule="inbound[1]",
    started_at=START + 502,
    rang_at=START + 502.6,
    answered_at=START + 508,
    ended_at=START + 523,
    cause="ice_timeout",
    status=0,
    ended_by="media",
    reason="ice_timeout",
    statistics={
        "mode": "none",
        "matrix_silence": "no_ice_pair",
        "matrix_silent_s": 14.8,
        "sip_packets_received": 741,
    },
)
DOWN = record(
    "5f3c9a12-10",
    person=UserId("@sam:example.org"),
    started_at=START + 700,
    rang_at=None,
    answered_at=None,
    ended_at=START + 732,
    attempts=(Attempt(trunk=TrunkName("backup"), cause="congestion", status=503),),
    cause="trunk_down",
    status=408,
    ended_by="sip",
    reason="unknown_error",
    statistics={},
)
REFUSED = record(
    "5f3c9a12-r1",
    person=UserId("@sam:example.org"),
    address=Address("tel:+19005550100"),
    trunk=TrunkName(""),
    rule="",
    started_at=START + 760,
    rang_at=None,
    answered_at=None,
    ended_at=START + 760,
    cause="premium_number",
    status=0,
    ended_by="bridge",
    reason="unknown_error",
    statistics={},
)
LIVE = record(
    "5f3c9a12-11",
    started_at=START + 900,
    rang_at=START + 901,
    answered_at=START + 905,
    ended_at=None,
    cause=None,
    status=None,
    ended_by=None,
    reason="",
    statistics={},
)


def rung(after: float, leg: str, direction: str, summary: str, detail: str = "") -> LadderEntry:
    """A line of a ladder, some seconds after the start."""
    return LadderEntry(
        at=START + after, leg=leg, direction=direction, summary=summary, detail=detail
    )


def message(first: str, cseq: str, body: str = "", *more: str) -> str:
    """A SIP message of the call."""
    lines = [
        first,
        "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKPj5f3c9a12",
        "From: <sip:+12025550101@sip.example.com>;tag=5f3c",
        "To: <sip:+12025550123@sip.example.com>",
        "Call-ID: 7c1d@192.0.2.10",
        f"CSeq: {cseq}",
        *more,
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines) + "\r\n\r\n" + body


INVITE = "INVITE sip:+12025550123@sip.example.com"
LADDER = (
    rung(0.000, "matrix", "in", "m.call.invite", OFFER),
    rung(0.000, "bridge", "", "start: @pat:example.org to tel:+12025550123 by provider"),
    rung(0.003, "media", "", "media offer ready"),
    rung(0.010, "sip", "out", INVITE, message(f"{INVITE} SIP/2.0", "1 INVITE", OFFER)),
    rung(0.031, "sip", "in", "100 Trying (INVITE)", message("SIP/2.0 100 Trying", "1 INVITE")),
    rung(
        0.064,
        "sip",
        "in",
        "407 Proxy Authentication Required (INVITE)",
        message("SIP/2.0 407 Proxy Authentication Required", "1 INVITE"),
    ),
    rung(
        0.066,
        "sip",
        "out",
        INVITE,
        message(f"{INVITE} SIP/2.0", "2 INVITE", OFFER, "Proxy-Authorization: [hidden]"),
    ),
    rung(0.900, "sip", "in", "180 Ringing (INVITE)", message("SIP/2.0 180 Ringing", "2 INVITE")),
    rung(6.020, "sip", "in", "200 OK (INVITE)", message("SIP/2.0 200 OK", "2 INVITE", ANSWER)),
    rung(6.024, "sip", "out", "ACK sip:+12025550123@203.0.113.5", message("ACK", "2 ACK")),
    rung(6.030, "matrix", "out", "m.call.answer", OFFER),
    rung(6.060, "matrix", "in", "m.call.select_answer"),
    rung(6.100, "media", "", "media connected: PCMA/8000, PCMA/8000"),
    rung(71.400, "sip", "in", "BYE sip:+12025550101@192.0.2.10", message("BYE", "3 BYE")),
    rung(71.402, "sip", "out", "200 OK (BYE)", message("SIP/2.0 200 OK", "3 BYE")),
    rung(71.404, "matrix", "out", "m.call.hangup: user_hangup"),
    rung(71.405, "bridge", "", "end: user_hangup, 200, normal, sip"),
)


def heard(seconds: int = 65) -> list[QualitySample]:
    """Measured every five seconds; the telephone's network has a bad quarter of a minute."""
    samples = []
    for after in range(5, seconds + 1, 5):
        bad = 30 <= after <= 45
        for side in Side:
            worse = bad and side is Side.SIP
            flow = Flow(
                packets=250,
                lost=9 if worse else after % 2,
                lost_beyond=0,
                jitter_ms=(28.0 if worse else 9.0) if side is Side.SIP else 2.0 + after % 3,
                round_trip_ms=42.0,
                mos=(3.2 if worse else 4.1) if side is Side.SIP else 4.36,
            )
            samples.append(QualitySample(at=START + 6 + after, side=side, flow=flow))
    return samples


@dataclass
class PaperOffice:
    """An `Office` with what it is given."""

    records: list[CallRecord] = field(
        default_factory=lambda: [LIVE, REFUSED, DOWN, FAILED, BUSY, record()]
    )
    entries: list[LadderEntry] = field(default_factory=lambda: list(LADDER))
    samples: list[QualitySample] = field(default_factory=heard)
    asked: list[CallQuery] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    unheard: dict[Side, Silence] = field(default_factory=dict)
    watching: set[asyncio.Event] = field(default_factory=set)
    closes_in: int | None = None

    async def overview(self) -> Overview:
        view = CallView(
            call=LIVE.call,
            direction=LIVE.direction,
            state="connected",
            person=LIVE.person,
            address=LIVE.address,
            trunk=LIVE.trunk,
            since=0,
            answered_at=5,
            unheard=self.unheard,
            flows={sample.side: sample.flow for sample in heard(5)},
        )
        running = [each for each in self.records if each.ended_at is None]
        return Overview(
            version="0.1.0",
            since=START - 90_000,
            ready=self.closes_in is None,
            closes_in=self.closes_in,
            parts=[
                LineView(name="homeserver", works=True, state="answers"),
                LineView(name="database", works=True, state="answers"),
                LineView(name="SIP", works=True, state="works"),
                LineView(name="encrypted rooms", works=True, state="calls there, too"),
            ],
            trunks=[
                LineView(name="provider", works=True, state="registered"),
                LineView(name="backup", works=False, state="does not work: 403 Forbidden"),
            ],
            active=[(replace(view, call=each.call), 83.0) for each in running],
            outcomes={Outcome.SUCCESS: 112, Outcome.CALLEE: 19, Outcome.MEDIA: 1, Outcome.TRUNK: 2},
            failures=[DOWN, FAILED],
            troubles=[
                LogLine(
                    at=START + 523,
                    level="warning",
                    text="a side is not heard side=matrix cause=no_ice_pair",
                    call=FAILED.call,
                ),
                LogLine(
                    at=START - 80,
                    level="error",
                    text="registration refused trunk=backup status=403",
                    call="",
                ),
            ],
            load=[
                ("calls", "1"),
                ("event loop late by", "0.4 ms"),
                ("writes that wait", "0"),
                ("processor", "3 %"),
            ],
        )

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        self.asked.append(query)
        return self.records[: query.limit]

    async def call(self, call: CallId) -> CallRecord | None:
        return next((each for each in self.records if each.call == call), None)

    async def ladder(self, call: CallId) -> Sequence[LadderEntry]:
        return list(self.entries)

    async def quality(self, call: CallId) -> Sequence[QualitySample]:
        return list(self.samples)

    def hang_up(self, call: CallId) -> None:
        if not any(each.call == call and each.ended_at is None for each in self.records):
            raise NotDone("There is no such call; `active` lists those that there are.")
        self.ended.append(call)

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self.watching.add(event)
        try:
            yield event
        finally:
            self.watching.discard(event)

    def changed(self) -> None:
        """Something was written down."""
        for event in self.watching:
            event.set()
