# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole pictures are told from others by their first bytes, whatever else is there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.media.embedded.video.pictures import (
    BEGINS_PICTURE,
    h264_begins_picture,
    vp8_begins_picture,
)
from tests.simulators.film import ENCODERS, picture

HEADER = bytes(12)


@pytest.mark.parametrize(
    ("payload", "whole"),
    [
        (b"\x10\x00", True),
        (b"\x10\x01", False),  # P is set: it needs the picture before.
        (b"\x00\x00", False),  # It goes on.
        (b"\x11\x00", False),  # Another partition.
        (b"\x90\x80\x05\x00", True),  # A short picture id.
        (b"\x90\x80\x85\x01\x00", True),  # A long one.
        (b"\x90\x80\x85\x01\x01", False),
        (b"\x90\xf0\x85\x01\x07\x20\x00", True),  # All there is.
        (b"\x90\x20\x20\x00", True),
        (b"\x30\x00", True),  # Nothing depends on it, but it depends on nothing either.
    ],
)
def test_key_frames_of_vp8(payload: bytes, whole: bool) -> None:
    assert vp8_begins_picture(HEADER + payload) is whole
    for end in range(len(payload)):
        assert not vp8_begins_picture(HEADER + payload[:end])


@pytest.mark.parametrize(
    ("payload", "whole"),
    [
        (b"\x65\x88", True),
        (b"\x67\x42", True),
        (b"\x68\xce", False),  # Parameters of a picture alone.
        (b"\x41\x9a", False),
        (b"\x7c\x85\x88", True),  # FU-A: the first part of an IDR slice,
        (b"\x7c\x05\x88", False),  # one in the middle,
        (b"\x7c\x81\x88", False),  # the first of another slice.
        (b"\x78\x00\x02\x67\x42\x00\x02\x68\xce", True),  # STAP-A
        (b"\x78\x00\x02\x06\x42\x00\x02\x65\xce", True),
        (b"\x78\x00\x02\x41\x42\x00\x02\x68\xce", False),
        (b"\x79\x00\x01\x00\x02\x67\x42", True),  # STAP-B
        (b"\x78\xff\xff\x41\x65\x65\x65", False),  # Longer than it is.
    ],
)
def test_idr_pictures_of_h264(payload: bytes, whole: bool) -> None:
    assert h264_begins_picture(HEADER + payload) is whole


@pytest.mark.parametrize("codec", list(ENCODERS))
def test_what_encoders_make(codec: str) -> None:
    """The first picture, and one in the middle that is asked for."""
    coding = ENCODERS[codec]()
    begins: list[int] = []
    for number in range(9):
        payloads, _ = coding.encode(picture(number), force_keyframe=number == 5)
        assert len(payloads) > 1
        if any(BEGINS_PICTURE[codec](HEADER + payload) for payload in payloads):
            begins.append(number)
    assert begins == [0, 5]


@settings(deadline=None, max_examples=50)
@given(
    st.binary(max_size=12)
    | st.builds(
        lambda first, rest: bytes([first]) + rest,
        st.sampled_from([0x78, 0x79, 0x7C, 0x7D, 0x90, 0x10]),
        st.binary(max_size=8),
    )
)
def test_no_payload_is_too_odd(payload: bytes) -> None:
    for begins_picture in BEGINS_PICTURE.values():
        assert begins_picture(HEADER + payload) in {True, False}
