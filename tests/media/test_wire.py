# SPDX-License-Identifier: GPL-3.0-or-later
"""What the main process and its media workers say to each other."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address

import pytest

from bridge.call.commands import AddRemoteCandidates, AnswerMedia, OfferMedia, PlayKey
from bridge.call.events import (
    MediaClosed,
    MediaConnected,
    MediaFailed,
    MediaFault,
    MediaLost,
    MediaMeasured,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.call.quality import Measured
from bridge.call.terms import Keypad, Srtp, Terms
from bridge.config import Logging, Media
from bridge.media.workers.wire import Begin, Channel, Logs, Message, Ready, Report, packed, unpacked

CALL = CallId("call-1")
TERMS = Terms(codecs=("PCMU", "opus"), srtp=Srtp.REQUIRED, keypad=Keypad.INFO)
MEDIA = Media.model_validate(
    {
        "listen": IPv6Address("::1"),
        "public_address": IPv4Address("192.0.2.1"),
        "ice_servers": [{"url": "turn:turn.test", "username": "u", "password": "very-secret"}],
    }
)
MESSAGES: list[Message] = [
    Begin(number=2, media=MEDIA, logging=Logging(level="debug"), report_every=5.0),
    Logs(logging=Logging(level="warning", format="json", full_numbers=True)),
    Ready(pid=4711),
    Report(longest_pause=0.25),
    OfferMedia(call=CALL, op=OpId(1), side=Side.SIP, sdp=None, terms=TERMS),
    AnswerMedia(call=CALL, op=OpId(2), side=Side.MATRIX, sdp="v=0\r\n\x01 ü", provisional=True),
    AnswerMedia(call=CALL, op=OpId(2), side=Side.SIP, sdp="v=0\r\n", refused=True),
    AddRemoteCandidates(call=CALL, candidates=("candidate:1", "")),
    PlayKey(call=CALL, key="#", duration=0.25),
    MediaConnected(call=CALL, matrix_codec="opus/48000/2", sip_codec="PCMU/8000"),
    MediaFailed(call=CALL, op=OpId(3), fault=MediaFault.NO_COMMON_CODEC, detail="none"),
    MediaLost(call=CALL, side=Side.MATRIX, fault=MediaFault.ICE_FAILED),
    MediaMeasured(
        call=CALL,
        matrix=Measured(packets=250, lost=2, jitter_ms=0.1, reports=1, sent=250),
        sip=Measured(packets=249, far_lost=1, far_jitter_ms=1.5, round_trip_ms=20.25),
    ),
    MediaClosed(call=CALL, statistics={"mode": "relay", "sip_jitter_ms": 2.0, "sip_events": 3}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    found = unpacked(packed(message)[4:])
    assert found == message
    if isinstance(found, Begin):
        assert found.media.ice_servers[0].password.get_secret_value() == "very-secret"
    if isinstance(found, MediaClosed):
        assert [type(each) for each in found.statistics.values()] == [str, float, int]


def test_what_is_no_text_does_no_harm() -> None:
    command = OfferMedia(call=CALL, op=OpId(1), side=Side.SIP, sdp="s=\udc80")
    found = unpacked(packed(command)[4:])
    assert isinstance(found, OfferMedia)
    assert found.sdp == "s=?"


async def test_messages_come_whole_and_in_order_however_they_were_cut() -> None:
    ours, theirs = socket.socketpair()
    received: list[Message] = []
    ended = asyncio.Event()
    channel = Channel(received.append, ended.set)
    channel.send(Ready(pid=1))  # Before it is open.
    await channel.open(ours)
    stream = b"".join(map(packed, MESSAGES))
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    for start in range(0, len(stream), 7):
        await loop.sock_sendall(theirs, stream[start : start + 7])
        await asyncio.sleep(0)
    theirs.shutdown(socket.SHUT_WR)
    await ended.wait()
    assert received == MESSAGES
    channel.send(Ready(pid=2))  # The other end may still listen.
    channel.close()
    await channel.closed.wait()
    channel.send(Ready(pid=3))
    answer = await loop.sock_recv(theirs, 100)
    assert answer == packed(Ready(pid=1)) + packed(Ready(pid=2))
    theirs.close()


async def test_what_is_said_at_once_wakes_the_other_end_once() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(lambda _: None, lambda: None)
    await channel.open(ours)
    theirs.setblocking(False)
    for number in range(3):
        channel.send(Ready(pid=number))
    loop = asyncio.get_running_loop()
    expected = b"".join(packed(Ready(pid=number)) for number in range(3))
    assert await loop.sock_recv(theirs, 1000) == expected
    channel.close()
    await channel.closed.wait()
    theirs.close()
