# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers, and what is known of streams."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.media.embedded.rtp import (
    MAX_DROPOUT,
    Emission,
    Reception,
    is_rtcp,
    is_rtp,
    payload_of,
    strip,
)

HEADER = bytes([0x80, 0]) + bytes(10)


@pytest.mark.parametrize(
    ("packet", "payload"),
    [
        (HEADER + b"voice", b"voice"),
        (b"\x82" + HEADER[1:] + bytes(8) + b"voice", b"voice"),
        (b"\x90" + HEADER[1:] + b"\xbe\xde\x00\x01\x10\xff\x00\x00voice", b"voice"),
        (b"\xa0" + HEADER[1:] + b"voice\x00\x00\x03", b"voice"),
        (b"\xb1" + HEADER[1:] + bytes(4) + b"\xbe\xde\x00\x00voice\x01", b"voice"),
        (b"\x90" + HEADER[1:] + b"\xbe", b""),
        (b"\x90" + HEADER[1:] + b"\xbe\xde\xff\xffvoice", b""),
        (b"\xa0" + HEADER[1:] + b"voice\xff", b""),
        (b"\x8f" + HEADER[1:], b""),
    ],
    ids=[
        "plain",
        "csrc",
        "extension",
        "padding",
        "all",
        "cut in extension",
        "long extension",
        "long padding",
        "no csrc",
    ],
)
def test_payload_is_what_follows_the_header(packet: bytes, payload: bytes) -> None:
    assert payload_of(packet) == payload
    assert bytes(strip(memoryview(bytearray(packet))))[12:] == payload


@settings(deadline=None)
@given(st.binary(min_size=12, max_size=64))
def test_no_header_is_too_odd(packet: bytes) -> None:
    assert payload_of(packet) in packet


@pytest.mark.parametrize(
    ("packet", "rtp", "rtcp"),
    [
        (HEADER, True, False),
        (bytes([0x80, 0x80 | 111]) + bytes(10), True, False),
        (bytes([0x80, 200]) + bytes(10), False, True),
        (bytes([0x80, 207]) + bytes(10), False, True),
        (HEADER[:11], False, False),
        (bytes(12), False, False),
        (b"", False, False),
    ],
)
def test_rtp_and_rtcp_are_told_apart(packet: bytes, rtp: bool, rtcp: bool) -> None:
    assert is_rtp(packet) is rtp
    assert is_rtcp(packet) is rtcp


def received(*sequences: int, clock: int = 8000) -> Reception:
    """A reception of these packets, one every 20 ms."""
    reception = Reception(clock)
    for number, sequence in enumerate(sequences):
        reception.note(1, sequence & 0xFFFF, 160, 1.0 + number * 0.02)
    return reception


def test_loss_is_counted_over_the_wrap_of_sequence_numbers() -> None:
    reception = received(65534, 65535, 1, 2)
    assert reception.lost == 1
    assert reception.extended_highest == 0x10002


@pytest.mark.parametrize(
    ("sequences", "lost", "late"),
    [
        ((1, 2, 4, 3, 5), 0, 1),
        ((1, 2, 2, 3), 0, 1),
        ((1, 2, 5, 6), 2, 0),
        ((65535, 1, 0, 2), 0, 1),
        ((10, 9, 11), 0, 1),
    ],
)
def test_order_and_loss(sequences: tuple[int, ...], lost: int, late: int) -> None:
    reception = received(*sequences)
    assert (reception.lost, reception.late) == (lost, late)


def test_one_stray_packet_is_no_restart_but_two_are() -> None:
    reception = received(1, 2, 3)
    assert reception.note(1, 30_000, 160, 2.0) is False
    assert reception.note(1, 4, 160, 2.0) is False
    assert reception.note(1, 30_000, 160, 2.0) is False
    assert reception.note(1, 30_001, 160, 2.0) is True
    assert reception.note(1, 30_002, 160, 2.0) is False


def test_another_source_goes_on_with_the_totals() -> None:
    reception = received(1, 3)
    assert reception.note(2, 500, 160, 2.0) is True
    reception.note(2, 502, 160, 2.0)
    assert (reception.packets, reception.lost) == (4, 2)
    assert reception.first_at == 1.0


def test_a_long_step_within_bounds_is_loss() -> None:
    reception = received(0, MAX_DROPOUT - 1)
    assert reception.lost == MAX_DROPOUT - 2


def test_fraction_lost_is_of_the_last_interval() -> None:
    reception = received(1, 2, 3, 5)
    assert reception.fraction_lost() == (1 << 8) // 5
    for sequence in range(6, 16):
        reception.note(1, sequence, 160, 3.0)
    assert reception.fraction_lost() == 0
    assert reception.fraction_lost() == 0


def test_jitter_is_nothing_for_an_even_stream() -> None:
    reception = Reception(8000)
    for number in range(50):
        reception.note_time(number * 160, number * 0.02)
    assert reception.jitter_ms == pytest.approx(0, abs=1e-6)


def test_jitter_grows_with_unevenness_and_not_with_pauses() -> None:
    reception = Reception(48000)
    for number in range(200):
        reception.note_time(number * 960, number * 0.02 + 0.005 * (number % 2))
    assert reception.jitter_ms == pytest.approx(5.0, rel=0.05)
    before = reception.jitter
    reception.note_time(0x80000000, 5.0)
    assert reception.jitter == before


def emission() -> Emission:
    """A stream that has not begun."""
    return Emission(ssrc=7, sequence=65534, timestamp=0xFFFFFF00, clock=8000)


def test_an_emission_begins_where_it_was_told() -> None:
    stream = emission()
    assert stream.next_timestamp(100.0) == 0xFFFFFF00
    assert stream.timestamp_at(100.0) == 0xFFFFFF00


def test_a_new_timestamp_follows_the_clock_but_never_falls_back() -> None:
    stream = emission()
    stream.sent(160, 65535, 0xFFFFFF00, 100.0)
    assert stream.next_timestamp(100.001) == (0xFFFFFF00 + 160) & 0xFFFFFFFF
    assert stream.next_timestamp(101.0) == (0xFFFFFF00 + 8000) & 0xFFFFFFFF
    assert stream.timestamp_at(100.5) == (0xFFFFFF00 + 4000) & 0xFFFFFFFF


def test_a_packet_that_fills_a_gap_does_not_move_the_stream_back() -> None:
    stream = emission()
    stream.sent(160, 2, 500, 100.0)
    stream.sent(160, 1, 340, 100.01)
    assert (stream.sequence, stream.timestamp, stream.packets) == (2, 500, 2)
