# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the SIP side listens to, and where it sends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from bridge.errors import SdpError
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.sip_leg import PROBATION, SipLeg
from bridge.media.embedded.sockets import PortRange
from tests.simulators.rtp import RtpPeer, Sender
from tests.simulators.waiting import until

HOST = "127.0.0.1"


class Legs:
    """A leg and what it passed on."""

    def __init__(self) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.leg = SipLeg(
            *PortRange(23000, 23999).pair(HOST),
            Ear(lambda packet, now: self.rtp.append(bytes(packet))),
            self.rtcp.append,
        )

    def meets(self, peer: RtpPeer) -> None:
        """Let the peer send here."""
        peer.target = (HOST, self.leg.port)
        peer.rtcp_target = (HOST, self.leg.port + 1)

    def aim(self, peer: RtpPeer, *, muxed: bool = False) -> None:
        """Expect the peer."""
        rtcp = peer.port if muxed else peer.port + 1
        self.leg.aim((HOST, peer.port), (HOST, rtcp), muxed=muxed)

    async def heard(self, count: int) -> None:
        """Wait for packets."""
        await until(lambda: len(self.rtp) >= count, what=f"{count} packets were heard")

    async def refused(self, count: int) -> None:
        """Wait for strangers."""
        await until(lambda: self.leg.strangers >= count, what="strangers were counted")


@pytest.fixture
async def legs() -> AsyncIterator[Legs]:
    """A leg on loopback."""
    legs = Legs()
    yield legs
    legs.leg.close()
    legs.leg.close()


@pytest.fixture
async def peers(legs: Legs) -> AsyncIterator[tuple[RtpPeer, RtpPeer]]:
    """Two peers that send to the leg."""
    both = (RtpPeer(), RtpPeer())
    for peer in both:
        legs.meets(peer)
    yield both
    for peer in both:
        peer.close()


RTCP = b"\x80\xc9\x00\x01\x00\x00\x00\x07"


async def test_before_signalling_names_an_address_nobody_is_heard(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    early, peer = peers
    early.send(*Sender(0).packets([b"x"] * 10))
    early.send_rtcp(RTCP)
    legs.leg.outlet.send(b"nowhere")
    legs.leg.send_rtcp(b"nowhere")
    for _ in range(20):  # A packet is read in each round of the loop.
        await asyncio.sleep(0)
    legs.aim(peer)
    peer.send(*Sender(0).packets([b"y"]))
    await legs.heard(1)
    assert [packet[12:] for packet in legs.rtp] == [b"y"]
    assert legs.leg.strangers == 0


async def test_the_signalled_address_wins_even_while_another_is_on_probation(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    peer, stranger = peers
    legs.aim(peer)
    packets = Sender(0).packets([b"s"] * (PROBATION + 1))
    stranger.send(*packets[: PROBATION - 1])
    peer.send(*Sender(0).packets([b"p"]))
    await legs.heard(1)
    stranger.send(*packets[PROBATION - 1 :])
    await legs.refused(2)
    assert len(legs.rtp) == 1
    assert not legs.leg.latched


async def test_probation_wants_one_stream_in_sequence(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    _, stranger = peers
    legs.leg.aim(("192.0.2.1", 4000), ("192.0.2.1", 4001), muxed=False)
    for number in range(10):
        stranger.send(*Sender(0, ssrc=number).packets([b"s"]))
        stranger.send(*Sender(0, sequence=number * 2).packets([b"s"]))
    stranger.send(b"noise", RTCP)
    await legs.refused(2)
    assert not legs.rtp
    stranger.send(*Sender(0, sequence=9).packets([b"s"] * PROBATION))
    await legs.heard(1)
    assert legs.leg.latched


async def test_rtcp_goes_next_door_until_the_peer_has_said_where(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    peer, elsewhere = peers
    legs.leg.aim(("192.0.2.1", 4000), ("192.0.2.1", 4001), muxed=False)
    peer.send(*Sender(0).packets([b"s"] * PROBATION))
    await legs.heard(1)
    legs.leg.send_rtcp(RTCP)
    await until(lambda: peer.received.rtcp == [RTCP], what="the peer was told")
    elsewhere.send_rtcp(RTCP)
    await until(lambda: legs.rtcp == [RTCP], what="the peer told something")
    legs.leg.send_rtcp(RTCP)
    await until(lambda: elsewhere.received.rtcp == [RTCP], what="it went where that came from")


async def test_a_new_address_starts_over(legs: Legs, peers: tuple[RtpPeer, RtpPeer]) -> None:
    first, second = peers
    legs.aim(first)
    first.send(*Sender(0).packets([b"1"]))
    await legs.heard(1)
    legs.aim(second)
    second.send(*Sender(0).packets([b"2"]))
    await legs.heard(2)
    first.send(*Sender(0).packets([b"1"] * 10))
    await legs.refused(10)
    legs.leg.outlet.send(Sender(0).next(b"back").write())
    assert [packet.payload for packet in await second.received.reaches(1)] == [b"back"]


async def test_the_address_that_the_peer_left_is_not_taken_for_its_nat(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    """Music on hold begins a moment after the voice has moved, which goes on meanwhile."""
    voice, music = peers
    legs.aim(voice)
    stream = Sender(0)
    voice.send(*stream.packets([b"voice"]))
    await legs.heard(1)
    legs.aim(music)
    voice.send(*stream.packets([b"voice"] * 2 * PROBATION))
    await legs.refused(2 * PROBATION)
    music.send(*Sender(0, ssrc=2).packets([b"music"]))
    await legs.heard(2)
    assert legs.rtp[1].endswith(b"music")
    assert not legs.leg.latched
    other = RtpPeer()
    legs.aim(other)
    voice.send(*stream.packets([b"voice"] * 2 * PROBATION))  # Still there.
    await legs.refused(4 * PROBATION)
    other.close()
    legs.aim(voice)
    voice.send(*stream.packets([b"voice"]))
    await legs.heard(3)


async def test_a_peer_behind_nat_may_name_another_address_and_stay_where_it_is(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    peer, _ = peers
    stream = Sender(0)
    for count, port in enumerate((4000, 4002), start=1):
        legs.leg.aim(("192.0.2.1", port), ("192.0.2.1", port + 1), muxed=False)
        peer.send(*stream.packets([b"p"] * PROBATION))
        await legs.heard(count)
        assert legs.leg.latched


async def test_hold_the_old_way_keeps_the_address(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    peer, _ = peers
    legs.aim(peer)
    legs.leg.aim(("0.0.0.0", 4000), ("0.0.0.0", 4001), muxed=False)
    legs.leg.outlet.send(Sender(0).next(b"still").write())
    await peer.received.reaches(1)


async def test_rtcp_has_its_own_port_or_shares_one(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    peer, _ = peers
    legs.aim(peer)
    peer.send_rtcp(RTCP)
    await until(lambda: legs.rtcp == [RTCP], what="RTCP came on its port")
    legs.leg.send_rtcp(RTCP)
    await until(lambda: peer.received.rtcp == [RTCP], what="RTCP left by its port")
    legs.aim(peer, muxed=True)
    peer.send(RTCP)
    await until(lambda: legs.rtcp == [RTCP] * 2, what="RTCP came on RTP's port")
    legs.leg.send_rtcp(RTCP)
    await until(lambda: peer.received.rtcp == [RTCP] * 2, what="RTCP left by RTP's port")


async def test_rtcp_of_another_host_is_not_heard(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    legs.leg.aim(("192.0.2.1", 4000), ("192.0.2.1", 4001), muxed=False)
    peers[0].send_rtcp(RTCP)
    await legs.refused(1)
    assert not legs.rtcp


@pytest.mark.parametrize(
    ("host", "why"), [("pbx.example.org", "not an IP address"), ("2001:db8::1", "address family")]
)
async def test_an_address_that_cannot_be_reached_says_why(legs: Legs, host: str, why: str) -> None:
    with pytest.raises(SdpError, match=why):
        legs.leg.aim((host, 4000), (host, 4001), muxed=False)


def has_ipv6() -> bool:
    """Whether there is an IPv6 loopback here."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback")
async def test_ipv6_addresses_are_compared_by_value() -> None:
    heard: list[bytes] = []
    ports = PortRange(23000, 23999)
    ear = Ear(lambda packet, now: heard.append(bytes(packet)))
    leg = SipLeg(*ports.pair("::1"), ear, heard.append)
    with ports.single("::1") as peer:
        port = peer.getsockname()[1]
        leg.aim(("0:0:0:0:0:0:0:1", port), ("0:0:0:0:0:0:0:1", port + 1), muxed=False)
        peer.sendto(Sender(0).next(b"six").write(), ("::1", leg.port))
        await until(lambda: heard, what="the packet was heard")
        leg.outlet.send(b"back")
        await until(lambda: _readable(peer) == b"back", what="the answer came")
    assert not leg.latched
    leg.close()


def _readable(sock: socket.socket) -> bytes:
    try:
        return sock.recv(2048)
    except BlockingIOError:
        return b""


async def test_peer_at_the_highest_port_gets_no_rtcp(
    legs: Legs, peers: tuple[RtpPeer, RtpPeer]
) -> None:
    legs.leg.aim((HOST, 65535), (HOST, 65536), muxed=False)
    legs.leg.outlet.send(b"x")
    legs.leg.send_rtcp(RTCP)
    legs.aim(peers[0])
    legs.leg.send_rtcp(RTCP)
    await until(lambda: bool(peers[0].received.rtcp), what="RTCP came")
