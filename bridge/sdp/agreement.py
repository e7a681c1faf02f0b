# SPDX-License-Identifier: GPL-3.0-or-later
"""What descriptions say: the audio of a call, the peer's transport, and what a leg agreed on."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from bridge.errors import SdpError
from bridge.sdp.codecs import (
    AUDIO_CODECS,
    Codec,
    NoCommonCodec,
    audio_codecs_of,
    codecs_of,
    event_codec_for,
    payload_types_of,
)
from bridge.sdp.description import (
    Connection,
    Fingerprint,
    Media,
    MediaDirection,
    SessionDescription,
    Setup,
)
from bridge.sdp.sdes import RTP_PROTOCOLS, Keys, agreed_keys

WEBRTC_PROTOCOLS = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "RTP/SAVPF")
"""Clients write, or once wrote, all of these and mean the same (RFC 8829 section 5.1.2)."""

DEFAULT_PTIME = 20
_PTIMES = (10, 20, 30, 40, 50, 60)


def audio_index(description: SessionDescription, protocols: Sequence[str]) -> int:
    """The first audio section that is not declined and speaks one of the protocols.

    SdpError says why there is none; NoCommonCodec when the codecs are the only reason.
    """
    audio = [
        (index, media)
        for index, media in enumerate(description.media)
        if media.kind == "audio" and not media.declined
    ]
    if not audio:
        raise SdpError("The session description has no audio, or declines it")
    speaking = [(index, media) for index, media in audio if media.protocol in protocols]
    if not speaking:
        found = ", ".join(sorted({media.protocol for _, media in audio}))
        raise SdpError(
            f"Audio over {found} is not supported here",
            remedy=f"Let the peer offer {protocols[0]}.",
        )
    usable = [index for index, media in speaking if audio_codecs_of(media)]
    if not usable:
        raise NoCommonCodec(
            f"No known codec among the formats {' '.join(speaking[0][1].formats)}",
            remedy=f"Let the peer offer one of {', '.join(map(str, AUDIO_CODECS))}.",
        )
    return usable[0]


def sip_audio(description: SessionDescription) -> Media:
    """The section of a SIP peer's description that carries the call."""
    return description.media[audio_index(description, RTP_PROTOCOLS)]


def matrix_audio(description: SessionDescription) -> Media:
    """The section of a Matrix client's description that carries the call."""
    return description.media[audio_index(description, WEBRTC_PROTOCOLS)]


def audio_of(description: SessionDescription) -> Media:
    """The section that carries the call, in either dialect."""
    return description.media[audio_index(description, (*RTP_PROTOCOLS, *WEBRTC_PROTOCOLS))]


def codec_choices(
    description: SessionDescription, allowed: Container[Codec] = AUDIO_CODECS
) -> tuple[Codec, ...]:
    """The `allowed` codecs of the call's audio, best first: what `pair_codecs` takes.

    Of an answer only the first counts, for that is what the peer will send (RFC 3264 section 6.1).
    """
    return tuple(codec for codec in audio_codecs_of(audio_of(description)) if codec in allowed)


def held(description: SessionDescription) -> bool:
    """Whether the describer keeps its peer on hold: it does not want to hear it."""
    return not audio_of(description).active_direction.receives


def unheld(local: SessionDescription, remote: SessionDescription) -> SessionDescription:
    """`remote` as the peer would have said it had `local`, our last, not kept it on hold."""
    theirs = audio_of(remote)
    free = freed(audio_of(local), theirs)
    return replace(remote, media=tuple(free if m is theirs else m for m in remote.media))


def freed(ours: Media, theirs: Media) -> Media:
    """The same of one section."""
    local, remote = ours.active_direction, theirs.active_direction
    direction = MediaDirection.of(
        sends=remote.sends or not local.receives, receives=remote.receives or not local.sends
    )
    return replace(theirs, direction=direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRtcPeer:
    """What it takes to reach a WebRTC client: ICE and DTLS parameters."""

    ice_ufrag: str
    ice_pwd: str
    ice_lite: bool
    candidates: tuple[str, ...]
    end_of_candidates: bool
    fingerprints: tuple[Fingerprint, ...]
    setup: Setup | None
    mid: str | None

    def restarts_ice(self, before: "WebRtcPeer") -> bool:
        """Whether this description restarts ICE (RFC 8839 section 4.4.1.1.1)."""
        return (self.ice_ufrag, self.ice_pwd) != (before.ice_ufrag, before.ice_pwd)


def webrtc_peer(description: SessionDescription) -> WebRtcPeer:
    """The transport of the call's audio; bundled sections may leave it to another section."""
    audio = matrix_audio(description)
    bundle = description.bundle()
    bundled = [m for m in description.media if m.mid in bundle] if audio.mid in bundle else []
    transport = next((m for m in (audio, *bundled) if m.ice_ufrag), audio)
    if not transport.ice_ufrag or not transport.ice_pwd:
        raise SdpError("The Matrix client's audio has no ICE parameters (ice-ufrag, ice-pwd)")
    if not transport.fingerprints:
        raise SdpError("The Matrix client's audio has no DTLS fingerprint")
    return WebRtcPeer(
        ice_ufrag=transport.ice_ufrag,
        ice_pwd=transport.ice_pwd,
        ice_lite=description.ice_lite,
        candidates=transport.candidates,
        end_of_candidates=transport.end_of_candidates,
        fingerprints=transport.fingerprints,
        setup=transport.setup,
        mid=audio.mid,
    )


def packet_time(media: Media) -> int:
    """Milliseconds of audio to put in a packet for the describer: 10 to 60, 20 unless it asks."""
    wanted = media.ptime if media.ptime in _PTIMES else DEFAULT_PTIME
    if media.maxptime is None or media.maxptime >= wanted:
        return wanted
    return max(media.maxptime // 10 * 10, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegMedia:
    """What a leg's audio looks like once offer and answer are there."""

    codec: Codec
    """What we send, and the peer is expected to."""
    payload_type: int
    """Of what we send."""
    receive: dict[int, Codec]
    """Every payload type that may arrive, telephone-events and further codecs included."""
    event: Codec | None
    """The telephone-event we send, if the peer knows one."""
    event_payload_type: int | None
    ptime: int
    """Milliseconds of audio in a packet that we make."""
    parameters: str
    """The peer's `a=fmtp` for the codec."""
    direction: MediaDirection
    """As seen by us."""
    address: tuple[str, int]
    """Where the peer wants RTP (with ICE: its default candidate)."""
    rtcp_address: tuple[str, int]
    """Where the peer wants RTCP: the same when multiplexed."""
    rtcp_mux: bool
    keys: Keys | None = None
    """For SRTP, where they are in the descriptions; None for plain RTP, and with DTLS."""


def leg_media(local: SessionDescription, remote: SessionDescription) -> LegMedia:
    """What a leg agreed on. Works for both roles and both dialects.

    We answer with one codec; a peer that answers with several means the first (RFC 3264 6.1).
    """
    index = audio_index(local, (*RTP_PROTOCOLS, *WEBRTC_PROTOCOLS))
    ours = local.media[index]
    theirs = remote.media[index] if index < len(remote.media) else None
    if theirs is None or theirs.kind != "audio" or theirs.declined:
        raise NoCommonCodec("The peer declined the audio")
    codec = next((c for c in audio_codecs_of(theirs) if c in audio_codecs_of(ours)), None)
    if codec is None:
        raise NoCommonCodec(f"The peer answered with {' '.join(theirs.formats)}: nothing offered")
    numbers = payload_types_of(theirs)
    event = event_codec_for(codec, numbers.keys() & payload_types_of(ours).keys())
    connection = theirs.connection or Connection("0.0.0.0")
    address = (connection.address, theirs.port)
    muxed = ours.rtcp_mux and theirs.rtcp_mux
    return LegMedia(
        codec=codec,
        payload_type=numbers[codec],
        # Peers that number their packets as in their own description are common: know both.
        receive=codecs_of(theirs) | codecs_of(ours),
        event=event,
        event_payload_type=numbers[event] if event else None,
        ptime=packet_time(theirs),
        parameters=theirs.parameters(numbers[codec]),
        direction=ours.direction & theirs.active_direction.reversed,
        address=address,
        rtcp_address=address if muxed else theirs.rtcp_address or (address[0], address[1] + 1),
        rtcp_mux=muxed,
        keys=agreed_keys(ours, theirs),
    )
