# SPDX-License-Identifier: GPL-3.0-or-later
"""Which codecs descriptions name, and which of them a call uses."""

import pytest

from bridge.sdp.codecs import (
    AUDIO_CODECS,
    COMFORT_NOISE,
    G722,
    OPUS,
    PCMA,
    PCMU,
    TELEPHONE_EVENT,
    TELEPHONE_EVENT_48K,
    Codec,
    CodecPair,
    NoCommonCodec,
    audio_codecs_of,
    codec_named,
    codecs_of,
    event_codec_for,
    order_for_offer,
    pair_codecs,
    payload_types_of,
)
from tests.sdp.samples import load, plain


def test_a_browser() -> None:
    audio = load("chromium-offer").media[0]
    assert codecs_of(audio) == {
        111: OPUS,
        9: G722,
        0: PCMU,
        8: PCMA,
        13: COMFORT_NOISE,
        110: TELEPHONE_EVENT_48K,
        126: TELEPHONE_EVENT,
    }
    assert audio_codecs_of(audio) == AUDIO_CODECS


def test_static_payload_types_need_no_map() -> None:
    assert audio_codecs_of(load("provider-offer").media[0]) == (PCMA, PCMU)


def test_a_map_counts_more_than_a_static_number() -> None:
    assert codecs_of(plain("8", "a=rtpmap:8 speex/8000").media[0]) == {}


@pytest.mark.parametrize("encoding", ["OPUS/48000/2", "opus/48000", "Opus/48000/1"])
def test_spellings_of_opus(encoding: str) -> None:
    assert codecs_of(plain("96", f"a=rtpmap:96 {encoding}").media[0]) == {96: OPUS}


@pytest.mark.parametrize("encoding", ["PCMU/16000", "PCMU/8000/2", "multiopus/48000/6"])
def test_another_clock_is_another_codec(encoding: str) -> None:
    assert codecs_of(plain("96", f"a=rtpmap:96 {encoding}").media[0]) == {}


def test_formats_that_are_no_numbers() -> None:
    assert codecs_of(plain("0 t38 1234 ٣").media[0]) == {0: PCMU}


def test_a_codec_with_two_numbers() -> None:
    media = plain("96 8 97", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 opus/48000/2").media[0]
    assert payload_types_of(media) == {OPUS: 96, PCMA: 8}
    assert audio_codecs_of(media) == (OPUS, PCMA)


def test_names_of_settings() -> None:
    assert [codec_named(name) for name in ("opus", "G722", "pcmu", "PCMA")] == list(AUDIO_CODECS)
    with pytest.raises(KeyError):
        codec_named("telephone-event")


def test_names() -> None:
    assert [str(codec) for codec in AUDIO_CODECS] == [
        "opus/48000/2",
        "G722/8000",
        "PCMU/8000",
        "PCMA/8000",
    ]


@pytest.mark.parametrize(
    ("codec", "available", "expected"),
    [
        (OPUS, [TELEPHONE_EVENT, TELEPHONE_EVENT_48K], TELEPHONE_EVENT_48K),
        (PCMU, [TELEPHONE_EVENT_48K, TELEPHONE_EVENT], TELEPHONE_EVENT),
        (OPUS, [OPUS, TELEPHONE_EVENT], TELEPHONE_EVENT),
        (PCMU, [TELEPHONE_EVENT_48K], TELEPHONE_EVENT_48K),
        (PCMU, [PCMU], None),
    ],
)
def test_events_follow_the_clock_of_the_audio(
    codec: Codec, available: list[Codec], expected: Codec | None
) -> None:
    assert event_codec_for(codec, available) == expected


def test_offers_start_with_what_needs_no_transcoding() -> None:
    trunk = (OPUS, G722, PCMA, PCMU)
    assert order_for_offer((PCMU, PCMA), trunk) == (PCMA, PCMU, OPUS, G722)
    assert order_for_offer((OPUS,), (PCMA, OPUS)) == (OPUS, PCMA)
    assert order_for_offer((), trunk) == trunk


@pytest.mark.parametrize(
    ("matrix", "sip", "expected"),
    [
        (AUDIO_CODECS, (PCMA,), CodecPair(PCMA, PCMA)),
        (AUDIO_CODECS, (PCMA, OPUS), CodecPair(PCMA, PCMA)),
        ((PCMU, OPUS), (G722, OPUS), CodecPair(OPUS, OPUS)),
        ((OPUS,), (PCMA, PCMU), CodecPair(OPUS, PCMA)),
        ((G722, OPUS), (PCMA,), CodecPair(OPUS, PCMA)),
        ((G722, PCMU), (PCMA,), CodecPair(G722, PCMA)),
    ],
)
def test_pairs(matrix: tuple[Codec, ...], sip: tuple[Codec, ...], expected: CodecPair) -> None:
    assert pair_codecs(matrix, sip) == expected
    assert expected.relay == (expected.matrix == expected.sip)


def test_nothing_in_common() -> None:
    with pytest.raises(NoCommonCodec, match="SIP peer"):
        pair_codecs(AUDIO_CODECS, ())
    with pytest.raises(NoCommonCodec, match="Matrix client") as caught:
        pair_codecs((), AUDIO_CODECS)
    assert "PCMU/8000" in caught.value.remedy
