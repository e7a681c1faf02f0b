# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole calls: how audio finds its way to a client, finds another, and what is told if not."""

import asyncio

import pytest

from bridge.call.commands import AddRemoteCandidates
from bridge.call.events import MediaConnected, MediaFault, MediaLost
from bridge.call.ids import CallId, Side
from tests.media.desk import Desk
from tests.simulators.rtp import RtpPeer, phone_sender
from tests.simulators.waiting import until
from tests.simulators.webrtc import Remote, WebRtcPeer


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
    monkeypatch.setattr("bridge.media.embedded.webrtc.INTERVAL", 0.05)
    monkeypatch.setattr("bridge.media.embedded.consent.EXPIRY", 0.3)
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
    monkeypatch.setattr("bridge.media.embedded.webrtc.INTERVAL", 0.05)
    monkeypatch.setattr("bridge.media.embedded.consent.EXPIRY", 0.3)
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
