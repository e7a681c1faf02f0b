# SPDX-License-Identifier: GPL-3.0-or-later
"""What descriptions mean for a call."""

from dataclasses import replace

import pytest

from bridge.errors import SdpError
from bridge.sdp.agreement import (
    WEBRTC_PROTOCOLS,
    audio_index,
    audio_of,
    codec_choices,
    held,
    leg_media,
    matrix_audio,
    packet_time,
    sip_audio,
    unheld,
    webrtc_peer,
)
from bridge.sdp.codecs import (
    AUDIO_CODECS,
    G722,
    OPUS,
    PCMA,
    PCMU,
    TELEPHONE_EVENT,
    TELEPHONE_EVENT_48K,
    NoCommonCodec,
)
from bridge.sdp.description import MediaDirection, SessionDescription, Setup
from bridge.sdp.negotiation import answer_to_matrix, answer_to_sip, offer_to_matrix, offer_to_sip
from bridge.sdp.parser import parse
from tests.sdp.samples import LOCAL_RTP, LOCAL_WEBRTC, directed, load, plain, text


def test_the_section_that_carries_the_call() -> None:
    assert audio_index(load("ios-video-offer"), WEBRTC_PROTOCOLS) == 0
    assert sip_audio(load("asterisk-offer")).port == 17122
    assert matrix_audio(load("chromium-offer")).mid == "0"
    assert audio_of(load("firefox-offer")).port == 54609


def test_dtls_is_refused_with_a_remedy() -> None:
    with pytest.raises(SdpError, match="UDP/TLS/RTP/SAVPF is not supported") as caught:
        sip_audio(load("chromium-offer"))
    assert "RTP/AVP" in caught.value.remedy
    assert not isinstance(caught.value, NoCommonCodec)


@pytest.mark.parametrize("line", ["m=image 4000 udptl t38", "m=video 4000 RTP/AVP 31"])
def test_no_audio(line: str) -> None:
    offer = plain("0", line)
    with pytest.raises(SdpError, match="no audio"):
        sip_audio(replace(offer, media=offer.media[1:]))


def test_declined_audio() -> None:
    with pytest.raises(SdpError, match="no audio"):
        sip_audio(plain("0", port=0))


def test_unknown_codecs() -> None:
    with pytest.raises(NoCommonCodec, match="18 101") as caught:
        sip_audio(plain("18 101"))
    assert "PCMU/8000" in caught.value.remedy


def test_choices() -> None:
    assert codec_choices(load("asterisk-offer")) == (G722, PCMA, PCMU)
    assert codec_choices(load("asterisk-offer"), (PCMU, G722)) == (G722, PCMU)
    assert codec_choices(load("asterisk-offer"), (OPUS,)) == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chromium-offer", False),
        ("chromium-hold-offer", True),
        ("chromium-hold-answer", False),
        ("chromium-resume-offer", False),
        ("asterisk-offer", False),
        ("provider-old-hold-offer", True),
    ],
)
def test_hold(name: str, expected: bool) -> None:
    assert held(load(name)) is expected


def test_the_unspecified_address_is_no_hold_with_ice() -> None:
    """A client without candidates yet writes c=IN IP4 0.0.0.0 (RFC 8829 section 5.2.1)."""
    assert not held(load("ios-video-offer"))


def test_the_old_hold_of_one_who_does_not_send() -> None:
    description = directed(load("provider-old-hold-offer"), MediaDirection.RECVONLY)
    assert audio_of(description).active_direction is MediaDirection.INACTIVE


def test_how_to_reach_a_browser() -> None:
    peer = webrtc_peer(load("chromium-answer"))
    assert peer.setup is Setup.ACTIVE
    assert peer.mid == "0"
    assert len(peer.candidates) == 1
    assert peer.candidates[0].startswith("3855192897 1 udp") or "typ host" in peer.candidates[0]
    assert not peer.end_of_candidates
    assert not peer.ice_lite
    assert peer.fingerprints[0].algorithm == "sha-256"
    assert webrtc_peer(load("firefox-offer")).end_of_candidates


def test_restart_of_ice() -> None:
    before = webrtc_peer(load("chromium-offer"))
    assert not webrtc_peer(load("chromium-hold-offer")).restarts_ice(before)
    restarted = parse(text("chromium-offer").replace("ice-ufrag:bXyp", "ice-ufrag:NEWu"))
    assert webrtc_peer(restarted).restarts_ice(before)


def _without_transport(description: SessionDescription, index: int) -> SessionDescription:
    bare = replace(
        description.media[index], ice_ufrag=None, ice_pwd=None, fingerprints=(), setup=None
    )
    media = list(description.media)
    media[index] = bare
    return replace(description, media=tuple(media))


def test_a_bundled_section_uses_the_transport_of_another() -> None:
    offer = _without_transport(load("ios-video-offer"), 0)
    peer = webrtc_peer(offer)
    assert peer.ice_ufrag == "8hhY"
    assert peer.mid == "0"
    with pytest.raises(SdpError, match="no ICE"):
        webrtc_peer(replace(offer, groups=()))


def test_a_client_without_ice_or_dtls() -> None:
    with pytest.raises(SdpError, match="no ICE"):
        webrtc_peer(_without_transport(load("chromium-offer"), 0))
    with pytest.raises(SdpError, match="no ICE"):
        webrtc_peer(parse(text("chromium-offer").replace("a=ice-pwd", "a=x-pwd")))
    with pytest.raises(SdpError, match="fingerprint"):
        webrtc_peer(parse(text("chromium-offer").replace("a=fingerprint", "a=x-print")))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), 20),
        (("a=ptime:30",), 30),
        (("a=ptime:35",), 20),
        (("a=ptime:200",), 20),
        (("a=maxptime:10",), 10),
        (("a=ptime:60", "a=maxptime:45"), 40),
        (("a=maxptime:5",), 10),
        (("a=ptime:40", "a=maxptime:40"), 40),
    ],
)
def test_packet_time(lines: tuple[str, ...], expected: int) -> None:
    assert packet_time(plain("0", *lines).media[0]) == expected


def test_a_sip_leg_that_was_answered() -> None:
    offer = offer_to_sip(LOCAL_RTP, (PCMU, PCMA))
    answer = plain("8 96", "a=rtpmap:96 telephone-event/8000", "a=ptime:40", "a=rtcp:4100")
    media = leg_media(offer, answer)
    assert media.codec == PCMA
    assert media.payload_type == 8
    assert (media.event, media.event_payload_type) == (TELEPHONE_EVENT, 96)
    assert media.receive == {0: PCMU, 8: PCMA, 96: TELEPHONE_EVENT, 101: TELEPHONE_EVENT}
    assert media.ptime == 40
    assert media.address == ("198.51.100.9", 4000)
    assert media.rtcp_address == ("198.51.100.9", 4100)
    assert not media.rtcp_mux
    assert media.direction is MediaDirection.SENDRECV


def test_an_answer_with_several_codecs_means_the_first() -> None:
    offer = offer_to_sip(LOCAL_RTP, (PCMU, PCMA, G722))
    media = leg_media(offer, plain("9 0 8"))
    assert media.codec == G722
    assert media.receive[0] == PCMU
    assert media.event is None
    assert media.event_payload_type is None


def test_numbers_that_differ_between_the_sides() -> None:
    offer = offer_to_sip(LOCAL_RTP, (OPUS, PCMA))
    answer = plain("96", "a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1")
    media = leg_media(offer, answer)
    assert media.payload_type == 96
    assert media.receive[96] == media.receive[111] == OPUS
    assert media.parameters == "useinbandfec=1"


def test_a_codec_that_was_not_offered() -> None:
    with pytest.raises(NoCommonCodec, match="nothing offered"):
        leg_media(offer_to_sip(LOCAL_RTP, (PCMA,)), plain("0 101"))


@pytest.mark.parametrize(
    "answer",
    [
        plain("8", port=0),
        replace(plain("8"), media=()),
        replace(plain("8"), media=(replace(plain("8").media[0], kind="video"),)),
    ],
)
def test_an_answer_that_declines(answer: SessionDescription) -> None:
    with pytest.raises(NoCommonCodec, match="declined"):
        leg_media(offer_to_sip(LOCAL_RTP, (PCMA,)), answer)


def test_an_answer_without_an_address() -> None:
    answer = plain("8")
    bare = replace(answer, media=(replace(answer.media[0], connection=None),))
    media = leg_media(offer_to_sip(LOCAL_RTP, (PCMA,)), bare)
    assert media.address == ("0.0.0.0", 4000)
    assert media.rtcp_address == ("0.0.0.0", 4001)


def test_a_leg_that_we_answered() -> None:
    offer = load("chromium-offer")
    answer = answer_to_matrix(LOCAL_WEBRTC, offer, OPUS, sip=load("baresip-offer"))
    media = leg_media(answer, offer)
    assert media.codec == OPUS
    assert media.payload_type == 111
    assert (media.event, media.event_payload_type) == (TELEPHONE_EVENT_48K, 110)
    assert media.rtcp_mux
    assert media.rtcp_address == media.address


def test_multiplexed_rtcp_needs_both() -> None:
    offer = load("baresip-offer")
    here = replace(LOCAL_RTP, rtcp_mux=True)
    muxed = leg_media(answer_to_sip(here, offer, PCMA, matrix=load("chromium-answer")), offer)
    assert muxed.rtcp_mux
    assert muxed.rtcp_address == ("192.0.2.80", 12438)
    split = leg_media(answer_to_sip(LOCAL_RTP, offer, PCMA, matrix=load("chromium-answer")), offer)
    assert not split.rtcp_mux
    assert split.rtcp_address == ("192.0.2.80", 12439)


def test_hold_answered_as_if_it_were_none_stays_hold() -> None:
    """Peers that answer sendonly with sendrecv exist."""
    offer = offer_to_sip(LOCAL_RTP, (PCMA,), matrix=load("chromium-hold-offer"))
    assert leg_media(offer, plain("8")).direction is MediaDirection.SENDONLY


def test_the_old_hold_stops_our_sending() -> None:
    offer = load("provider-old-hold-offer")
    answer = answer_to_sip(LOCAL_RTP, offer, PCMA, matrix=load("chromium-answer"))
    assert leg_media(answer, offer).direction is MediaDirection.RECVONLY


def test_choices_of_a_matrix_offer_match_what_browsers_have() -> None:
    offer = offer_to_matrix(LOCAL_WEBRTC, (PCMA,), sip=plain("8"))
    assert codec_choices(offer) == (PCMA, *(codec for codec in AUDIO_CODECS if codec != PCMA))


@pytest.mark.parametrize(
    ("ours", "theirs", "wish"),
    [
        (MediaDirection.SENDRECV, MediaDirection.SENDRECV, MediaDirection.SENDRECV),
        (MediaDirection.SENDRECV, MediaDirection.SENDONLY, MediaDirection.SENDONLY),
        (MediaDirection.SENDONLY, MediaDirection.RECVONLY, MediaDirection.SENDRECV),
        (MediaDirection.SENDONLY, MediaDirection.INACTIVE, MediaDirection.SENDONLY),
        (MediaDirection.INACTIVE, MediaDirection.INACTIVE, MediaDirection.SENDRECV),
    ],
)
def test_what_a_peer_would_say_if_it_were_not_held(
    ours: MediaDirection, theirs: MediaDirection, wish: MediaDirection
) -> None:
    local, remote = (directed(load("asterisk-offer"), one) for one in (ours, theirs))
    assert unheld(local, remote) == directed(load("asterisk-offer"), wish)


def test_an_address_that_is_still_to_come_is_no_hold_where_ice_is_left_to_another_section() -> None:
    description = parse(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
        "m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=bundle-only\r\n"
        "a=rtpmap:96 VP8/90000\r\na=sendrecv\r\n"
    )
    assert description.media[0].active_direction is MediaDirection.SENDRECV
