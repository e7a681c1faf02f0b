# SPDX-License-Identifier: GPL-3.0-or-later
"""Pressed keys: told where they cannot pass within the audio, played where they came by SIP."""

import asyncio
from itertools import pairwise

import pytest

from bridge.call.commands import PlayKey
from bridge.call.events import MediaConnected, MediaKeyPressed
from bridge.call.ids import Side
from bridge.call.terms import Keypad, Terms
from bridge.media.embedded.keys import KeyListener
from tests.media.desk import Desk
from tests.simulators.rtp import EVENT, Packet, RtpPeer, Sender
from tests.simulators.waiting import until
from tests.simulators.webrtc import WebRtcPeer

Heard = list[tuple[str, float]]


async def listen(*packets: Packet, clock: int = 8000, wait: bool = False) -> Heard:
    """What a listener makes of these packets."""
    heard: Heard = []
    listener = KeyListener(lambda key, duration: heard.append((key, round(duration, 3))))
    for packet in packets:
        listener.hear(packet.timestamp, packet.payload, clock)
    if wait:
        await until(lambda: heard, what="the key was let go", every=0.01)
    listener.stop()
    return heard


async def test_each_press_is_one_key() -> None:
    sender = Sender(0)
    presses = [packet for key in "1199#" for packet in sender.digit(key, EVENT)]
    assert await listen(*presses) == [(key, 0.1) for key in "1199#"]


async def test_the_marker_does_not_matter_nor_do_lost_and_repeated_packets() -> None:
    digit = Sender(0).digit("5", EVENT)
    assert await listen(*digit[3:]) == [("5", 0.1)]
    assert await listen(*digit[:3], digit[-1]) == [("5", 0.1)]
    assert await listen(*digit, *digit[-2:]) == [("5", 0.1)]


async def test_an_end_that_never_comes() -> None:
    sender = Sender(0)
    first, second = sender.digit("5", EVENT), sender.digit("6", EVENT)
    assert await listen(*first[:3], *second) == [("5", 0.06), ("6", 0.1)]
    assert await listen(*first[:3], wait=True) == [("5", 0.06)]


async def test_late_packets_and_a_sender_that_starts_anew() -> None:
    sender = Sender(0)
    first, second = sender.digit("5", EVENT), sender.digit("6", EVENT)
    assert await listen(*second, *first) == [("6", 0.1)]
    anew = Sender(0, timestamp=5_000_000).digit("7", EVENT)
    assert await listen(*anew, *Sender(0, timestamp=1000).digit("8", EVENT)) == [
        ("7", 0.1),
        ("8", 0.1),
    ]


async def test_a_long_press_is_one_key() -> None:
    press = Sender(0).long_digit("7", EVENT, clock=48000, seconds=3)
    assert len({packet.timestamp for packet in press}) == 3
    assert await listen(*press, clock=48000) == [("7", 3.0)]


async def test_other_events_are_no_keys() -> None:
    flash = Packet(EVENT, 1, 2, 3, bytes((16, 0x8A, 0, 100)))
    assert await listen(flash) == []


# --- whole calls ------------------------------------------------------------------------------


async def test_a_key_that_cannot_pass_is_told_and_no_packet_seems_lost(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone, phone_sdp=phone.sdp(events={}))
    sender = client.sender("PCMU")
    await client.send(*sender.packets([b"a" * 160] * 2))
    await client.send(*sender.digit("5", 126))
    await client.send(*sender.packets([b"b" * 160] * 2))
    told = await desk.event(MediaKeyPressed)
    assert (told.key, told.duration) == ("5", 0.1)
    packets = await phone.received.reaches(4)
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairwise(packets))
    statistics = await desk.hang_up()
    assert statistics["matrix_events"] == 1
    assert len(desk.of(MediaKeyPressed)) == 1


@pytest.mark.parametrize(
    ("keypad", "offered", "told"),
    [(Keypad.INFO, False, True), (Keypad.EVENTS, True, False), (Keypad.AUTO, True, True)],
)
async def test_what_a_trunk_wants(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, keypad: Keypad, offered: bool, told: bool
) -> None:
    offer = await desk.offer(Side.MATRIX, await client.offer(), terms=Terms(keypad=keypad))
    assert ("telephone-event" in offer.sdp) is offered
    phone.aim(offer.sdp)
    await client.connect(await desk.answer(Side.SIP, phone.sdp(events={})))
    await desk.event(MediaConnected)
    sender = client.sender("PCMU")
    await client.send(*sender.digit("5", 126), *sender.packets([b"a" * 160]))
    await phone.received.reaches(1)
    assert len(desk.of(MediaKeyPressed)) == told


async def test_a_key_is_played_between_the_packets_of_speech(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    speech = asyncio.create_task(phone.play(Sender(0), [b"s" * 160] * 40))
    await client.received.reaches(5)
    desk.engine.do(PlayKey(call=desk.call, key="9", duration=0.1))
    desk.engine.do(PlayKey(call=desk.call, key="*", duration=0.06))
    keys = await client.received.reaches(7 + 5, 126)
    await speech
    await client.received.reaches(40 + 12)
    first, second = keys[:7], keys[7:]
    assert [packet.payload[0] for packet in keys] == [9] * 7 + [10] * 5
    for press, ticks in ((first, [160, 320, 480, 640, 800]), (second, [160, 320, 480])):
        durations = [int.from_bytes(packet.payload[2:], "big") for packet in press]
        assert durations == [*ticks, ticks[-1], ticks[-1]]
        assert [packet.payload[1] >> 7 for packet in press] == [0] * (len(ticks) - 1) + [1] * 3
        assert [packet.marker for packet in press] == [True] + [False] * (len(press) - 1)
        assert len({packet.timestamp for packet in press}) == 1
    assert second[0].timestamp != first[0].timestamp
    everything = client.received.packets
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairwise(everything))
    spoken = [packet for packet in everything if packet.payload_type != 126]
    assert all((b.timestamp - a.timestamp) & 0xFFFFFFFF == 160 for a, b in pairwise(spoken))
    assert (await desk.hang_up())["sip_events"] == 2


@pytest.mark.parametrize("seconds", [0.5, 3.0])
async def test_a_long_press_stays_one_in_another_clock(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, seconds: float
) -> None:
    """48 kHz has room for 1.4 s in an event; 8 kHz for 8 s."""
    sdp = phone.sdp(("opus",), events={EVENT: 8000})
    await desk.client_calls(client, phone, phone_sdp=sdp)
    sender = client.sender("opus")
    await client.send(*sender.packets([b"a" * 60] * 2))
    press = sender.long_digit("7", 110, clock=48000, seconds=seconds)
    await client.send(*press)
    digit = await phone.received.reaches(len(press), EVENT)
    assert [packet.marker for packet in digit] == [True] + [False] * (len(press) - 1)
    assert len({packet.timestamp for packet in digit}) == 1
    durations = [int.from_bytes(packet.payload[2:], "big") for packet in digit]
    assert durations == sorted(durations)
    assert durations[-1] == round(seconds * 8000)
    assert (await desk.hang_up())["matrix_events"] == 1


async def test_a_long_press_passes_in_its_segments_in_the_same_clock(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    sdp = phone.sdp(("opus",), events={97: 48000})
    await desk.client_calls(client, phone, phone_sdp=sdp)
    sender = client.sender("opus")
    await client.send(*sender.packets([b"a" * 60] * 2))
    press = sender.long_digit("7", 110, clock=48000, seconds=3)
    await client.send(*press)
    digit = await phone.received.reaches(len(press), 97)
    assert [packet.payload for packet in digit] == [packet.payload for packet in press]
    began = {packet.timestamp: None for packet in digit}
    assert [(b - a) & 0xFFFFFFFF for a, b in pairwise(began)] == [0xFFFF, 0xFFFF]
    assert [packet.marker for packet in digit] == [True] + [False] * (len(press) - 1)
