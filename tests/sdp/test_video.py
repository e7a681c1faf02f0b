# SPDX-License-Identifier: GPL-3.0-or-later
"""Video in offers and answers: passed on where both legs share it, else declined in its place."""

from dataclasses import replace

import pytest

from bridge.sdp.agreement import leg_media, unheld
from bridge.sdp.at_once import answer_at_once
from bridge.sdp.codecs import PCMA
from bridge.sdp.description import (
    Bandwidth,
    Feedback,
    MediaDirection,
    Rtcp,
    SessionDescription,
)
from bridge.sdp.ends import Exchange, LocalRtp, LocalRtpVideo, LocalWebRtc
from bridge.sdp.negotiation import answer_to_matrix, answer_to_sip, offer_to_matrix, offer_to_sip
from bridge.sdp.parser import parse
from bridge.sdp.sdes import Encryption
from bridge.sdp.video import (
    LegVideo,
    leg_video,
    told_of_video,
    unheld_video,
    video_choices,
    video_index,
    video_of,
    video_wish,
)
from bridge.sdp.video_codecs import VP8, VideoCodec
from tests.sdp.samples import LOCAL_RTP, LOCAL_WEBRTC, load, plain, text
from tests.sdp.video_samples import (
    AUDIO_CLIENT,
    AUDIO_PHONE,
    BASELINE,
    CLIENT,
    CLIENT_ANSWERS,
    DOOR,
    H264,
    HIGH,
    MAIN,
    PHONE,
    RTP,
    SINGLE,
    TRUNK,
    WEBRTC,
    D,
    changed,
    keyed,
    lines,
    section,
    secured,
    with_video,
)

# --- sections -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "place"),
    [
        (DOOR, 1),
        (CLIENT, 1),
        (PHONE, 1),
        (plain("8"), None),
        (with_video(*H264, port=0), None),
        (with_video(*H264, "a=content:slides"), None),
        (with_video(*H264, "a=content:main"), 1),
        (changed(PHONE, 1, protocol="UDP/DTLS/SCTP"), None),
        (changed(PHONE, 1, protocol="RTP/AVPF"), 1),
        (changed(CLIENT, 1, rtcp_mux=False), None),
        (changed(CLIENT, 1, rtcp_mux=False, bundle_only=True, port=0), 1),
        (changed(CLIENT, 1, mid="2"), None),
        (changed(CLIENT, 0, mid="2"), None),
        (changed(CLIENT, 1, protocol="RTP/SAVPF"), 1),
        (changed(CLIENT, 1, fingerprints=()), 1),
    ],
)
def test_which_section_it_is(description: SessionDescription, place: int | None) -> None:
    assert video_index(description) == place
    assert (video_wish(description) is None) == (place is None)


def test_a_screen_counts_while_there_is_no_camera() -> None:
    camera, screen = section(CLIENT), replace(section(CLIENT), mid="2")
    both = replace(
        CLIENT,
        groups=(replace(CLIENT.groups[0], mids=("0", "1", "2")),),
        media=(CLIENT.media[0], replace(camera, direction=D.INACTIVE), screen),
    )
    assert video_index(both) == 2
    assert video_index(changed(both, 1, direction=D.SENDRECV)) == 1
    assert video_index(changed(both, 2, direction=D.INACTIVE)) == 1


# --- another telephone ------------------------------------------------------------------------


def seen(
    ours: MediaDirection, theirs: MediaDirection, held: MediaDirection = D.SENDRECV
) -> Exchange:
    """What was agreed with a client; `held`: what it was told of audio, which it mirrors."""
    local = offer_to_matrix(WEBRTC, sip=DOOR, video=video_choices(DOOR))
    remote = changed(CLIENT_ANSWERS, 0, direction=held.reversed)
    return Exchange(
        local=changed(changed(local, 0, direction=held), 1, direction=ours),
        remote=changed(remote, 1, direction=theirs),
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "held", "wish"),
    [
        (D.INACTIVE, D.INACTIVE, D.INACTIVE, D.SENDRECV),
        (D.SENDONLY, D.RECVONLY, D.SENDONLY, D.SENDRECV),
        (D.SENDONLY, D.INACTIVE, D.SENDONLY, D.SENDONLY),
        (D.INACTIVE, D.INACTIVE, D.SENDRECV, D.INACTIVE),
        (D.SENDONLY, D.RECVONLY, D.SENDRECV, D.RECVONLY),
    ],
)
def test_what_a_client_would_show_if_it_were_not_held(
    ours: MediaDirection, theirs: MediaDirection, held: MediaDirection, wish: MediaDirection
) -> None:
    exchange = seen(ours, theirs, held)
    free = unheld_video(exchange, unheld(exchange.local, exchange.remote))
    assert video_wish(free) is wish


def test_without_video_there_is_none_to_be_held() -> None:
    local, remote = (
        changed(one, 0, direction=D.INACTIVE)
        for one in (offer_to_matrix(WEBRTC, sip=plain("8")), CLIENT_ANSWERS)
    )
    exchange = Exchange(local=local, remote=remote)
    free = unheld(local, remote)
    assert unheld_video(exchange, free) == free


def test_what_a_client_was_told_of_video() -> None:
    assert told_of_video(seen(D.SENDRECV, D.RECVONLY)) is D.SENDRECV
    assert told_of_video(seen(D.SENDONLY, D.RECVONLY)) is D.SENDONLY
    assert told_of_video(seen(D.SENDRECV, D.INACTIVE)) is D.INACTIVE
    assert told_of_video(seen(D.INACTIVE, D.INACTIVE)) is D.INACTIVE
    without = offer_to_matrix(WEBRTC, sip=plain("8"))
    assert told_of_video(Exchange(local=without, remote=CLIENT_ANSWERS)) is D.INACTIVE


# --- the door rings -------------------------------------------------------------------------


def test_a_door_is_offered_to_a_client() -> None:
    offer = offer_to_matrix(WEBRTC, sip=DOOR, video=video_choices(DOOR))
    assert parse(str(offer)) == offer
    assert offer.bundle() == ("0", "1")
    assert offer.media[1].ice_pwd == offer.media[0].ice_pwd
    assert offer.media[1].candidates == WEBRTC.candidates
    assert lines(offer) == [
        "m=video 40000 UDP/TLS/RTP/SAVPF 96",
        "b=AS:1024",
        "b=TIAS:960000",
        "a=mid:1",
        "a=rtcp-mux",
        "a=setup:actpass",
        "a=sendonly",
        "a=msid:stream picture",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;"
        "sprop-parameter-sets=Z0KAH5ZUBQHtCA==,aM48gA==;level-asymmetry-allowed=1",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 ccm fir",
        "a=rtcp-fb:96 goog-remb",
        "a=ssrc:3735928560 cname:bridge",
        "a=ssrc:3735928560 msid:stream picture",
        "",
    ]


def test_a_door_is_answered() -> None:
    answer = answer_to_sip(RTP, DOOR, PCMA, matrix=CLIENT_ANSWERS, video=BASELINE)
    assert lines(answer) == [
        "m=video 30002 RTP/AVP 99",
        "a=recvonly",
        "a=rtpmap:99 H264/90000",
        # The door wants one level for both directions, and wrote the profile like this.
        "a=fmtp:99 profile-level-id=42801f;packetization-mode=1;"
        "sprop-parameter-sets=Z0KAH5ZUBQHtCA==,aM48gA==;level-asymmetry-allowed=0",
        "a=rtcp-fb:99 nack pli",
        "a=rtcp-fb:99 ccm fir",
        "",
    ]
    assert leg_video(answer, DOOR) == LegVideo(
        codec=BASELINE,
        payload_type=99,
        receive=frozenset({99}),
        direction=D.RECVONLY,
        address=("198.51.100.9", 4002),
        rtcp_address=("198.51.100.9", 4003),
        rtcp_mux=False,
        keys=None,
        feedback=frozenset({"pli", "fir"}),
        bit_rate=960_000,
    )
    assert leg_media(answer, DOOR).codec == PCMA


@pytest.mark.parametrize(
    ("offered", "client", "said"),
    [
        ("42801f", "42e00c", "42800c"),
        ("42800c", "42e01f", "42800c"),
        ("42800c;level-asymmetry-allowed=1", "42e01f", "42801f"),
        ("42801f", "", "42800a"),
    ],
)
def test_a_level_is_only_exceeded_where_each_direction_has_its_own(
    offered: str, client: str, said: str
) -> None:
    mode = "packetization-mode=1"
    door = with_video(H264[0], f"a=fmtp:99 {mode};profile-level-id={offered}")
    theirs = f"{mode};profile-level-id={client}" if client else mode
    other = with_video(H264[0], f"a=fmtp:99 {theirs}")
    answer = answer_to_sip(RTP, door, PCMA, matrix=other, video=BASELINE)
    assert f"profile-level-id={said}" in section(answer).parameters(99)


# --- a person calls -------------------------------------------------------------------------


def test_a_client_is_offered_to_a_telephone() -> None:
    offer = offer_to_sip(RTP, TRUNK, matrix=CLIENT, video=(VP8, BASELINE, SINGLE))
    assert parse(str(offer)) == offer
    assert lines(offer) == [
        "m=video 30002 RTP/AVP 96 97 98",
        "a=sendrecv",
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:97 H264/90000",
        "a=rtpmap:98 H264/90000",
        "a=fmtp:97 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f",
        *(
            f"a=rtcp-fb:{number} {kind}"
            for number in (96, 97, 98)
            for kind in ("nack", "nack pli", "ccm fir", "ccm tmmbr")
        ),
        "",
    ]


def test_profiles_but_baseline_are_written_as_they_came() -> None:
    offer = offer_to_sip(RTP, TRUNK, matrix=CLIENT, video=(MAIN, HIGH))
    written = [fmtp.parameters.rpartition("=")[2] for fmtp in section(offer).fmtps]
    assert written == ["4d001f", "64001f"]


@pytest.mark.parametrize("rtcp_port", [30003, 31000, None])
def test_rtcp_is_announced_where_it_is_not_the_port_above(rtcp_port: int | None) -> None:
    local = replace(RTP, video=LocalRtpVideo(port=30002, rtcp_port=rtcp_port))
    offer = offer_to_sip(local, TRUNK, matrix=CLIENT, video=(VP8,))
    assert section(offer).rtcp == (Rtcp(31000) if rtcp_port == 31000 else None)


def test_a_client_is_answered_with_what_the_telephone_took() -> None:
    offer = offer_to_sip(RTP, TRUNK, matrix=CLIENT, video=video_choices(CLIENT))
    answer = with_video(
        "a=rtpmap:97 H264/90000",
        "a=fmtp:97 profile-level-id=42800d;packetization-mode=1",
        "a=rtcp-fb:97 ccm fir",
        "a=rtcp-mux",
        "b=AS:512",
        formats="97",
    )
    agreed = leg_video(offer, answer)
    assert agreed is not None
    assert (agreed.codec, agreed.payload_type) == (BASELINE, 97)
    assert (agreed.feedback, agreed.bit_rate) == (frozenset({"fir"}), 512_000)
    to_client = answer_to_matrix(WEBRTC, CLIENT, PCMA, sip=answer, video=agreed.codec)
    assert lines(to_client) == [
        "m=video 40000 UDP/TLS/RTP/SAVPF 103",
        "b=AS:512",
        "a=mid:1",
        "a=rtcp-mux",
        "a=setup:active",
        "a=sendrecv",
        "a=msid:stream picture",
        "a=rtpmap:103 H264/90000",
        "a=fmtp:103 profile-level-id=42000d;packetization-mode=1;level-asymmetry-allowed=1",
        "a=rtcp-fb:103 nack",
        "a=rtcp-fb:103 nack pli",
        "a=rtcp-fb:103 ccm fir",
        "a=rtcp-fb:103 goog-remb",
        "a=ssrc:3735928560 cname:bridge",
        "a=ssrc:3735928560 msid:stream picture",
        "",
    ]
    leg = leg_video(to_client, CLIENT)
    assert leg is not None
    assert leg.receive == frozenset({103, 109})  # A browser may send either: they are one here.


def test_vp8_keeps_its_parameters() -> None:
    answer = with_video("a=rtpmap:96 VP8/90000", "a=fmtp:96 max-fr=30;max-fs=3600", formats="96")
    to_client = answer_to_matrix(WEBRTC, CLIENT, PCMA, sip=answer, video=VP8)
    assert section(to_client).parameters(96) == "max-fr=30;max-fs=3600"


# --- what is not shared ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "offer", "codec"),
    [
        (RTP, DOOR, None),
        (LOCAL_RTP, DOOR, BASELINE),
        (RTP, DOOR, VP8),
        (RTP, with_video("a=rtpmap:99 H263/90000"), BASELINE),
    ],
)
def test_declined_in_its_place(
    local: LocalRtp, offer: SessionDescription, codec: VideoCodec | None
) -> None:
    answer = answer_to_sip(local, offer, PCMA, matrix=CLIENT, video=codec)
    assert (answer.media[1].kind, answer.media[1].port) == ("video", 0)
    assert leg_video(answer, offer) is None


def test_a_client_is_declined_where_the_telephone_has_none() -> None:
    answer = answer_to_matrix(WEBRTC, CLIENT, PCMA, sip=plain("8"), video=BASELINE)
    assert answer.media[1].port == 0
    assert answer.bundle() == ("0",)
    assert leg_video(answer, CLIENT) is None


@pytest.mark.parametrize(
    ("local", "other", "codecs"),
    [
        (LOCAL_RTP, CLIENT, (VP8,)),
        (RTP, CLIENT, ()),
        (RTP, load("chromium-offer"), (VP8,)),
        (RTP, None, (VP8,)),
        (RTP, PHONE, (VP8,)),
    ],
)
def test_not_offered(
    local: LocalRtp, other: SessionDescription | None, codecs: tuple[VideoCodec, ...]
) -> None:
    offer = offer_to_sip(local, TRUNK, matrix=other, video=codecs)
    assert [media.kind for media in offer.media] == ["audio"]


@pytest.mark.parametrize(
    "remote",
    [
        plain("8"),
        with_video(*H264, port=0),
        with_video("a=rtpmap:99 VP8/90000"),
        with_video("a=rtpmap:99 H265/90000"),
        with_video(*H264, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:much-too-short"),
    ],
    ids=["too short", "declined", "another codec", "unknown codec", "no key that was offered"],
)
def test_a_telephone_that_does_not_take_it(remote: SessionDescription) -> None:
    local = replace(
        secured(1), encryption=Encryption.REQUIRED if "crypto" in str(remote) else Encryption.OFF
    )
    offer = offer_to_sip(local, TRUNK, matrix=CLIENT, video=(BASELINE,))
    assert leg_video(offer, remote) is None


def test_nothing_is_agreed_without_an_address() -> None:
    """Who names none cannot be sent anything, but may send."""
    offer = offer_to_sip(RTP, TRUNK, matrix=CLIENT, video=(BASELINE,))
    answer = changed(PHONE, 1, connection=None)
    leg = leg_video(offer, answer)
    assert leg is not None
    assert (leg.address, leg.rtcp_address) == (("0.0.0.0", 4002), ("0.0.0.0", 4003))


# --- at once --------------------------------------------------------------------------------


def talked() -> Exchange:
    """A telephone with a camera was answered."""
    answer = answer_to_sip(RTP, PHONE, PCMA, matrix=PHONE, video=BASELINE)
    return Exchange(local=answer, remote=PHONE)


@pytest.mark.parametrize("direction", D)
def test_hold_holds_video(direction: D) -> None:
    before = talked()
    offer = changed(changed(PHONE, 0, direction=direction), 1, direction=direction)
    after = answer_at_once(before.local, before.remote, offer)
    assert after.remote is offer
    assert [media.direction for media in after.local.media] == [direction.reversed] * 2
    resumed = answer_at_once(after.local, after.remote, PHONE)
    assert [media.direction for media in resumed.local.media] == [D.SENDRECV] * 2
    assert section(resumed.local).port == 30002


@pytest.mark.parametrize(
    "offer",
    [with_video(*H264, port=0), plain("8 101"), with_video("a=rtpmap:99 VP8/90000")],
    ids=["declined", "gone", "another codec"],
)
def test_video_can_go_at_once(offer: SessionDescription) -> None:
    before = talked()
    after = answer_at_once(before.local, before.remote, offer)
    assert video_of(after.local) is None
    assert video_of(after.remote) is None
    assert leg_media(after.local, after.remote).codec == PCMA


def test_video_cannot_come_at_once() -> None:
    """Nobody was asked yet: what the other leg is told of has none, either."""
    answer = answer_to_sip(RTP, AUDIO_PHONE, PCMA, matrix=AUDIO_CLIENT)
    after = answer_at_once(answer, AUDIO_PHONE, PHONE)
    assert [media.port for media in after.local.media] == [30000, 0]
    assert [media.port for media in after.remote.media] == [4000, 0]


@pytest.mark.parametrize(("seed", "stays"), [(2, True), (4, False)])
def test_keys_of_video_cannot_be_changed_at_once(seed: int, stays: bool) -> None:
    phone = keyed(2)
    answer = answer_to_sip(
        secured(1, Encryption.REQUIRED), phone, PCMA, matrix=PHONE, video=BASELINE
    )
    offer = changed(phone, 1, crypto=section(keyed(seed)).crypto)
    after = answer_at_once(answer, phone, offer)
    assert (leg_video(after.local, after.remote) is not None) == stays


# --- text -----------------------------------------------------------------------------------


def test_bandwidth_and_feedback_are_read_and_written() -> None:
    audio, video = DOOR.media
    assert (audio.bit_rate, video.bit_rate) == (2_048_000, 960_000)
    assert load("chromium-offer").media[0].bit_rate is None
    assert video.bandwidths == (Bandwidth("AS", 1024), Bandwidth("TIAS", 960_000))
    assert video.feedback == (Feedback(None, "nack pli"), Feedback(99, "ccm fir"))
    assert parse(str(DOOR)) == DOOR
    assert "a=rtcp-fb:* nack pli" in text("door-offer")
    assert "a=rtcp-fb:* nack pli" in str(DOOR)


@pytest.mark.parametrize("line", ["a=rtcp-fb:x nack", "a=rtcp-fb:99", "a=rtcp-fb:1000 nack"])
def test_feedback_that_cannot_be_read_is_left(line: str) -> None:
    assert section(with_video(*H264, line)).feedback == ()


def test_our_ends_have_no_video_by_themselves() -> None:
    assert LOCAL_RTP.video is None
    assert isinstance(LOCAL_WEBRTC, LocalWebRtc)
    assert LOCAL_WEBRTC.video is None
