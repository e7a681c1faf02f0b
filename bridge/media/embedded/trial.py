# SPDX-License-Identifier: GPL-3.0-or-later
"""The audio of a call that is placed to try a trunk: a tone goes out, what comes in is measured."""

import asyncio
import math
import secrets
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time
from typing import Final

from bridge.call.terms import Terms
from bridge.config import Media
from bridge.media.embedded.codecs import make_encoder, packet_time_for, rate_for
from bridge.media.embedded.dtls import CertificateSource
from bridge.media.embedded.ends import OwnEnds
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.rtcp import FarEnd, Reporter
from bridge.media.embedded.rtp import HEADER, HEADER_SIZE, MARKER, VERSION, Emission, Reception
from bridge.media.embedded.rtp import payload_of as payload_of_packet
from bridge.media.embedded.sip_leg import SipLeg
from bridge.media.embedded.sockets import PortRange, local_address
from bridge.media.embedded.srtp import Packet
from bridge.media.embedded.transcoder import make_recording
from bridge.sdp.agreement import LegMedia, leg_media
from bridge.sdp.codecs import AUDIO_CODECS, G722, codec_named
from bridge.sdp.description import SessionDescription
from bridge.sdp.negotiation import offer_to_sip
from bridge.sdp.parser import parse

TONE: Final = 1004
"""Hertz: what telephone networks are measured with."""
_AMPLITUDE: Final = 0.3
_REPORT: Final = 0.5
"""Seconds between reports, of which others make theirs."""
_BLOCK: Final = 0.25
"""Seconds of sound that are looked at in one piece."""
_AUDIBLE: Final = -60.0
_OURS: Final = 0.5
"""Share of the energy at the tone's frequency from which on it is taken to be ours."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was measured of both directions."""

    codec: str
    encryption: str
    """The SRTP suite; empty: none."""
    sent: int
    received: int
    lost: int
    jitter_ms: float
    level: float
    """Of the loudest quarter of a second, in dB below full scale."""
    echo: bool
    """Whether our tone came back."""
    far_end: FarEnd
    """What the far end reported of what it got."""

    @property
    def audible(self) -> bool:
        """Whether there was any sound."""
        return self.level > _AUDIBLE


class TrialAudio:
    """One call's. Raises LocalError where there is no port for it."""

    def __init__(self, settings: Media) -> None:
        address = local_address(settings.listen, None)
        rtp, rtcp = PortRange(*settings.rtp_ports).pair(address)
        self._leg = SipLeg(rtp, rtcp, Ear(self._receive), self._report_came)
        self._ends = OwnEnds(
            public_address=settings.public_address,
            certificate=CertificateSource().get(),
            ssrc=secrets.randbits(32),
            cname=secrets.token_hex(8),
        )
        self._reception = Reception(8000)
        self._emission = Emission(
            ssrc=secrets.randbits(32),
            sequence=secrets.randbits(15),
            timestamp=secrets.randbits(32),
            clock=8000,
        )
        self._reporter = Reporter(self._emission, self._reception, secrets.token_hex(8))
        self._offered: SessionDescription | None = None
        self._media: LegMedia | None = None
        self._bitrate = settings.opus_bitrate
        self._record: Callable[[int, int, bytes], None] = lambda *_: None
        self._samples = array("h")
        self._rate = 8000

    def offer(self, terms: Terms) -> str:
        """The description for the INVITE. Raises SdpError."""
        allowed = tuple(map(codec_named, terms.codecs)) or AUDIO_CODECS
        self._offered = offer_to_sip(self._ends.rtp(self._leg, terms, answering=False), allowed)
        return str(self._offered)

    def agree(self, answer: str) -> None:
        """The far end has answered with this. Raises SdpError, LocalError."""
        assert self._offered is not None
        media = leg_media(self._offered, parse(answer))
        self._leg.aim(media.address, media.rtcp_address, muxed=media.rtcp_mux)
        self._leg.secure(media.keys)
        self._rate = rate_for(media.codec, G722)
        made = make_recording(media.codec, self._rate)

        def record(sequence: int, timestamp: int, payload: bytes) -> None:
            for samples, _, _ in made.push(sequence, timestamp, payload):
                self._samples.frombytes(samples)

        self._record = record
        self._reception.restart_clock(media.codec.clock)
        self._emission.change_clock(media.codec.clock)
        self._media = media

    async def talk(self) -> None:
        """Send the tone until cancelled."""
        media = self._media
        assert media is not None
        loop = asyncio.get_running_loop()
        ptime = packet_time_for(media.codec, media.ptime)
        encoder = make_encoder(media.codec, self._rate, ptime, media.parameters, self._bitrate)
        size = self._rate * ptime // 1000
        step = media.codec.clock * ptime // 1000
        begun = loop.time()
        reported = begun
        sequence, timestamp = self._emission.sequence, self._emission.timestamp
        for number in range(1 << 30):
            payload = encoder.encode(_tone(number * size, size, self._rate))
            kind = media.payload_type | (0 if number else MARKER)
            header = HEADER.pack(VERSION, kind, sequence, timestamp, self._emission.ssrc)
            self._leg.outlet.send(header + payload)
            now = monotonic()
            self._emission.sent(len(payload), sequence, timestamp, now)
            sequence, timestamp = (sequence + 1) & 0xFFFF, (timestamp + step) & 0xFFFFFFFF
            if loop.time() - reported >= _REPORT:
                reported = loop.time()
                self._leg.send_rtcp(self._reporter.report(now, time()))
            await asyncio.sleep(max(0.0, begun + (number + 1) * ptime / 1000 - loop.time()))

    def heard(self) -> Heard:
        """What was measured so far."""
        srtp = self._leg.srtp
        level, echo = _measure(self._samples, self._rate)
        return Heard(
            codec=str(self._media.codec) if self._media else "",
            encryption=srtp.keys.suite if srtp else "",
            sent=self._emission.packets,
            received=self._reception.packets,
            lost=self._reception.lost,
            jitter_ms=self._reception.jitter_ms,
            level=level,
            echo=echo,
            far_end=self._reporter.far_end,
        )

    def close(self) -> None:
        """Free the ports."""
        self._leg.close()

    def _receive(self, packet: Packet, now: float) -> None:
        _, second, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
        self._reception.note(ssrc, sequence, len(packet) - HEADER_SIZE, now)
        media = self._media
        if media is not None and media.receive.get(second & 0x7F) == media.codec:
            self._reception.note_time(timestamp, now)
            self._record(sequence, timestamp, payload_of_packet(packet))

    def _report_came(self, packet: bytes) -> None:
        self._reporter.receive(packet, monotonic(), time())


def _tone(first: int, count: int, rate: int) -> bytes:
    turn = 2 * math.pi * TONE / rate
    peak = _AMPLITUDE * 32767
    wave = (int(peak * math.sin(turn * n)) for n in range(first, first + count))
    return array("h", wave).tobytes()


def _measure(samples: "array[int]", rate: int) -> tuple[float, bool]:
    """The level of the loudest piece in dB, and whether one is mostly our tone."""
    size = int(rate * _BLOCK)
    loudest, echo = 0.0, False
    for start in range(0, len(samples) - size + 1, size):
        block = samples[start : start + size]
        energy = math.fsum(value * value for value in block)
        loudest = max(loudest, energy)
        audible = _decibels(energy / size) > _AUDIBLE
        echo = echo or (audible and _power_of_tone(block, rate) / energy > _OURS)
    return _decibels(loudest / size), echo


def _decibels(square: float) -> float:
    return 10 * math.log10(max(square, 1e-3) / 32768**2)


def _power_of_tone(block: "array[int]", rate: int) -> float:
    """The energy of a piece at the tone's frequency (Goertzel)."""
    turn = 2 * math.pi * TONE / rate
    factor = 2 * math.cos(turn)
    before, last = 0.0, 0.0
    for value in block:
        before, last = last, value + factor * last - before
    power = before * before + last * last - factor * before * last
    return 2 * power / len(block)
