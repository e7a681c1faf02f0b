# SPDX-License-Identifier: GPL-3.0-or-later
"""RTP (RFC 3550): headers, what is known of a received stream, and the streams we send.

Called for every packet, so it allocates little and reads no clock: `now` is an argument, in
seconds of any monotonic clock.
"""

import struct
from collections.abc import Callable

HEADER = struct.Struct("!BBHII")
HEADER_SIZE = 12
VERSION = 0x80
MARKER = 0x80
PADDING = 0x20
EXTENSION = 0x10

MAX_DROPOUT = 3000
"""Packets: a longer step forward means that the sender started anew (RFC 3550 A.1)."""
MAX_MISORDER = 100
"""Packets: how late one may be and still belong to the same run (RFC 3550 A.1)."""


def is_rtcp(packet: bytes | memoryview) -> bool:
    """Whether a packet on a shared port is RTCP (RFC 5761 4): payload types 64 to 95."""
    return len(packet) >= 2 and 64 <= packet[1] & 0x7F < 96


def is_rtp(packet: bytes | memoryview) -> bool:
    """Whether this can be RTP of version 2 at all."""
    return len(packet) >= HEADER_SIZE and packet[0] >> 6 == 2 and not is_rtcp(packet)


def payload_of(packet: bytes | memoryview) -> bytes:
    """What follows the header, without CSRCs, extensions and padding; empty if malformed."""
    first = packet[0]
    start = HEADER_SIZE + 4 * (first & 0x0F)
    if first & EXTENSION:
        if len(packet) < start + 4:
            return b""
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = len(packet)
    if first & PADDING:
        end = max(start, end - packet[-1])
    return bytes(packet[start:end])


def strip(packet: memoryview) -> memoryview:
    """Leave nothing between header and payload, nor behind it, in place."""
    payload = payload_of(packet)
    end = HEADER_SIZE + len(payload)
    packet[HEADER_SIZE:end] = payload
    return packet[:end]


class Reception:
    """Statistics of the stream that comes in from one side (RFC 3550 A.1, A.3, A.8).

    A sender that changes its SSRC starts a new run; the totals go on. A packet that continues a
    run only moves `next`: what was counted is told from there. So `Flow` does it by itself.
    """

    __slots__ = (
        "_bad",
        "_base",
        "_beside",
        "_beside_run",
        "_cycles",
        "_lost_before",
        "_prior_expected",
        "_prior_received",
        "at",
        "clock",
        "first_at",
        "jitter",
        "late",
        "next",
        "octets",
        "ssrc",
        "stray",
        "timed",
        "timestamp",
    )

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.ssrc = -1
        self.octets = 0
        """Octets of payload, headers not counted."""
        self.late = 0
        """Packets that came after a later one, or twice."""
        self.jitter = 0.0
        """Interarrival jitter in units of the clock."""
        self.first_at = 0.0
        """When the first packet came; 0.0 if none has."""
        self.stray = False
        """Whether the packet counted last is far from all the others, and so invalid."""
        self.next = 0
        """What is expected; past the last number there is, so that wrapping is noticed."""
        self.timed = False
        """Whether it is known when which timestamp came last."""
        self.at = 0.0
        self.timestamp = 0
        self._beside = self._beside_run = 0
        """Packets without the numbers up to `next`, of all and of the run that goes on."""
        self._base = 0
        self._cycles = 0
        self._bad = -1
        self._lost_before = 0
        self._prior_expected = 0
        self._prior_received = 0

    @property
    def packets(self) -> int:
        """Packets received, with those that came late or twice."""
        return self.next + self._beside

    @property
    def run(self) -> int:
        """Packets of the run that goes on."""
        return self.next + self._beside_run

    @property
    def highest(self) -> int:
        """The highest sequence number, without cycles."""
        return self.next - 1

    @property
    def transit(self) -> float | None:
        """What the last packet took on its way, in units of the clock, plus something constant."""
        return self.at * self.clock - self.timestamp if self.timed else None

    def note(self, ssrc: int, sequence: int, size: int, now: float) -> bool:
        """Count a packet; True when it starts a new run, False when it continues one."""
        self.octets += size
        self.stray = False
        if ssrc != self.ssrc:
            if not self.packets:
                self.first_at = now
            self._restart(ssrc, sequence)
            return True
        step = (sequence - self.highest) & 0xFFFF
        if 0 < step < MAX_DROPOUT:
            if sequence < self.highest:
                self._cycles += 0x10000
            self._move(sequence + 1)
            return False
        if step == 0 or step > 0x10000 - MAX_MISORDER:
            self.late += 1
        elif sequence == self._bad:
            self._restart(ssrc, sequence)
            return True
        else:  # One stray packet changes nothing; two in a row do.
            self._bad = (sequence + 1) & 0xFFFF
            self.stray = True
        self._beside += 1
        self._beside_run += 1
        return False

    def _move(self, following: int) -> None:
        """One packet brings the numbers so far."""
        skipped = following - self.next - 1
        self._beside -= skipped
        self._beside_run -= skipped
        self.next = following

    def note_time(self, timestamp: int, now: float) -> None:
        """Update the jitter with the arrival of an audio packet (RFC 3550 A.8)."""
        if self.timed:
            late = abs((now - self.at) * self.clock - (timestamp - self.timestamp))
            if late < self.clock:  # A pause or a new timestamp base is no jitter.
                self.jitter += (late - self.jitter) / 16
        self.timed = True
        self.at = now
        self.timestamp = timestamp

    def restart_clock(self, clock: int) -> None:
        """The codec changed, and with it the clock."""
        self.clock = clock
        self.jitter = 0.0
        self.timed = False

    def _restart(self, ssrc: int, sequence: int) -> None:
        self._lost_before = self.lost
        self.ssrc = ssrc
        self._base = sequence
        self._move(sequence + 1)
        self._beside_run = 1 - self.next
        self._cycles = 0
        self._bad = -1
        self.timed = False
        self._prior_expected = self._prior_received = 0

    @property
    def extended_highest(self) -> int:
        """The highest sequence number with the count of cycles above it."""
        return self._cycles + self.highest

    @property
    def _expected(self) -> int:
        return self.extended_highest - self._base + 1 if self.run else 0

    @property
    def lost(self) -> int:
        """Packets lost since the beginning, never below 0."""
        return self._lost_before + max(0, self._expected - self.run)

    @property
    def lost_of_run(self) -> int:
        """Of the source that is heard now, for reports about it; less than 0 with duplicates."""
        return self._expected - self.run

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter in milliseconds."""
        return 1000 * self.jitter / self.clock

    def fraction_lost(self) -> int:
        """Loss since the last report in 1/256 (RFC 3550 A.3). Starts the next interval."""
        expected = self._expected - self._prior_expected
        lost = expected - (self.run - self._prior_received)
        self._prior_expected = self._expected
        self._prior_received = self.run
        if expected <= 0 or lost <= 0:
            return 0
        return min(255, (lost << 8) // expected)


def _settled() -> None:
    """Everything is booked."""


class Emission:
    """The one stream that we send to a side: its SSRC never changes, its numbers never jump."""

    __slots__ = (
        "_octets",
        "_packets",
        "_sent_at",
        "_sequence",
        "_timestamp",
        "clock",
        "first_at",
        "settle",
        "ssrc",
    )

    def __init__(self, *, ssrc: int, sequence: int, timestamp: int, clock: int) -> None:
        self.ssrc = ssrc
        self.clock = clock
        self.first_at = 0.0
        """When the first packet was sent; 0.0 if none was."""
        self.settle: Callable[[], None] = _settled
        """Books what was sent without being counted."""
        self._sequence = sequence
        self._timestamp = timestamp
        self._sent_at = 0.0
        self._packets = 0
        self._octets = 0

    @property
    def packets(self) -> int:
        """Packets sent."""
        self.settle()
        return self._packets

    @property
    def octets(self) -> int:
        """Octets of payload, headers not counted."""
        self.settle()
        return self._octets

    @property
    def sequence(self) -> int:
        """The highest sequence number used."""
        self.settle()
        return self._sequence

    @property
    def timestamp(self) -> int:
        """The timestamp that went with it."""
        self.settle()
        return self._timestamp

    @property
    def sent_at(self) -> float:
        """When that was sent; 0.0 if nothing was."""
        self.settle()
        return self._sent_at

    def timestamp_at(self, now: float) -> int:
        """The timestamp that an instant has on this stream."""
        if not self.sent_at:
            return self._timestamp
        return (self._timestamp + round((now - self._sent_at) * self.clock)) & 0xFFFFFFFF

    def next_timestamp(self, now: float) -> int:
        """A timestamp for something new: as late as the clock says, and later than the last."""
        least = self.clock // 50 if self.sent_at else 0
        elapsed = round((now - self._sent_at) * self.clock) if self._sent_at else 0
        return (self._timestamp + max(least, elapsed)) & 0xFFFFFFFF

    def sent(self, size: int, sequence: int, timestamp: int, now: float) -> None:
        """Count a packet; one that fills a gap does not move the stream back."""
        self._packets += 1
        self._octets += size
        if (sequence - self._sequence) & 0x8000:
            return
        if not self.first_at:
            self.first_at = now
        self._sequence = sequence
        self._timestamp = timestamp
        self._sent_at = now

    def passed(
        self, packets: int, octets: int, *, sequence: int, timestamp: int, now: float
    ) -> None:
        """Count packets that followed each other; the last one had these numbers."""
        self._packets += packets
        self._octets += octets
        self._sequence = sequence
        self._timestamp = timestamp
        self._sent_at = now

    def change_clock(self, clock: int) -> None:
        """The codec changed: later timestamps count in the new clock (RFC 7160 4.1)."""
        self.clock = clock
