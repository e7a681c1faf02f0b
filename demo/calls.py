# SPDX-License-Identifier: GPL-3.0-or-later
"""The two calls of the demo, with everything about them measured."""

import asyncio
import time
from dataclasses import dataclass

from rich.console import Console

from demo.timeline import Timeline
from demo.verdict import Verdict
from tests.simulators import audio
from tests.simulators.baresip import Phone
from tests.simulators.bridge_process import Record
from tests.simulators.matrix_phone import MatrixCall, MatrixPhone
from tests.simulators.stage import Line, Person, Stage
from tests.simulators.voice import VoiceStatistics

CLIENT_HERTZ = 440
PHONE_HERTZ = 1000
_TALK = 3.0
"""Seconds of conversation, after both sides have heard something."""
_ANSWER = r"200 .*\(INVITE\)"


async def matrix_calls_telephone(
    console: Console, stage: Stage, person: Person, caller: MatrixPhone, line: Line
) -> Verdict:
    """The person calls a telephone that echoes, and hears their own voice come back."""
    verdict = Verdict("Matrix → telephone")
    async with stage.phone(line, says=None) as phone:
        room = await caller.client.direct_room(line.ghost)
        timeline = Timeline(console, stage.bridge, person.user_id, 0)
        with timeline.follow():
            call = await caller.call(room)
            await call.connected()
            await phone.hears(CLIENT_HERTZ)
            await call.voice.hears(CLIENT_HERTZ)
            heard_at = _wall(call.voice.heard_at)
            timeline.note("sip", f"hears {CLIENT_HERTZ} Hz, sends it back", heard_at)
            timeline.note("matrix", f"hears {CLIENT_HERTZ} Hz", heard_at)
            await asyncio.sleep(_TALK)
            ends = await _at_the_ends(call, phone)
            await call.hang_up()
            await phone.sees("CALL_CLOSED")
            record = await stage.bridge.ended(person.user_id)
    _judge(verdict, record, ends, mode="relay")
    verdict.add_tone("telephone hears", ends.phone_tone.hertz, CLIENT_HERTZ)
    verdict.add_tone("client hears the echo", ends.client_tone.hertz, CLIENT_HERTZ)
    verdict.add_time(
        "m.call.invite to INVITE",
        timeline.first("matrix", "in", "m.call.invite"),
        timeline.first("sip", "out", "INVITE"),
    )
    verdict.add_time("200 to audio both ways", timeline.first("sip", "in", _ANSWER), heard_at)
    return verdict


async def telephone_calls_matrix(
    console: Console, stage: Stage, person: Person, callee: MatrixPhone, line: Line
) -> Verdict:
    """A telephone calls the person; each says a tone of its own."""
    verdict = Verdict("telephone → Matrix")
    async with stage.phone(line, says=PHONE_HERTZ, name="Front door") as phone:
        timeline = Timeline(console, stage.bridge, person.user_id, 1)
        with timeline.follow():
            await phone.dial(stage.uri(person))
            call = await callee.rings()
            await call.answer()
            await call.connected()
            await phone.sees("CALL_ESTABLISHED")
            await phone.hears(CLIENT_HERTZ)
            await call.voice.hears(PHONE_HERTZ)
            heard_at = _wall(call.voice.heard_at)
            flowing = _wall((await phone.sees("CALL_RTPESTAB")).seen_at)
            timeline.note("matrix", f"hears {PHONE_HERTZ} Hz", heard_at)
            timeline.note("sip", f"hears {CLIENT_HERTZ} Hz", flowing)
            await asyncio.sleep(_TALK)
            ends = await _at_the_ends(call, phone)
            await phone.hang_up()
            await call.ended()
            record = await stage.bridge.ended(person.user_id, count=2)
    _judge(verdict, record, ends, mode="transcode")
    verdict.add_tone("telephone hears", ends.phone_tone.hertz, CLIENT_HERTZ)
    verdict.add_tone("client hears", ends.client_tone.hertz, PHONE_HERTZ)
    verdict.add_time(
        "INVITE to m.call.invite",
        timeline.first("sip", "in", "INVITE"),
        timeline.first("matrix", "out", "m.call.invite"),
        remark=", making a room first",
    )
    verdict.add_time(
        "200 to audio both ways",
        timeline.first("sip", "out", _ANSWER),
        max(heard_at, flowing),
    )
    return verdict


@dataclass(frozen=True, slots=True)
class _Ends:
    """What is found at both ends of a call after the conversation."""

    client: VoiceStatistics
    client_tone: audio.Tone
    phone_tone: audio.Tone


async def _at_the_ends(call: MatrixCall, phone: Phone) -> _Ends:
    return _Ends(
        client=await call.voice.statistics(),
        client_tone=call.voice.tone(),
        phone_tone=audio.find_tone(*phone.heard()),
    )


def _judge(verdict: Verdict, record: Record, ends: _Ends, *, mode: str) -> None:
    """What goes for a call in either direction."""
    statistics = record.statistics
    connected = record.answered_at is not None and record.cause == "normal"
    verdict.add("connected", "yes" if connected else f"no: {record.cause}", good=connected)
    verdict.add_codecs(statistics, mode=mode)
    # The telephone reports its losses by RTCP every few seconds: in so short a call perhaps never.
    lost_behind = int(statistics.get("sip_far_lost", 0))
    verdict.add_packets(
        "client to telephone",
        sent=ends.client.sent,
        arrived=int(statistics["sip_packets_sent"]),
        lost=int(statistics["matrix_packets_lost"]) + lost_behind,
    )
    verdict.add_packets(
        "telephone to client",
        sent=int(statistics["sip_packets_received"]) + int(statistics["sip_packets_lost"]),
        arrived=ends.client.received,
        lost=int(statistics["sip_packets_lost"]) + ends.client.lost,
    )


def _wall(monotonic: float | None) -> float:
    """Monotonic seconds as seconds since the epoch."""
    if monotonic is None:
        raise ValueError("it has not happened")
    return monotonic + time.time() - time.monotonic()
