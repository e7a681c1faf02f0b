# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole calls: hold, resume, and other changes of what was agreed."""

from bridge.call.commands import AnswerMedia
from bridge.call.events import MediaConnected, MediaFault
from bridge.call.ids import Side
from tests.media.desk import Desk
from tests.media.sound import heard, tone
from tests.simulators.rtp import PAYLOAD_TYPES, RtpPeer, Sender, phone_sender
from tests.simulators.waiting import until
from tests.simulators.webrtc import PAYLOAD_TYPES as WEB_TYPES
from tests.simulators.webrtc import Remote, WebRtcPeer


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
