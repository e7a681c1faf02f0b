# SPDX-License-Identifier: GPL-3.0-or-later
"""Offers and answers (RFC 3264) in both dialects: plain RTP for SIP, WebRTC (RFC 8829) for Matrix.

The other leg's description, where a function takes one, is what that leg's peer sent last: its
direction, packet time and parameters are passed on, so that hold works from end to end.
"""

from collections.abc import Sequence
from dataclasses import replace

from bridge.errors import SdpError
from bridge.sdp.agreement import (
    WEBRTC_PROTOCOLS,
    audio_index,
    audio_of,
)
from bridge.sdp.codecs import (
    AUDIO_CODECS,
    OPUS,
    TELEPHONE_EVENT,
    TELEPHONE_EVENTS,
    Codec,
    NoCommonCodec,
    audio_codecs_of,
    event_codec_for,
    order_for_offer,
    payload_types_of,
)
from bridge.sdp.description import (
    Attribute,
    Crypto,
    Group,
    Media,
    MediaDirection,
    Origin,
    SessionDescription,
    Setup,
)
from bridge.sdp.ends import Exchange, Local, LocalRtp, LocalWebRtc
from bridge.sdp.sdes import (
    OFFERED,
    PLAIN_PROTOCOLS,
    RTP_PROTOCOLS,
    SECURE_PROTOCOLS,
    Encryption,
    answered_line,
    kept_lines,
)
from bridge.sdp.sections import audio_numbers, audio_section, connection_of, idle, unused
from bridge.sdp.video_codecs import VideoCodec
from bridge.sdp.video_sections import answered_video, offered_video, place_of

_MID = "0"


def offer_to_sip(
    local: LocalRtp,
    allowed: Sequence[Codec],
    *,
    matrix: SessionDescription | None = None,
    previous: Exchange | None = None,
    video: Sequence[VideoCodec] = (),
) -> SessionDescription:
    """Offer a SIP peer the `allowed` codecs, those first that the Matrix client has too.

    `video`: the client's that may be relayed; none: no video, or none any more.

    Optional encryption is offered as plain audio with keys (RFC 8643): who cannot do it does not
    look at them.
    """
    if not allowed:
        raise NoCommonCodec("No codec is allowed for this trunk")
    theirs = audio_codecs_of(audio_of(matrix)) if matrix else allowed
    codecs = order_for_offer(theirs, tuple(dict.fromkeys(allowed)))
    secure = local.encryption is Encryption.REQUIRED
    protocol = (SECURE_PROTOCOLS if secure else PLAIN_PROTOCOLS)[0]
    return _offer(local, protocol, codecs, matrix, previous, video)


def offer_to_matrix(
    local: LocalWebRtc,
    allowed: Sequence[Codec] = AUDIO_CODECS,
    *,
    sip: SessionDescription | None = None,
    previous: Exchange | None = None,
    video: Sequence[VideoCodec] = (),
) -> SessionDescription:
    """Offer a Matrix client all audio codecs: first those that need no transcoding.

    These are what the SIP peer has, in its order, of the `allowed` ones. Opus is always there.
    `video` as in `offer_to_sip`.
    """
    theirs = audio_codecs_of(audio_of(sip)) if sip else allowed
    direct = [codec for codec in theirs if codec in allowed]
    codecs = tuple(dict.fromkeys((*direct, *AUDIO_CODECS)))
    return _offer(local, WEBRTC_PROTOCOLS[0], codecs, sip, previous, video)


def answer_to_sip(
    local: LocalRtp,
    offer: SessionDescription,
    codec: Codec,
    *,
    matrix: SessionDescription,
    previous: Exchange | None = None,
    video: VideoCodec | None = None,
) -> SessionDescription:
    """Answer a SIP peer's offer with one codec out of it (see `pair_codecs`).

    `video`: what the client agreed to; declined if it is None, or not in the offer.
    """
    return _answer(local, RTP_PROTOCOLS, offer, codec, matrix, previous, video)


def answer_to_matrix(
    local: LocalWebRtc,
    offer: SessionDescription,
    codec: Codec,
    *,
    sip: SessionDescription,
    previous: Exchange | None = None,
    video: VideoCodec | None = None,
) -> SessionDescription:
    """Answer a Matrix client's offer with one codec out of it; `video` as in `answer_to_sip`."""
    return _answer(local, WEBRTC_PROTOCOLS, offer, codec, sip, previous, video)


# --- offers -----------------------------------------------------------------------------------


def _offer(
    local: Local,
    protocol: str,
    codecs: Sequence[Codec],
    other: SessionDescription | None,
    previous: Exchange | None,
    codecs_of_video: Sequence[VideoCodec],
) -> SessionDescription:
    numbers = audio_numbers((*codecs, *_events(local, codecs)), previous)
    theirs = audio_of(other) if other else None
    direction = theirs.active_direction if theirs else MediaDirection.SENDRECV
    audio = replace(
        audio_section(local, protocol, numbers, direction, theirs),
        rtcp_mux=isinstance(local, LocalWebRtc) or local.rtcp_mux,
    )
    if isinstance(local, LocalWebRtc):
        audio = replace(audio, mid=_MID, setup=Setup.ACTPASS)
    else:
        audio = replace(audio, crypto=_offered_crypto(local, previous))
    if previous is None:
        video = offered_video(local, audio, codecs_of_video, other, None)
        return _session(local, (audio, video) if video else (audio,), None)
    before = audio_of(previous.local)
    audio = replace(audio, mid=before.mid, protocol=before.protocol)
    media = [
        audio if section is before else _not_offered(section, local, audio)
        for section in previous.local.media
    ]
    video = offered_video(local, audio, codecs_of_video, other, previous)
    if video is not None:
        place = place_of(previous)
        media[place : place + 1] = [video]
    return _session(local, tuple(media), previous.local)


def _not_offered(section: Media, local: Local, audio: Media) -> Media:
    """A section that was there before: a client's stays ready, unless it was declined."""
    if section.declined or isinstance(local, LocalRtp):
        return unused(section, local, audio, declined=True)
    return idle(section, audio)


def _events(local: Local, codecs: Sequence[Codec]) -> tuple[Codec, ...]:
    """The telephone-events to offer beside these codecs."""
    if isinstance(local, LocalRtp) and not local.events:
        return ()
    return TELEPHONE_EVENTS if OPUS in codecs else (TELEPHONE_EVENT,)


def _offered_crypto(local: LocalRtp, previous: Exchange | None) -> tuple[Crypto, ...]:
    if previous is not None:
        return kept_lines(audio_of(previous.local), audio_of(previous.remote))
    lines = (line for line in local.crypto if line.suite in OFFERED[local.encryption])
    return tuple(replace(line, tag=tag) for tag, line in enumerate(lines, start=1))


# --- answers ----------------------------------------------------------------------------------


def _answer(
    local: Local,
    protocols: Sequence[str],
    offer: SessionDescription,
    codec: Codec,
    other: SessionDescription,
    previous: Exchange | None,
    codec_of_video: VideoCodec | None,
) -> SessionDescription:
    index = audio_index(offer, protocols)
    offered = offer.media[index]
    numbers = payload_types_of(offered)
    if codec not in numbers:
        raise NoCommonCodec(f"{codec} is not in the offer: {' '.join(offered.formats)}")
    known_events = isinstance(local, LocalWebRtc) or local.events
    event = event_codec_for(codec, numbers) if known_events else None
    chosen = {known: numbers[known] for known in (codec, event) if known}
    theirs = audio_of(other)
    direction = theirs.active_direction & offered.active_direction.reversed
    audio = replace(
        audio_section(local, offered.protocol, chosen, direction, theirs), mid=offered.mid
    )
    if isinstance(local, LocalWebRtc):
        if not offered.rtcp_mux:
            raise SdpError("The Matrix client does not multiplex RTCP with RTP (a=rtcp-mux)")
        audio = replace(audio, rtcp_mux=True, setup=_answered_setup(offered.setup, local.setup))
    else:
        before = (audio_of(previous.local), audio_of(previous.remote)) if previous else None
        audio = replace(
            audio,
            rtcp_mux=local.rtcp_mux and offered.rtcp_mux,
            crypto=answered_line(local.crypto, offered, before),
        )
    kept = _kept_unused(offer, offered, previous) if isinstance(local, LocalWebRtc) else ()
    used = {index: audio}
    video = answered_video(local, audio, codec_of_video, offer, other, previous)
    if video is not None:
        used[video[0]] = video[1]
    media = tuple(
        used.get(n) or _not_used(section, n, local, audio, previous, kept=n in kept)
        for n, section in enumerate(offer.media)
    )
    bundled = audio.mid in offer.bundle()
    return _session(local, media, previous.local if previous else None, bundled=bundled)


def _not_used(
    section: Media, place: int, local: Local, audio: Media, previous: Exchange | None, *, kept: bool
) -> Media:
    """A section of an offer that is of no use now; a source that it had is named on: see `idle`."""
    nothing = unused(section, local, audio, declined=not kept)
    before = previous.local.media[place : place + 1] if previous and kept else ()
    return replace(nothing, sources=before[0].sources) if before else nothing


def _kept_unused(
    offer: SessionDescription, audio: Media, previous: Exchange | None
) -> tuple[int, ...]:
    """Places of sections that are inactive instead of declined.

    The one whose transport the audio is bundled into cannot be declined without the transport
    (RFC 9143 section 7.3.3; libwebrtc refuses that). And what comes in a running call is a camera
    or a screen: were it declined, matrix-js-sdk could not stop what it has started to show.
    """
    bundle = offer.bundle()
    if audio.mid not in bundle:
        return ()
    bundled = [n for n, one in enumerate(offer.media) if one.mid in bundle and not one.declined]
    return tuple(bundled if previous else bundled[:1])


def _answered_setup(offered: Setup | None, in_force: Setup | None) -> Setup:
    """Our DTLS role (RFC 5763 section 5): active by preference, kept once there is one."""
    if offered is Setup.ACTIVE:
        return Setup.PASSIVE
    if offered is Setup.PASSIVE:
        return Setup.ACTIVE
    if offered is Setup.HOLDCONN:
        raise SdpError("The Matrix client's offer says a=setup:holdconn, which WebRTC has not")
    return in_force or Setup.ACTIVE


# --- both -------------------------------------------------------------------------------------


def _session(
    local: Local,
    media: tuple[Media, ...],
    previous: SessionDescription | None,
    *,
    bundled: bool = True,
) -> SessionDescription:
    """Wrap sections up; the version rises by one whenever anything changes (RFC 3264 section 8)."""
    connection = connection_of(local.address)
    mids = tuple(section.mid for section in media if section.mid is not None and section.port)
    webrtc = isinstance(local, LocalWebRtc)
    version = previous.origin.session_version if previous else "1"
    session = SessionDescription(
        origin=Origin(str(local.session_id), version, local.address, connection.family),
        connection=None if webrtc else connection,
        groups=(Group("BUNDLE", mids),) if webrtc and bundled and mids else (),
        attributes=_stream_semantics(local) if isinstance(local, LocalWebRtc) else (),
        media=media,
    )
    if previous is None or session == previous:
        return session
    return replace(session, origin=replace(session.origin, session_version=str(int(version) + 1)))


def _stream_semantics(local: LocalWebRtc) -> tuple[Attribute, ...]:
    return (Attribute("msid-semantic", f" WMS {local.stream_id}"),)
