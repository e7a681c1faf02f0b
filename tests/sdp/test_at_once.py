# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to UPDATE, which cannot wait for the other leg."""

from dataclasses import replace

import pytest

from bridge.errors import SdpError
from bridge.sdp.agreement import leg_media, sip_audio
from bridge.sdp.at_once import answer_at_once
from bridge.sdp.codecs import AUDIO_CODECS, G722, PCMA
from bridge.sdp.description import Connection, MediaDirection, Rtcp, SessionDescription
from bridge.sdp.negotiation import offer_to_sip
from bridge.sdp.parser import parse
from tests.sdp.samples import LOCAL_RTP, directed, plain

TELEPHONE = plain("8 0 9 101")
WE_CALLED = offer_to_sip(LOCAL_RTP, AUDIO_CODECS)

D = MediaDirection
DIRECTIONS = {
    # (what we said, what they said, what they offer now): our answer
    (D.SENDRECV, D.SENDRECV, D.SENDONLY): D.RECVONLY,
    (D.SENDRECV, D.SENDRECV, D.INACTIVE): D.INACTIVE,
    (D.SENDRECV, D.SENDRECV, D.RECVONLY): D.SENDONLY,
    (D.SENDRECV, D.SENDRECV, D.SENDRECV): D.SENDRECV,
    # They resume: what we could not do meanwhile, we do again.
    (D.RECVONLY, D.SENDONLY, D.SENDRECV): D.SENDRECV,
    (D.INACTIVE, D.INACTIVE, D.SENDRECV): D.SENDRECV,
    (D.RECVONLY, D.SENDONLY, D.INACTIVE): D.INACTIVE,
    # The person holds: they are not let in by whatever is offered.
    (D.SENDONLY, D.SENDRECV, D.SENDRECV): D.SENDONLY,
    (D.SENDONLY, D.RECVONLY, D.SENDRECV): D.SENDRECV,
    (D.INACTIVE, D.SENDRECV, D.SENDRECV): D.INACTIVE,
    (D.INACTIVE, D.SENDONLY, D.SENDRECV): D.SENDONLY,
}


def answered(
    ours: SessionDescription, theirs: SessionDescription, offer: SessionDescription
) -> SessionDescription:
    """Our answer; without video, the offer counts as it is."""
    agreed = answer_at_once(ours, theirs, offer)
    assert "m=video" in str(offer) or agreed.remote is offer
    return agreed.local


@pytest.mark.parametrize(("ours", "theirs", "offered"), DIRECTIONS)
def test_directions(ours: D, theirs: D, offered: D) -> None:
    answer = answered(
        directed(WE_CALLED, ours), directed(TELEPHONE, theirs), directed(TELEPHONE, offered)
    )
    assert sip_audio(answer).direction is DIRECTIONS[ours, theirs, offered]


@pytest.mark.parametrize("address", ["0.0.0.0", "198.51.100.9"])
@pytest.mark.parametrize("level", ["session", "media"])
def test_hold_however_it_is_written(address: str, level: str) -> None:
    """By an unspecified address (RFC 3264 8.4), or an attribute of the session."""
    head, _, rest = str(TELEPHONE).partition("m=audio")
    head = head.replace("c=IN IP4 198.51.100.9", f"c=IN IP4 {address}")
    said = "a=sendonly\r\n" if address != "0.0.0.0" else ""
    rest = rest.replace("a=sendrecv\r\n", said if level == "media" else "")
    head += said if level == "session" else ""
    answer = answered(WE_CALLED, TELEPHONE, parse(f"{head}m=audio{rest}"))
    assert sip_audio(answer).direction is D.RECVONLY


def test_codec_in_use_goes_on_at_another_address() -> None:
    moved = replace(plain("0 8 101", port=5000), connection=Connection("198.51.100.10"))
    answer = answered(WE_CALLED, TELEPHONE, moved)
    agreed = leg_media(answer, moved)
    assert agreed.codec is PCMA
    assert sip_audio(answer).port == LOCAL_RTP.port
    assert str(answer).count("m=") == 1


def test_what_we_do_not_want_is_declined_in_its_place() -> None:
    offer = parse(
        str(TELEPHONE).replace("m=audio", "m=video 4002 RTP/AVP 96\r\nm=audio")
        + "m=image 4004 udptl t38\r\nm=application 4006 TCP/BFCP *\r\n"
    )
    kinds = [(one.kind, one.declined) for one in answered(WE_CALLED, TELEPHONE, offer).media]
    assert kinds == [("video", True), ("audio", False), ("image", True), ("application", True)]


def test_another_codec_has_to_be_asked_for() -> None:
    with pytest.raises(SdpError, match="PCMA/8000 is in use"):
        answered(WE_CALLED, TELEPHONE, plain("0 9 101"))


def test_another_address_family_cannot_be_reached() -> None:
    six = parse(str(TELEPHONE).replace("IP4 198.51.100.9", "IP6 2001:db8::9"))
    with pytest.raises(SdpError, match="another address family"):
        answered(WE_CALLED, TELEPHONE, six)


def _with_rtcp(description: SessionDescription) -> SessionDescription:
    first, *others = description.media
    return replace(description, media=(replace(first, rtcp=Rtcp(30005)), *others))


def test_our_own_end_stays_as_it_was() -> None:
    ours = _with_rtcp(WE_CALLED)
    answer = answered(ours, TELEPHONE, directed(TELEPHONE, D.SENDONLY))
    assert sip_audio(answer).rtcp == Rtcp(30005)
    assert sip_audio(answer).connection == sip_audio(WE_CALLED).connection
    assert answer.origin.session_id == WE_CALLED.origin.session_id
    assert int(answer.origin.session_version) == int(WE_CALLED.origin.session_version) + 1


def test_what_was_agreed_decides_and_not_what_was_offered_first() -> None:
    agreed = plain("9 101")
    assert leg_media(answered(WE_CALLED, agreed, plain("0 9 101")), agreed).codec is G722
