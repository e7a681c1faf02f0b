# SPDX-License-Identifier: GPL-3.0-or-later
"""Offers and answers (RFC 3264) in both dialects: plain RTP for SIP, WebRTC (RFC 8829) for Matrix.

The other leg's description, where a function takes one, is what that leg's peer sent last: its
direction, packet time and parameters are passed on, so that hold works from end to end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bridge.errors import SdpError
from bridge.sdp.agreement import (
    DEFAULT_PTIME,
    WEBRTC_PROTOCOLS,
    audio_index,
    audio_of,
    packet_time,
)
from bridge.sdp.codecs import (
    AUDIO_CODECS,
    OPUS,
    PREFERRED_PAYLOAD_TYPES,
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
    Connection,
    Crypto,
    Family,
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

_OPUS_PARAMETERS = "minptime=10;useinbandfec=1"
_EVENT_PARAMETERS = "0-16"
_MID = "0"
_DYNAMIC_PAYLOAD_TYPES = (*range(96, 128), *range(35, 64))


def offer_to_sip(
    local: LocalRtp,
    allowed: Sequence[Codec],
    *,
    matrix: SessionDescription | None = None,
    previous: Exchange | None = None,
) -> SessionDescription:
    """Offer a SIP peer the `allowed` codecs, those first that the Matrix client has too.

    Optional encryption is offered as plain audio with keys (RFC 8643): who cannot do it does not
    look at them.
    """
    if not allowed:
        raise NoCommonCodec("No codec is allowed for this trunk")
    theirs = audio_codecs_of(audio_of(matrix)) if matrix else allowed
    codecs = order_for_offer(theirs, tuple(dict.fromkeys(allowed)))
    secure = local.encryption is Encryption.REQUIRED
    protocol = (SECURE_PROTOCOLS if secure else PLAIN_PROTOCOLS)[0]
    return _offer(local, protocol, codecs, matrix, previous)


def offer_to_matrix(
    local: LocalWebRtc,
    allowed: Sequence[Codec] = AUDIO_CODECS,
    *,
    sip: SessionDescription | None = None,
    previous: Exchange | None = None,
) -> SessionDescription:
    """Offer a Matrix client all audio codecs: first those that need no transcoding.

    These are what the SIP peer has, in its order, of the `allowed` ones. Opus is always there.
    """
    theirs = audio_codecs_of(audio_of(sip)) if sip else allowed
    direct = [codec for codec in theirs if codec in allowed]
    codecs = tuple(dict.fromkeys((*direct, *AUDIO_CODECS)))
    return _offer(local, WEBRTC_PROTOCOLS[0], codecs, sip, previous)


def answer_to_sip(
    local: LocalRtp,
    offer: SessionDescription,
    codec: Codec,
    *,
    matrix: SessionDescription,
    previous: Exchange | None = None,
) -> SessionDescription:
    """Answer a SIP peer's offer with one codec out of it (see `pair_codecs`)."""
    return _answer(local, RTP_PROTOCOLS, offer, codec, matrix, previous)


def answer_to_matrix(
    local: LocalWebRtc,
    offer: SessionDescription,
    codec: Codec,
    *,
    sip: SessionDescription,
    previous: Exchange | None = None,
) -> SessionDescription:
    """Answer a Matrix client's offer with one codec out of it (see `pair_codecs`)."""
    return _answer(local, WEBRTC_PROTOCOLS, offer, codec, sip, previous)


# --- offers -----------------------------------------------------------------------------------


def _offer(
    local: Local,
    protocol: str,
    codecs: Sequence[Codec],
    other: SessionDescription | None,
    previous: Exchange | None,
) -> SessionDescription:
    numbers = _numbering((*codecs, *_events(local, codecs)), previous)
    theirs = audio_of(other) if other else None
    direction = theirs.active_direction if theirs else MediaDirection.SENDRECV
    audio = replace(
        _audio_section(local, protocol, numbers, direction, theirs),
        rtcp_mux=isinstance(local, LocalWebRtc) or local.rtcp_mux,
    )
    if isinstance(local, LocalWebRtc):
        audio = replace(audio, mid=_MID, setup=Setup.ACTPASS)
    else:
        audio = replace(audio, crypto=_offered_crypto(local, previous))
    if previous is None:
        return _session(local, (audio,), None)
    before = audio_of(previous.local)
    audio = replace(audio, mid=before.mid, protocol=before.protocol)
    media = tuple(
        audio if section is before else _unused(section, local, audio, declined=section.declined)
        for section in previous.local.media
    )
    return _session(local, media, previous.local)


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


def _numbering(codecs: Sequence[Codec], previous: Exchange | None) -> dict[Codec, int]:
    """Payload types that never mean two things within a session (RFC 3264 section 8.3.2)."""
    known: dict[Codec, int] = {}
    taken: set[int] = set()
    for description in (previous.local, previous.remote) if previous else ():
        for codec, number in payload_types_of(audio_of(description)).items():
            if number not in known.values():
                known.setdefault(codec, number)
        taken.update(entry.payload_type for media in description.media for entry in media.rtpmaps)
    taken.update(known.values())
    numbers: dict[Codec, int] = {}
    for codec in codecs:
        choices = (PREFERRED_PAYLOAD_TYPES[codec], *_DYNAMIC_PAYLOAD_TYPES)
        if codec in known:
            numbers[codec] = known[codec]
        else:
            numbers[codec] = next(number for number in choices if number not in taken)
            taken.add(numbers[codec])
    return numbers


# --- answers ----------------------------------------------------------------------------------


def _answer(
    local: Local,
    protocols: Sequence[str],
    offer: SessionDescription,
    codec: Codec,
    other: SessionDescription,
    previous: Exchange | None,
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
        _audio_section(local, offered.protocol, chosen, direction, theirs), mid=offered.mid
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
    media = tuple(
        audio if section is offered else _unused(section, local, audio, declined=n not in kept)
        for n, section in enumerate(offer.media)
    )
    bundled = audio.mid in offer.bundle()
    return _session(local, media, previous.local if previous else None, bundled=bundled)


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


def _audio_section(
    local: Local,
    protocol: str,
    numbers: dict[Codec, int],
    direction: MediaDirection,
    other: Media | None,
) -> Media:
    """What offers and answers have in common; `other` is the other leg's peer's section."""
    section = Media(
        kind="audio",
        port=local.port,
        protocol=protocol,
        formats=tuple(str(number) for number in numbers.values()),
        connection=_connection(local.address),
        direction=direction,
        rtpmaps=tuple(RtpMap(n, c.name, c.clock, c.channels) for c, n in numbers.items()),
        fmtps=tuple(_fmtps(numbers, other)),
        ptime=packet_time(other) if other else DEFAULT_PTIME,
        maxptime=other.maxptime if other else None,
    )
    if isinstance(local, LocalRtp):
        if local.rtcp_port is None or local.rtcp_port == local.port + 1:
            return section
        return replace(section, rtcp=Rtcp(local.rtcp_port))
    stream = f"{local.stream_id} {local.track_id}"
    return replace(
        section,
        rtcp=Rtcp(9, Connection("0.0.0.0")),
        ice_ufrag=local.ice_ufrag,
        ice_pwd=local.ice_pwd,
        ice_options=("trickle",),
        candidates=local.candidates,
        end_of_candidates=True,
        fingerprints=local.fingerprints,
        msids=(stream,),
        sources=(
            SourceAttribute(local.ssrc, "cname", local.cname),
            SourceAttribute(local.ssrc, "msid", stream),
        ),
    )


def _fmtps(numbers: dict[Codec, int], other: Media | None) -> Iterator[Fmtp]:
    for codec, number in numbers.items():
        if codec in TELEPHONE_EVENTS:
            yield Fmtp(str(number), _EVENT_PARAMETERS)
        elif codec == OPUS:
            passed_on = payload_types_of(other).get(OPUS) if other else None
            parameters = (
                other.parameters(passed_on) if other and passed_on is not None else _OPUS_PARAMETERS
            )
            if parameters:
                yield Fmtp(str(number), parameters)


def _unused(section: Media, local: Local, audio: Media, *, declined: bool) -> Media:
    """The same section, inactive in its place, with port 0 if declined (RFC 3264 section 6)."""
    kept = section.formats[:1]
    unused = Media(
        kind=section.kind,
        port=0,
        protocol=section.protocol,
        formats=kept,
        connection=audio.connection if isinstance(local, LocalRtp) else Connection("0.0.0.0"),
        direction=MediaDirection.INACTIVE,
        rtpmaps=tuple(entry for entry in section.rtpmaps if str(entry.payload_type) in kept),
        mid=section.mid,
    )
    if declined:
        return unused
    return replace(
        unused,
        port=audio.port,
        connection=audio.connection,
        rtcp=audio.rtcp,
        rtcp_mux=audio.rtcp_mux,
        ice_ufrag=audio.ice_ufrag,
        ice_pwd=audio.ice_pwd,
        ice_options=audio.ice_options,
        candidates=audio.candidates,
        end_of_candidates=audio.end_of_candidates,
        fingerprints=audio.fingerprints,
        setup=audio.setup,
    )


def _connection(address: str) -> Connection:
    family: Family = "IP6" if ":" in address else "IP4"
    return Connection(address, family)


def _session(
    local: Local,
    media: tuple[Media, ...],
    previous: SessionDescription | None,
    *,
    bundled: bool = True,
) -> SessionDescription:
    """Wrap sections up; the version rises by one whenever anything changes (RFC 3264 section 8)."""
    connection = _connection(local.address)
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
