# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every session description."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.errors import SdpError
from bridge.sdp.agreement import audio_of, codec_choices, leg_media
from bridge.sdp.codecs import (
    AUDIO_CODECS,
    KNOWN_CODECS,
    PCMA,
    Codec,
    audio_codecs_of,
    codecs_of,
    pair_codecs,
)
from bridge.sdp.description import (
    Attribute,
    Connection,
    Crypto,
    Fingerprint,
    Fmtp,
    Group,
    Media,
    MediaDirection,
    Origin,
    Rtcp,
    RtpMap,
    SessionDescription,
    Setup,
    SourceAttribute,
)
from bridge.sdp.ends import Exchange, LocalRtpVideo, LocalWebRtcVideo
from bridge.sdp.negotiation import answer_to_matrix, answer_to_sip, offer_to_sip
from bridge.sdp.parser import parse
from bridge.sdp.video import agreed_video, leg_video, pair_video, video_choices, video_of
from tests.sdp.samples import LOCAL_RTP, LOCAL_WEBRTC, load, names, plain, text

# --- descriptions ---------------------------------------------------------------------------

_TOKEN_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+!"
tokens = st.text(_TOKEN_CHARACTERS, min_size=1, max_size=8)
texts = st.lists(st.text(_TOKEN_CHARACTERS + ":=/;,é", min_size=1, max_size=8), min_size=1).map(
    " ".join
)
ports = st.integers(0, 65535)
connections = st.builds(
    Connection,
    st.sampled_from(["192.0.2.1", "0.0.0.0", "2001:db8::1", "host.example.org"]),
    st.sampled_from(["IP4", "IP6"]),
)
attributes = st.builds(
    Attribute,
    tokens.map(lambda name: f"x-{name}"),
    st.none() | texts | st.just("") | texts.map(lambda value: f" {value}"),
)


def several(values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """A few of them."""
    return st.lists(values, max_size=2).map(tuple)


sections = st.builds(
    Media,
    kind=tokens,
    port=ports,
    protocol=tokens,
    formats=st.lists(tokens, min_size=1, max_size=4).map(tuple),
    connection=connections,
    direction=st.sampled_from(MediaDirection),
    rtpmaps=several(
        st.builds(RtpMap, st.integers(0, 127), tokens, st.integers(0, 2**31), st.integers(1, 255))
    ),
    fmtps=several(st.builds(Fmtp, tokens, texts)),
    ptime=st.none() | st.integers(1, 9999),
    maxptime=st.none() | st.integers(1, 9999),
    mid=st.none() | tokens,
    bundle_only=st.booleans(),
    rtcp=st.none() | st.builds(Rtcp, ports, st.none() | connections),
    rtcp_mux=st.booleans(),
    ice_ufrag=st.none() | tokens,
    ice_pwd=st.none() | tokens,
    ice_options=several(tokens),
    candidates=several(texts),
    end_of_candidates=st.booleans(),
    fingerprints=several(
        st.builds(
            Fingerprint,
            tokens.map(str.lower),
            st.from_regex("(?:[0-9A-F]{2}:){3}AA", fullmatch=True),
        )
    ),
    setup=st.none() | st.sampled_from(Setup),
    crypto=several(
        st.builds(Crypto, st.integers(0, 999_999_999), tokens, tokens, texts | st.just(""))
    ),
    msids=several(texts),
    sources=several(
        st.builds(SourceAttribute, st.integers(0, 2**32 - 1), tokens, st.none() | texts)
    ),
    extmaps=several(texts),
    attributes=several(attributes),
)
descriptions = st.builds(
    SessionDescription,
    origin=st.builds(
        Origin,
        tokens,
        tokens,
        st.just("192.0.2.1"),
        st.just("IP4"),
        st.lists(tokens, min_size=1, max_size=2).map(" ".join),
    ),
    name=texts,
    connection=st.none() | connections,
    ice_lite=st.booleans(),
    groups=several(st.builds(Group, tokens, several(tokens))),
    attributes=several(attributes),
    media=several(sections),
)


@given(descriptions)
def test_what_is_written_reads_the_same(description: SessionDescription) -> None:
    assert parse(str(description)) == description


# --- what the parser bears ------------------------------------------------------------------


@given(st.text())
@example("v=0\r\nm=")
@example("v=0\na=")
@example("v=0\no=\n")
def test_any_text_is_read_or_refused(anything: str) -> None:
    for wrapped in (anything, f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n{anything}"):
        try:
            description = parse(wrapped)
        except SdpError:
            continue
        assert parse(str(description)) == description


_LETTERS = st.sampled_from(["v", "o", "s", "c", "t", "m", "a"])
_VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "audio 9 RTP/AVP 0",
            "audio 9 RTP/AVP 0 111",
            "video 0 RTP/SAVP 1",
            "rtpmap:0 PCMU/8000",
            "rtpmap:111 opus/48000/2",
            "IN IP4 0.0.0.0",
            "group:BUNDLE 0",
            "mid:0",
            "inactive",
            "crypto:1 AES inline:abc",
            "rtcp:1 IN IP4 192.0.2.1",
        ]
    ),
    st.builds(
        "{}:{}".format,
        st.sampled_from(["rtpmap", "fmtp", "rtcp", "ssrc", "mid", "ptime", "setup", "crypto"]),
        st.text("0123456789/ :abIN", max_size=12),
    ),
)


@given(st.lists(st.builds("{}={}".format, _LETTERS, _VALUES), max_size=12))
def test_lines_of_the_right_form_are_read_or_refused(lines: list[str]) -> None:
    try:
        description = parse("\r\n".join(["v=0", "o=- 1 1 IN IP4 192.0.2.1", *lines]))
    except SdpError:
        return
    assert parse(str(description)) == description
    for media in description.media:
        assert set(codecs_of(media).values()) <= set(KNOWN_CODECS)


@given(st.sampled_from(names()), st.data())
def test_damaged_descriptions_are_read_or_refused(name: str, data: st.DataObject) -> None:
    whole = text(name)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    damaged = whole[:start] + data.draw(st.text(max_size=5)) + whole[end:]
    try:
        description = parse(damaged)
        codecs = codec_choices(description)
    except SdpError:
        return
    assert codecs == audio_codecs_of(audio_of(description))


# --- offer and answer -----------------------------------------------------------------------

CLIENTS = ("chromium-offer", "firefox-offer", "ios-video-offer", "gstreamer-opus-only-offer")
orders = st.lists(st.sampled_from(KNOWN_CODECS), min_size=1, unique=True)


@st.composite
def offered_sections(draw: st.DrawFn, protocol: str, *, any_kind: bool = True) -> Media:
    """A section with some codecs, numbered at will; audio that is wanted, unless of `any_kind`."""
    codecs = draw(orders)
    first, step = draw(st.integers(0, 31)), draw(st.sampled_from([1, 5, 31]))
    numbers = [96 + (first + step * n) % 32 for n in range(len(codecs))]
    return Media(
        kind=draw(st.sampled_from(["audio", "audio", "video"])) if any_kind else "audio",
        port=draw(st.sampled_from([0, 9, 4000])) if any_kind else 9,
        protocol=draw(st.sampled_from([protocol, "UDP/DTLS/SCTP"])) if any_kind else protocol,
        formats=tuple(map(str, numbers)),
        connection=Connection("198.51.100.9"),
        direction=draw(st.sampled_from(MediaDirection)),
        rtpmaps=tuple(
            RtpMap(number, codec.name, codec.clock, codec.channels)
            for number, codec in zip(numbers, codecs, strict=True)
        ),
        rtcp_mux=True,
        setup=Setup.ACTPASS,
    )


def offers(protocol: str) -> st.SearchStrategy[SessionDescription]:
    """Descriptions of one to three sections with identifiers 0, 1, …"""

    def with_identifiers(media: tuple[Media, ...]) -> SessionDescription:
        return SessionDescription(
            origin=Origin("1", "1"),
            groups=(Group("BUNDLE", tuple(str(index) for index in range(len(media)))),),
            media=tuple(replace(section, mid=str(n)) for n, section in enumerate(media)),
        )

    some = st.lists(offered_sections(protocol), max_size=1)
    wanted = offered_sections(protocol, any_kind=False)
    return st.builds(lambda a, b, c: (*a, b, *c), some, wanted, some).map(with_identifiers)


def has_choices(description: SessionDescription) -> bool:
    """Whether there is a codec to choose."""
    try:
        return bool(codec_choices(description))
    except SdpError:
        return False


plain_offers = offers("RTP/AVP").filter(has_choices)
webrtc_offers = offers("UDP/TLS/RTP/SAVPF").filter(has_choices)


def check_answer(offer: SessionDescription, answer: SessionDescription, codec: Codec) -> None:
    """The rules of RFC 3264 section 6 and RFC 9143 section 7.3."""
    assert parse(str(answer)) == answer
    assert len(answer.media) == len(offer.media)
    used = [n for n, section in enumerate(answer.media) if section.sources]
    accepted = used or [n for n, section in enumerate(answer.media) if not section.declined]
    assert len(accepted) == 1
    for ours, theirs in zip(answer.media, offer.media, strict=True):
        assert (ours.kind, ours.protocol, ours.mid) == (theirs.kind, theirs.protocol, theirs.mid)
        assert ours.formats
        assert set(ours.formats) <= set(theirs.formats)
    ours, theirs = answer.media[accepted[0]], offer.media[accepted[0]]
    assert not theirs.declined
    assert codecs_of(ours).items() <= codecs_of(theirs).items()
    assert audio_codecs_of(ours) == (codec,)
    assert theirs.direction.receives or not ours.direction.sends
    assert theirs.direction.sends or not ours.direction.receives
    assert leg_media(answer, offer).codec == codec
    for section in answer.media:
        assert section is ours or section.direction is MediaDirection.INACTIVE
        assert section.declined or ours.ice_ufrag == section.ice_ufrag
    assert set(answer.bundle()) <= {section.mid for section in answer.media if section.port}
    if answer.bundle():
        first = next(section for section in offer.media if section.port)
        assert answer.bundle()[0] == first.mid


@given(plain_offers, webrtc_offers)
def test_two_offers_are_both_answered(sip: SessionDescription, matrix: SessionDescription) -> None:
    pair = pair_codecs(codec_choices(matrix), codec_choices(sip))
    to_sip = answer_to_sip(LOCAL_RTP, sip, pair.sip, matrix=matrix)
    to_matrix = answer_to_matrix(LOCAL_WEBRTC, matrix, pair.matrix, sip=sip)
    check_answer(sip, to_sip, pair.sip)
    check_answer(matrix, to_matrix, pair.matrix)
    common = set(codec_choices(matrix)) & set(codec_choices(sip))
    assert pair.relay == bool(common)


@given(webrtc_offers, st.permutations(AUDIO_CODECS), st.integers(1, 4))
def test_offers_put_first_what_needs_no_transcoding(
    matrix: SessionDescription, order: list[Codec], count: int
) -> None:
    trunk = order[:count]
    offer = offer_to_sip(LOCAL_RTP, trunk, matrix=matrix)
    assert parse(str(offer)) == offer
    codecs = codec_choices(offer)
    assert set(codecs) == set(trunk)
    direct = [codec in codec_choices(matrix) for codec in codecs]
    assert direct == sorted(direct, reverse=True)


@given(plain_offers, webrtc_offers)
def test_offering_anew_keeps_numbers_and_places(
    sip: SessionDescription, matrix: SessionDescription
) -> None:
    pair = pair_codecs(codec_choices(matrix), codec_choices(sip))
    answer = answer_to_sip(LOCAL_RTP, sip, pair.sip, matrix=matrix)
    ours = offer_to_sip(LOCAL_RTP, AUDIO_CODECS, previous=Exchange(local=answer, remote=sip))
    assert parse(str(ours)) == ours
    assert len(ours.media) == len(sip.media)
    assert ours.origin.session_version == "2"
    agreed = codecs_of(audio_of(answer))
    for number, codec in codecs_of(audio_of(ours)).items():
        assert agreed.get(number, codec) == codec
    index = answer.media.index(audio_of(answer))
    before = codecs_of(sip.media[index])
    for number, codec in codecs_of(audio_of(ours)).items():
        assert before.get(number, codec) == codec


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("codec", AUDIO_CODECS)
def test_every_client_can_be_answered_with_what_it_has(name: str, codec: Codec) -> None:
    offer = load(name)
    if codec in codec_choices(offer):
        answer = answer_to_matrix(LOCAL_WEBRTC, offer, codec, sip=load("asterisk-offer"))
        check_answer(offer, answer, codec)


# --- video ----------------------------------------------------------------------------------

VIDEO_RTP = replace(LOCAL_RTP, video=LocalRtpVideo(port=30002))
VIDEO_WEBRTC = replace(LOCAL_WEBRTC, video=LocalWebRtcVideo(ssrc=7, track_id="picture"))
H264S = tuple(
    f"profile-level-id={profile};packetization-mode={mode}"
    for profile in ("42e01f", "42801F", "4d000d", "64001f")
    for mode in (0, 1)
)


@st.composite
def pictures(draw: st.DrawFn, protocol: str) -> Media:
    """A section with some codecs of video, numbered at will, none of them like the audio's."""
    said = draw(st.lists(st.sampled_from(("VP8", "VP9", *H264S)), min_size=1, max_size=5))
    numbers = draw(
        st.lists(st.integers(35, 63), min_size=len(said), max_size=len(said), unique=True)
    )
    named = list(zip(numbers, said, strict=True))
    return Media(
        kind="video",
        port=draw(st.sampled_from([0, 9, 4002])),
        protocol=protocol,
        formats=tuple(map(str, numbers)),
        connection=Connection("198.51.100.9"),
        direction=draw(st.sampled_from(MediaDirection)),
        rtpmaps=tuple(RtpMap(n, one if "=" not in one else "H264", 90000) for n, one in named),
        fmtps=tuple(Fmtp(str(n), one) for n, one in named if "=" in one),
        rtcp_mux=True,
        setup=Setup.ACTPASS,
    )


def seen(protocol: str, audio: SessionDescription) -> st.SearchStrategy[SessionDescription]:
    """A description with audio, and video before or behind it."""
    (sound,) = audio.media
    fingerprints = sound.fingerprints

    def described(picture: Media, first: bool) -> SessionDescription:
        picture = replace(picture, mid="v", fingerprints=fingerprints)
        media = (picture, replace(sound, mid="a")) if first else (replace(sound, mid="a"), picture)
        mids = tuple(str(one.mid) for one in media)
        return replace(audio, groups=(Group("BUNDLE", mids),), media=media)

    return st.builds(described, pictures(protocol), st.booleans())


phones = seen("RTP/AVP", plain("8 101"))
clients = seen("UDP/TLS/RTP/SAVPF", load("chromium-offer"))


def check_picture(offer: SessionDescription, answer: SessionDescription, codec: object) -> None:
    """RFC 3264 section 6: only what was offered, and no more than was asked for."""
    assert parse(str(answer)) == answer
    assert [one.kind for one in answer.media] == [one.kind for one in offer.media]
    ours, theirs = video_of(answer), video_of(offer)
    leg = leg_video(answer, offer)
    if codec is None:
        assert leg is None
        return
    assert ours is not None
    assert theirs is not None
    assert leg is not None
    assert leg.codec == codec
    assert set(ours.formats) <= set(theirs.formats)
    assert video_choices(answer) == (codec,)
    assert theirs.direction.receives or not ours.direction.sends
    assert theirs.direction.sends or not ours.direction.receives


@settings(max_examples=60)
@given(phones, clients)
def test_two_offers_of_video_are_both_answered(
    sip: SessionDescription, matrix: SessionDescription
) -> None:
    codec = pair_video(matrix, sip)
    to_sip = answer_to_sip(VIDEO_RTP, sip, PCMA, matrix=matrix, video=codec)
    to_matrix = answer_to_matrix(VIDEO_WEBRTC, matrix, PCMA, sip=sip, video=codec)
    check_picture(sip, to_sip, codec)
    check_picture(matrix, to_matrix, codec)


def taken(offer: SessionDescription, port: int, direction: MediaDirection) -> SessionDescription:
    """How somebody answers an offer of ours: video on a port, or declined by port 0."""
    media = tuple(
        replace(
            one,
            port=port if one.kind == "video" else 4000,
            direction=direction & one.direction.reversed if one.kind == "video" else one.direction,
            formats=one.formats[:1],
        )
        for one in offer.media
    )
    return replace(offer, media=media)


def means(media: Media) -> Iterator[tuple[int, tuple[str, str]]]:
    """What payload types stand for, levels left out."""
    for entry in media.rtpmaps if not media.declined else ():
        said = media.parameters(entry.payload_type).partition(";level-asymmetry")[0]
        yield entry.payload_type, (entry.name, re.sub("(profile-level-id=....)..", r"\1", said))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            pictures("UDP/TLS/RTP/SAVPF"),
            st.sampled_from([0, 4002]),
            st.sampled_from(MediaDirection),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_video_comes_and_goes(turns: list[tuple[Media, int, MediaDirection]]) -> None:
    """A client offers this and that: payload types of ours mean what they meant before."""
    recorded = load("chromium-offer")
    (sound,) = recorded.media
    before: dict[int, tuple[str, str]] = {}
    sip: Exchange | None = None
    for picture, port, direction in turns:
        mids = Group("BUNDLE", ("a", "v"))
        media = (
            replace(sound, mid="a"),
            replace(picture, mid="v", fingerprints=sound.fingerprints),
        )
        client = replace(recorded, groups=(mids,), media=media)
        choices = video_choices(client)
        offer = offer_to_sip(VIDEO_RTP, AUDIO_CODECS, matrix=client, previous=sip, video=choices)
        assert parse(str(offer)) == offer
        assert not choices or video_choices(offer) == choices
        meanings = {number: meaning for one in offer.media for number, meaning in means(one)}
        assert all(before.get(number, meaning) == meaning for number, meaning in meanings.items())
        before = meanings
        sip = Exchange(local=offer, remote=taken(offer, port, direction))
        answer = answer_to_matrix(
            VIDEO_WEBRTC, client, PCMA, sip=sip.remote, video=agreed_video(sip)
        )
        check_picture(client, answer, agreed_video(sip))
        assert (agreed_video(sip) is None) == (not choices or not port)
