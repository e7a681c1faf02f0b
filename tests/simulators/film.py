# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras and screens: numbered pictures, coded, sent and asked for as real ends do, and decoded.

Real browsers are for the end-to-end tests; here everything is in the test's hands.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Final

import numpy as np
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Decoder, H264Encoder, h264_depayload
from aiortc.codecs.vpx import Vp8Decoder, Vp8Encoder, vp8_depayload
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRtpfbPacket, RtcpSrPacket
from av import VideoFrame

from bridge.media.embedded.video.pictures import BEGINS_PICTURE
from bridge.sdp.description import Media
from bridge.sdp.parser import parse
from tests.simulators.rtp import Packet

WIDTH: Final = 160
HEIGHT: Final = 96
RATE: Final = 15
_BITS: Final = 8
_PLI, _FIR, _NACK = 1, 4, 1
ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {"VP8": Vp8Encoder, "H264": H264Encoder}
_DECODERS: Final = {"VP8": Vp8Decoder, "H264": H264Decoder}
_DEPAYLOAD: Final = {"VP8": vp8_depayload, "H264": h264_depayload}


def picture(number: int) -> VideoFrame:
    """A picture that says in its upper half which one it is (modulo 256); noise below.

    With the noise, it does not fit a single packet.
    """
    bright = np.random.default_rng(number).integers(90, 160, (HEIGHT, WIDTH), np.uint8)
    wide = WIDTH // _BITS
    for bit in range(_BITS):
        bright[: HEIGHT // 2, bit * wide : (bit + 1) * wide] = 200 if number >> bit & 1 else 50
    colour = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    frame = VideoFrame.from_ndarray(np.concatenate((bright, colour)), format="yuv420p")
    frame.pts = number * 90_000 // RATE
    frame.time_base = Fraction(1, 90_000)
    return frame


def number_of(frame: VideoFrame) -> int:
    """Which picture this was."""
    upper = frame.to_ndarray(format="yuv420p")[: frame.height // 2]
    wide = frame.width // _BITS
    return sum(
        1 << bit
        for bit in range(_BITS)
        if upper[:, bit * wide + wide // 4 : (bit + 1) * wide - wide // 4].mean() > 125
    )


class Camera:
    """Films numbers, and does what receivers ask for."""

    def __init__(
        self, codec: str, payload_type: int, send: Callable[[Packet], None], *, ssrc: int = 0xCA3
    ) -> None:
        self.ssrc = ssrc
        self.filmed = 0
        """Pictures so far; the next one has this number."""
        self.asked: list[str] = []
        """Of `pli`, `fir`, `nack`: what receivers asked for."""
        self.limits: list[int] = []
        """Bits per second that a receiver has allowed (REMB)."""
        self.obeys = True
        """Whether it sends a whole picture on demand."""
        self.repeats = True
        """Whether it sends again what is missing."""
        self.loses: Callable[[bytes], bool] = lambda _: False
        """Which packets are lost on the way."""
        self._encoder = ENCODERS[codec]()
        self._payload_type = payload_type
        self._send = send
        self._sequence = 65_530
        self._sent: dict[int, Packet] = {}
        self._whole = False

    def film(self, count: int = 1) -> None:
        """Send the next pictures at once."""
        for _ in range(count):
            number, self.filmed = self.filmed, self.filmed + 1
            payloads, timestamp = self._encoder.encode(picture(number), force_keyframe=self._whole)
            self._whole = False
            for place, payload in enumerate(payloads, start=1):
                packet = Packet(
                    self._payload_type,
                    self._sequence,
                    timestamp & 0xFFFFFFFF,
                    self.ssrc,
                    payload,
                    marker=place == len(payloads),
                )
                self._sent[self._sequence] = packet
                self._sequence = (self._sequence + 1) & 0xFFFF
                self._pass(packet)

    def _pass(self, packet: Packet) -> None:
        if not self.loses(packet.write()):
            self._send(packet)

    def take_rtcp(self, compound: bytes) -> None:
        """What a receiver says."""
        for part in RtcpPacket.parse(compound):
            match part:
                case RtcpPsfbPacket(fmt=1, media_ssrc=ssrc) if ssrc == self.ssrc:
                    self._ask("pli")
                case RtcpPsfbPacket(fmt=4, fci=fci) if fci[:4] == self.ssrc.to_bytes(4, "big"):
                    self._ask("fir")
                case RtcpPsfbPacket(fmt=15, fci=fci):
                    mantissa = int.from_bytes(fci[5:8], "big") & 0x3FFFF
                    self.limits.append(mantissa << (fci[5] >> 2))
                case RtcpRtpfbPacket(fmt=1, media_ssrc=ssrc, lost=lost) if ssrc == self.ssrc:
                    self.asked.append("nack")
                    if self.repeats:
                        for number in lost:
                            self._pass(self._sent[number & 0xFFFF])

    def _ask(self, how: str) -> None:
        self.asked.append(how)
        self._whole = self._whole or self.obeys


class Screen:
    """Shows what can be decoded, and asks for what is missing."""

    def __init__(
        self,
        codec: str,
        payload_type: int,
        send_rtcp: Callable[[bytes], None],
        *,
        nacks: bool = True,
    ) -> None:
        """Without `nacks` it asks for a whole picture where a packet is missing, and waits."""
        self.shown: list[int] = []
        """The numbers of the pictures."""
        self.packets: list[Packet] = []
        """All that came, in order."""
        self.reports: list[RtcpSrPacket] = []
        """What the sender reported."""
        self._payload_type = payload_type
        self._send_rtcp = send_rtcp
        self._nacks = nacks
        self._decoder = _DECODERS[codec]()
        self._depayload = _DEPAYLOAD[codec]
        self._begins_picture = BEGINS_PICTURE[codec]
        self._waiting: dict[int, Packet] = {}
        self._next: int | None = None
        self._newest = 0
        self._frame: list[Packet] = []

    def take(self, packet: Packet) -> None:
        """A packet of the call's; those of other payload types are none of its business."""
        if packet.payload_type != self._payload_type:
            return
        self.packets.append(packet)
        if self._next is None and self._begins_picture(packet.write()):
            self._next = self._newest = packet.sequence
        if self._next is not None and self._is_usable(packet):
            self._waiting[packet.sequence] = packet
            self._assemble(self._next)

    def _assemble(self, following: int) -> None:
        while (packet := self._waiting.pop(following, None)) is not None:
            following = self._next = (following + 1) & 0xFFFF
            self._frame.append(packet)
            if packet.marker:
                self._show()

    def _is_usable(self, packet: Packet) -> bool:
        """Whether a packet can be shown; asks for what is missing before it."""
        missing = (packet.sequence - self._newest - 1) & 0xFFFF
        if missing >= 0x8000:
            return True
        newest, self._newest = self._newest, packet.sequence
        if missing and self._nacks:
            lost = [(newest + 1 + n) & 0xFFFF for n in range(missing)]
            self._say(bytes(RtcpRtpfbPacket(_NACK, 1, packet.ssrc, lost)))
            return True
        if missing:
            self._say(bytes(RtcpPsfbPacket(_PLI, 1, packet.ssrc)))
            self._frame.clear()
            self._waiting.clear()
            self._next = None
        return not missing

    def ask(self) -> None:
        """Ask for a whole picture."""
        self._say(bytes(RtcpPsfbPacket(_PLI, 1, self.packets[-1].ssrc)))

    def limit(self, bits: int) -> None:
        """Say how many bits a second may come, by REMB."""
        exponent = max(0, bits.bit_length() - 18)
        entry = (1 << 24 | exponent << 18 | bits >> exponent).to_bytes(4, "big")
        stream = self.packets[-1].ssrc.to_bytes(4, "big")
        self._say(bytes(RtcpPsfbPacket(15, 1, 0, b"REMB" + entry + stream)))

    def take_rtcp(self, compound: bytes) -> None:
        """What the sender says."""
        self.reports += [
            each for each in RtcpPacket.parse(compound) if isinstance(each, RtcpSrPacket)
        ]

    def _say(self, what: bytes) -> None:
        self._send_rtcp(what)

    def _show(self) -> None:
        data = b"".join(self._depayload(packet.payload) for packet in self._frame)
        frame = JitterFrame(data, self._frame[0].timestamp)
        self._frame = []
        for shown in self._decoder.decode(frame):
            assert isinstance(shown, VideoFrame)
            self.shown.append(number_of(shown))


def lose_video(every: int, kind: int) -> Callable[[bytes], bool]:
    """Lose every nth packet of a payload type, the first time that it comes."""
    met: set[bytes] = set()

    def loses(data: bytes) -> bool:
        if not 127 < data[0] < 192 or data[1] & 0x7F != kind or data[2:4] in met:
            return False
        met.add(data[2:4])
        return len(met) % every == 0

    return loses


# --- descriptions -------------------------------------------------------------------------------

H264: Final = "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"
FEEDBACK: Final = ("nack", "nack pli", "ccm fir", "goog-remb")


def video_lines(
    codecs: Iterable[tuple[int, str]],
    *,
    feedback: Iterable[str] = FEEDBACK,
    direction: str = "sendrecv",
) -> list[str]:
    """What a section says of video, in both dialects."""
    return [
        f"a={direction}",
        *(
            line
            for number, codec in codecs
            for line in (
                f"a=rtpmap:{number} {codec}/90000",
                *([f"a=fmtp:{number} {H264}"] if codec == "H264" else []),
                *(f"a=rtcp-fb:{number} {each}" for each in feedback),
            )
        ),
    ]


def client_video(sdp: str, codecs: Iterable[tuple[int, str]], ssrc: int, **more: str) -> str:
    """A WebRTC client's description with a section of video, bundled with its audio."""
    codecs = list(codecs)
    kept = ("a=ice-", "a=fingerprint", "a=setup")
    lines = [
        f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(str(number) for number, _ in codecs)}",
        "c=IN IP4 0.0.0.0",
        *(line for line in sdp.splitlines() if line.startswith(kept)),
        "a=mid:1",
        "a=rtcp-mux",
        "a=msid:stream picture",
        *video_lines(codecs, **more),
        f"a=ssrc:{ssrc} cname:client",
    ]
    return sdp.replace("a=group:BUNDLE 0", "a=group:BUNDLE 0 1") + "\r\n".join(lines) + "\r\n"


def phone_video(
    sdp: str,
    port: int,
    codecs: Iterable[tuple[int, str]],
    *,
    feedback: Iterable[str] = (),
    direction: str = "sendrecv",
    protocol: str = "RTP/AVP",
    more: Iterable[str] = (),
) -> str:
    """A telephone's description with a section of video."""
    codecs = list(codecs)
    lines = [
        f"m=video {port} {protocol} {' '.join(str(number) for number, _ in codecs)}",
        *video_lines(codecs, feedback=feedback, direction=direction),
        *more,
    ]
    return sdp + "\r\n".join(lines) + "\r\n"


def video_section(sdp: str) -> Media:
    """The section of video in a description."""
    return next(media for media in parse(sdp).media if media.kind == "video")
