# SPDX-License-Identifier: GPL-3.0-or-later
"""Feedback and reports of both sides' video: translated, limited, and told in each side's way."""

import struct
from collections.abc import Callable

import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.call.ids import Side
from bridge.media.embedded.rtcp import ntp_time, signed
from bridge.media.embedded.srtp import Outlet
from bridge.media.embedded.streams import Streams
from bridge.media.embedded.video import feedback
from bridge.media.embedded.video.bandwidth import LEAST, Bandwidth
from bridge.media.embedded.video.feedback import FullIntra, MostBits, Nack, PictureLoss
from bridge.media.embedded.video.side import SKEW
from bridge.media.embedded.video.streams import VideoStreams
from bridge.sdp.agreement import LegMedia, leg_media
from bridge.sdp.description import MediaDirection
from bridge.sdp.parser import parse
from bridge.sdp.video import LegVideo
from bridge.sdp.video_codecs import VP8, VideoCodec
from tests.simulators.rtp import Packet, Sender

WALL = 1_700_000_000.0
KEY, DELTA = b"\x10\x00key", b"\x10\x01delta"
CLIENT, PHONE = 0xC11E, 0x0F0E
MATRIX, SIP = Side.MATRIX, Side.SIP
ALL = frozenset({"nack", "pli", "fir", "remb", "tmmbr"})
_PCMU = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0\r\n"
)


def leg(
    *known: str,
    kind: int = 96,
    codec: VideoCodec = VP8,
    bit_rate: int | None = None,
    direction: MediaDirection = MediaDirection.SENDRECV,
) -> LegVideo:
    """What a side agreed on."""
    return LegVideo(
        codec=codec,
        payload_type=kind,
        receive=frozenset({kind}),
        direction=direction,
        address=("192.0.2.1", 4002),
        rtcp_address=("192.0.2.1", 4003),
        rtcp_mux=False,
        keys=None,
        feedback=frozenset(known),
        bit_rate=bit_rate,
    )


def sound() -> LegMedia:
    """Audio of either side."""
    description = parse(_PCMU)
    return leg_media(description, description)


class Call:
    """Streams of a call, and what was sent to both sides."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: dict[Side, list[bytes]] = {MATRIX: [], SIP: []}
        self.sent: dict[Side, list[Packet]] = {MATRIX: [], SIP: []}
        self.wanted = 0
        self.audio = Streams("cname", lambda: None, lambda *_: None)
        self.streams = VideoStreams(
            "cname", self.audio, {side: self.said[side].append for side in Side}, self._want
        )
        for side, path in ((SIP, self.streams.to_sip), (MATRIX, self.streams.to_matrix)):
            path.lead(self._keeper(self.sent[side]))
        self._senders = {MATRIX: Sender(96, 3000, CLIENT), SIP: Sender(96, 3000, PHONE)}

    @staticmethod
    def _keeper(packets: list[Packet]) -> Callable[[object], None]:
        return lambda data: packets.append(Packet.read(bytes(data)))  # type: ignore[call-overload]

    def _want(self) -> None:
        self.wanted += 1

    def agree(self, matrix: LegVideo | None = None, sip: LegVideo | None = None) -> None:
        """Both legs agreed; by default on everything."""
        self.streams.follow(matrix or leg(*ALL), sip or leg(*ALL))

    def sends(self, side: Side, *payloads: bytes, lost: int = 0) -> None:
        """A side sends pictures of one packet each, and some are lost before them."""
        path = self.streams.to_sip if side is MATRIX else self.streams.to_matrix
        for _ in range(lost):
            self._senders[side].next(DELTA)
        for packet in self._senders[side].packets(payloads):
            path.receive(memoryview(bytearray(packet.write())), self.now)
            self.now += 0.033

    def tells(self, side: Side, *compound: bytes) -> None:
        """RTCP of a side."""
        wall = WALL + self.now
        self.streams.receive_rtcp(side, b"".join(compound), self.now, wall)

    def tick(self, seconds: float = 1.0) -> None:
        """The timer."""
        self.now += seconds
        self.streams.look(self.now)
        self.streams.report(self.now, WALL + self.now)

    def feedback(self, side: Side) -> list[object]:
        """What was said to a side, beside reports; forgets it."""
        found = [each for compound in self.said[side] for each in feedback.read(compound)]
        self.said[side].clear()
        return list(found)

    def ssrc(self, side: Side) -> int:
        """Of what we send to a side."""
        path = self.streams.to_sip if side is SIP else self.streams.to_matrix
        return path.emission.ssrc


@pytest.fixture
def call() -> Call:
    """A call in which both sides know every kind of feedback, and send."""
    call = Call()
    call.agree()
    for side in Side:
        call.sends(side, KEY, DELTA)
    return call


# --- whole pictures -----------------------------------------------------------------------------


def test_a_picture_loss_is_passed_on(call: Call) -> None:
    for side in Side:
        call.tells(side, feedback.picture_loss(1, call.ssrc(side)))
    assert call.feedback(SIP) == [PictureLoss(call.ssrc(SIP), PHONE)]
    assert call.feedback(MATRIX) == [PictureLoss(call.ssrc(MATRIX), CLIENT)]


def test_a_side_that_knows_full_intra_alone_gets_that() -> None:
    call = Call()
    call.agree(sip=leg("fir"))
    call.sends(SIP, DELTA)  # There is none at the start:
    call.tick(1.1)
    first, again = call.feedback(SIP)
    assert first == again == FullIntra(call.ssrc(SIP), PHONE, 0)
    call.sends(SIP, KEY)
    call.tells(MATRIX, feedback.picture_loss(1, call.ssrc(MATRIX)))
    call.tick(2)
    assert call.feedback(SIP)[0] == FullIntra(call.ssrc(SIP), PHONE, 1)


def test_who_knows_neither_is_asked_by_signalling() -> None:
    call = Call()
    call.agree(sip=leg())
    call.sends(SIP, KEY)
    call.tells(MATRIX, feedback.picture_loss(1, call.ssrc(MATRIX)))
    assert call.wanted == 1
    assert not call.feedback(SIP)
    call.tells(MATRIX, feedback.picture_loss(1, call.ssrc(MATRIX)))
    assert call.wanted == 1


def test_a_repeated_full_intra_is_one_wish(call: Call) -> None:
    intra = feedback.full_intra(1, call.ssrc(SIP), 7)
    call.tells(SIP, intra)
    call.sends(MATRIX, KEY)
    call.now += 2
    call.tells(SIP, intra)
    assert len(call.feedback(MATRIX)) == 1
    call.tells(SIP, feedback.full_intra(1, call.ssrc(SIP), 8))
    assert len(call.feedback(MATRIX)) == 1


def test_signalling_can_ask_the_client(call: Call) -> None:
    call.streams.refresh(call.now)
    assert call.feedback(MATRIX) == [PictureLoss(call.ssrc(MATRIX), CLIENT)]


# --- loss -----------------------------------------------------------------------------------------


def test_what_a_side_misses_it_gets_again(call: Call) -> None:
    first = call.sent[MATRIX][0]
    call.tells(MATRIX, feedback.nack(1, call.ssrc(MATRIX), [first.sequence]))
    assert call.sent[MATRIX][-1] == first
    call.tells(MATRIX, feedback.nack(1, 12345, [first.sequence]))  # Of the audio, say.
    assert call.streams.to_matrix.repeated == 1


def test_what_we_miss_we_ask_for(call: Call) -> None:
    call.sends(SIP, DELTA, lost=2)
    (nack,) = call.feedback(SIP)
    assert isinstance(nack, Nack)
    assert (nack.sender, nack.media, len(nack.lost)) == (call.ssrc(SIP), PHONE, 2)


def test_who_repeats_nothing_is_not_asked_to() -> None:
    call = Call()
    call.agree(sip=leg("pli"))
    call.sends(SIP, KEY, DELTA)
    call.sends(SIP, DELTA, lost=1)
    call.tick(0.2)
    assert call.feedback(SIP) == [PictureLoss(call.ssrc(SIP), PHONE)]


# --- bandwidth ------------------------------------------------------------------------------------


def test_the_least_of_what_is_known_is_told_to_the_sender() -> None:
    call = Call()
    call.agree(sip=leg(*ALL, bit_rate=512_000))
    call.sends(MATRIX, KEY)
    call.tick()
    (limit,) = call.feedback(MATRIX)
    assert limit == MostBits(call.ssrc(MATRIX), CLIENT, 512_000, estimated=True)
    call.tells(SIP, feedback.most_bits(5, call.ssrc(SIP), 256_000, 40))
    call.tick()
    (limit,) = call.feedback(MATRIX)
    assert isinstance(limit, MostBits)
    assert limit.bits == 256_000


def test_a_limit_of_the_client_reaches_the_phone_and_is_insisted_on_now_and_then(
    call: Call,
) -> None:
    call.agree(sip=leg("tmmbr"))
    call.tells(MATRIX, feedback.remb(1, [call.ssrc(MATRIX)], 1_000_000))
    told: list[object] = []
    for _ in range(7):
        call.tick()
        told += call.feedback(SIP)
    assert told == [MostBits(call.ssrc(SIP), PHONE, 1_000_000, overhead=40)] * 2


def test_a_limit_by_tmmbr_is_acknowledged(call: Call) -> None:
    call.tells(SIP, feedback.most_bits(5, call.ssrc(SIP), 256_000, 40))
    assert bytes(call.said[SIP][-1]).endswith(
        feedback.most_bits_noted(call.ssrc(SIP), 5, 256_000, 40)
    )


def test_what_is_said_of_others_limits_nothing(call: Call) -> None:
    call.tells(SIP, feedback.most_bits(5, 999, 256_000, 40))
    call.tells(MATRIX, feedback.remb(1, [999], 256_000))
    call.tick()
    assert not call.feedback(SIP)
    assert not call.feedback(MATRIX)


def test_a_limit_that_is_gone_is_lifted(call: Call) -> None:
    call.agree(sip=leg(*ALL, bit_rate=512_000))
    call.tick()
    call.feedback(MATRIX)
    call.agree()
    call.tick()
    (limit,) = call.feedback(MATRIX)
    assert isinstance(limit, MostBits)
    assert limit.bits > 9_000_000


def test_loss_behind_us_makes_the_sender_send_less_and_then_more_again() -> None:
    bandwidth = Bandwidth()
    limits: list[int | None] = []
    for lost, sent in ((0, 100), (20, 200), (40, 300), (45, 400), (45, 500)):
        bandwidth.reported(lost, sent, 1250 * sent, 1.0)
        limits.append(bandwidth.limit)
    # The last but one is neither heavy nor light.
    assert limits == [None, 900_000, 810_000, 810_000, 877_500]
    for number in range(50):
        bandwidth.reported(45, 600 + number, 700_000, 1.0)
    limits.append(bandwidth.limit)
    bandwidth.reported(1000, 1700, 700_100, 1.0)
    assert (limits[-1], bandwidth.limit) == (None, LEAST)


def test_a_phone_that_reports_loss_limits_the_client(call: Call) -> None:
    for lost in (0, 30):
        call.sends(MATRIX, *[DELTA] * 100)
        block = RtcpReceiverInfo(call.ssrc(SIP), 77, lost, 100, 0, 0, 0)
        call.tells(SIP, bytes(RtcpRrPacket(PHONE, [block])))
    call.tick()
    (limit,) = call.feedback(MATRIX)
    assert isinstance(limit, MostBits)
    assert limit.bits == LEAST


def test_one_packet_that_a_browser_has_not_got_yet_is_no_heavy_loss(call: Call) -> None:
    for lost in (0, 0, 1, 0, 0):  # It reports more often than that means anything.
        call.sends(SIP, *[DELTA] * 6)
        block = RtcpReceiverInfo(call.ssrc(MATRIX), 42, lost, 100, 0, 0, 0)
        call.tells(MATRIX, bytes(RtcpRrPacket(CLIENT, [block])))
    call.tick()
    assert not [each for each in call.feedback(SIP) if isinstance(each, MostBits)]


# --- reports ------------------------------------------------------------------------------------


def sender_report(ssrc: int, wall: float, timestamp: int) -> bytes:
    """What a sender says of a stream."""
    return bytes(RtcpSrPacket(ssrc, RtcpSenderInfo(ntp_time(wall), timestamp, 1, 1)))


def reported(compound: bytes) -> tuple[float, int]:
    """NTP time (seconds since our epoch) and timestamp of our sender report."""
    report = RtcpPacket.parse(compound)[0]
    assert isinstance(report, RtcpSrPacket)
    wall = report.sender_info.ntp_timestamp / (1 << 32) - 2_208_988_800
    return wall, report.sender_info.rtp_timestamp


@pytest.mark.parametrize("clock", [0.0, -5e8, 7.25], ids=["same", "far off", "near"])
def test_pictures_stay_with_their_sound(call: Call, clock: float) -> None:
    """Video that takes 300 ms longer than sound is reported so that they meet again."""
    call.audio.to_sip.lead(Outlet(lambda _: None))
    call.audio.follow(sound(), sound())
    theirs = WALL + call.now + clock
    # At this instant of the client's clock, sound has timestamp 8000, the picture 90,000.
    call.tells(MATRIX, sender_report(CLIENT, theirs, 90_000))
    call.audio.matrix_rtcp.receive(sender_report(77, theirs, 8000), call.now, WALL + call.now)
    for number in range(50):  # Sound takes 20 ms.
        packet = Packet(0, number, 8000 + 160 * number, 77, bytes(160))
        arrival = call.now + 0.02 + 0.02 * number
        call.audio.to_sip.receive(memoryview(bytearray(packet.write())), arrival)
    picture = Packet(96, 500, 90_000 + 63_000, CLIENT, KEY)  # 0.7 s later, after 0.3 s on the way.
    call.streams.to_sip.receive(memoryview(bytearray(picture.write())), call.now + 1.0)
    call.tick(1.0)
    sound_wall, sound_time = reported(call.audio.sip_rtcp.report(call.now, WALL + call.now))
    wall, time = reported(call.said[SIP][-1])
    assert wall == sound_wall
    out, heard = call.sent[SIP][-1], call.audio.to_sip.emission
    # Of which instant (seconds after the report) are sound and picture at the same NTP time?
    of_sound = 0.02 * 49 + signed(sound_time - heard.timestamp) / 8000
    of_picture = 0.7 + signed(time - out.timestamp) / 90_000
    assert of_picture == pytest.approx(of_sound, abs=0.002)


def test_a_sender_whose_clocks_disagree_is_taken_by_arrival(call: Call) -> None:
    call.audio.to_sip.lead(Outlet(lambda _: None))
    call.audio.follow(sound(), sound())
    call.tells(MATRIX, sender_report(CLIENT, WALL, 90_000))
    call.audio.matrix_rtcp.receive(sender_report(77, WALL + 3600, 8000), call.now, WALL)
    for number in range(2):
        packet = Packet(0, number, 8000 + 160 * number, 77, bytes(160))
        call.audio.to_sip.receive(memoryview(bytearray(packet.write())), call.now)
    call.tick(0.0)
    emission = call.streams.to_sip.emission
    assert reported(call.said[SIP][-1])[1] == emission.timestamp_at(call.now)
    assert SKEW < 3600 * 90_000


def test_sound_and_picture_have_one_name(call: Call) -> None:
    call.tick()
    description = RtcpPacket.parse(call.said[SIP][-1])[1]
    assert isinstance(description, RtcpSdesPacket)
    assert description.chunks[0] == RtcpSourceInfo(call.ssrc(SIP), [(1, b"cname")])


def test_reports_of_one_transport_do_not_mix(call: Call) -> None:
    """The client's RTCP comes for audio and video alike: each takes its own."""
    audio = call.audio.matrix_rtcp
    packet = Packet(0, 1, 160, 77, bytes(160))
    call.audio.to_sip.receive(memoryview(bytearray(packet.write())), call.now)
    audio.receive(sender_report(77, WALL, 160), call.now, WALL)
    audio.receive(sender_report(CLIENT, WALL + 9, 90_000), call.now, WALL)
    assert audio.origin is not None
    assert audio.origin.ssrc == 77
    (block,) = RtcpPacket.parse(audio.report(call.now, WALL))[0].reports  # type: ignore[union-attr]
    assert block.lsr == ntp_time(WALL) >> 16 & 0xFFFFFFFF


def test_it_ends_with_a_goodbye(call: Call) -> None:
    call.streams.goodbye(call.now, WALL)
    for side in Side:
        assert isinstance(RtcpPacket.parse(call.said[side][-1])[-1], RtcpByePacket)


# --- agreements -----------------------------------------------------------------------------------


def test_only_what_both_agreed_on_passes() -> None:
    call = Call()
    call.streams.follow(leg(), None)
    call.sends(MATRIX, KEY)
    call.streams.follow(leg(), leg(codec=VideoCodec("H264", "baseline", 1)))
    call.sends(MATRIX, KEY)
    call.tells(MATRIX, feedback.picture_loss(1, call.ssrc(MATRIX)))
    call.tick()
    assert not call.sent[SIP]
    assert not call.said[SIP]
    assert call.streams.codec == ""
    assert call.streams.statistics() == {}


@pytest.mark.parametrize(
    ("matrix", "sip", "to_sip", "to_matrix"),
    [
        (MediaDirection.SENDRECV, MediaDirection.SENDRECV, 1, 1),
        (MediaDirection.SENDONLY, MediaDirection.SENDRECV, 0, 1),
        (MediaDirection.SENDRECV, MediaDirection.SENDONLY, 1, 0),
        (MediaDirection.INACTIVE, MediaDirection.SENDRECV, 0, 0),
    ],
)
def test_directions_count(
    matrix: MediaDirection, sip: MediaDirection, to_sip: int, to_matrix: int
) -> None:
    """Those of our ends: what we receive of one side has to be sent to the other."""
    call = Call()
    call.agree(leg(direction=matrix), leg(direction=sip))
    for side in Side:
        call.sends(side, KEY)
    assert (len(call.sent[SIP]), len(call.sent[MATRIX])) == (to_sip, to_matrix)


def test_what_was_measured(call: Call) -> None:
    call.sends(MATRIX, DELTA, lost=1)
    call.tells(MATRIX, feedback.picture_loss(1, call.ssrc(MATRIX)))
    found = call.streams.statistics()
    assert found["video_mode"] == "relay"
    assert found["sip_video_codec"] == found["matrix_video_codec"] == "VP8/90000"
    assert found["matrix_video_packets_received"] == found["sip_video_packets_sent"] == 3
    assert (found["matrix_video_packets_lost"], found["sip_video_packets_lost"]) == (1, 0)
    assert (found["matrix_video_frames"], found["matrix_video_pictures"]) == (3, 1)
    assert (found["matrix_video_pictures_asked"], found["sip_video_pictures_asked"]) == (0, 1)
    call.streams.follow(None, None)
    assert call.streams.statistics()["video_mode"] == "none"


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.builds(
            lambda first, kind, length, body: struct.pack("!BBH", first, kind, length) + body,
            st.sampled_from([0x80, 0x81, 0x83, 0x84, 0x8F, 0xA1, 0x9F]),
            st.integers(200, 207),
            st.sampled_from([0, 1, 2, 4, 5, 6, 7, 12, 0xFFFF]),
            st.binary(max_size=52),
        ),
        max_size=3,
    ).map(b"".join)
)
def test_no_packet_of_rtcp_is_too_odd(compound: bytes) -> None:
    call = Call()
    call.agree()
    for side in Side:
        call.sends(side, KEY)
        call.tells(side, compound)
        call.tick()
