# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole calls: keys pass from a client to a phone and back, as telephone-events (RFC 4733)."""

import pytest

from tests.media.desk import Desk
from tests.media.sound import tone
from tests.simulators.rtp import EVENT, EVENT_48K, PAYLOAD_TYPES, RtpPeer, phone_sender
from tests.simulators.webrtc import WebRtcPeer


async def test_keys_pass_both_ways(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> None:
    await desk.client_calls(client, phone)
    sender = client.sender("PCMU")
    await client.send(*sender.packets([b"a" * 160] * 2))
    await client.send(*sender.digit("5", 126))
    await client.send(*sender.packets([b"a" * 160] * 2))
    at_phone = await phone.received.reaches(12)
    digit = [packet for packet in at_phone if packet.payload_type == EVENT]
    assert [packet.payload for packet in digit] == [
        packet.payload for packet in client.sender("PCMU").digit("5", 126)
    ]
    assert [packet.marker for packet in digit] == [True] + [False] * 7
    assert len({packet.timestamp for packet in digit}) == 1
    assert (digit[0].timestamp - at_phone[1].timestamp) & 0xFFFFFFFF == 160
    sequences = [packet.sequence for packet in at_phone]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(12)]

    phone.send(*phone_sender("PCMU").digit("#", EVENT))
    at_client = await client.received.reaches(8, 126)
    assert at_client[-1].payload[0] == 11
    statistics = await desk.hang_up()
    assert statistics["matrix_events"] == 1
    assert statistics["sip_events"] == 1


@pytest.mark.parametrize("events", [{EVENT: 8000}, {EVENT_48K: 48000, EVENT: 8000}])
async def test_keys_change_their_clock_beside_opus(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, events: dict[int, int]
) -> None:
    """The client's keys count in 48 kHz; the phone's in what it said."""
    await desk.client_calls(client, phone, phone_sdp=phone.sdp(("opus",), events=events))
    sender = client.sender("opus")
    await client.send(*sender.packets([b"a" * 60] * 2))
    await client.send(*sender.digit("7", 110, clock=48000))
    number = EVENT_48K if EVENT_48K in events else EVENT
    clock = events[number]
    digit = await phone.received.reaches(8, number)
    durations = [int.from_bytes(packet.payload[2:], "big") for packet in digit]
    assert durations == [clock // 50 * n for n in (1, 2, 3, 4, 5, 5, 5, 5)]
    assert [packet.payload[1] & 0x80 for packet in digit[-3:]] == [0x80] * 3

    phone.send(*phone_sender("opus").digit("9", number, clock=clock))
    at_client = await client.received.reaches(8, 110)
    durations = [int.from_bytes(packet.payload[2:], "big") for packet in at_client]
    assert durations == [960 * n for n in (1, 2, 3, 4, 5, 5, 5, 5)]


async def test_keys_pass_in_a_transcoded_call(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone, formats=(111, 110))
    sender = client.sender("opus")
    await client.send(*sender.packets(tone("opus", 440, 10)))
    await client.send(*sender.digit("3", 110, clock=48000))
    await client.send(*sender.packets(tone("opus", 440, 10)))
    digit = await phone.received.reaches(8, EVENT)
    assert {packet.payload[0] for packet in digit} == {3}
    assert len({packet.timestamp for packet in digit}) == 1
    assert int.from_bytes(digit[-1].payload[2:], "big") == 800
    audio = await phone.received.reaches(15, PAYLOAD_TYPES["PCMU"])
    assert audio[-1].sequence != digit[-1].sequence

    phone.send(*phone_sender("PCMU").digit("4", EVENT))
    at_client = await client.received.reaches(8, 110)
    assert int.from_bytes(at_client[-1].payload[2:], "big") == 4800


async def test_a_marker_left_out_by_a_carrier_is_put_in(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    digit = phone_sender("PCMU").digit("1", EVENT)
    first = bytearray(digit[0].write())
    first[1] &= 0x7F
    phone.send(bytes(first), *digit[1:])
    at_client = await client.received.reaches(8, 126)
    assert [packet.marker for packet in at_client] == [True] + [False] * 7
