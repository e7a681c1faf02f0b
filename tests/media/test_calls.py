# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole calls through the embedded engine: a WebRTC client here, a phone there."""

import asyncio
from itertools import pairwise

import pytest
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket

from bridge.call.commands import AddRemoteCandidates, AnswerMedia, OfferMedia
from bridge.call.events import MediaConnected, MediaFault, MediaLost
from bridge.call.ids import CallId, Side
from tests.media.desk import Desk
from tests.media.sound import heard, tone
from tests.simulators.rtp import EVENT, EVENT_48K, PAYLOAD_TYPES, Received, RtpPeer, Sender
from tests.simulators.udpproxy import Script, UdpProxy, double_every, lose, lose_every, swap_every
from tests.simulators.waiting import until
from tests.simulators.webrtc import PAYLOAD_TYPES as WEB_TYPES
from tests.simulators.webrtc import Remote, WebRtcPeer

CODECS = ("PCMU", "PCMA", "G722", "opus")


def phone_sender(codec: str) -> Sender:
    """A phone's stream."""
    return Sender(PAYLOAD_TYPES[codec], 960 if codec == "opus" else 160)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("incoming", [False, True], ids=["to_sip", "to_matrix"])
async def test_a_shared_codec_passes_byte_for_byte(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, codec: str, incoming: bool
) -> None:
    call = desk.phone_calls if incoming else desk.client_calls
    connected = await call(client, phone, (codec,))
    assert connected.matrix_codec == connected.sip_codec
    assert connected.sip_codec.startswith(codec)

    to_phone, to_client = tone(codec, 440), tone(codec, 1000)
    await client.send(*client.sender(codec).packets(to_phone), extended=True)
    at_phone = await phone.received.reaches(50)
    assert [packet.payload for packet in at_phone] == to_phone
    assert heard(codec, (packet.payload for packet in at_phone)).is_near(440)
    assert not any(packet.extended for packet in at_phone)
    assert {packet.payload_type for packet in at_phone} == {PAYLOAD_TYPES[codec]}

    phone.send(*phone_sender(codec).packets(to_client))
    at_client = await client.received.reaches(50)
    assert [packet.payload for packet in at_client] == to_client
    assert heard(codec, (packet.payload for packet in at_client)).is_near(1000)
    assert {packet.payload_type for packet in at_client} == {WEB_TYPES[codec]}

    statistics = await desk.hang_up()
    assert statistics["mode"] == "relay"
    for side in ("matrix", "sip"):
        assert statistics[f"{side}_packets_received"] == 50
        assert statistics[f"{side}_packets_sent"] == 50
        assert statistics[f"{side}_packets_lost"] == 0


async def test_numbers_of_the_stream_are_ours_and_continuous(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    sender = client.sender("PCMU")
    await client.send(*sender.packets([b"a" * 160] * 20))
    packets = await phone.received.reaches(20)
    assert len({packet.ssrc for packet in packets}) == 1
    assert packets[0].ssrc != client.ssrc
    assert packets[0].marker
    assert not any(packet.marker for packet in packets[1:])
    for before, after in pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == 160


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_a_client_that_knows_only_opus_is_transcoded(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, codec: str
) -> None:
    connected = await desk.client_calls(client, phone, (codec,), formats=(111, 110))
    assert connected.matrix_codec == "opus/48000/2"
    assert connected.sip_codec.startswith(codec)
    await client.send(*client.sender("opus").packets(tone("opus", 440)))
    at_phone = await phone.received.reaches(45)
    assert heard(codec, (packet.payload for packet in at_phone)).is_near(440)
    for before, after in pairwise(at_phone):
        assert (after.sequence - before.sequence) & 0xFFFF == 1

    phone.send(*phone_sender(codec).packets(tone(codec, 1000)))
    at_client = await client.received.reaches(45)
    assert heard("opus", (packet.payload for packet in at_client)).is_near(1000)
    for before, after in pairwise(at_client[:45]):
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == 960
    assert (await desk.hang_up())["mode"] == "transcode"


async def test_a_trunk_may_allow_one_codec_only(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    offered = await desk.offer(Side.MATRIX, await client.offer(), ("PCMA",))
    assert "PCMA/8000" in offered.sdp
    assert not any(name in offered.sdp for name in ("PCMU", "opus", "G722"))


# --- keys -------------------------------------------------------------------------------------


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


# --- a bad network ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "arriving", "lost", "late"),
    [(lose(5, 6, 30), 58, 3, 0), (swap_every(10), 61, 0, 6), (double_every(20), 61, 0, 3)],
    ids=["loss", "disorder", "repetition"],
)
async def test_a_bad_network_is_passed_on_and_counted(
    desk: Desk,
    client: WebRtcPeer,
    phone: RtpPeer,
    script: Script,
    arriving: int,
    lost: int,
    late: int,
) -> None:
    """A relay has no jitter buffer: what is missing is missing, what is late stays late."""
    await desk.client_calls(client, phone)
    assert phone.target is not None
    proxy = UdpProxy(phone.target, script)
    phone.target = proxy.address
    assert not (await desk.offer(Side.SIP, phone.sdp(port=proxy.outside[1]))).needed
    payloads = [number.to_bytes(2, "big") * 80 for number in range(61)]
    phone.send(*phone_sender("PCMU").packets(payloads))
    packets = await client.received.reaches(arriving)
    proxy.close()
    # The client's SRTP refuses what it has had already (RFC 3711 3.3.2).
    assert len(packets) == arriving
    first = min(packet.sequence for packet in packets if packet.payload == payloads[0])
    by_number = {(packet.sequence - first) & 0xFFFF: packet.payload for packet in packets}
    assert by_number == {n: payloads[n] for n in by_number}
    statistics = await desk.hang_up()
    assert statistics["sip_packets_lost"] == lost
    assert statistics["sip_packets_late"] == late


@pytest.mark.parametrize("script", [lose_every(10), swap_every(7)], ids=["loss", "disorder"])
async def test_a_transcoded_call_bears_a_bad_network(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, script: Script
) -> None:
    await desk.client_calls(client, phone, formats=(111, 110))
    assert phone.target is not None
    proxy = UdpProxy(phone.target, script)
    phone.target = proxy.address
    await desk.offer(Side.SIP, phone.sdp(port=proxy.outside[1]))
    phone.send(*phone_sender("PCMU").packets(tone("PCMU", 440, 60)))
    packets = await client.received.reaches(50)
    proxy.close()
    assert heard("opus", (packet.payload for packet in packets)).is_near(440)
    steps = {(after.sequence - before.sequence) & 0xFFFF for before, after in pairwise(packets)}
    assert steps == {1}


# --- who may speak ----------------------------------------------------------------------------


async def test_a_stranger_is_not_heard(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> None:
    await desk.client_calls(client, phone)
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 3))
    await client.received.reaches(3)
    stranger = RtpPeer()
    stranger.target = phone.target
    stranger.send(*Sender(0, ssrc=666).packets([b"s" * 160] * 20))
    phone.send(*Sender(0, sequence=100).packets([b"p" * 160] * 3))
    await client.received.reaches(6)
    await until(lambda: desk.engine_snapshot()["sip_strangers"] == 20, what="20 are counted")
    stranger.close()
    assert {packet.payload[:1] for packet in client.received.packets} == {b"p"}
    assert (await desk.hang_up())["sip_strangers"] == 20


async def test_a_phone_behind_nat_is_found_once(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone, phone_sdp=phone.sdp(address="192.0.2.7"))
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 10))
    await client.received.reaches(6)
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 5))
    await phone.received.reaches(5)
    stranger = RtpPeer()
    stranger.target = phone.target
    stranger.send(*Sender(0, ssrc=666).packets([b"s" * 160] * 20))
    await until(lambda: desk.engine_snapshot()["sip_strangers"] == 20, what="they were counted")
    stranger.close()
    statistics = await desk.hang_up()
    assert statistics["sip_latched"] == 1


async def test_packets_that_are_not_what_they_should_be_do_no_harm(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    sender = phone_sender("PCMU")
    phone.send(b"", b"\x80", b"\x00" * 12, b"\x80\x00" * 900, b"\x9f" + bytes(11))
    phone.send(Sender(55).next(b"unknown type"), Sender(EVENT, ssrc=0x1234).next(b"x"))
    phone.send_rtcp(b"\x80\xc8\x00")
    phone.send_rtcp(b"\x80\xc8\x00\x06 too short")
    await client.send_raw(b"\x80\x00" + bytes(30))
    await client.send_raw(b"\x80\xc8" + bytes(30))
    phone.send(*sender.packets([b"p" * 160] * 3))
    packets = await client.received.reaches(3)
    assert {packet.payload for packet in packets} == {b"p" * 160}
    assert (await desk.hang_up())["matrix_undecipherable"] == 2


# --- hold, resume, changes ----------------------------------------------------------------------


async def test_the_phone_holds_and_resumes(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> None:
    await desk.client_calls(client, phone)
    sender, back = client.sender("PCMU"), phone_sender("PCMU")
    await client.send(*sender.packets([b"1" * 160] * 3))
    await phone.received.reaches(3)

    hold = await desk.offer(Side.SIP, phone.sdp(direction="sendonly"))
    assert hold.needed
    assert Remote.read(hold.sdp).direction == "sendonly"
    answer = await desk.answer(Side.MATRIX, await client.answer(hold.sdp, direction="recvonly"))
    assert "a=recvonly" in answer
    await client.send(*sender.packets([b"2" * 160] * 7))
    phone.send(*back.packets([b"music" * 32] * 3))
    await client.received.reaches(3)

    resume = await desk.offer(Side.SIP, phone.sdp())
    answer = await desk.answer(Side.MATRIX, await client.answer(resume.sdp))
    assert "a=sendrecv" in answer
    await client.send(*sender.packets([b"3" * 160] * 3))
    packets = await phone.received.reaches(6)
    assert [packet.payload[:1] for packet in packets] == [b"1"] * 3 + [b"3"] * 3
    assert len({packet.ssrc for packet in packets}) == 1
    sequences = [packet.sequence for packet in packets]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(6)]
    assert (packets[3].timestamp - packets[2].timestamp) & 0xFFFFFFFF < 8000 * 10
    assert packets[3].marker
    assert (await desk.hang_up())["matrix_packets_dropped"] == 7


async def test_the_client_holds_and_resumes(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> None:
    await desk.phone_calls(client, phone)
    back = phone_sender("PCMU")
    phone.send(*back.packets([b"1" * 160] * 2))
    await client.received.reaches(2)
    hold = await desk.offer(Side.MATRIX, await client.offer(direction="sendonly"))
    assert hold.needed
    assert "a=sendonly" in hold.sdp
    answer = await desk.answer(Side.SIP, phone.sdp(direction="recvonly"))
    assert Remote.read(answer).direction == "recvonly"
    phone.send(*back.packets([b"2" * 160] * 4))
    await until(
        lambda: desk.engine_snapshot()["sip_packets_dropped"] == 4,
        what="what came while on hold was dropped",
    )
    resume = await desk.offer(Side.MATRIX, await client.offer())
    assert Remote.read(await desk.answer(Side.SIP, phone.sdp())).direction == "sendrecv"
    assert resume.needed
    phone.send(*back.packets([b"3" * 160] * 2))
    packets = await client.received.reaches(4)
    assert [packet.payload[:1] for packet in packets] == [b"1"] * 2 + [b"3"] * 2
    sequences = [packet.sequence for packet in packets]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(4)]


async def test_both_hold_and_each_resumes_for_itself(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    hold = await desk.offer(Side.SIP, phone.sdp(direction="sendonly"))
    answer = await desk.answer(Side.MATRIX, await client.answer(hold.sdp, direction="recvonly"))
    assert "a=recvonly" in answer
    hold = await desk.offer(Side.MATRIX, await client.offer(direction="inactive"))
    assert "a=inactive" in hold.sdp
    answer = await desk.answer(Side.SIP, phone.sdp(direction="inactive"))
    assert Remote.read(answer).direction == "inactive"
    # The phone resumes, and is still held by the client.
    resume = await desk.offer(Side.SIP, phone.sdp())
    assert Remote.read(resume.sdp).direction == "sendrecv"
    answer = await desk.answer(Side.MATRIX, await client.answer(resume.sdp, direction="sendonly"))
    assert "a=sendonly" in answer
    resume = await desk.offer(Side.MATRIX, await client.offer())
    assert "a=sendrecv" in resume.sdp
    assert Remote.read(await desk.answer(Side.SIP, phone.sdp())).direction == "sendrecv"
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 2))
    await client.received.reaches(2)
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 2))
    await phone.received.reaches(2)


async def test_a_client_that_cannot_be_asked_stays_as_it_is(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    """The core then gives the client's last description once more."""
    offer = await client.offer()
    offered = await desk.offer(Side.MATRIX, offer)
    phone.aim(offered.sdp)
    await client.connect(await desk.answer(Side.SIP, phone.sdp()))
    await desk.event(MediaConnected)
    hold = await desk.offer(Side.SIP, phone.sdp(direction="sendonly"))
    assert hold.needed
    answer = await desk.answer(Side.MATRIX, offer, refused=True)
    assert "a=recvonly" in answer
    await client.send(*client.sender("PCMU").packets([b"h" * 160] * 3))
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 3))
    packets = await client.received.reaches(3)
    assert {packet.payload_type for packet in packets} == {WEB_TYPES["PCMU"]}
    assert not phone.received.packets
    resume = await desk.offer(Side.SIP, phone.sdp(("PCMA",)))
    assert resume.needed
    assert "PCMA" in await desk.answer(Side.MATRIX, offer, refused=True)
    phone.send(*phone_sender("PCMA").packets(tone("PCMA", 440)))
    packets = (await client.received.reaches(48))[3:]
    assert {packet.payload_type for packet in packets} == {WEB_TYPES["PCMU"]}
    assert heard("PCMU", (packet.payload for packet in packets)).is_near(440)


async def test_a_refused_renegotiation_leaves_everything_as_it_was(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await desk.offer(Side.MATRIX, await client.offer(direction="sendonly"))
    desk.roll_back()
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 3))
    await client.received.reaches(3)
    failed = await desk.refused(
        lambda op: AnswerMedia(call=desk.call, op=op, side=Side.SIP, sdp=phone.sdp())
    )
    assert failed.fault is MediaFault.BAD_SDP


async def test_a_new_address_needs_no_question(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    other = RtpPeer()
    other.target = phone.target
    offered = await desk.offer(Side.SIP, other.sdp(("PCMU", "PCMA")))
    assert not offered.needed
    assert "a=sendrecv" in offered.answer
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 3))
    await other.received.reaches(3)
    other.send(*phone_sender("PCMU").packets([b"o" * 160] * 3))
    await client.received.reaches(3)
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 3))
    other.send(*Sender(0, sequence=9).packets([b"o" * 160] * 3))
    packets = await client.received.reaches(6)
    assert {packet.payload[:1] for packet in packets} == {b"o"}
    other.close()


async def test_another_codec_of_the_phone_is_transcoded(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone, ("G722",))
    await client.send(*client.sender("G722").packets(tone("G722", 440, 5)))
    before = await phone.received.reaches(5)
    offered = await desk.offer(Side.SIP, phone.sdp(("PCMA",)))
    assert not offered.needed
    sender = client.sender("G722")
    sender.sequence, sender.timestamp = 500, 80_000
    await client.send(*sender.packets(tone("G722", 440)))
    after = await phone.received.reaches(45, PAYLOAD_TYPES["PCMA"])
    assert heard("PCMA", (packet.payload for packet in after)).is_near(440)
    assert after[0].ssrc == before[0].ssrc
    assert (after[0].sequence - before[-1].sequence) & 0xFFFF == 1


async def test_a_phone_that_sends_another_codec_of_its_answer_is_understood(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    """An answer may list several codecs, and any of them may come (RFC 3264 6.1)."""
    connected = await desk.client_calls(client, phone, ("PCMA", "PCMU"))
    assert connected.sip_codec == "PCMA/8000"
    phone.send(*phone_sender("PCMU").packets(tone("PCMU", 440, 53)))
    packets = await client.received.reaches(48)
    assert {packet.payload_type for packet in packets} == {WEB_TYPES["PCMA"]}
    assert heard("PCMA", (packet.payload for packet in packets)).is_near(440)
    assert desk.engine_snapshot()["mode"] == "transcode"
    phone.send(*Sender(PAYLOAD_TYPES["PCMA"], ssrc=9).packets(tone("PCMA", 1000, 53)))
    packets = await client.received.reaches(len(packets) + 48)
    assert heard("PCMA", [packet.payload for packet in packets][-48:]).is_near(1000)
    assert desk.engine_snapshot()["mode"] == "relay"


# --- ICE --------------------------------------------------------------------------------------


async def test_candidates_may_come_later_than_the_offer(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    offer = await client.offer(trickle=True)
    assert "a=candidate" not in offer
    offered = await desk.offer(Side.MATRIX, offer)
    phone.aim(offered.sdp)
    answer = await desk.answer(Side.SIP, phone.sdp())
    desk.trickle(
        "candidate:1 1 udp 2113937151 5a1f3c9e-aaaa-4bbb-8ccc-000000000000.local 50000 typ host",
        "candidate:2 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active",
        "garbage",
        "candidate:3 1 udp 1 127.0.0.1 1 typ host generation 0 ufrag other",
    )
    desk.trickle(*client.candidates(), "")
    await client.connect(answer)
    await desk.event(MediaConnected)


async def test_candidates_that_came_before_the_answer_are_kept(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    offered = await desk.offer(Side.MATRIX, await client.offer(trickle=True))
    desk.trickle(*client.candidates())
    phone.aim(offered.sdp)
    await client.connect(await desk.answer(Side.SIP, phone.sdp()))
    await desk.event(MediaConnected)


async def test_candidates_that_came_before_the_offer_are_kept(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    offer = await client.offer(trickle=True)
    desk.trickle(*client.candidates())
    for number in range(99):  # Strays of other calls do not push it out.
        candidates = AddRemoteCandidates(call=CallId(f"gone-{number}"), candidates=("",))
        desk.engine.do(candidates)
    phone.aim((await desk.offer(Side.MATRIX, offer)).sdp)
    await client.connect(await desk.answer(Side.SIP, phone.sdp()))
    await desk.event(MediaConnected)


async def test_our_answer_holds_every_candidate(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.offer(Side.MATRIX, await client.offer(video=True))
    answer = await desk.answer(Side.SIP, phone.sdp())
    remote = Remote.read(answer)
    assert len(remote.candidates) == 1
    assert " 127.0.0.1 " in remote.candidates[0]
    assert remote.setup == "active"
    assert "a=end-of-candidates" in answer
    assert "m=video 0 " in answer


async def test_ice_restarts_under_the_same_keys(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    sender = client.sender("PCMU")
    await client.send(*sender.packets([b"1" * 160] * 3))
    await phone.received.reaches(3)

    restart = await desk.offer(Side.MATRIX, await client.offer(restart=True))
    assert not restart.needed
    await client.send(*sender.packets([b"2" * 160] * 3))  # Still by the old way.
    await phone.received.reaches(6)
    await client.connect(restart.answer)
    await client.drop_old_transports()
    await client.send(*sender.packets([b"3" * 160] * 3))
    packets = await phone.received.reaches(9)
    sequences = [packet.sequence for packet in packets]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(9)]
    answers = phone_sender("PCMU")

    def comes() -> bool:
        """The bridge's own checks of the new way may take longer than the client's."""
        phone.send(*answers.packets([b"p" * 160]))
        return len(client.received.packets) >= 3

    await until(comes, what="the client hears the telephone by the new way")
    assert len(desk.of(MediaConnected)) == 1
    assert not desk.of(MediaLost)


async def test_a_restart_goes_on_when_the_old_way_is_lost_meanwhile(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 1)
    await desk.client_calls(client, phone)
    restart = await desk.offer(Side.MATRIX, await client.offer(restart=True))
    await client.drop_old_transports()

    def nothing_passes() -> bool:
        before = desk.engine_snapshot()["sip_packets_dropped"]
        phone.send(back.next(b"p" * 160))
        return before != 0

    back = phone_sender("PCMU")
    await until(nothing_passes, what="the old way was given up")
    await client.connect(restart.answer)

    def heard_again() -> bool:
        phone.send(back.next(b"p" * 160))
        return bool(client.received.packets)

    client.received.packets.clear()
    await until(heard_again, what="the new way was taken")
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 3))
    await phone.received.reaches(3)
    assert not desk.of(MediaLost)


async def test_a_client_that_starts_anew_gets_new_keys(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    """A page that was reloaded has another certificate."""
    await desk.client_calls(client, phone)
    await client.send(*client.sender("PCMU").packets([b"1" * 160] * 3))
    before = (await phone.received.reaches(3))[-1]
    again = WebRtcPeer()
    offered = await desk.offer(Side.MATRIX, await again.offer())
    assert not offered.needed
    await again.connect(offered.answer)
    back = phone_sender("PCMU")

    def heard_again() -> bool:
        phone.send(back.next(b"p" * 160))
        return bool(again.received.packets)

    await until(heard_again, what="the client was heard under its new keys")
    await again.send(*again.sender("PCMU").packets([b"2" * 160] * 3))
    after = await phone.received.reaches(6)
    assert after[3].ssrc == before.ssrc
    assert (after[3].sequence - before.sequence) & 0xFFFF == 1
    await again.close()


async def test_a_forged_certificate_is_refused(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    offer = await client.offer()
    value = Remote.read(offer).fingerprints[0][1]
    forged = offer.replace(value, ":".join(reversed(value.split(":"))))
    offered = await desk.offer(Side.MATRIX, forged)
    phone.aim(offered.sdp)
    answer = await desk.answer(Side.SIP, phone.sdp())
    await client.connect(answer)
    lost = await desk.event(MediaLost)
    assert (lost.side, lost.fault) == (Side.MATRIX, MediaFault.DTLS_FAILED)
    assert not desk.of(MediaConnected)


async def test_trouble_inside_the_libraries_is_told_as_a_loss(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: object, **_: object) -> None:
        raise AttributeError("moved")

    monkeypatch.setattr("bridge.media.embedded.dtls.DtlsAssociation.handshake", broken)
    await desk.offer(Side.MATRIX, await client.offer())
    answer = await desk.answer(Side.SIP, phone.sdp())
    connecting = asyncio.create_task(client.connect(answer))
    lost = await desk.event(MediaLost)
    assert lost.fault is MediaFault.INTERNAL
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)


async def test_a_client_that_vanishes_is_noticed(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 2)
    await desk.client_calls(client, phone)
    await client.vanish()
    lost = await desk.event(MediaLost)
    assert (lost.side, lost.fault) == (Side.MATRIX, MediaFault.ICE_FAILED)


async def test_a_client_that_never_comes_is_given_up(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.media.embedded.matrix_leg.CONNECT_TIMEOUT", 0.1)
    await desk.offer(Side.MATRIX, await client.offer(trickle=True))
    await desk.answer(Side.SIP, phone.sdp())
    lost = await desk.event(MediaLost)
    assert (lost.side, lost.fault) == (Side.MATRIX, MediaFault.ICE_FAILED)


# --- RTCP -------------------------------------------------------------------------------------


async def test_both_sides_get_reports_and_a_goodbye(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.media.embedded.upkeep.INTERVAL", 0.05)
    await desk.client_calls(client, phone)
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 5))
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 5))
    await phone.received.reaches(5)
    await client.received.reaches(5)
    for received in (client.received, phone.received):
        await _until_rtcp(received, b"\x81\xc8")
    await desk.hang_up()
    for received in (client.received, phone.received):
        await _until_rtcp(received, b"\x81\xcb\x00\x01")


async def test_rtcp_shares_the_port_with_a_phone_that_asks_for_it(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.media.embedded.upkeep.INTERVAL", 0.05)
    offered = await desk.offer(Side.SIP, phone.sdp(mux=True))
    answer = await client.answer(offered.sdp)
    connecting = asyncio.create_task(client.connect(offered.sdp, role="client"))
    final = await desk.answer(Side.MATRIX, answer)
    assert "a=rtcp-mux" in final
    phone.aim(final)
    await connecting
    await desk.event(MediaConnected)
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 5))
    await client.received.reaches(5)
    await _until_rtcp(phone.received, b"\x81\xc9")
    # A report about what we sent, with a round trip of nothing on loopback.
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 5))
    source = (await phone.received.reaches(5))[0].ssrc
    await until(
        lambda: any(_sender_report(packet) for packet in phone.received.rtcp),
        what="a sender report came",
    )
    middle = next(filter(None, map(_sender_report, phone.received.rtcp)))
    block = RtcpReceiverInfo(source, 0, 1, 9, 80, middle, 0)
    phone.send(bytes(RtcpRrPacket(0x1234, [block])))
    await until(lambda: desk.engine_snapshot().get("sip_reports") == 1, what="it was read")
    snapshot = desk.engine_snapshot()
    assert snapshot["sip_far_lost"] == 1
    assert snapshot["sip_far_jitter_ms"] == 10
    assert isinstance(snapshot["sip_round_trip_ms"], float)
    assert 0 <= snapshot["sip_round_trip_ms"] < 5000


def _sender_report(packet: bytes) -> int | None:
    """The middle of the NTP timestamp of a sender report."""
    return int.from_bytes(packet[10:14], "big") if packet[1] == 200 else None


async def _until_rtcp(received: Received, part: bytes) -> None:
    await until(
        lambda: any(part in packet for packet in received.rtcp),
        what=f"RTCP with {part.hex()} came",
    )


# --- other beginnings ---------------------------------------------------------------------------


async def test_an_invite_without_an_offer_gets_ours(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    offered = await desk.offer(Side.SIP, None)
    client_answer = await client.answer(offered.sdp)
    ours = await desk.answer(Side.MATRIX, client_answer)
    assert "m=audio" in ours
    assert "RTP/AVP" in ours
    phone.aim(ours)
    assert await desk.answer(Side.SIP, phone.sdp(("PCMU",))) == ""
    await client.connect(offered.sdp, role="client")
    connected = await desk.event(MediaConnected)
    assert connected.sip_codec == "PCMU/8000"
    codec = "opus" if connected.matrix_codec.startswith("opus") else "PCMU"
    await client.send(*client.sender(codec).packets(tone(codec, 440)))
    packets = await phone.received.reaches(45)
    assert heard("PCMU", (packet.payload for packet in packets)).is_near(440)


async def test_who_asked_for_a_call_hears_it_ring_and_then_the_answer(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    early = RtpPeer()
    offered = await desk.offer(Side.SIP, None)
    ours = await desk.answer(Side.MATRIX, await client.answer(offered.sdp))
    phone.aim(ours)
    early.aim(ours)
    await client.connect(offered.sdp, role="client")
    assert await desk.answer(Side.SIP, early.sdp(("PCMU",)), provisional=True) == ""
    await desk.event(MediaConnected)
    early.send(*Sender(0, ssrc=5).packets([b"ringing." * 20] * 3))
    await client.received.reaches(3)
    assert await desk.answer(Side.SIP, phone.sdp(("PCMU",))) == ""
    phone.send(*Sender(0, ssrc=6).packets([b"answered" * 20] * 3))
    await client.received.reaches(6)
    early.close()


async def test_a_reinvite_without_an_offer_gets_ours(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    offered = await desk.offer(Side.SIP, None)
    assert not offered.needed
    assert "RTP/AVP" in offered.answer
    other = RtpPeer()
    assert await desk.answer(Side.SIP, other.sdp()) == ""
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 3))
    await other.received.reaches(3)
    other.close()


async def test_two_offers_that_met_are_both_answered(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.offer(Side.SIP, phone.sdp())
    joined = await desk.join(await client.offer(), phone.sdp())
    phone.aim(joined.sip_sdp)
    await client.connect(joined.matrix_sdp)
    await desk.event(MediaConnected)
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 3))
    await phone.received.reaches(3)
    phone.send(*phone_sender("PCMU").packets([b"p" * 160] * 3))
    await client.received.reaches(3)


async def test_an_early_answer_is_replaced_by_the_final_one(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    early = RtpPeer()
    offered = await desk.offer(Side.MATRIX, await client.offer())
    phone.aim(offered.sdp)
    early.aim(offered.sdp)
    answer = await desk.answer(Side.SIP, early.sdp(), provisional=True)
    await client.connect(answer)
    await desk.event(MediaConnected)
    early.send(*Sender(0, ssrc=5).packets([b"ringing." * 20] * 3))
    await client.received.reaches(3)
    second = await desk.answer(Side.SIP, phone.sdp(("PCMA",)))
    assert Remote.read(second).formats[0] == Remote.read(answer).formats[0]
    await client.send(*client.sender("PCMU").packets(tone("PCMU", 440)))
    packets = await phone.received.reaches(45)
    assert heard("PCMA", (packet.payload for packet in packets)).is_near(440)
    early.close()


# --- what cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "sdp", "fault"),
    [
        (Side.SIP, "nonsense", MediaFault.BAD_SDP),
        (Side.MATRIX, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n", MediaFault.BAD_SDP),
        (
            Side.SIP,
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=audio 4000 RTP/AVP 18\r\n",
            MediaFault.NO_COMMON_CODEC,
        ),
    ],
)
async def test_an_offer_that_cannot_be_used_says_why(
    desk: Desk, side: Side, sdp: str, fault: MediaFault
) -> None:
    failed = await desk.refused(lambda op: OfferMedia(call=desk.call, op=op, side=side, sdp=sdp))
    assert failed.fault is fault
    assert failed.detail
