# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections of our own descriptions: the audio, and what is not used."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bridge.sdp.agreement import DEFAULT_PTIME, audio_of, packet_time
from bridge.sdp.codecs import (
    OPUS,
    PREFERRED_PAYLOAD_TYPES,
    TELEPHONE_EVENTS,
    Codec,
    payload_types_of,
)
from bridge.sdp.description import (
    Connection,
    Family,
    Fmtp,
    Media,
    MediaDirection,
    Rtcp,
    RtpMap,
    SourceAttribute,
)
from bridge.sdp.ends import Exchange, Local, LocalRtp, LocalWebRtc, LocalWebRtcVideo

DYNAMIC_PAYLOAD_TYPES = (*range(96, 128), *range(35, 64))
_OPUS_PARAMETERS = "minptime=10;useinbandfec=1"
_EVENT_PARAMETERS = "0-16"


def audio_numbers(codecs: Sequence[Codec], previous: Exchange | None) -> dict[Codec, int]:
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
        choices = (PREFERRED_PAYLOAD_TYPES[codec], *DYNAMIC_PAYLOAD_TYPES)
        if codec in known:
            numbers[codec] = known[codec]
        else:
            numbers[codec] = next(number for number in choices if number not in taken)
            taken.add(numbers[codec])
    return numbers


def audio_section(
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
        connection=connection_of(local.address),
        direction=direction,
        rtpmaps=tuple(RtpMap(n, c.name, c.clock, c.channels) for c, n in numbers.items()),
        fmtps=tuple(_fmtps(numbers, other)),
        ptime=packet_time(other) if other else DEFAULT_PTIME,
        maxptime=other.maxptime if other else None,
    )
    if isinstance(local, LocalRtp):
        return replace(section, rtcp=rtcp_line(local.port, local.rtcp_port))
    section = replace(
        section,
        rtcp=Rtcp(9, Connection("0.0.0.0")),
        ice_ufrag=local.ice_ufrag,
        ice_pwd=local.ice_pwd,
        ice_options=("trickle",),
        candidates=local.candidates,
        end_of_candidates=True,
        fingerprints=local.fingerprints,
    )
    return named(section, local, local)


def rtcp_line(port: int, rtcp_port: int | None) -> Rtcp | None:
    """Where RTCP goes, if that is not the port above RTP's."""
    return None if rtcp_port in (None, port + 1) else Rtcp(rtcp_port)


def named(section: Media, local: LocalWebRtc, track: LocalWebRtc | LocalWebRtcVideo) -> Media:
    """The section with the names of what we send in it."""
    stream = f"{local.stream_id} {track.track_id}"
    return replace(
        section,
        msids=(stream,),
        sources=(
            SourceAttribute(track.ssrc, "cname", local.cname),
            SourceAttribute(track.ssrc, "msid", stream),
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


def unused(section: Media, local: Local, audio: Media, *, declined: bool) -> Media:
    """The same section, inactive in its place, with port 0 if declined (RFC 3264 section 6)."""
    kept = section.formats[:1]
    nothing = Media(
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
        return nothing
    fmtps = tuple(entry for entry in section.fmtps if entry.format in kept)
    return bundled(replace(nothing, fmtps=fmtps), audio)


def idle(section: Media, audio: Media) -> Media:
    """A section of ours that is there for later: what its payload types mean must not change.

    Its source goes on to be named: what still comes from it would be taken for that of another, and
    Chromium would not show it any more when the section is used again.
    """
    nothing = replace(section, direction=MediaDirection.INACTIVE, msids=())
    return bundled(nothing, audio)


def bundled(section: Media, audio: Media) -> Media:
    """The section on the transport of the audio."""
    return replace(
        section,
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


def connection_of(address: str) -> Connection:
    """The `c=` line for an address."""
    family: Family = "IP6" if ":" in address else "IP4"
    return Connection(address, family)
