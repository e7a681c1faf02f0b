# SPDX-License-Identifier: GPL-3.0-or-later
"""RTP (RFC 3550): headers, what is known of a received stream, and the streams we send.

Called for every packet, so it allocates little and reads no clock: `now` is an argument, in
seconds of any monotonic clock.
"""

import struct

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

    A sender that changes its SSRC starts a new run; the totals go on. `Path` counts by itself what
    continues one.
    """

    __slots__ = (
        "_bad",
        "_base",
        "_cycles",
        "_lost_before",
        "_prior_expected",
        "_prior_received",
        "clock",
        "first_at",
        "highest",
        "jitter",
        "late",
        "next",
        "octets",
        "packets",
        "run",
        "ssrc",
        "stray",
        "transit",
    )

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.ssrc = -1
        self.packets = 0
        """Packets received, with those that came late or twice."""
        self.octets = 0
        """Octets of payload, headers not counted."""
        self.late = 0
        """Packets that came after a later one, or twice."""
        self.highest = 0
        """The highest sequence number, without cycles."""
        self.jitter = 0.0
        """Interarrival jitter in units of the clock."""
        self.first_at = 0.0
        """When the first packet came; 0.0 if none has."""
        self.stray = False
        """Whether the packet counted last is far from all the others, and so invalid."""
        self.run = 0
        """Packets of the run that goes on."""
        self.next = -1
        """What is expected; past the last number there is, so that wrapping is noticed."""
        self._base = 0
        self._cycles = 0
        self._bad = -1
        self.transit: float | None = None
        """What the last packet took on its way, in units of the clock, plus something constant."""
        self._lost_before = 0
        self._prior_expected = 0
        self._prior_received = 0

    def note(self, ssrc: int, sequence: int, size: int, now: float) -> bool:
        """Count a packet; True when it starts a new run, False when it continues one."""
        self.packets += 1
        self.octets += size
        self.stray = False
        if sequence == self.next and ssrc == self.ssrc:
            self.run += 1
            self.highest = sequence
            self.next = sequence + 1
            return False
        if ssrc != self.ssrc:
            if self.packets == 1:
                self.first_at = now
            self._restart(ssrc, sequence)
            return True
        self.run += 1
        step = (sequence - self.highest) & 0xFFFF
        if 0 < step < MAX_DROPOUT:
            if sequence < self.highest:
                self._cycles += 0x10000
            self.highest = sequence
            self.next = sequence + 1
            return False
        if step == 0 or step > 0x10000 - MAX_MISORDER:
            self.late += 1
            return False
        if sequence != self._bad:  # One stray packet changes nothing; two in a row do.
            self._bad = (sequence + 1) & 0xFFFF
            self.stray = True
            return False
        self._restart(ssrc, sequence)
        return True

    def note_time(self, timestamp: int, now: float) -> None:
        """Update the jitter with the arrival of an audio packet (RFC 3550 A.8)."""
        transit = now * self.clock - timestamp
        if self.transit is not None:
            difference = abs(transit - self.transit)
            if difference < self.clock:  # A pause or a new timestamp base is no jitter.
                self.jitter += (difference - self.jitter) / 16
        self.transit = transit

    def restart_clock(self, clock: int) -> None:
        """The codec changed, and with it the clock."""
        self.clock = clock
        self.jitter = 0.0
        self.transit = None

    def _restart(self, ssrc: int, sequence: int) -> None:
        self._lost_before = self.lost
        self.ssrc = ssrc
        self.highest = self._base = sequence
        self.next = sequence + 1
        self._cycles = 0
        self._bad = -1
        self.run = 1
        self.transit = None
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


class Emission:
    """The one stream that we send to a side: its SSRC never changes, its numbers never jump."""

    __slots__ = (
        "clock",
        "first_at",
        "octets",
        "packets",
        "sent_at",
        "sequence",
        "ssrc",
        "timestamp",
    )

    def __init__(self, *, ssrc: int, sequence: int, timestamp: int, clock: int) -> None:
        self.ssrc = ssrc
        self.sequence = sequence
        """The highest sequence number used."""
        self.timestamp = timestamp
        """The timestamp that went with it."""
        self.clock = clock
        self.sent_at = 0.0
        """When that was sent; 0.0 if nothing was."""
        self.first_at = 0.0
        """When the first packet was sent; 0.0 if none was."""
        self.packets = 0
        self.octets = 0
        """Octets of payload, headers not counted."""

    def timestamp_at(self, now: float) -> int:
        """The timestamp that an instant has on this stream."""
        if not self.sent_at:
            return self.timestamp
        return (self.timestamp + round((now - self.sent_at) * self.clock)) & 0xFFFFFFFF

    def next_timestamp(self, now: float) -> int:
        """A timestamp for something new: as late as the clock says, and later than the last."""
        least = self.clock // 50 if self.sent_at else 0
        elapsed = round((now - self.sent_at) * self.clock) if self.sent_at else 0
        return (self.timestamp + max(least, elapsed)) & 0xFFFFFFFF

    def sent(self, size: int, sequence: int, timestamp: int, now: float) -> None:
        """Count a packet; one that fills a gap does not move the stream back."""
        self.packets += 1
        self.octets += size
        if (sequence - self.sequence) & 0x8000:
            return
        if not self.first_at:
            self.first_at = now
        self.sequence = sequence
        self.timestamp = timestamp
        self.sent_at = now

    def change_clock(self, clock: int) -> None:
        """The codec changed: later timestamps count in the new clock (RFC 7160 4.1)."""
        self.clock = clock
