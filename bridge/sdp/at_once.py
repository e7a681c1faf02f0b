# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to a SIP peer that has to get one at once, before the other leg can be asked.

UPDATE is answered without waiting for anybody (RFC 3311 section 5.2). What most often comes with it
needs nobody: hold and resume, another address of the peer's.
"""

from dataclasses import replace

from bridge.errors import SdpError
from bridge.sdp.agreement import audio_of, leg_media, sip_audio
from bridge.sdp.codecs import audio_codecs_of
from bridge.sdp.description import Media, MediaDirection, SessionDescription
from bridge.sdp.negotiation import Exchange, LocalRtp, answer_to_sip


def answer_at_once(
    ours: SessionDescription, theirs: SessionDescription, offer: SessionDescription
) -> SessionDescription:
    """Answer `offer` with the codec that `ours` and `theirs` agreed on, which are in force.

    Raises SdpError if that codec is not offered any more, or the peer moved where we cannot send.
    """
    exchange = Exchange(local=ours, remote=theirs)
    codec = leg_media(ours, theirs).codec
    asked, said = sip_audio(offer), audio_of(ours)
    if codec not in audio_codecs_of(asked):
        raise SdpError(f"{codec} is in use, and cannot be changed at once")
    if asked.connection and said.connection and asked.connection.family != said.connection.family:
        raise SdpError("The SIP peer moved to another address family")
    wanted = replace(said, direction=_wanted(said, audio_of(theirs)), connection=None)
    other = replace(
        ours, media=tuple(wanted if section is said else section for section in ours.media)
    )
    return answer_to_sip(_local(ours, said), offer, codec, matrix=other, previous=exchange)


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
    )
