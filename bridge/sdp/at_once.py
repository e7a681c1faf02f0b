# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to a SIP peer that has to get one at once, before the other leg can be asked.

UPDATE is answered without waiting for anybody (RFC 3311 section 5.2). What most often comes with it
needs nobody: hold and resume, another address of the peer's.
"""

from dataclasses import replace

from bridge.errors import SdpError
from bridge.sdp.agreement import audio_index, audio_of, leg_media, sip_audio
from bridge.sdp.codecs import TELEPHONE_EVENTS, audio_codecs_of, codecs_of
from bridge.sdp.description import Media, MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange, LocalRtp, LocalRtpVideo
from bridge.sdp.negotiation import answer_to_sip
from bridge.sdp.sdes import RTP_PROTOCOLS, Encryption, Keys, choose, key_of, only_fitting
from bridge.sdp.video import leg_video, own_video_index, video_index, video_of
from bridge.sdp.video_codecs import VideoCodec


def answer_at_once(
    ours: SessionDescription, theirs: SessionDescription, offer: SessionDescription
) -> Exchange:
    """Answer `offer` with the codecs that `ours` and `theirs` agreed on, which are in force.

    What comes of it has the offer as it counts: video that is new has to be asked for in a
    re-INVITE, and is declined. Raises SdpError if the audio codec is not offered any more, if the
    peer moved where we cannot send, or has another key, for which we would need another one, too.
    """
    exchange = Exchange(local=ours, remote=theirs)
    agreed = leg_media(ours, theirs)
    codec, keys = agreed.codec, agreed.keys
    fitting = only_fitting(offer, Encryption.OPTIONAL if keys else Encryption.OFF)
    asked, said = sip_audio(fitting), audio_of(ours)
    if keys is not None and not _keeps(keys, asked):
        raise SdpError("The keys are in use, and cannot be changed at once")
    if codec not in audio_codecs_of(asked):
        raise SdpError(f"{codec} is in use, and cannot be changed at once")
    if asked.connection and said.connection and asked.connection.family != said.connection.family:
        raise SdpError("The SIP peer moved to another address family")
    answer = answer_to_sip(
        _local(ours, said),
        fitting,
        codec,
        matrix=_as_wanted(exchange),
        previous=exchange,
        video=_kept_video(exchange, fitting),
    )
    return Exchange(local=answer, remote=_as_answered(offer, answer))


def _kept_video(agreed: Exchange, offer: SessionDescription) -> VideoCodec | None:
    """The codec of the video, if that can go on with the keys that it has."""
    video, asked = leg_video(agreed.local, agreed.remote), video_of(offer)
    if video is None or asked is None:
        return None
    return video.codec if video.keys is None or _keeps(video.keys, asked) else None


def _as_wanted(exchange: Exchange) -> SessionDescription:
    """What our side wants by itself, as if the other leg's peer had just said it."""
    places = (audio_index(exchange.local, RTP_PROTOCOLS), own_video_index(exchange.local))
    media = list(exchange.local.media)
    for place in places:
        if place is not None and place < len(exchange.remote.media):
            direction = _wanted(media[place], exchange.remote.media[place])
            media[place] = replace(media[place], direction=direction, connection=None)
    return replace(exchange.local, media=tuple(media))


def _as_answered(offer: SessionDescription, answer: SessionDescription) -> SessionDescription:
    """The offer without video that was declined."""
    place = video_index(offer)
    if place is None or not answer.media[place].declined:
        return offer
    media = list(offer.media)
    media[place] = replace(media[place], port=0)
    return replace(offer, media=tuple(media))


def _keeps(keys: Keys, asked: Media) -> bool:
    line = choose(asked)
    return line is not None and (line.suite, key_of(line)) == (keys.suite, keys.theirs)


def _wanted(ours: Media, theirs: Media) -> MediaDirection:
    """What our side wants by itself: an answer says only as much of it as the peer let it."""
    said, let = ours.direction, theirs.active_direction.reversed
    return MediaDirection.of(
        sends=said.sends or not let.sends, receives=said.receives or not let.receives
    )


def _local(ours: SessionDescription, said: Media) -> LocalRtp:
    connection = said.connection or ours.connection
    assert connection is not None  # We always write one.
    return LocalRtp(
        session_id=int(ours.origin.session_id),
        address=connection.address,
        port=said.port,
        rtcp_port=said.rtcp.port if said.rtcp else None,
        rtcp_mux=said.rtcp_mux,
        crypto=said.crypto,
        video=_local_video(ours),
        events=any(codec in TELEPHONE_EVENTS for codec in codecs_of(said).values()),
    )


def _local_video(ours: SessionDescription) -> LocalRtpVideo | None:
    place = own_video_index(ours)
    if place is None:
        return None
    said = ours.media[place]
    return LocalRtpVideo(
        port=said.port, rtcp_port=said.rtcp.port if said.rtcp else None, crypto=said.crypto
    )
