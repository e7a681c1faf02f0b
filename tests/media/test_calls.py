# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole calls through the embedded engine: a WebRTC client here, a phone there."""

import asyncio
from itertools import pairwise

import pytest
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket

from bridge.call.commands import OfferMedia
from bridge.call.events import MediaConnected, MediaFault
from bridge.call.ids import Side
from tests.media.desk import Desk
from tests.media.sound import heard, tone
from tests.simulators.rtp import EVENT, PAYLOAD_TYPES, Received, RtpPeer, Sender, phone_sender
from tests.simulators.udpproxy import Script, UdpProxy, double_every, lose, lose_every, swap_every
from tests.simulators.waiting import until
from tests.simulators.webrtc import PAYLOAD_TYPES as WEB_TYPES
from tests.simulators.webrtc import Remote, WebRtcPeer

CODECS = ("PCMU", "PCMA", "G722", "opus")


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
