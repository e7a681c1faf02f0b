# SPDX-License-Identifier: GPL-3.0-or-later
"""RTCP (RFC 3550 6): what we report to a side, and what that side reports of us."""

import struct
from dataclasses import dataclass

from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from bridge.media.embedded.rtp import Emission, Reception

INTERVAL = 5.0
"""Seconds between reports on the average (RFC 3550 6.2)."""
_NTP_EPOCH = 2_208_988_800
_CNAME = 1
_SR, _RR = 200, 201
_HEAD = struct.Struct("!BBH")
"""Version 2 and the count of blocks, type, words to come."""
_SENDER = struct.Struct("!IQIII")
"""SSRC; the time by NTP and as a timestamp; packets and octets sent (RFC 3550 6.4.1)."""
_BLOCK = struct.Struct("!IIIIII")
"""SSRC; the share lost and all that was; highest number; jitter; last report and since when."""


@dataclass(slots=True)
class FarEnd:
    """What the far end of a side said about the stream that it gets from us."""

    lost: int = 0
    """Packets of ours that it has not got."""
    losing: int = 0
    """Per cent of our packets that it lately did not get; less with each report that has none."""
    jitter_ms: float = 0.0
    round_trip_ms: float = -1.0
    """-1 until it is known."""
    reports: int = 0
    """Of our stream."""
    packets: int = 0
    """Compound packets, whatever they reported."""
    malformed: int = 0
    """RTCP packets that could not be read."""
    said_bye: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """What a sender report ties together: a time of its sender's clock, and a timestamp."""

    ssrc: int
    wall: float
    """Seconds since the Unix epoch, if the sender knows the time; else of any clock."""
    timestamp: int


def ntp_time(wall: float) -> int:
    """Seconds since the Unix epoch as a 64-bit NTP timestamp."""
    seconds = int(wall)
    return (seconds + _NTP_EPOCH) << 32 | int((wall - seconds) * (1 << 32))


def signed(difference: int) -> int:
    """A difference of two timestamps, modulo 2**32, as what is nearest to zero."""
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000


class Reporter:
    """RTCP of one side. `now` is monotonic, `wall` is seconds since the Unix epoch."""

    def __init__(self, emission: Emission, reception: Reception, cname: str) -> None:
        self._emission = emission
        self._reception = reception
        source = RtcpSourceInfo(emission.ssrc, [(_CNAME, cname.encode())])
        self._description = bytes(RtcpSdesPacket([source]))
        self._reported = 0
        self._last_sr = 0
        self._last_sr_at = 0.0
        self._last_sr_of = -1
        self.origin: Origin | None = None
        """Of the last sender report."""
        self.far_end = FarEnd()

    def report(self, now: float, wall: float, timestamp: int | None = None) -> bytes:
        """A compound packet: SR while we send, RR otherwise, with SDES.

        `timestamp`: what `wall` is in our stream; None: as the packets were sent.
        """
        block = self._block(now)
        sending = self._emission.packets != self._reported
        self._reported = self._emission.packets
        if sending:
            if timestamp is None:
                timestamp = self._emission.timestamp_at(now)
            return self._sender_report(block, wall, timestamp) + self._description
        return self._receiver_report(block) + self._description

    def with_feedback(self, feedback: bytes) -> bytes:
        """A compound packet that reports nothing, but says something (RFC 4585 3.1)."""
        return self._receiver_report(b"") + self._description + feedback

    def lag(self, now: float, wall: float) -> float | None:
        """How far the sender's clock is behind ours, by what arrives now; None if it is unknown.

        Seconds; what the clocks differ by and what the way takes are one.
        """
        origin, reception = self.origin, self._reception
        if origin is None or origin.ssrc != reception.ssrc or reception.transit is None:
            return None
        timestamp = round(now * reception.clock - reception.transit)
        elapsed = signed(timestamp - origin.timestamp) / reception.clock
        return wall - origin.wall - elapsed

    def goodbye(self, now: float, wall: float) -> bytes:
        """The last report, with BYE (RFC 3550 6.6)."""
        return self.report(now, wall) + bytes(RtcpByePacket([self._emission.ssrc]))

    def receive(self, packet: bytes, now: float, wall: float) -> None:
        """Take a compound packet of the far end."""
        try:
            parts = RtcpPacket.parse(packet)
        except (ValueError, struct.error):
            self.far_end.malformed += 1
            return
        self.far_end.packets += 1
        for part in parts:
            if isinstance(part, RtcpSrPacket) and self._reception.ssrc in {part.ssrc, -1}:
                self._note_sender(part, now)
            if isinstance(part, RtcpSrPacket | RtcpRrPacket):
                for block in part.reports:
                    self._take(block, wall)
            elif isinstance(part, RtcpByePacket):
                self.far_end.said_bye = True

    def _note_sender(self, report: RtcpSrPacket, now: float) -> None:
        ntp = report.sender_info.ntp_timestamp
        self._last_sr = ntp >> 16 & 0xFFFFFFFF
        self._last_sr_at = now
        self._last_sr_of = report.ssrc
        wall = ntp / (1 << 32) - _NTP_EPOCH
        self.origin = Origin(report.ssrc, wall, report.sender_info.rtp_timestamp)

    def _take(self, block: RtcpReceiverInfo, wall: float) -> None:
        if block.ssrc != self._emission.ssrc:
            return
        far_end = self.far_end
        far_end.reports += 1
        far_end.lost = block.packets_lost
        far_end.losing = max(-(-100 * block.fraction_lost // 256), far_end.losing // 2)
        far_end.jitter_ms = 1000 * block.jitter / self._emission.clock
        if block.lsr:
            middle = ntp_time(wall) >> 16 & 0xFFFFFFFF
            elapsed = (middle - block.lsr - block.dlsr) & 0xFFFFFFFF
            if elapsed < 0x80000000:  # Clocks that were set back give nonsense.
                far_end.round_trip_ms = 1000 * elapsed / 65536

    def _block(self, now: float) -> bytes:
        """What we say of what we get; nothing, if that is nothing."""
        reception = self._reception
        if reception.ssrc < 0:
            return b""
        # Another source has come since, from which there is no report yet: nothing to refer to.
        last = self._last_sr if self._last_sr_of == reception.ssrc else 0
        delay = int((now - self._last_sr_at) * 65536) if last else 0
        lost = max(-0x800000, min(reception.lost_of_run, 0x7FFFFF)) & 0xFFFFFF
        return _BLOCK.pack(
            reception.ssrc,
            reception.fraction_lost() << 24 | lost,
            reception.extended_highest & 0xFFFFFFFF,
            int(reception.jitter) & 0xFFFFFFFF,
            last,
            delay & 0xFFFFFFFF,
        )

    def _sender_report(self, block: bytes, wall: float, timestamp: int) -> bytes:
        emission = self._emission
        report = _SENDER.pack(
            emission.ssrc,
            ntp_time(wall),
            timestamp,
            emission.packets & 0xFFFFFFFF,
            emission.octets & 0xFFFFFFFF,
        )
        return _report(_SR, report, block)

    def _receiver_report(self, block: bytes) -> bytes:
        return _report(_RR, self._emission.ssrc.to_bytes(4, "big"), block)


def _report(kind: int, text: bytes, block: bytes) -> bytes:
    """Of what begins with `text`, and has one block, or none."""
    words = (len(text) + len(block)) // 4
    return _HEAD.pack(0x80 | bool(block), kind, words) + text + block
