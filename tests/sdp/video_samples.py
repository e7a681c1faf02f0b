# SPDX-License-Identifier: GPL-3.0-or-later
"""Telephones, clients and our ends of calls with video."""

from dataclasses import replace

from bridge.sdp.codecs import PCMA, PCMU
from bridge.sdp.description import Media, MediaDirection, SessionDescription
from bridge.sdp.ends import LocalRtp, LocalRtpVideo, LocalWebRtcVideo
from bridge.sdp.negotiation import offer_to_matrix
from bridge.sdp.sdes import KEY_LENGTHS, Encryption, crypto_line
from bridge.sdp.video import video_of
from bridge.sdp.video_codecs import VideoCodec
from tests.sdp.samples import LOCAL_RTP, LOCAL_WEBRTC, load, plain

D = MediaDirection
BASELINE = VideoCodec("H264", "baseline", 1)
SINGLE = VideoCodec("H264", "baseline", 0)
MAIN = VideoCodec("H264", "main", 1)
HIGH = VideoCodec("H264", "high", 1)

RTP = replace(LOCAL_RTP, video=LocalRtpVideo(port=30002))
WEBRTC = replace(LOCAL_WEBRTC, video=LocalWebRtcVideo(ssrc=3735928560, track_id="picture"))

DOOR, CLIENT = load("door-offer"), load("chromium-video-offer")
TRUNK = (PCMA, PCMU)
SAVP = "RTP/SAVP"


def with_video(*lines: str, port: int = 4002, formats: str = "99") -> SessionDescription:
    """What a telephone with a camera says."""
    return plain("8 101", f"m=video {port} RTP/AVP {formats}", *lines)


H264 = ("a=rtpmap:99 H264/90000", "a=fmtp:99 profile-level-id=42e01f;packetization-mode=1")
PHONE = with_video(*H264)


def changed(description: SessionDescription, place: int, **fields: object) -> SessionDescription:
    """The same with something else in a section."""
    media = list(description.media)
    media[place] = replace(media[place], **fields)  # type: ignore[arg-type]
    return replace(description, media=tuple(media))


CLIENT_ANSWERS = changed(
    CLIENT,
    1,
    formats=("96",),
    rtpmaps=offer_to_matrix(WEBRTC, sip=DOOR, video=(BASELINE,)).media[1].rtpmaps,
    fmtps=offer_to_matrix(WEBRTC, sip=DOOR, video=(BASELINE,)).media[1].fmtps,
    direction=D.RECVONLY,
)
AUDIO_CLIENT = changed(replace(CLIENT, media=CLIENT.media[:1]), 0)
AUDIO_PHONE = plain("8 101")


def section(description: SessionDescription) -> Media:
    """The video, which has to be there."""
    video = video_of(description)
    assert video is not None
    return video


def lines(description: SessionDescription) -> list[str]:
    """The text of the second section, without what all of a transport have."""
    found = str(description).split("m=video")[1].split("\r\n")
    left_out = ("a=ice", "a=candidate", "a=end-of", "a=fingerprint", "a=rtcp:", "c=IN")
    return [f"m=video{found[0]}", *(line for line in found[1:] if not line.startswith(left_out))]


def secured(seed: int, encryption: Encryption = Encryption.OFF) -> LocalRtp:
    """Our end with keys, those of the video other than those of the audio."""
    audio, video = (
        tuple(
            crypto_line(tag, suite, bytes((seed, tag, kind, 7)) * (length // 4) + b"xx")
            if length % 4
            else crypto_line(tag, suite, bytes((seed, tag, kind, 7)) * (length // 4))
            for tag, (suite, length) in enumerate(KEY_LENGTHS.items(), start=1)
        )
        for kind in (1, 2)
    )
    return replace(
        RTP,
        encryption=encryption,
        crypto=() if encryption is Encryption.OFF else audio,
        video=LocalRtpVideo(port=30002, crypto=() if encryption is Encryption.OFF else video),
    )


def keyed(seed: int, *, protocol: str = SAVP) -> SessionDescription:
    """A telephone with keys for both; their tags are those of the first lines of our offers."""
    tags = secured(seed, Encryption.REQUIRED)
    assert tags.video is not None
    return changed(
        changed(PHONE, 0, protocol=protocol, crypto=tags.crypto[:1]),
        1,
        protocol=protocol,
        crypto=tags.video.crypto[:1],
    )
