# SPDX-License-Identifier: GPL-3.0-or-later
"""Offers and answers for both legs."""

from dataclasses import replace

import pytest

from bridge.errors import SdpError
from bridge.sdp.agreement import codec_choices, held, leg_media, matrix_audio, sip_audio
from bridge.sdp.codecs import (
    AUDIO_CODECS,
    G722,
    OPUS,
    PCMA,
    PCMU,
    TELEPHONE_EVENT,
    TELEPHONE_EVENT_48K,
    Codec,
    NoCommonCodec,
    audio_codecs_of,
    codecs_of,
    pair_codecs,
)
from bridge.sdp.description import (
    Attribute,
    Connection,
    Group,
    Media,
    MediaDirection,
    Rtcp,
    SessionDescription,
    Setup,
    SourceAttribute,
)
from bridge.sdp.ends import Exchange
from bridge.sdp.negotiation import answer_to_matrix, answer_to_sip, offer_to_matrix, offer_to_sip
from bridge.sdp.parser import parse
from bridge.sdp.sdes import Encryption, only_fitting
from tests.sdp.samples import LOCAL_RTP, LOCAL_WEBRTC, directed, load, plain, text

TRUNK = (OPUS, G722, PCMA, PCMU)


def answered(name: str, codec: Codec, sip: SessionDescription | None = None) -> SessionDescription:
    """Our answer to a client's offer."""
    return answer_to_matrix(LOCAL_WEBRTC, load(name), codec, sip=sip or plain("8"))


# --- offers to SIP --------------------------------------------------------------------------


def test_an_offer_to_a_trunk() -> None:
    offer = offer_to_sip(LOCAL_RTP, (PCMA, OPUS), matrix=load("chromium-offer"))
    assert str(offer).split("\r\n") == [
        "v=0",
        "o=- 1001 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 30000 RTP/AVP 8 111 101 110",
        "a=sendrecv",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:110 telephone-event/48000",
        "a=fmtp:111 minptime=10;usedtx=1;useinbandfec=1",
        "a=fmtp:101 0-16",
        "a=fmtp:110 0-16",
        "a=ptime:20",
        "",
    ]


def test_an_opus_only_client_still_gets_every_codec_of_the_trunk() -> None:
    offer = offer_to_sip(LOCAL_RTP, (PCMA, PCMU, OPUS), matrix=load("gstreamer-opus-only-offer"))
    assert codec_choices(offer) == (OPUS, PCMA, PCMU)


def test_a_narrowband_trunk_is_offered_no_event_at_48_khz() -> None:
    assert codecs_of(sip_audio(offer_to_sip(LOCAL_RTP, (PCMU,)))) == {0: PCMU, 101: TELEPHONE_EVENT}


def test_a_trunk_without_codecs() -> None:
    with pytest.raises(NoCommonCodec, match="No codec is allowed"):
        offer_to_sip(LOCAL_RTP, ())


def test_ports_for_rtcp() -> None:
    def rtcp_of(rtcp_port: int | None) -> Rtcp | None:
        return sip_audio(offer_to_sip(replace(LOCAL_RTP, rtcp_port=rtcp_port), TRUNK)).rtcp

    assert rtcp_of(None) is None
    assert rtcp_of(30001) is None
    assert rtcp_of(30007) == Rtcp(30007)
    assert sip_audio(offer_to_sip(replace(LOCAL_RTP, rtcp_mux=True), TRUNK)).rtcp_mux
    assert not sip_audio(offer_to_sip(LOCAL_RTP, TRUNK)).rtcp_mux


def test_an_address_of_the_new_protocol() -> None:
    offer = offer_to_sip(replace(LOCAL_RTP, address="2001:db8::1"), TRUNK)
    assert "c=IN IP6 2001:db8::1\r\n" in str(offer)
    assert "o=- 1001 1 IN IP6 2001:db8::1\r\n" in str(offer)


# --- offers to Matrix -----------------------------------------------------------------------


def test_an_offer_to_a_client() -> None:
    offer = offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=load("rtpengine-offer"))
    audio = matrix_audio(offer)
    assert codecs_of(audio) == {
        8: PCMA,
        0: PCMU,
        111: OPUS,
        9: G722,
        101: TELEPHONE_EVENT,
        110: TELEPHONE_EVENT_48K,
    }
    assert list(codecs_of(audio)) == [8, 0, 111, 9, 101, 110]
    assert offer.connection is None
    assert offer.groups == (Group("BUNDLE", ("0",)),)
    assert offer.attributes == (Attribute("msid-semantic", " WMS stream"),)
    assert audio.protocol == "UDP/TLS/RTP/SAVPF"
    assert audio.connection == Connection("192.0.2.1")
    assert audio.port == 40000
    assert audio.mid == "0"
    assert audio.setup is Setup.ACTPASS
    assert audio.rtcp_mux
    assert audio.ice_ufrag == LOCAL_WEBRTC.ice_ufrag
    assert audio.ice_pwd == LOCAL_WEBRTC.ice_pwd
    assert audio.candidates == LOCAL_WEBRTC.candidates
    assert audio.end_of_candidates
    assert audio.fingerprints == LOCAL_WEBRTC.fingerprints
    assert audio.msids == ("stream track",)
    assert audio.sources == (
        SourceAttribute(LOCAL_WEBRTC.ssrc, "cname", "bridge"),
        SourceAttribute(LOCAL_WEBRTC.ssrc, "msid", "stream track"),
    )


def test_opus_is_always_offered_to_a_client() -> None:
    assert codec_choices(offer_to_matrix(LOCAL_WEBRTC, (PCMU,), sip=plain("0")))[:2] == (PCMU, OPUS)


def test_codecs_that_the_trunk_may_not_use_do_not_come_first() -> None:
    offer = offer_to_matrix(LOCAL_WEBRTC, (PCMU,), sip=load("asterisk-offer"))
    assert codec_choices(offer)[0] == PCMU


def test_an_invite_without_an_offer() -> None:
    assert codec_choices(offer_to_matrix(LOCAL_WEBRTC)) == AUDIO_CODECS
    assert codec_choices(offer_to_matrix(LOCAL_WEBRTC, (PCMA, G722)))[:3] == (PCMA, G722, OPUS)


def test_what_the_telephone_wants_is_passed_on() -> None:
    offer = offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=load("provider-offer"))
    assert matrix_audio(offer).ptime == 30
    offer = offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=load("asterisk-offer"))
    assert matrix_audio(offer).maxptime == 150


def test_parameters_of_opus_are_passed_on() -> None:
    offer = matrix_audio(offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=load("baresip-offer")))
    assert offer.parameters(111) == "stereo=1;sprop-stereo=1"
    silent = plain("96", "a=rtpmap:96 opus/48000/2")
    offer = matrix_audio(offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=silent))
    assert offer.parameters(111) == ""
    offer = matrix_audio(offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=plain("8")))
    assert offer.parameters(111) == "minptime=10;useinbandfec=1"


# --- answers to Matrix ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "formats"),
    [
        ("chromium-offer", PCMA, ("8", "126")),
        ("chromium-offer", OPUS, ("111", "110")),
        ("firefox-offer", OPUS, ("109", "101")),
        ("firefox-offer", G722, ("9", "101")),
        ("ios-video-offer", PCMU, ("0", "126")),
        ("gstreamer-opus-only-offer", OPUS, ("111",)),
    ],
)
def test_an_answer_keeps_the_numbers_of_the_offer(
    name: str, codec: Codec, formats: tuple[str, ...]
) -> None:
    audio = matrix_audio(answered(name, codec))
    assert audio.formats == formats
    assert audio_codecs_of(audio) == (codec,)
    assert {str(entry.payload_type) for entry in audio.rtpmaps} == set(formats)


def test_an_answer_to_a_browser() -> None:
    answer = answered("chromium-offer", PCMA)
    audio = matrix_audio(answer)
    assert audio.setup is Setup.ACTIVE
    assert audio.mid == "0"
    assert audio.rtcp_mux
    assert audio.end_of_candidates
    assert audio.msids == ("stream track",)
    assert audio.extmaps == ()
    assert answer.groups == (Group("BUNDLE", ("0",)),)
    assert parse(str(answer)) == answer


def test_video_is_declined_in_its_place() -> None:
    answer = answered("ios-video-offer", OPUS)
    audio, video = answer.media
    assert not audio.declined
    assert video == Media(
        kind="video",
        port=0,
        protocol="UDP/TLS/RTP/SAVPF",
        formats=("96",),
        connection=Connection("0.0.0.0"),
        direction=MediaDirection.INACTIVE,
        rtpmaps=video.rtpmaps,
        mid="1",
    )
    assert video.rtpmaps[0].name == "VP8"
    assert answer.bundle() == ("0",)


def video_first(*, bundled: bool = True) -> SessionDescription:
    """An offer whose audio comes second."""
    offer = load("ios-video-offer")
    return replace(
        offer, media=offer.media[::-1], groups=(Group("BUNDLE", ("1", "0")),) if bundled else ()
    )


def test_audio_that_is_not_first() -> None:
    answer = answer_to_matrix(LOCAL_WEBRTC, video_first(bundled=False), OPUS, sip=plain("8"))
    assert [section.port for section in answer.media] == [0, 40000]
    assert [section.mid for section in answer.media] == ["1", "0"]
    assert answer.groups == ()


def test_video_that_owns_the_transport_is_kept_but_unused() -> None:
    """libwebrtc cannot take the audio out of a transport whose section is declined."""
    offer = video_first()
    answer = answer_to_matrix(LOCAL_WEBRTC, offer, OPUS, sip=plain("8"))
    video, audio = answer.media
    assert video.port == audio.port == 40000
    assert video.direction is MediaDirection.INACTIVE
    assert audio.direction is MediaDirection.SENDRECV
    assert (video.ice_ufrag, video.ice_pwd) == (audio.ice_ufrag, audio.ice_pwd)
    assert (video.setup, video.fingerprints) == (audio.setup, audio.fingerprints)
    assert video.candidates == audio.candidates
    assert video.rtcp_mux
    assert video.msids == ()
    assert answer.bundle() == ("1", "0")
    assert leg_media(answer, offer).codec == OPUS
    ours = offer_to_matrix(
        LOCAL_WEBRTC, TRUNK, sip=plain("8"), previous=Exchange(local=answer, remote=offer)
    )
    assert [(section.mid, section.port) for section in ours.media] == [("1", 40000), ("0", 40000)]
    assert [section.setup for section in ours.media] == [Setup.ACTPASS, Setup.ACTPASS]
    assert ours.bundle() == ("1", "0")


def test_video_that_comes_in_a_running_call_is_kept_but_unused() -> None:
    """matrix-js-sdk cannot take back the camera or screen of a section that was declined."""
    offer = load("ios-video-offer")
    first = replace(offer, media=offer.media[:1], groups=(Group("BUNDLE", ("0",)),))
    before = answer_to_matrix(LOCAL_WEBRTC, first, OPUS, sip=plain("8"))
    previous = Exchange(local=before, remote=first)
    answer = answer_to_matrix(LOCAL_WEBRTC, offer, OPUS, sip=plain("8"), previous=previous)
    audio, video = answer.media
    assert (audio.direction, video.direction) == (MediaDirection.SENDRECV, MediaDirection.INACTIVE)
    assert (video.port, video.ice_ufrag) == (audio.port, audio.ice_ufrag)
    assert (video.formats, video.msids) == (("96",), ())
    assert answer.bundle() == ("0", "1")
    stopped = replace(offer, media=(offer.media[0], replace(offer.media[1], port=0)))
    after = answer_to_matrix(LOCAL_WEBRTC, stopped, OPUS, sip=plain("8"), previous=previous)
    assert [section.declined for section in after.media] == [False, True]


def test_audio_without_a_port_of_its_own() -> None:
    offer = load("chromium-offer")
    bundled = replace(offer, media=(replace(offer.media[0], port=0, bundle_only=True),))
    answer = answer_to_matrix(LOCAL_WEBRTC, bundled, OPUS, sip=plain("8"))
    assert matrix_audio(answer).port == 40000


def test_a_client_without_bundle_and_identifiers() -> None:
    offer = load("chromium-offer")
    assert (
        answer_to_matrix(LOCAL_WEBRTC, replace(offer, groups=()), OPUS, sip=plain("8")).groups == ()
    )
    bare = replace(offer, groups=(), media=(replace(offer.media[0], mid=None),))
    answer = answer_to_matrix(LOCAL_WEBRTC, bare, OPUS, sip=plain("8"))
    assert answer.media[0].mid is None
    assert answer.groups == ()


@pytest.mark.parametrize(
    ("offered", "in_force", "expected"),
    [
        ("actpass", None, Setup.ACTIVE),
        ("actpass", Setup.PASSIVE, Setup.PASSIVE),
        ("actpass", Setup.ACTIVE, Setup.ACTIVE),
        ("active", None, Setup.PASSIVE),
        ("passive", None, Setup.ACTIVE),
    ],
)
def test_dtls_roles(offered: str, in_force: Setup | None, expected: Setup) -> None:
    offer = parse(text("chromium-offer").replace("a=setup:actpass", f"a=setup:{offered}"))
    local = replace(LOCAL_WEBRTC, setup=in_force)
    answer = answer_to_matrix(local, offer, OPUS, sip=plain("8"))
    assert matrix_audio(answer).setup is expected


def test_a_client_that_says_no_dtls_role() -> None:
    offer = parse(text("chromium-offer").replace("a=setup:actpass\r\n", ""))
    answer = answer_to_matrix(LOCAL_WEBRTC, offer, OPUS, sip=plain("8"))
    assert matrix_audio(answer).setup is Setup.ACTIVE


def test_a_client_that_cannot_be_answered() -> None:
    with pytest.raises(SdpError, match="holdconn"):
        answer_to_matrix(
            LOCAL_WEBRTC,
            parse(text("chromium-offer").replace("actpass", "holdconn")),
            OPUS,
            sip=plain("8"),
        )
    with pytest.raises(SdpError, match="rtcp-mux"):
        answer_to_matrix(
            LOCAL_WEBRTC,
            parse(text("chromium-offer").replace("a=rtcp-mux\r\n", "")),
            OPUS,
            sip=plain("8"),
        )


def test_a_codec_that_is_not_in_the_offer() -> None:
    with pytest.raises(NoCommonCodec, match="PCMA/8000 is not in the offer: 111"):
        answered("gstreamer-opus-only-offer", PCMA)


# --- answers to SIP -------------------------------------------------------------------------


def test_an_answer_to_a_telephone() -> None:
    offer = load("asterisk-offer")
    answer = answer_to_sip(LOCAL_RTP, offer, PCMA, matrix=load("chromium-answer"))
    assert str(answer).split("\r\n") == [
        "v=0",
        "o=- 1001 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 30000 RTP/AVP 8 101",
        "a=sendrecv",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "",
    ]


def test_an_answer_without_events_to_one_that_has_none() -> None:
    answer = answer_to_sip(LOCAL_RTP, load("sipp-offer"), PCMU, matrix=load("chromium-answer"))
    assert sip_audio(answer).formats == ("0",)


def test_fax_and_srtp_are_declined_in_their_places() -> None:
    answer = answer_to_sip(LOCAL_RTP, load("provider-offer"), PCMU, matrix=load("chromium-answer"))
    assert [section.port for section in answer.media] == [30000, 0]
    assert answer.media[1].formats == ("t38",)
    answer = answer_to_sip(
        LOCAL_RTP,
        only_fitting(load("freeswitch-srtp-offer"), Encryption.OFF),
        OPUS,
        matrix=load("chromium-answer"),
    )
    assert [(section.port, section.protocol) for section in answer.media] == [
        (0, "RTP/SAVP"),
        (30000, "RTP/AVP"),
    ]
    assert answer.media[1].formats == ("102", "103")
    assert answer.media[0].crypto == ()


def test_feedback_profile_is_mirrored() -> None:
    offer = parse(text("asterisk-offer").replace("RTP/AVP", "RTP/AVPF"))
    answer = answer_to_sip(LOCAL_RTP, offer, PCMA, matrix=load("chromium-answer"))
    assert sip_audio(answer).protocol == "RTP/AVPF"


# --- directions -----------------------------------------------------------------------------

ANSWERS = {
    # (offered, said by the other leg): answered
    ("sendrecv", "sendrecv"): "sendrecv",
    ("sendonly", "sendrecv"): "recvonly",
    ("sendonly", "recvonly"): "recvonly",
    ("recvonly", "sendrecv"): "sendonly",
    ("recvonly", "recvonly"): "inactive",
    ("inactive", "sendrecv"): "inactive",
    ("sendrecv", "recvonly"): "recvonly",
    ("sendrecv", "sendonly"): "sendonly",
    ("sendrecv", "inactive"): "inactive",
}


@pytest.mark.parametrize(("offered", "other"), ANSWERS)
def test_directions_of_answers(offered: str, other: str) -> None:
    expected = MediaDirection(ANSWERS[offered, other])
    sip = directed(plain("8 101"), MediaDirection(offered))
    matrix = directed(load("chromium-answer"), MediaDirection(other))
    assert sip_audio(answer_to_sip(LOCAL_RTP, sip, PCMA, matrix=matrix)).direction is expected
    matrix = directed(load("chromium-offer"), MediaDirection(offered))
    sip = directed(plain("8 101"), MediaDirection(other))
    answer = answer_to_matrix(LOCAL_WEBRTC, matrix, PCMA, sip=sip)
    assert matrix_audio(answer).direction is expected


@pytest.mark.parametrize("direction", MediaDirection)
def test_offers_pass_the_direction_on(direction: MediaDirection) -> None:
    offer = offer_to_sip(LOCAL_RTP, TRUNK, matrix=directed(load("chromium-offer"), direction))
    assert sip_audio(offer).direction is direction
    offer = offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=directed(plain("8"), direction))
    assert matrix_audio(offer).direction is direction
    assert held(offer) is not direction.receives


WRITTEN = {
    # (c= line, a= line of the session, a= line of the audio): our answer
    ("IN IP4 198.51.100.9", "", ""): "sendrecv",
    ("IN IP4 198.51.100.9", "a=sendonly", ""): "recvonly",
    ("IN IP4 198.51.100.9", "a=inactive", "a=sendrecv"): "sendrecv",
    ("IN IP4 198.51.100.9", "", "a=recvonly"): "sendonly",
    ("IN IP4 0.0.0.0", "", ""): "recvonly",
    ("IN IP4 0.0.0.0", "", "a=sendonly"): "recvonly",
    ("IN IP4 0.0.0.0", "a=inactive", ""): "inactive",
    ("IN IP4 0.0.0.0", "", "a=recvonly"): "inactive",
    ("IN IP6 ::", "", ""): "recvonly",
}


@pytest.mark.parametrize(("connection", "session", "media"), WRITTEN)
def test_hold_however_it_is_written(connection: str, session: str, media: str) -> None:
    lines = ("v=0", "o=- 1 1 IN IP4 198.51.100.9", "s=-", f"c={connection}", "t=0 0", session)
    text = "\r\n".join(line for line in (*lines, "m=audio 4000 RTP/AVP 8", media) if line)
    offer = parse(text + "\r\n")
    answer = answer_to_sip(LOCAL_RTP, offer, PCMA, matrix=load("chromium-answer"))
    expected = MediaDirection(WRITTEN[connection, session, media])
    assert sip_audio(answer).direction is expected


def test_hold_by_address_becomes_hold_by_direction() -> None:
    """Clients know the second way only."""
    hold = load("provider-old-hold-offer")
    offer = offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=hold)
    assert matrix_audio(offer).direction is MediaDirection.SENDONLY
    answer = answer_to_sip(LOCAL_RTP, hold, PCMA, matrix=load("chromium-hold-answer"))
    assert sip_audio(answer).direction is MediaDirection.RECVONLY


# --- renegotiation --------------------------------------------------------------------------


def test_the_version_rises_only_with_a_change() -> None:
    first = offer_to_sip(LOCAL_RTP, TRUNK, matrix=load("chromium-offer"))
    agreed = Exchange(local=first, remote=plain("111", "a=rtpmap:111 opus/48000/2"))
    again = offer_to_sip(LOCAL_RTP, TRUNK, matrix=load("chromium-offer"), previous=agreed)
    assert again == first
    hold = offer_to_sip(LOCAL_RTP, TRUNK, matrix=load("chromium-hold-offer"), previous=agreed)
    assert hold.origin == replace(first.origin, session_version="2")
    assert sip_audio(hold).direction is MediaDirection.SENDONLY


def test_the_version_of_answers_rises_too() -> None:
    offer = load("chromium-offer")
    first = answer_to_matrix(LOCAL_WEBRTC, offer, PCMA, sip=plain("8"))
    agreed = Exchange(local=first, remote=offer)
    again = answer_to_matrix(LOCAL_WEBRTC, offer, PCMA, sip=plain("8"), previous=agreed)
    assert again == first
    hold = load("chromium-hold-offer")
    held_answer = answer_to_matrix(LOCAL_WEBRTC, hold, PCMA, sip=plain("8"), previous=agreed)
    assert held_answer.origin.session_version == "2"
    assert matrix_audio(held_answer).direction is MediaDirection.RECVONLY


def test_we_offer_anew_with_the_numbers_of_a_client_that_offered_first() -> None:
    offer = load("firefox-offer")
    agreed = Exchange(local=answered("firefox-offer", OPUS), remote=offer)
    ours = offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=plain("8"), previous=agreed)
    numbers = codecs_of(matrix_audio(ours))
    assert numbers[109] == OPUS
    assert numbers[101] == TELEPHONE_EVENT
    assert numbers[110] == TELEPHONE_EVENT_48K
    assert matrix_audio(ours).setup is Setup.ACTPASS
    assert matrix_audio(ours).mid == "0"


def test_a_number_is_never_given_two_meanings() -> None:
    first = plain(
        "110 111 8",
        "a=rtpmap:110 speex/16000",
        "a=rtpmap:111 telephone-event/8000",
        "a=rtpmap:96 G726-32/8000",
    )
    answer = answer_to_sip(LOCAL_RTP, first, PCMA, matrix=load("chromium-answer"))
    ours = offer_to_sip(LOCAL_RTP, TRUNK, previous=Exchange(local=answer, remote=first))
    assert codecs_of(sip_audio(ours)) == {
        97: OPUS,
        9: G722,
        8: PCMA,
        0: PCMU,
        111: TELEPHONE_EVENT,
        98: TELEPHONE_EVENT_48K,
    }


def test_our_own_numbers_stay_where_the_peer_used_others() -> None:
    first = offer_to_sip(LOCAL_RTP, (OPUS, PCMA))
    answer = plain("97 111", "a=rtpmap:97 opus/48000/2", "a=rtpmap:111 telephone-event/48000")
    again = offer_to_sip(LOCAL_RTP, (OPUS, PCMA), previous=Exchange(local=first, remote=answer))
    assert again == first


def test_sections_keep_their_order_when_we_offer_anew() -> None:
    offer = video_first(bundled=False)
    answer = answer_to_matrix(LOCAL_WEBRTC, offer, OPUS, sip=plain("8"))
    agreed = Exchange(local=answer, remote=offer)
    ours = offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=plain("8", "a=sendonly"), previous=agreed)
    assert [(section.kind, section.port, section.mid) for section in ours.media] == [
        ("video", 0, "1"),
        ("audio", 40000, "0"),
    ]
    assert ours.bundle() == ("0",)
    assert ours.origin.session_version == "2"


def test_a_sip_offer_in_answer_to_a_hold_keeps_fax_declined() -> None:
    offer = load("provider-offer")
    answer = answer_to_sip(LOCAL_RTP, offer, PCMA, matrix=load("chromium-answer"))
    ours = offer_to_sip(LOCAL_RTP, TRUNK, previous=Exchange(local=answer, remote=offer))
    assert [(section.kind, section.port) for section in ours.media] == [
        ("audio", 30000),
        ("image", 0),
    ]


# --- whole calls ----------------------------------------------------------------------------


def test_a_call_to_a_telephone_without_transcoding() -> None:
    client = load("chromium-offer")
    to_sip = offer_to_sip(LOCAL_RTP, TRUNK, matrix=client)
    from_sip = plain("8 0 101")
    pair = pair_codecs(codec_choices(client), codec_choices(from_sip)[:1])
    to_client = answer_to_matrix(LOCAL_WEBRTC, client, pair.matrix, sip=from_sip)
    assert pair.relay
    assert leg_media(to_client, client).codec == leg_media(to_sip, from_sip).codec == PCMA


def test_a_call_from_a_telephone_to_a_client_with_opus_only() -> None:
    from_sip = load("rtpengine-offer")
    to_client = offer_to_matrix(LOCAL_WEBRTC, TRUNK, sip=from_sip)
    client = load("gstreamer-opus-only-offer")
    client = replace(client, media=(replace(client.media[0], setup=Setup.ACTIVE),))
    pair = pair_codecs(codec_choices(client)[:1], codec_choices(from_sip, TRUNK))
    to_sip = answer_to_sip(LOCAL_RTP, from_sip, pair.sip, matrix=client)
    assert not pair.relay
    assert leg_media(to_client, client).codec == OPUS
    assert leg_media(to_sip, from_sip).codec == PCMA
    assert leg_media(to_sip, from_sip).event == TELEPHONE_EVENT
