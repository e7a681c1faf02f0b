# SPDX-License-Identifier: GPL-3.0-or-later
"""What receivers of video say: read and written, and how garbled it may be."""

import pytest
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRtpfbPacket
from aiortc.rtp import pack_remb_fci as remb_fci
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.media.embedded.rtcp import Reporter
from bridge.media.embedded.rtp import Emission, Reception
from bridge.media.embedded.video import feedback
from bridge.media.embedded.video.feedback import FullIntra, MostBits, Nack, PictureLoss

words = st.integers(0, 0xFFFFFFFF)
sequences = st.integers(0, 0xFFFF)


@given(words, words, st.lists(sequences, min_size=1, max_size=40, unique=True))
def test_what_is_missing_is_read_as_it_was_written(ours: int, media: int, lost: list[int]) -> None:
    (found,) = feedback.read(feedback.nack(ours, media, lost))
    assert isinstance(found, Nack)
    assert (found.sender, found.media) == (ours, media)
    assert sorted(found.lost) == sorted(lost)


def test_neighbours_that_are_missing_share_an_entry() -> None:
    packet = feedback.nack(1, 2, [65535, 0, 1, 15, 16])
    assert len(packet) == 12 + 2 * 4
    (parsed,) = RtcpPacket.parse(packet)
    assert isinstance(parsed, RtcpRtpfbPacket)
    assert [number & 0xFFFF for number in parsed.lost] == [65535, 0, 1, 15, 16]


def test_a_picture_is_asked_for_in_both_ways() -> None:
    (loss,) = RtcpPacket.parse(feedback.picture_loss(1, 2))
    assert loss == RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2)
    assert feedback.read(bytes(loss)) == [PictureLoss(1, 2)]
    (intra,) = RtcpPacket.parse(feedback.full_intra(1, 2, 258))
    assert intra == RtcpPsfbPacket(fmt=4, ssrc=1, media_ssrc=0, fci=b"\0\0\0\2\2\0\0\0")
    assert feedback.read(bytes(intra)) == [FullIntra(1, 2, number=2)]


@given(st.integers(1, 1 << 50))
def test_limits_lose_what_their_mantissa_does_not_hold_and_never_grow(bits: int) -> None:
    (remb,) = feedback.read(feedback.remb(1, [2], bits))
    assert isinstance(remb, MostBits)
    assert remb.estimated
    (limit,) = feedback.read(feedback.most_bits(1, 2, bits, 40))
    assert isinstance(limit, MostBits)
    assert limit.overhead == 40
    for each in (remb, limit):
        assert (each.sender, each.media) == (1, 2)
        assert bits * (1 - 2**-16) <= each.bits <= bits


def test_remb_is_the_one_that_others_write() -> None:
    theirs = RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=remb_fci(4_160_000, [2, 3]))
    assert bytes(theirs) == feedback.remb(1, [2, 3], 4_160_000)
    assert [each.media for each in feedback.read(bytes(theirs))] == [2, 3]


def test_a_limit_is_acknowledged_with_who_has_set_it() -> None:
    (parsed,) = RtcpPacket.parse(feedback.most_bits_noted(1, 9, 256_000, 40))
    assert isinstance(parsed, RtcpRtpfbPacket)
    assert parsed.fmt == 4
    assert bytes(feedback.most_bits_noted(1, 9, 256_000, 40))[12:16] == b"\0\0\0\x09"


def test_feedback_comes_behind_a_report_that_says_nothing() -> None:
    reporter = Reporter(Emission(ssrc=7, sequence=0, timestamp=0, clock=90_000), Reception(1), "me")
    compound = reporter.with_feedback(feedback.picture_loss(7, 2))
    assert [type(part).__name__ for part in RtcpPacket.parse(compound)] == [
        "RtcpRrPacket",
        "RtcpSdesPacket",
        "RtcpPsfbPacket",
    ]
    assert feedback.read(compound) == [PictureLoss(7, 2)]


def test_padding_is_no_entry() -> None:
    packet = bytearray(feedback.nack(1, 2, [5]))
    packet[0] |= 0x20
    packet[3] += 1
    assert feedback.read(bytes(packet) + b"\0\0\0\4") == [Nack(1, 2, (5,))]


def test_who_ends_in_the_middle_is_read_up_to_there() -> None:
    compound = feedback.picture_loss(1, 2) + feedback.nack(1, 2, [5])
    assert feedback.read(compound[:-1]) == [PictureLoss(1, 2)]


@pytest.mark.parametrize(
    "garbled", [b"", b"\x81", b"\x81\xce\x00\x00", b"\x8f\xce\x00\x02" + b"x" * 8]
)
def test_what_holds_nothing_is_nothing(garbled: bytes) -> None:
    assert feedback.read(garbled) == []


parts = st.builds(
    lambda first, kind, length, body: bytes((first, kind)) + length.to_bytes(2, "big") + body,
    st.sampled_from([0x80, 0x81, 0x83, 0x84, 0x8F, 0xA1, 0x9F, 0x41]),
    st.sampled_from([201, 205, 205, 206, 206]),
    st.sampled_from([0, 1, 2, 3, 4, 5, 0xFFFF]),
    st.binary(max_size=24) | st.just(b"\0\0\0\1\0\0\0\0REMB\2\xff\xff\xff\0\0\0\1\0\0\0\2"),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(parts, max_size=4).map(b"".join))
def test_no_feedback_is_too_odd(compound: bytes) -> None:
    for each in feedback.read(compound):
        assert 0 <= each.sender <= 0xFFFFFFFF
        assert 0 <= each.media <= 0xFFFFFFFF
