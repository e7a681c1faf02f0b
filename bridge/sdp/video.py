# SPDX-License-Identifier: GPL-3.0-or-later
"""What descriptions say of a call's video, and what a leg agreed on.

Video is relayed as it is, so that both legs have to share the codec. Nothing about it is ever an
error: what cannot be agreed on is declined, and the call goes on with its audio.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bridge.errors import SdpError
from bridge.sdp.agreement import WEBRTC_PROTOCOLS, audio_of, freed
from bridge.sdp.description import Connection, Media, MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange
from bridge.sdp.sdes import RTP_PROTOCOLS, Keys, agreed_keys
from bridge.sdp.video_codecs import VideoCodec, numbers_of, video_formats

FEEDBACK: Mapping[str, str] = {
    "nack": "nack",
    "nack pli": "pli",
    "ccm fir": "fir",
    "ccm tmmbr": "tmmbr",
    "goog-remb": "remb",
}
"""The kinds of feedback that are known, as `a=rtcp-fb` writes them, and what they are called."""
_D = MediaDirection
_BESIDE = ("slides", "alt", "sl", "speaker")
"""What `a=content` (RFC 4796) calls pictures of anything but the one who talks."""


def video_index(description: SessionDescription) -> int | None:
    """The section that carries the call's video: the first that does anything, or just the first.

    None if there is none that could: with WebRTC, it has to share the audio's transport.
    """
    usable = [n for n, media in enumerate(description.media) if _usable(media, description)]
    active = (n for n in usable if description.media[n].active_direction is not _D.INACTIVE)
    return next(active, usable[0] if usable else None)


def own_video_index(description: SessionDescription) -> int | None:
    """The same in a description of ours, where what is kept for nothing names no stream."""
    return next(
        (
            n
            for n, media in enumerate(description.media)
            if _usable(media, description) and (media.msids or not media.fingerprints)
        ),
        None,
    )


def _usable(media: Media, description: SessionDescription) -> bool:
    if media.kind != "video" or media.declined or not video_formats(media):
        return False
    if any(one.name == "content" and one.value in _BESIDE for one in media.attributes):
        return False
    webrtc = any(one.fingerprints for one in description.media) and not media.crypto
    if media.protocol in WEBRTC_PROTOCOLS and webrtc:
        return _shares_transport(media, description)
    return media.protocol in RTP_PROTOCOLS


def _shares_transport(media: Media, description: SessionDescription) -> bool:
    bundle = description.bundle()
    multiplexed = media.rtcp_mux or media.bundle_only
    return multiplexed and media.mid in bundle and audio_of(description).mid in bundle


def video_of(description: SessionDescription) -> Media | None:
    """The section that carries the call's video."""
    index = video_index(description)
    return None if index is None else description.media[index]


def video_choices(description: SessionDescription) -> tuple[VideoCodec, ...]:
    """The codecs of the call's video, best first; none where there is no video to agree on."""
    video = video_of(description)
    return () if video is None else tuple(dict.fromkeys(video_formats(video).values()))


def video_wish(description: SessionDescription) -> MediaDirection | None:
    """What the describer wants of the call's video; None where there is none to agree on."""
    video = video_of(description)
    return None if video is None else video.active_direction


def pair_video(matrix: SessionDescription, sip: SessionDescription) -> VideoCodec | None:
    """The codec for two offers: the first of the SIP peer's that the client has, too."""
    theirs = video_choices(matrix)
    return next((codec for codec in video_choices(sip) if codec in theirs), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegVideo:
    """What a leg's video looks like once offer and answer are there."""

    codec: VideoCodec
    payload_type: int
    """Of what we send."""
    receive: frozenset[int]
    """Every payload type that may arrive for the codec."""
    direction: MediaDirection
    """As seen by us."""
    address: tuple[str, int]
    """Where the peer wants RTP (with ICE: not used)."""
    rtcp_address: tuple[str, int]
    rtcp_mux: bool
    keys: Keys | None
    """For SRTP, as for the audio."""
    feedback: frozenset[str]
    """What both sides know, of the names in `FEEDBACK`."""
    bit_rate: int | None
    """Bits per second that the peer lets us send; None where it does not say."""


def leg_video(local: SessionDescription, remote: SessionDescription) -> LegVideo | None:
    """What a leg agreed on, None if that is to have no video. Works like `leg_media`."""
    index = own_video_index(local)
    if index is None or index >= len(remote.media):
        return None
    ours, theirs = local.media[index], remote.media[index]
    if not _usable(theirs, remote):
        return None
    mine, numbers = numbers_of(ours), numbers_of(theirs)
    codec = next((codec for codec in video_formats(theirs).values() if codec in mine), None)
    if codec is None:
        return None
    try:
        keys = agreed_keys(ours, theirs)
    except SdpError:
        return None
    address = ((theirs.connection or Connection("0.0.0.0")).address, theirs.port)
    muxed = ours.rtcp_mux and theirs.rtcp_mux
    known = (*video_formats(theirs).items(), *video_formats(ours).items())
    return LegVideo(
        codec=codec,
        payload_type=numbers[codec],
        receive=frozenset(number for number, one in known if one == codec),
        direction=ours.direction & theirs.active_direction.reversed,
        address=address,
        rtcp_address=address if muxed else theirs.rtcp_address or (address[0], address[1] + 1),
        rtcp_mux=muxed,
        keys=keys,
        feedback=feedback_of(theirs, numbers[codec]) & feedback_of(ours, mine[codec]),
        bit_rate=theirs.bit_rate,
    )


def feedback_of(media: Media, payload_type: int) -> frozenset[str]:
    """The known kinds of feedback that a section names for a payload type."""
    said = (one for one in media.feedback if one.payload_type in (None, payload_type))
    named = (" ".join(one.value.split()[:2]) for one in said)
    return frozenset(FEEDBACK[name] for name in named if name in FEEDBACK)


def unheld_video(exchange: Exchange, remote: SessionDescription) -> SessionDescription:
    """`remote`, the peer's last without our hold of its audio, without that of its video, too."""
    if remote == exchange.remote or leg_video(exchange.local, exchange.remote) is None:
        return remote
    index = own_video_index(exchange.local)
    assert index is not None
    free = freed(exchange.local.media[index], exchange.remote.media[index])
    return replace(remote, media=(*remote.media[:index], free, *remote.media[index + 1 :]))


def told_of_video(exchange: Exchange) -> MediaDirection:
    """What the peer was told last of video, if any passes or might."""
    agreed, index = leg_video(exchange.local, exchange.remote), own_video_index(exchange.local)
    if agreed is None or index is None or agreed.direction is _D.INACTIVE:
        return _D.INACTIVE
    return exchange.local.media[index].active_direction


def agreed_video(exchange: Exchange) -> VideoCodec | None:
    """The codec that a leg agreed on."""
    leg = leg_video(exchange.local, exchange.remote)
    return None if leg is None else leg.codec


def video_changes(asked: SessionDescription, agreed: Exchange, other: Exchange) -> bool:
    """Whether an offer says something of video that the other side has to be asked about.

    `agreed` is in force with the offerer, `other` with the other side.
    """
    wanted, before = video_wish(asked) or _D.INACTIVE, video_wish(agreed.remote) or _D.INACTIVE
    if wanted is not before:
        return True
    in_use = agreed_video(other)
    return wanted is not _D.INACTIVE and in_use is not None and in_use not in video_choices(asked)
