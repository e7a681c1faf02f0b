# SPDX-License-Identifier: GPL-3.0-or-later
"""Which codecs of video a description offers, and what two of them share."""

import pytest

from bridge.sdp.description import SessionDescription
from bridge.sdp.video import pair_video, video_choices
from bridge.sdp.video_codecs import VP8, VideoCodec
from tests.sdp.samples import plain
from tests.sdp.video_samples import BASELINE, CLIENT, DOOR, H264, HIGH, MAIN, SINGLE, with_video


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("VP8/90000", VP8),
        ("vp8/90000", VP8),
        ("VP8/8000", None),
        ("VP9/90000", None),
        ("H264/90000", SINGLE),
        ("H264/90000 packetization-mode=1", BASELINE),
        ("H264/90000 profile-level-id=42e01f;packetization-mode=1", BASELINE),
        ("h264/90000 Profile-Level-ID=42801F; packetization-mode=1", BASELINE),
        ("H264/90000 profile-level-id=4d801f;packetization-mode=1", BASELINE),
        ("H264/90000 profile-level-id=58c01f;packetization-mode=1", BASELINE),
        ("H264/90000 profile-level-id=4d001f;packetization-mode=1", MAIN),
        ("H264/90000 profile-level-id=640028;packetization-mode=1;;x", HIGH),
        ("H264/90000 profile-level-id=640c1f", VideoCodec("H264", "constrained-high", 0)),
        ("H264/90000 profile-level-id=58001f", None),
        ("H264/90000 profile-level-id=f4001f", None),
        ("H264/90000 profile-level-id=42e0", None),
        ("H264/90000 profile-level-id=42e01f;packetization-mode=2", None),
        ("H264/90000 packetization-mode=first", None),
    ],
)
def test_which_codec_is_meant(written: str, meant: VideoCodec | None) -> None:
    encoding, _, parameters = written.partition(" ")
    described = with_video(f"a=rtpmap:99 {encoding}", f"a=fmtp:99 {parameters}")
    assert video_choices(described) == ((meant,) if meant else ())


def test_the_choices_of_a_browser() -> None:
    assert video_choices(CLIENT) == (VP8, BASELINE, SINGLE, MAIN, HIGH)


def test_static_and_odd_numbers_are_left_out() -> None:
    assert video_choices(with_video(*H264, formats="31 34 x 99")) == (BASELINE,)


def test_codecs_by_name() -> None:
    assert (str(VP8), str(HIGH)) == ("VP8/90000", "H264/90000")


@pytest.mark.parametrize(
    ("sip", "shared"),
    [
        (DOOR, BASELINE),
        (with_video(*H264, "a=rtpmap:98 VP8/90000", formats="98 99"), VP8),
        (with_video("a=rtpmap:99 H265/90000"), None),
        (plain("8"), None),
    ],
)
def test_two_offers_share_a_codec(sip: SessionDescription, shared: VideoCodec | None) -> None:
    assert pair_video(CLIENT, sip) == shared
