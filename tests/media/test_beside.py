# SPDX-License-Identifier: GPL-3.0-or-later
"""The telephones of two calls talk with each other; nobody in Matrix is left."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from bridge.call.commands import CloseMedia, OfferMedia, PlayKey
from bridge.call.events import (
    MediaClosed,
    MediaConnected,
    MediaKeyPressed,
    MediaLost,
    MediaOfferReady,
)
from bridge.call.ids import CallId, Side
from bridge.call.terms import Keypad, Srtp, Terms
from bridge.media.embedded.matrix_leg import MatrixLeg
from tests.media.desk import CALL, Desk
from tests.media.sound import heard, tone
from tests.media.test_successors import switched
from tests.simulators.rtp import EVENT, PAYLOAD_TYPES, RtpPeer, Sender
from tests.simulators.srtp import Sdes
from tests.simulators.waiting import PATIENCE, until
from tests.simulators.webrtc import WebRtcPeer

SECOND = CallId("call-2")
HERE, THERE = b"h" * 160, b"t" * 160


@pytest.fixture
async def target() -> AsyncIterator[RtpPeer]:
    """Another telephone."""
    peer = RtpPeer()
    yield peer
    peer.close()


@pytest.fixture
async def other_client() -> AsyncIterator[WebRtcPeer]:
    """The person's other call."""
    peer = WebRtcPeer()
    yield peer
    await peer.close()


async def calls_target(
    desk: Desk,
    target: RtpPeer,
    codecs: Sequence[str] = ("PCMU",),
    *,
    terms: Terms | None = None,
    provisional: bool = False,
) -> str:
    """The first call is put through to a new one, whose telephone answers with `codecs`."""
    second = desk.another(SECOND)
    desk.bridge(SECOND)
    second.bridge(CALL)
    offered = await second.offer(Side.MATRIX, "", terms=terms or Terms())
    target.aim(offered.sdp)
    assert await second.answer(Side.SIP, target.sdp(codecs), provisional=provisional) == ""
    await second.event(MediaConnected)
    return offered.sdp


async def hear_each_other(
    first: RtpPeer,
    second: RtpPeer,
    one: Sender | None = None,
    two: Sender | None = None,
) -> None:
    """Packets pass both ways as they are, each way in one stream without a gap."""
    pairs = ((first, second, one or Sender(0), HERE), (second, first, two or Sender(0), THERE))
    for talker, listener, sender, payload in pairs:
        before = len(listener.received.packets)
        talker.send(*sender.packets([payload] * 20))
        packets = (await listener.received.reaches(before + 20))[before:]
        assert [packet.payload for packet in packets] == [payload] * 20
        for last, following in pairwise(listener.received.packets):
            assert (following.sequence - last.sequence) & 0xFFFF == 1
        assert len({packet.ssrc for packet in listener.received.packets}) == 1


async def test_two_calls_become_one(
    desk: Desk,
    client: WebRtcPeer,
    phone: RtpPeer,
    other_client: WebRtcPeer,
    target: RtpPeer,
) -> None:
    second = desk.another(SECOND)
    await desk.client_calls(client, phone)
    await second.client_calls(other_client, target)
    one, two = Sender(0), Sender(0, ssrc=0x777, sequence=9)
    phone.send(*one.packets([HERE] * 5))
    target.send(*two.packets([THERE] * 5))
    await client.received.reaches(5)
    await other_client.received.reaches(5)
    await client.send(*client.sender("PCMU").packets([b"p" * 160] * 5))
    await phone.received.reaches(5)

    desk.bridge(SECOND)
    second.bridge(CALL)
    for each in (desk, second):
        assert not (await each.offer(Side.MATRIX, "")).needed
    await hear_each_other(phone, target, one, two)
    assert desk.engine_snapshot()["mode"] == "relay"
    statistics = await desk.hang_up()
    assert statistics["sip_packets_received"] == 25
    assert statistics["sip_packets_sent"] == 25
    second.engine.do(CloseMedia(call=SECOND))
    statistics = (await second.event(MediaClosed)).statistics
    assert statistics["sip_packets_received"] == 25
    assert statistics["sip_packets_sent"] == 20
    assert not desk.of(MediaLost)


async def test_a_telephone_is_called_for_another(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    sdp = await calls_target(desk, target)
    assert "m=audio" in sdp
    connected = await desk.another(SECOND).event(MediaConnected)
    assert (connected.matrix_codec, connected.sip_codec) == ("PCMU/8000", "PCMU/8000")
    await hear_each_other(phone, target)


async def test_the_second_call_is_there_before_the_first_has_left_its_client(
    desk: Desk,
    client: WebRtcPeer,
    phone: RtpPeer,
    target: RtpPeer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await desk.client_calls(client, phone)
    leaving, left, close = asyncio.Event(), asyncio.Event(), MatrixLeg.close

    async def close_slowly(leg: MatrixLeg) -> None:
        if leg.connected:
            leaving.set()
            await left.wait()
        await close(leg)

    monkeypatch.setattr(MatrixLeg, "close", close_slowly)
    second = desk.another(SECOND)
    desk.bridge(SECOND)
    await leaving.wait()
    second.bridge(CALL)
    target.aim((await second.offer(Side.MATRIX, "")).sdp)
    await second.answer(Side.SIP, target.sdp())
    left.set()
    await second.event(MediaConnected)
    await hear_each_other(phone, target)


async def test_a_telephone_whose_client_is_on_opus(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    """What was re-encoded for the client is not any more."""
    await desk.client_calls(client, phone, formats=[111, 110])
    await client.send(*client.sender("opus").packets(tone("opus", 440, 10)))
    await phone.received.reaches(5)
    await calls_target(desk, target)
    await hear_each_other(phone, target)
    assert desk.engine_snapshot()["mode"] == "relay"


@pytest.mark.parametrize("codec", ["PCMA", "G722", "opus"])
async def test_telephones_with_different_codecs(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer, codec: str
) -> None:
    await desk.client_calls(client, phone)
    await calls_target(desk, target, (codec,))
    kind = PAYLOAD_TYPES[codec]
    step = 960 if codec == "opus" else 160
    phone.send(*Sender(0).packets(tone("PCMU", 700, 50)))
    target.send(*Sender(kind, step=step).packets(tone(codec, 1100, 50)))
    there = await target.received.reaches(45, kind if codec != "opus" else None)
    here = await phone.received.reaches(45, 0)
    assert abs(heard(codec, [packet.payload for packet in there]).hertz - 700) < 15
    assert abs(heard("PCMU", [packet.payload for packet in here]).hertz - 1100) < 15


async def test_each_has_its_own_keys(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    second, sdes = desk.another(SECOND), Sdes(target, tag=4)
    desk.bridge(SECOND)
    second.bridge(CALL)
    offered = await second.offer(Side.MATRIX, "", terms=Terms(srtp=Srtp.REQUIRED))
    target.aim(offered.sdp)
    sdes.follow(offered.sdp)
    await second.answer(Side.SIP, target.sdp(protocol="RTP/SAVP", crypto=[sdes.line]))
    await second.event(MediaConnected)
    await hear_each_other(phone, target)


async def test_who_waits_hears_that_it_rings_until_the_other_lets_itself_be_heard(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    second = desk.another(SECOND)
    desk.bridge(SECOND)
    second.bridge(CALL)
    offered = await second.offer(Side.MATRIX, "")
    target.aim(offered.sdp)
    ringing = await phone.received.reaches(30)
    assert abs(heard("PCMU", [packet.payload for packet in ringing]).hertz - 425) < 15
    assert ringing[0].marker
    assert {packet.timestamp - ringing[0].timestamp for packet in ringing[:5]} == {
        0,
        160,
        320,
        480,
        640,
    }
    await second.answer(Side.SIP, target.sdp(), provisional=True)
    await second.event(MediaConnected)
    await hear_each_other(phone, target)
    await second.answer(Side.SIP, target.sdp())
    await hear_each_other(
        phone,
        target,
        Sender(0, sequence=14, timestamp=5000),
        Sender(0, sequence=14, timestamp=5000),
    )


async def test_who_is_left_hears_that_it_rings_elsewhere(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await calls_target(desk, target, provisional=True)
    desk.engine.do(CloseMedia(call=SECOND))
    await desk.another(SECOND).event(MediaClosed)
    ringing = await phone.received.reaches(20)
    assert abs(heard("PCMU", [packet.payload for packet in ringing]).hertz - 425) < 15


async def test_keys_pass_within_the_audio(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await calls_target(desk, target)
    sender = Sender(0)
    phone.send(*sender.packets([HERE] * 3), *sender.digit("5", EVENT))
    events = await target.received.reaches(8, EVENT)
    assert {packet.payload[0] for packet in events} == {5}


async def test_keys_are_retold_where_they_cannot_pass(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    """From the audio to INFO, and from INFO into the audio."""
    await desk.client_calls(client, phone)
    await calls_target(desk, target, terms=Terms(keypad=Keypad.INFO))
    phone.send(*Sender(0).digit("5", EVENT))
    pressed = await desk.another(SECOND).event(MediaKeyPressed)
    assert (pressed.call, pressed.key) == (SECOND, "5")
    desk.engine.do(PlayKey(call=CALL, key="7", duration=0.1))
    pressed = await desk.another(SECOND).event(MediaKeyPressed, 2)
    assert pressed.key == "7"
    desk.engine.do(PlayKey(call=SECOND, key="9", duration=0.1))
    events = await phone.received.reaches(5, EVENT)
    assert {packet.payload[0] for packet in events} == {9}


# --- later changes ------------------------------------------------------------------------------


async def test_a_telephone_that_the_client_held_is_offered_to_talk_again(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    held = await desk.offer(Side.MATRIX, await client.offer(direction="sendonly"))
    await desk.answer(Side.SIP, phone.sdp(direction="recvonly"))
    assert "a=sendonly" in held.sdp
    await calls_target(desk, target)
    free = await desk.offer(Side.MATRIX, "")
    assert free.needed
    assert "a=sendrecv" in free.sdp
    assert await desk.answer(Side.SIP, phone.sdp()) == ""
    again = await desk.offer(Side.MATRIX, "")
    assert (again.needed, again.answer) == (False, "")
    await hear_each_other(phone, target)


async def test_a_telephone_that_refuses_to_be_taken_off_hold(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await desk.offer(Side.MATRIX, await client.offer(direction="sendonly"))
    last = phone.sdp(direction="recvonly")
    await desk.answer(Side.SIP, last)
    await calls_target(desk, target)
    assert (await desk.offer(Side.MATRIX, "")).needed
    assert await desk.answer(Side.SIP, last, refused=True) == ""
    target.send(*Sender(0).packets([THERE] * 5))
    await phone.received.reaches(5)
    assert (await desk.offer(Side.MATRIX, "")).needed


async def test_a_telephone_that_holds_is_answered_at_once_and_hears_nothing(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await calls_target(desk, target)
    held = await desk.offer(Side.SIP, phone.sdp(direction="sendonly"))
    assert not held.needed
    assert "a=recvonly" in held.answer
    phone.send(*Sender(0).packets([HERE] * 5))
    await target.received.reaches(5)
    target.send(*Sender(0).packets([THERE] * 5))
    await until(
        lambda: desk.engine_snapshot()["matrix_packets_dropped"] == 5,
        what="who holds hears nothing",
        every=0.005,
    )
    resumed = await desk.offer(Side.SIP, phone.sdp())
    assert "a=sendrecv" in resumed.answer
    target.send(*Sender(0, ssrc=1).packets([b"u" * 160]))
    assert (await phone.received.reaches(1))[-1].payload == b"u" * 160


async def test_a_telephone_that_changes_its_codec_is_transcoded(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await calls_target(desk, target)
    await desk.offer(Side.SIP, phone.sdp(("PCMA",)))
    phone.send(*Sender(8).packets(tone("PCMA", 700, 50)))
    packets = await target.received.reaches(45)
    assert abs(heard("PCMU", [packet.payload for packet in packets]).hertz - 700) < 15


async def test_a_telephone_that_asks_for_our_offer(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await calls_target(desk, target)
    asked = await desk.offer(Side.SIP, None)
    assert not asked.needed
    assert "m=audio" in asked.answer
    assert await desk.answer(Side.SIP, phone.sdp()) == ""
    await hear_each_other(phone, target)


async def test_somebody_else_takes_the_place_of_one_telephone(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await calls_target(desk, target)
    successor = RtpPeer()
    successor.aim(await switched(desk, successor.sdp(("PCMU",)), offers=True))
    await hear_each_other(successor, target)
    phone.send(*Sender(0).packets([HERE] * 5))
    successor.close()


async def test_a_second_trunk_is_offered_something_else(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, target: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    second = desk.another(SECOND)
    desk.bridge(SECOND)
    second.bridge(CALL)
    await second.offer(Side.MATRIX, "", ("PCMA",))
    event = await second.ask(
        lambda op: OfferMedia(
            call=SECOND, op=op, side=Side.MATRIX, sdp="", terms=Terms(codecs=("PCMU",))
        )
    )
    assert isinstance(event, MediaOfferReady)
    target.aim(event.sdp)
    await second.answer(Side.SIP, target.sdp())
    await second.event(MediaConnected)
    await hear_each_other(phone, target)


async def test_nobody_is_there_to_talk_with(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> None:
    """Keys and packets go nowhere, and nothing breaks."""
    await desk.client_calls(client, phone)
    desk.bridge(SECOND)
    desk.bridge(SECOND)
    desk.engine.do(PlayKey(call=CALL, key="7", duration=0.1))
    phone.send(*Sender(0).packets([HERE] * 5))
    await until(
        lambda: desk.engine_snapshot()["sip_packets_dropped"] == 5,
        what="what the telephone says was dropped",
        every=0.005,
    )
    await asyncio.wait_for(desk.hang_up(), PATIENCE)
    assert not desk.of(MediaLost)
