# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to a SIP peer that has to get one at once, before the other leg can be asked.

UPDATE is answered without waiting for anybody (RFC 3311 section 5.2). What most often comes with it
needs nobody: hold and resume, another address of the peer's.
"""

from dataclasses import replace

from bridge.errors import SdpError
from bridge.sdp.agreement import audio_of, leg_media, sip_audio
from bridge.sdp.codecs import TELEPHONE_EVENTS, audio_codecs_of, codecs_of
from bridge.sdp.description import Media, MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange, LocalRtp
from bridge.sdp.negotiation import answer_to_sip
from bridge.sdp.sdes import Encryption, Keys, choose, key_of, only_audio_for


def answer_at_once(
    ours: SessionDescription, theirs: SessionDescription, offer: SessionDescription
) -> SessionDescription:
    """Answer `offer` with the codec that `ours` and `theirs` agreed on, which are in force.

    Raises SdpError if that codec is not offered any more, if the peer moved where we cannot send,
    or has another key, for which we would need another one, too.
    """
    exchange = Exchange(local=ours, remote=theirs)
    agreed = leg_media(ours, theirs)
    codec, keys = agreed.codec, agreed.keys
    offer = only_audio_for(offer, Encryption.OPTIONAL if keys else Encryption.OFF)
    asked, said = sip_audio(offer), audio_of(ours)
    if keys is not None and not _keeps(keys, asked):
        raise SdpError("The keys are in use, and cannot be changed at once")
    if codec not in audio_codecs_of(asked):
        raise SdpError(f"{codec} is in use, and cannot be changed at once")
    if asked.connection and said.connection and asked.connection.family != said.connection.family:
        raise SdpError("The SIP peer moved to another address family")
    wanted = replace(said, direction=_wanted(said, audio_of(theirs)), connection=None)
    other = replace(
        ours, media=tuple(wanted if section is said else section for section in ours.media)
    )
    return answer_to_sip(_local(ours, said), offer, codec, matrix=other, previous=exchange)


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
        events=any(codec in TELEPHONE_EVENTS for codec in codecs_of(said).values()),
    )
