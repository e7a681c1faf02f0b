# SPDX-License-Identifier: GPL-3.0-or-later
"""Our ends of a call, as offers and answers describe them, and what came of these."""

from dataclasses import dataclass

from bridge.sdp.description import Crypto, Fingerprint, SessionDescription, Setup
from bridge.sdp.sdes import Encryption


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMedia:
    """Our end of a leg's audio. Whoever gathers it makes up the ids."""

    session_id: int
    """Of the `o=` line; below 2**62, constant for the leg."""
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRtpVideo:
    """Our end of the SIP leg's video, at the address of the audio."""

    port: int
    rtcp_port: int | None = None
    crypto: tuple[Crypto, ...] = ()
    """As for the audio, but other keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWebRtcVideo:
    """Our end of the Matrix leg's video: of the stream of the audio, and on its transport."""

    ssrc: int
    track_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRtp(LocalMedia):
    """Our end of the SIP leg."""

    rtcp_port: int | None = None
    """None: the one above RTP's."""
    rtcp_mux: bool = False
    """Whether to multiplex RTCP with RTP where the peer can, too."""
    encryption: Encryption = Encryption.OFF
    crypto: tuple[Crypto, ...] = ()
    """A new key for each suite, unless encryption is off. Which of them count, descriptions say."""
    events: bool = True
    """Whether key presses may come and go as telephone-events."""
    video: LocalRtpVideo | None = None
    """None: there is no video to agree on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWebRtc(LocalMedia):
    """Our end of the Matrix leg. Address and port: those of the default candidate."""

    ice_ufrag: str
    ice_pwd: str
    candidates: tuple[str, ...]
    """All of them, as after `a=candidate:`; nothing is trickled."""
    fingerprints: tuple[Fingerprint, ...]
    ssrc: int
    cname: str
    stream_id: str
    track_id: str
    setup: Setup | None = None
    """The DTLS role in force, which renegotiation keeps; None before there is an association."""
    video: LocalWebRtcVideo | None = None


Local = LocalRtp | LocalWebRtc


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What was agreed on a leg: the last description from us and the last from the peer."""

    local: SessionDescription
    remote: SessionDescription
