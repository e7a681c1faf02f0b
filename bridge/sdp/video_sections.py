# SPDX-License-Identifier: GPL-3.0-or-later
"""The video section of our own descriptions: what one leg's peer said of it is passed on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from bridge.sdp.description import (
    Crypto,
    Feedback,
    Fmtp,
    Media,
    RtpMap,
    SessionDescription,
)
from bridge.sdp.ends import Exchange, Local, LocalRtp, LocalWebRtc
from bridge.sdp.sdes import OFFERED, answered_line, kept_lines
from bridge.sdp.sections import DYNAMIC_PAYLOAD_TYPES, bundled, named, rtcp_line
from bridge.sdp.video import (
    FEEDBACK,
    feedback_of,
    leg_video,
    own_video_index,
    video_index,
    video_of,
)
from bridge.sdp.video_codecs import (
    CLOCK,
    VideoCodec,
    fields_of,
    level_id,
    numbers_of,
    passed_on,
    video_formats,
)

_NOT_FOR_SIP = frozenset({"remb"})
_NOT_FOR_WEBRTC = frozenset({"tmmbr"})


def offered_video(
    local: Local,
    audio: Media,
    codecs: Sequence[VideoCodec],
    other: SessionDescription | None,
    previous: Exchange | None,
) -> Media | None:
    """Our section for an offer, beside our `audio`; None if there is nothing to offer.

    `other` is what the other leg's peer said last.
    """
    theirs = video_of(other) if other else None
    known = numbers_of(theirs) if theirs else {}
    codecs = [codec for codec in codecs if codec in known]
    if local.video is None or theirs is None or not codecs:
        return None
    numbers = _numbering(codecs, audio, previous)
    fmtps = {
        number: passed_on(
            codec, theirs.parameters(known[codec]), profile=_profile(number, codec, previous)
        )
        for codec, number in numbers.items()
    }
    kinds = frozenset(FEEDBACK.values())
    section = _section(local, audio, theirs, numbers, fmtps, kinds)
    section = replace(section, direction=theirs.active_direction)
    before = _former(previous)
    if before:
        section = replace(section, protocol=before[0].protocol)
    if isinstance(local, LocalWebRtc):
        return replace(section, mid=_mid(previous, before))
    return replace(section, rtcp_mux=local.rtcp_mux, crypto=_crypto(local, previous))


def answered_video(
    local: Local,
    audio: Media,
    codec: VideoCodec | None,
    offer: SessionDescription,
    other: SessionDescription,
    previous: Exchange | None,
) -> tuple[int, Media] | None:
    """Our section for an answer, and its place; None if video is declined."""
    index, theirs = video_index(offer), video_of(other)
    if local.video is None or codec is None or index is None or theirs is None:
        return None
    offered = offer.media[index]
    number = numbers_of(offered).get(codec)
    if number is None:
        return None
    fmtps = {number: _answered_parameters(codec, offered.parameters(number), theirs)}
    kinds = feedback_of(offered, number)
    section = replace(
        _section(local, audio, theirs, {codec: number}, fmtps, kinds),
        protocol=offered.protocol,
        direction=theirs.active_direction & offered.active_direction.reversed,
        mid=offered.mid,
    )
    if isinstance(local, LocalWebRtc):
        return index, section
    section = replace(
        section,
        rtcp_mux=local.rtcp_mux and offered.rtcp_mux,
        crypto=answered_line(_keys(local), offered, _agreed(previous)),
    )
    return index, section


def place_of(previous: Exchange) -> int:
    """Where in a new offer video is: where it was, or else where any was, or behind the last."""
    index = own_video_index(previous.local)
    kinds = (n for n, media in enumerate(previous.local.media) if media.kind == "video")
    return next(kinds, len(previous.local.media)) if index is None else index


def _section(
    local: Local,
    audio: Media,
    theirs: Media,
    numbers: dict[VideoCodec, int],
    fmtps: dict[int, str],
    kinds: frozenset[str],
) -> Media:
    """What offers and answers have in common."""
    kinds -= _NOT_FOR_WEBRTC if isinstance(local, LocalWebRtc) else _NOT_FOR_SIP
    section = Media(
        kind="video",
        port=audio.port,
        protocol=audio.protocol,
        formats=tuple(map(str, numbers.values())),
        connection=audio.connection,
        bandwidths=theirs.bandwidths,
        rtpmaps=tuple(RtpMap(number, codec.name, CLOCK) for codec, number in numbers.items()),
        fmtps=tuple(Fmtp(str(number), text) for number, text in fmtps.items() if text),
        feedback=tuple(
            Feedback(number, value)
            for number in numbers.values()
            for value, kind in FEEDBACK.items()
            if kind in kinds
        ),
    )
    if isinstance(local, LocalWebRtc):
        assert local.video is not None
        return named(bundled(section, audio), local, local.video)
    assert local.video is not None
    rtcp = rtcp_line(local.video.port, local.video.rtcp_port)
    return replace(section, port=local.video.port, rtcp=rtcp)


def _numbering(
    codecs: Sequence[VideoCodec], audio: Media, previous: Exchange | None
) -> dict[VideoCodec, int]:
    """Payload types that never mean two things within a session, and are none of the audio's."""
    known: dict[int, VideoCodec] = {}
    taken = {int(text) for text in audio.formats}
    for media in _earlier(previous):
        taken.update(entry.payload_type for entry in media.rtpmaps)
        if media.kind == "video":
            known |= video_formats(media)
    free = (number for number in DYNAMIC_PAYLOAD_TYPES if number not in taken)
    named_before = {codec: number for number, codec in reversed(known.items())}
    return {codec: named_before.get(codec) or next(free) for codec in codecs}


def _earlier(previous: Exchange | None) -> tuple[Media, ...]:
    return (*previous.local.media, *previous.remote.media) if previous else ()


def _profile(number: int, codec: VideoCodec, previous: Exchange | None) -> str:
    """How the profile was written where the payload type had this meaning before."""
    return next(
        (
            level_id(fields_of(media.parameters(number)))[:4]
            for media in _earlier(previous)
            if media.kind == "video" and video_formats(media).get(number) == codec
        ),
        "",
    )


def _answered_parameters(codec: VideoCodec, offered: str, theirs: Media) -> str:
    number = numbers_of(theirs).get(codec)
    said = offered if number is None else theirs.parameters(number)
    fields = fields_of(offered)
    asymmetric = fields.get("level-asymmetry-allowed") == "1"
    wanted = level_id(fields)
    return passed_on(codec, said, profile=wanted[:4], level="" if asymmetric else wanted[4:])


def _former(previous: Exchange | None) -> tuple[Media, ...]:
    """Our section and the peer's whose place a new offer takes, as far as they are there."""
    if previous is None:
        return ()
    place = slice(place_of(previous), place_of(previous) + 1)
    return (*previous.local.media[place], *previous.remote.media[place])


def _mid(previous: Exchange | None, before: tuple[Media, ...]) -> str:
    """The section's identifier: a new one where the former was declined (RFC 8829 5.2.2)."""
    mid = before[0].mid if before else None
    if mid is not None and not any(one.declined for one in before):
        return mid
    used = {media.mid for media in _earlier(previous)}
    return next(text for text in map(str, count(1)) if text not in used)


def _crypto(local: LocalRtp, previous: Exchange | None) -> tuple[Crypto, ...]:
    agreed = _agreed(previous)
    if agreed is not None:
        return kept_lines(*agreed)
    lines = (line for line in _keys(local) if line.suite in OFFERED[local.encryption])
    return tuple(replace(line, tag=tag) for tag, line in enumerate(lines, start=1))


def _keys(local: LocalRtp) -> tuple[Crypto, ...]:
    assert local.video is not None
    return local.video.crypto


def _agreed(previous: Exchange | None) -> tuple[Media, Media] | None:
    """Our section and the peer's, where they have agreed on video."""
    if previous is None or leg_video(previous.local, previous.remote) is None:
        return None
    index = own_video_index(previous.local)
    assert index is not None
    return previous.local.media[index], previous.remote.media[index]
