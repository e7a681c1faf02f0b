# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports, from one end to the other."""

import struct

import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSrPacket,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.media.embedded.rtcp import Reporter, ntp_time
from bridge.media.embedded.rtp import Emission, Reception

WALL = 1_700_000_000.0


class End:
    """A stream out, a stream in, and the reports about both."""

    def __init__(self, ssrc: int) -> None:
        self.emission = Emission(ssrc=ssrc, sequence=0, timestamp=0, clock=8000)
        self.reception = Reception(8000)
        self.reporter = Reporter(self.emission, self.reception, "bridge")

    def send(
        self, other: "End", sequences: range, *, missing: frozenset[int] = frozenset()
    ) -> None:
        """Packets to the other end, some of which are lost."""
        for sequence in sequences:
            self.emission.sent(160, sequence, sequence * 160, 10.0 + sequence * 0.02)
            if sequence not in missing:
                other.reception.note(self.emission.ssrc, sequence, 160, 10.0)


def test_who_sends_makes_a_sender_report_and_who_does_not_a_receiver_report() -> None:
    here, there = End(1), End(2)
    here.send(there, range(1, 11))
    report, description = RtcpPacket.parse(here.reporter.report(10.4, WALL))
    assert isinstance(report, RtcpSrPacket)
    assert report.ssrc == 1
    assert report.sender_info.packet_count == 10
    assert report.sender_info.octet_count == 1600
    assert report.sender_info.rtp_timestamp == pytest.approx(1600 + 1600, abs=2)
    assert report.sender_info.ntp_timestamp == ntp_time(WALL)
    assert isinstance(description, RtcpSdesPacket)
    assert description.chunks[0].items == [(1, b"bridge")]
    assert isinstance(RtcpPacket.parse(here.reporter.report(15.0, WALL + 5))[0], RtcpRrPacket)


def test_loss_and_round_trip_are_learned_from_the_far_end() -> None:
    here, there = End(1), End(2)
    here.send(there, range(1, 101), missing=frozenset({50, 51}))
    there.reporter.receive(here.reporter.report(12.0, WALL), 12.0, WALL)
    here.reporter.receive(there.reporter.report(13.0, WALL + 1), 13.0, WALL + 1.15)
    far_end = here.reporter.far_end
    assert far_end.lost == 2
    assert far_end.reports == 1
    assert far_end.round_trip_ms == pytest.approx(150, abs=1)


def test_what_is_lost_lately_is_forgotten_slowly() -> None:
    """A burst is often followed by another one."""
    here, there = End(1), End(2)
    told: list[int] = []
    for first, missing in ((1, {50, 51}), (101, set[int]()), (201, set[int]()), (301, set[int]())):
        here.send(there, range(first, first + 100), missing=frozenset(missing))
        here.reporter.receive(there.reporter.report(12.0, WALL), 12.0, WALL)
        told.append(here.reporter.far_end.losing)
    assert told == [2, 1, 0, 0]


def test_a_report_about_somebody_else_is_ignored() -> None:
    here, there, other = End(1), End(2), End(3)
    other.send(there, range(1, 11), missing=frozenset({3}))
    here.reporter.receive(there.reporter.report(12.0, WALL), 12.0, WALL)
    assert here.reporter.far_end.reports == 0


def test_a_clock_that_was_set_back_gives_no_round_trip() -> None:
    here, there = End(1), End(2)
    here.send(there, range(1, 11))
    there.reporter.receive(here.reporter.report(12.0, WALL), 12.0, WALL)
    here.reporter.receive(there.reporter.report(12.0, WALL), 12.0, WALL - 60)
    assert here.reporter.far_end.round_trip_ms == -1


def test_the_goodbye_ends_a_compound_packet() -> None:
    here, there = End(1), End(2)
    packet = here.reporter.goodbye(10.0, WALL)
    assert isinstance(RtcpPacket.parse(packet)[-1], RtcpByePacket)
    there.reporter.receive(packet, 10.0, WALL)
    assert there.reporter.far_end.said_bye


def block_of(packet: bytes) -> RtcpReceiverInfo:
    """What a report without sending says of the one source."""
    report = RtcpPacket.parse(packet)[0]
    assert isinstance(report, RtcpRrPacket)
    return report.reports[0]


def test_another_source_is_reported_for_itself() -> None:
    here, there, successor = End(1), End(2), End(3)
    here.send(there, range(1, 101), missing=frozenset(range(10, 20)))
    there.reporter.receive(here.reporter.report(12.0, WALL), 12.0, WALL)
    block = block_of(there.reporter.report(13.0, WALL + 1))
    assert (block.ssrc, block.packets_lost) == (1, 10)
    assert block.lsr == ntp_time(WALL) >> 16 & 0xFFFFFFFF
    assert block.dlsr == 65536
    successor.send(there, range(1, 51), missing=frozenset({5}))
    block = block_of(there.reporter.report(14.0, WALL + 2))
    assert (block.ssrc, block.packets_lost, block.lsr, block.dlsr) == (3, 1, 0, 0)
    assert there.reception.lost == 11


def test_what_comes_twice_is_loss_below_zero() -> None:
    here, there = End(1), End(2)
    for _ in range(2):
        here.send(there, range(1, 4))
    block = block_of(there.reporter.report(13.0, WALL))
    assert block.packets_lost == -3


def test_reports_are_read_among_what_is_not_known_and_alone() -> None:
    """Telephones add extended reports (RFC 3611); browsers send feedback alone (RFC 5506)."""
    here, there = End(1), End(2)
    here.send(there, range(1, 11), missing=frozenset({3}))
    there.reporter.receive(here.reporter.report(12.0, WALL), 12.0, WALL)
    extended = struct.pack("!BBHI", 0x80, 207, 1, 2)
    here.reporter.receive(extended + there.reporter.report(13.0, WALL + 1), 13.0, WALL + 1)
    assert here.reporter.far_end.lost == 1
    assert here.reporter.far_end.round_trip_ms == pytest.approx(0, abs=1)
    here.reporter.receive(bytes(RtcpRtpfbPacket(fmt=1, ssrc=2, media_ssrc=1, lost=[3])), 14.0, WALL)
    assert here.reporter.far_end.packets == 2
    assert here.reporter.far_end.malformed == 0


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_no_packet_is_too_odd(packet: bytes) -> None:
    End(1).reporter.receive(packet, 1.0, WALL)
