# SPDX-License-Identifier: GPL-3.0-or-later
"""What is fed, and what holds of it: all that is bad is dropped and counted, nothing raised.

A target takes any bytes. Several packets are told apart by two octets before each: its length, and
how much later it comes.
"""

import asyncio
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from bridge.call.ids import Side
from bridge.errors import SdpError
from bridge.media.embedded.flow import Flow
from bridge.media.embedded.ice_servers import IceServers
from bridge.media.embedded.rtp import HEADER, HEADER_SIZE, is_rtp
from bridge.media.embedded.sockets import bound_socket
from bridge.media.embedded.srtp import (
    ARRIVAL,
    PACKETS,
    Outlet,
    Packet,
    protected_listener,
    receiver,
    sender,
)
from bridge.media.embedded.streams import Streams
from bridge.media.embedded.video.streams import VideoStreams
from bridge.media.embedded.webrtc import IceConnection, SocketTransport
from bridge.sdp.agreement import LegMedia, leg_media, webrtc_peer
from bridge.sdp.codecs import AUDIO_CODECS
from bridge.sdp.negotiation import answer_to_sip, offer_to_matrix, offer_to_sip
from bridge.sdp.parser import parse
from bridge.sdp.video import leg_video
from bridge.sip.messages import caller_of, causes_of
from bridge.sip.messages import parse as parse_message
from tests.sdp.samples import LOCAL_RTP, LOCAL_WEBRTC, names, text

WALL: Final = 1e9
"""Seconds since the epoch, somewhen."""
_SUITE: Final = "AEAD_AES_128_GCM"
_KEY: Final = bytes(range(28))
_HEAD: Final = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
_EVENTS: Final = "a=rtpmap:101 telephone-event/8000\r\n"
_OPUS: Final = f"{_HEAD}m=audio 4000 RTP/AVP 111 101\r\na=rtpmap:111 opus/48000/2\r\n{_EVENTS}"
_PCMU: Final = f"{_HEAD}m=audio 4000 RTP/AVP 0 101\r\n{_EVENTS}"
_VIDEO: Final = (
    f"{_PCMU}m=video 4002 RTP/AVPF 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n"
    "a=fmtp:97 profile-level-id=42e01f;packetization-mode=1\r\na=rtcp-fb:* nack\r\n"
    "a=rtcp-fb:* nack pli\r\na=rtcp-fb:* ccm fir\r\n"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Something that input from the network reaches."""

    feed: Callable[[bytes], None]
    """Raises on what must not be."""
    seeds: Sequence[bytes]
    """What to begin with."""


def packets_in(data: bytes) -> Iterator[tuple[bytes, float]]:
    """Packets, and seconds since the one before."""
    while len(data) > 2:
        size, later = data[0], data[1] / 50
        yield data[2 : 2 + size], later
        data = data[2 + size :]


def _put(*packets: bytes) -> bytes:
    return b"".join(bytes([len(each), 1]) + each for each in packets)


def _rtp(kind: int, number: int, payload: bytes, *, first: int = 0x80) -> bytes:
    return HEADER.pack(first, kind, number & 0xFFFF, number * 160, 1) + payload


# --- RTP ----------------------------------------------------------------------------------------


@cache
def _leg(sdp: str) -> LegMedia:
    return leg_media(parse(sdp), parse(sdp))


class _Arriving:
    """A socket that has one packet."""

    def __init__(self) -> None:
        self.packet = b""

    def recv_into(self, buffer: Packet) -> int:
        size = min(len(self.packet), len(buffer))
        buffer[:size] = self.packet[:size]
        return size


def _feed_rtp(data: bytes) -> None:
    """A telephone's packets through the leg's way in, relayed or coded anew."""
    streams = Streams("cname", lambda: None, lambda *_: None)
    sent: list[bytes] = []
    streams.to_matrix.lead(Outlet(lambda packet: sent.append(bytes(packet))))
    streams.follow(_leg(_OPUS if data[:1] < b"\x80" else _PCMU), _leg(_PCMU))
    path, arriving, now = streams.to_matrix, _Arriving(), 100.0

    def otherwise(size: int, now: float) -> None:
        if is_rtp(PACKETS[size]):
            path.receive(PACKETS[size], now)

    flow = Flow(arriving.recv_into, otherwise, most=1400, forged=_must_not)
    path.ear.adopt(flow)
    taken = 0
    for packet, later in packets_in(data[1:]):
        now += later
        arriving.packet = packet
        taken += is_rtp(packet)
        flow.readable(now)
        streams.tick(now)
        streams.sip_rtcp.report(now, WALL)
    emission = path.emission
    for packet in sent:
        first, kind, _, _, ssrc = struct.unpack_from("!BBHII", packet)
        assert (first, ssrc) == (0x80, emission.ssrc)
        assert kind & 0x7F in {0, 111, 101}
        assert len(packet) > HEADER_SIZE
    assert emission.packets == len(sent)
    assert path.reception.packets == taken
    streams.close()


def _must_not() -> None:
    raise AssertionError("this cannot be")


# --- SRTP ---------------------------------------------------------------------------------------


def _spoken() -> list[bytes]:
    """What the peer said, encrypted with its key."""
    session = sender(_SUITE, _KEY)
    return [session.protect(_rtp(0, 9 + number, b"%d" % number * 40)) for number in range(4)]


def _feed_srtp(data: bytes) -> None:
    """Nothing but what the peer has encrypted comes through, and that once."""
    streams = Streams("cname", lambda: None, lambda *_: None)
    heard: list[bytes] = []
    streams.to_sip.lead(Outlet(lambda packet: heard.append(bytes(packet[HEADER_SIZE:]))))
    streams.follow(_leg(_PCMU), _leg(_PCMU))
    arriving, forged = _Arriving(), 0

    def count() -> None:
        nonlocal forged
        forged += 1

    session = receiver(_SUITE, _KEY)
    ear = streams.to_sip.ear
    take = protected_listener(session, ear.receive, lambda _: None, count)
    flow = Flow(
        arriving.recv_into, take, session=session, suite=_SUITE, most=len(ARRIVAL), forged=count
    )
    ear.adopt(flow)
    fed = list(packets_in(data))
    for packet, later in fed:
        arriving.packet = packet
        flow.readable(later)
    assert len(heard) == len(set(heard))
    assert set(heard) <= {b"%d" % number * 40 for number in range(4)}
    assert forged <= len(fed)


# --- RTCP ---------------------------------------------------------------------------------------


def _feed_rtcp(data: bytes) -> None:
    """Reports and feedback of either side, of a call with video."""
    audio = Streams("cname", lambda: None, lambda *_: None)
    audio.follow(_leg(_PCMU), _leg(_PCMU))
    said: list[bytes] = []
    video = VideoStreams("cname", audio, dict.fromkeys(Side, said.append), lambda: None)
    film = leg_video(parse(_VIDEO), parse(_VIDEO))
    video.follow(film, film)
    for path in (video.to_sip, video.to_matrix):
        path.lead(lambda _: None)
        path.receive(memoryview(bytearray(_rtp(96, 1, bytes(40)))), 99.0)
    now, fed = 100.0, 0
    for compound, later in packets_in(data):
        now += later
        fed += 1
        audio.matrix_rtcp.receive(compound, now, WALL)
        for side in Side:
            video.receive_rtcp(side, compound, now, WALL)
        video.look(now)
        video.report(now, WALL)
        audio.matrix_rtcp.report(now, WALL)
    far_end = audio.matrix_rtcp.far_end
    assert far_end.packets + far_end.malformed == fed
    audio.close()


def _feed_video(data: bytes) -> None:
    """A door station's pictures, and packets that are none."""
    audio = Streams("cname", lambda: None, lambda *_: None)
    audio.follow(_leg(_PCMU), _leg(_PCMU))
    video = VideoStreams("cname", audio, dict.fromkeys(Side, _unheard), lambda: None)
    film = leg_video(parse(_VIDEO), parse(_VIDEO))
    video.follow(film, film)
    sent: list[bytes] = []
    path, now = video.to_matrix, 100.0
    path.lead(lambda packet: sent.append(bytes(packet)))
    for packet, later in packets_in(data):
        now += later
        ARRIVAL[: len(packet)] = packet
        if is_rtp(packet):
            path.receive(PACKETS[len(packet)], now)
        video.look(now)
        video.report(now, WALL)
    for packet in sent:
        first, _, _, _, ssrc = struct.unpack_from("!BBHII", packet)
        assert (first, ssrc) == (0x80, path.emission.ssrc)
    numbers = [packet[2:4] for packet in sent]
    assert len(numbers) == len(set(numbers))
    audio.close()


def _unheard(_: bytes) -> None:
    """Nobody hears it."""


# --- STUN ---------------------------------------------------------------------------------------


def _feed_stun(data: bytes) -> None:
    """Anybody's datagrams at a port of ours, by aioice."""
    datagrams = [packet for packet, _ in packets_in(data) if packet]
    assert asyncio.run(hear(datagrams)) <= len(datagrams)


async def hear(datagrams: Sequence[bytes]) -> int:
    """How many of them could not be read, none of which is empty."""
    malformed = 0

    def count() -> None:
        nonlocal malformed
        malformed += 1

    ice = IceConnection(
        controlling=False,
        sockets=lambda: [bound_socket("127.0.0.1", 0)],
        servers=IceServers(),
        on_dtls=lambda _: None,
        on_selected=lambda _: None,
    )
    ice.on_malformed = count
    ice.consent._asked[_TRANSACTION], ice.consent._key = 0.0, b"the client's"
    await ice.gather_candidates()
    (protocol,) = ice._protocols
    assert isinstance(protocol.transport, SocketTransport)
    with bound_socket("127.0.0.1", 0) as peer:
        for datagram in datagrams:
            peer.sendto(datagram, protocol.transport.sock.getsockname())
            protocol.transport._readable(0.0)
    assert not ice.consent.lasts(0.0)  # Nobody who does not know the key may give it.
    await ice.close()
    return malformed


_TRANSACTION: Final = bytes(12)


def _binding(*attributes: bytes, kind: int = 1) -> bytes:
    body = b"".join(attributes)
    return struct.pack("!HHI", kind, len(body), 0x2112A442) + _TRANSACTION + body


# --- descriptions and messages -----------------------------------------------------------------


def _feed_sdp(data: bytes) -> None:
    """A description of either side's: refused with a reason, or understood the same way twice."""
    try:
        description = parse(data.decode(errors="replace"))
    except SdpError:
        return
    assert parse(str(description)).media == description.media
    for attempt in (
        lambda: leg_media(description, description),
        lambda: leg_video(description, description),
        lambda: webrtc_peer(description),
        lambda: offer_to_sip(LOCAL_RTP, AUDIO_CODECS, matrix=description),
        lambda: offer_to_matrix(LOCAL_WEBRTC, AUDIO_CODECS, sip=description),
        lambda: answer_to_sip(LOCAL_RTP, description, AUDIO_CODECS[0], matrix=description),
    ):
        try:
            attempt()
        except SdpError:
            continue


def _feed_sip(data: bytes) -> None:
    """What is read of a message before the stack sees it, or beside it."""
    message = parse_message(data.decode("latin-1"))
    caller_of(message)
    causes_of(message)


_INVITE: Final = (
    "INVITE sip:+12025550100@bridge.example.org SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n"
    'From: "Alice" <sip:+12025550123@example.org;user=phone>;tag=1\r\n'
    "To: <sip:+12025550100@bridge.example.org>\r\nCall-ID: 1@example.org\r\nCSeq: 1 INVITE\r\n"
    "P-Asserted-Identity: <tel:+12025550123>\r\nPrivacy: id\r\n"
    'Reason: Q.850;cause=16;text="over"\r\nContent-Length: 0\r\n\r\n'
)
_REPORT: Final = bytes.fromhex("80c80006000000010000000000000000000000000000000000000000")
_FEEDBACK: Final = bytes.fromhex("81c9000700000001000000020000000000000000000000000000000000000000")
_NACK: Final = bytes.fromhex("81cd0003000000010000000200010003")
_REMB: Final = bytes.fromhex("8fce000500000001000000005245 4d4201030d4000000002")

TARGETS: Final[Mapping[str, Target]] = {
    "rtp": Target(
        _feed_rtp,
        [
            start + _put(*(_rtp(0, number, bytes(160)) for number in range(4)))
            for start in (b"\x00", b"\xff")
        ]
        + [
            b"\xff"
            + _put(
                _rtp(0x80, 1, b"a" * 20),
                _rtp(101, 2, b"\x05\x0a\x00\xa0"),
                _rtp(13, 3, b"\x40"),
                _rtp(0, 4, b"\xbe\xde\x00\x01abcd" + b"e" * 20, first=0x90),
                _rtp(0, 5, b"f" * 20 + b"\x04", first=0xA0),
            )
        ],
    ),
    "srtp": Target(_feed_srtp, [_put(*_spoken()), _put(*_spoken()[:2], *_spoken()[1:])]),
    "rtcp": Target(_feed_rtcp, [_put(_REPORT, _FEEDBACK), _put(_FEEDBACK + _NACK + _REMB)]),
    "video": Target(
        _feed_video,
        [
            _put(*(_rtp(96, number, b"\x10\x00\x00" + bytes(30)) for number in range(4))),
            _put(*(_rtp(97, number, b"\x7c\x85" + bytes(30)) for number in (1, 2, 4, 3))),
            _put(_rtp(97, 1, b"\x78\x00\x04\x67\x42\xe0\x1f\x00\x04\x68\xce\x3c\x80")),
        ],
    ),
    "stun": Target(
        _feed_stun,
        [
            _put(_binding(struct.pack("!HH", 6, 4) + b"us:r", struct.pack("!HH", 37, 0))),
            _put(_binding(struct.pack("!HHI", 0x24, 4, 1), struct.pack("!HH", 8, 20) + bytes(20))),
            _put(_binding(struct.pack("!HH", 8, 20) + bytes(20), kind=0x101)),
        ],
    ),
    "sdp": Target(
        _feed_sdp, [_OPUS.encode(), _VIDEO.encode(), *(text(name).encode() for name in names())]
    ),
    "sip": Target(_feed_sip, [_INVITE.encode()]),
}
