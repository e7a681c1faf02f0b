# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever comes from the network: it is dropped and counted, and what is good still passes."""

import asyncio
import struct
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.call.ids import Side
from bridge.media.embedded.srtp import ARRIVAL, Outlet
from bridge.media.embedded.streams import Streams
from bridge.sdp.agreement import LegMedia, leg_media
from bridge.sdp.parser import parse
from tests.fuzz.targets import hear

# --- STUN ---------------------------------------------------------------------------------------

_ATTRIBUTES = (1, 3, 4, 5, 6, 8, 9, 12, 13, 18, 19, 20, 21, 22, 25, 32, 36, 37, 0x7FFF)
_MORE = (0x8022, 0x8028, 0x8029, 0x802A, 0x802B, 0x802C)


def _attribute(kind: int, value: bytes, length: int) -> bytes:
    padded = value + bytes(-len(value) % 4)
    return struct.pack("!HH", kind, len(value) if length < 0 else length) + padded


attributes = st.builds(
    _attribute,
    st.sampled_from((*_ATTRIBUTES, *_MORE)),
    st.binary(max_size=12),
    st.sampled_from([-1, -1, -1, -1, 0, 3, 65535]),
)


def _message(kind: int, body: Sequence[bytes], cookie: int, transaction: bytes, more: int) -> bytes:
    whole = b"".join(body)
    return struct.pack("!HHI", kind, len(whole) + more, cookie) + transaction + whole


messages = st.builds(
    _message,
    st.sampled_from([1, 1, 1, 0x101, 0x111, 0x11, 3, 0x103, 0x3FFF, 0]),
    st.lists(attributes, max_size=5),
    st.sampled_from([0x2112A442, 0x2112A442, 0]),
    st.binary(min_size=12, max_size=12),
    st.sampled_from([0, 0, 0, 0, 4, -4]).map(lambda more: max(0, more)),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(messages | st.binary(min_size=1, max_size=60), max_size=12))
def test_no_message_of_stun_is_too_odd(datagrams: list[bytes]) -> None:
    assert asyncio.run(hear(datagrams)) <= len(datagrams)


def test_an_attribute_of_the_wrong_length_is_counted() -> None:
    garbled = _message(1, [_attribute(36, b"\x01", -1)], 0x2112A442, bytes(12), 0)
    assert asyncio.run(hear([garbled])) == 1


# --- RTP and RTCP -------------------------------------------------------------------------------

_HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
_OPUS = f"{_HEAD}m=audio 4000 RTP/AVP 111 101\r\na=rtpmap:111 opus/48000/2\r\n"
_PCMU = f"{_HEAD}m=audio 4000 RTP/AVP 0 101\r\n"
_EVENTS = "a=rtpmap:101 telephone-event/8000\r\n"


def _leg(text: str) -> LegMedia:
    description = parse(text + _EVENTS)
    return leg_media(description, description)


def _streams(*, transcoding: bool) -> tuple[Streams, list[bytes]]:
    """A call whose SIP side fuzzes, and what the client gets of it."""
    streams = Streams("cname", lambda: None, lambda *_: None)
    sent: list[bytes] = []
    streams.to_matrix.lead(Outlet(lambda packet: sent.append(bytes(packet))))
    streams.follow(_leg(_OPUS if transcoding else _PCMU), _leg(_PCMU))
    return streams, sent


rtp = st.builds(
    lambda first, second, sequence, timestamp, ssrc, rest: (
        struct.pack("!BBHII", first, second, sequence, timestamp, ssrc) + rest
    ),
    st.sampled_from([0x80, 0x80, 0x80, 0x90, 0xA0, 0x8F, 0xBF]),
    st.sampled_from([0, 0, 0x80, 13, 101, 96, 127]),
    st.integers(0, 0xFFFF) | st.integers(0, 30),
    st.integers(0, 0xFFFFFFFF) | st.integers(0, 4000),
    st.sampled_from([1, 1, 1, 2, 0xFFFFFFFF]),
    st.binary(max_size=80) | st.just(bytes(160)),
)
rtcp = st.builds(
    lambda parts: b"".join(parts),
    st.lists(
        st.builds(
            lambda first, kind, length, body: struct.pack("!BBH", first, kind, length) + body,
            st.sampled_from([0x80, 0x81, 0x82, 0xA1, 0x9F]),
            st.integers(200, 207),
            st.sampled_from([0, 1, 2, 6, 7, 12, 0xFFFF]),
            st.binary(max_size=52),
        ),
        max_size=3,
    ),
)


@settings(deadline=None, max_examples=80)
@given(st.booleans(), st.lists(st.tuples(rtp, st.floats(0, 5)), max_size=30))
def test_no_packet_of_rtp_is_too_odd(transcoding: bool, packets: list[tuple[bytes, float]]) -> None:
    streams, sent = _streams(transcoding=transcoding)
    now = 100.0
    for packet, later in packets:
        now += later
        ARRIVAL[: len(packet)] = packet
        streams.to_matrix.receive(ARRIVAL[: len(packet)], now)
        streams.tick(now)
        streams.sip_rtcp.report(now, 1e9)
    assert streams.to_matrix.reception.packets == len(packets)
    emission = streams.to_matrix.emission
    for packet in sent:
        first, kind, _, _, ssrc = struct.unpack_from("!BBHII", packet)
        assert (first, ssrc) == (0x80, emission.ssrc)
        assert kind & 0x7F in {0, 111, 101}
    assert emission.packets == len(sent)
    streams.close()


@settings(deadline=None)
@given(st.lists(rtcp | st.binary(max_size=80), max_size=10))
def test_no_packet_of_rtcp_is_too_odd(packets: list[bytes]) -> None:
    streams, _ = _streams(transcoding=False)
    for packet in packets:
        streams.sip_rtcp.receive(packet, 1.0, 1e9)
        streams.sip_rtcp.report(2.0, 1e9)
    far_end = streams.sip_rtcp.far_end
    assert far_end.packets + far_end.malformed == len(packets)
    assert streams.statistics(0.0)["sip_packets_received"] == 0
    assert Side.SIP in streams.codecs
