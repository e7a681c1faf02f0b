# SPDX-License-Identifier: GPL-3.0-or-later
"""Video in offers and answers: passed on where both legs share it, else declined in its place."""

from dataclasses import dataclass, replace

import pytest

from bridge.sdp.agreement import leg_media
from bridge.sdp.at_once import answer_at_once
from bridge.sdp.codecs import OPUS, PCMA, PCMU
from bridge.sdp.description import (
    Bandwidth,
    Connection,
    Crypto,
    Feedback,
    Media,
    MediaDirection,
    Rtcp,
    SessionDescription,
)
from bridge.sdp.ends import Exchange, LocalRtp, LocalRtpVideo, LocalWebRtc, LocalWebRtcVideo
from bridge.sdp.negotiation import answer_to_matrix, answer_to_sip, offer_to_matrix, offer_to_sip
from bridge.sdp.parser import parse
from bridge.sdp.sdes import KEY_LENGTHS, Encryption, crypto_line, only_fitting
from bridge.sdp.video import (
    LegVideo,
    agreed_video,
    leg_video,
    pair_video,
    video_changes,
    video_choices,
    video_index,
    video_of,
    video_wish,
)
from bridge.sdp.video_codecs import VP8, VideoCodec
from tests.sdp.samples import LOCAL_RTP, LOCAL_WEBRTC, load, plain, text

D = MediaDirection
BASELINE = VideoCodec("H264", "baseline", 1)
SINGLE = VideoCodec("H264", "baseline", 0)
MAIN = VideoCodec("H264", "main", 1)
HIGH = VideoCodec("H264", "high", 1)

RTP = replace(LOCAL_RTP, video=LocalRtpVideo(port=30002))
WEBRTC = replace(LOCAL_WEBRTC, video=LocalWebRtcVideo(ssrc=3735928560, track_id="picture"))

DOOR, CLIENT = load("door-offer"), load("chromium-video-offer")
TRUNK = (PCMA, PCMU)


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


# --- codecs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("VP8/90000", VP8),
        ("vp8/90000", VP8),
        ("VP8/8000", None),
        ("VP9/90000", None),
        ("H264/90000", SINGLE),
        ("H264/90000 packetization-mode=1", BASELINE),
        ("H264/90000 profile-level-id=42e01f;packetization-mode=1", BASELINE),
        ("h264/90000 Profile-Level-ID=42801F; packetization-mode=1", BASELINE),
        ("H264/90000 profile-level-id=4d801f;packetization-mode=1", BASELINE),
        ("H264/90000 profile-level-id=58c01f;packetization-mode=1", BASELINE),
        ("H264/90000 profile-level-id=4d001f;packetization-mode=1", MAIN),
        ("H264/90000 profile-level-id=640028;packetization-mode=1;;x", HIGH),
        ("H264/90000 profile-level-id=640c1f", VideoCodec("H264", "constrained-high", 0)),
        ("H264/90000 profile-level-id=58001f", None),
        ("H264/90000 profile-level-id=f4001f", None),
        ("H264/90000 profile-level-id=42e0", None),
        ("H264/90000 profile-level-id=42e01f;packetization-mode=2", None),
        ("H264/90000 packetization-mode=first", None),
    ],
)
def test_which_codec_is_meant(written: str, meant: VideoCodec | None) -> None:
    encoding, _, parameters = written.partition(" ")
    described = with_video(f"a=rtpmap:99 {encoding}", f"a=fmtp:99 {parameters}")
    assert video_choices(described) == ((meant,) if meant else ())


def test_the_choices_of_a_browser() -> None:
    assert video_choices(CLIENT) == (VP8, BASELINE, SINGLE, MAIN, HIGH)


def test_static_and_odd_numbers_are_left_out() -> None:
    assert video_choices(with_video(*H264, formats="31 34 x 99")) == (BASELINE,)


def test_codecs_by_name() -> None:
    assert (str(VP8), str(HIGH)) == ("VP8/90000", "H264/90000")


@pytest.mark.parametrize(
    ("sip", "shared"),
    [
        (DOOR, BASELINE),
        (with_video(*H264, "a=rtpmap:98 VP8/90000", formats="98 99"), VP8),
        (with_video("a=rtpmap:99 H265/90000"), None),
        (plain("8"), None),
    ],
)
def test_two_offers_share_a_codec(sip: SessionDescription, shared: VideoCodec | None) -> None:
    assert pair_video(CLIENT, sip) == shared


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


CLIENT_ANSWERS = changed(
    CLIENT,
    1,
    formats=("96",),
    rtpmaps=offer_to_matrix(WEBRTC, sip=DOOR, video=(BASELINE,)).media[1].rtpmaps,
    fmtps=offer_to_matrix(WEBRTC, sip=DOOR, video=(BASELINE,)).media[1].fmtps,
    direction=D.RECVONLY,
)


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


# --- changes --------------------------------------------------------------------------------


@dataclass
class Call:
    """Both legs of a call, with what the engine would do of their offers."""

    matrix: Exchange
    sip: Exchange
    keys: int = 1

    def client_offers(self, offer: SessionDescription, answer: SessionDescription) -> None:
        """The client offers, and the telephone answers that."""
        assert video_changes(offer, self.matrix, self.sip)
        ours = offer_to_sip(
            secured(self.keys),
            TRUNK,
            matrix=offer,
            previous=self.sip,
            video=video_choices(offer),
        )
        self.sip = Exchange(local=ours, remote=answer)
        to_client = answer_to_matrix(
            WEBRTC, offer, PCMA, sip=answer, previous=self.matrix, video=agreed_video(self.sip)
        )
        self.matrix = Exchange(local=to_client, remote=offer)

    def telephone_offers(self, offer: SessionDescription, answer: SessionDescription) -> None:
        """The telephone offers, and the client answers that."""
        assert video_changes(offer, self.sip, self.matrix)
        ours = offer_to_matrix(
            WEBRTC, TRUNK, sip=offer, previous=self.matrix, video=video_choices(offer)
        )
        self.matrix = Exchange(local=ours, remote=answer)
        to_telephone = answer_to_sip(
            secured(self.keys),
            offer,
            PCMA,
            matrix=answer,
            previous=self.sip,
            video=agreed_video(self.matrix),
        )
        self.sip = Exchange(local=to_telephone, remote=offer)

    @property
    def videos(self) -> tuple[LegVideo | None, LegVideo | None]:
        """What passes on the Matrix leg, and on the other."""
        legs = (leg_video(one.local, one.remote) for one in (self.matrix, self.sip))
        matrix, sip = legs
        return matrix, sip

    @property
    def directions(self) -> list[D | None]:
        """Who sends on each leg, as we see it."""
        return [leg.direction if leg else None for leg in self.videos]


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


AUDIO_CLIENT = changed(replace(CLIENT, media=CLIENT.media[:1]), 0)
AUDIO_PHONE = plain("8 101")


def called() -> Call:
    """A person called a telephone, without video."""
    offer = offer_to_sip(RTP, TRUNK, matrix=AUDIO_CLIENT)
    answer = answer_to_matrix(WEBRTC, AUDIO_CLIENT, PCMA, sip=AUDIO_PHONE)
    return Call(
        matrix=Exchange(local=answer, remote=AUDIO_CLIENT),
        sip=Exchange(local=offer, remote=AUDIO_PHONE),
    )


def test_a_client_adds_video_and_drops_it() -> None:
    call = called()
    took = with_video(*H264, formats="99")
    call.client_offers(CLIENT, changed(took, 1, formats=("97",), rtpmaps=(), fmtps=()))
    assert call.directions == [None, None]  # 97 without a name is nothing.
    call = called()
    h264 = ("a=rtpmap:97 H264/90000", "a=fmtp:97 packetization-mode=1")
    call.client_offers(CLIENT, with_video(*h264, formats="97"))
    assert call.directions == [D.SENDRECV, D.SENDRECV]
    # Turned off: it stays in its place, and nothing is sent.
    off = changed(CLIENT, 1, direction=D.INACTIVE)
    call.client_offers(off, with_video(*h264, "a=inactive", formats="97"))
    assert call.directions == [D.INACTIVE, D.INACTIVE]
    # Turned on again, by the same names.
    call.client_offers(CLIENT, with_video(*h264, formats="97"))
    assert section(call.sip.local).formats[:2] == ("96", "97")
    assert call.directions == [D.SENDRECV, D.SENDRECV]
    # Gone for good: the telephone is told by port 0.
    gone = changed(CLIENT, 1, port=0)
    call.client_offers(gone, with_video(*h264, formats="97", port=0))
    assert call.sip.local.media[1].port == 0
    assert call.directions == [None, None]
    assert int(call.sip.local.origin.session_version) == 5


def test_a_telephone_adds_video_and_drops_it() -> None:
    call = called()
    took = section(call_offer(call, PHONE))
    answer = changed(
        CLIENT,
        1,
        formats=took.formats,
        rtpmaps=took.rtpmaps,
        fmtps=took.fmtps,
        direction=D.RECVONLY,
    )
    call.telephone_offers(PHONE, answer)
    offered = section(call.matrix.local)
    assert (offered.mid, offered.formats, offered.direction) == ("1", ("96",), D.SENDRECV)
    assert call.directions == [D.SENDONLY, D.RECVONLY]
    # Dropped: the client's section stays, inactive, and keeps its name.
    call.telephone_offers(AUDIO_PHONE_STILL, changed(answer, 1, direction=D.INACTIVE))
    ours = call.matrix.local.media[1]
    assert (ours.port, ours.direction, ours.mid) == (40000, D.INACTIVE, "1")
    assert ours.msids == ()
    assert ours.formats == offered.formats
    assert ours.fmtps == offered.fmtps
    assert ours.sources == offered.sources
    assert call.directions == [None, None]
    # And again.
    call.telephone_offers(PHONE, answer)
    assert section(call.matrix.local).mid == "1"
    assert call.directions == [D.SENDONLY, D.RECVONLY]


def test_the_source_is_named_on_where_the_telephone_stops_on_hold() -> None:
    call = called()
    h264 = ("a=rtpmap:97 H264/90000", "a=fmtp:97 packetization-mode=1")
    call.client_offers(CLIENT, with_video(*h264, formats="97"))
    before = section(call.matrix.local)
    held = changed(CLIENT, 1, direction=D.SENDONLY)
    call.client_offers(held, with_video(*h264, formats="97", port=0))
    ours = call.matrix.local.media[1]
    assert (ours.port, ours.direction, ours.msids) == (40000, D.INACTIVE, ())
    assert ours.sources == before.sources


AUDIO_PHONE_STILL = with_video(*H264, port=0)


def call_offer(call: Call, sip: SessionDescription) -> SessionDescription:
    """What the client would be offered."""
    return offer_to_matrix(WEBRTC, TRUNK, sip=sip, previous=call.matrix, video=video_choices(sip))


def test_a_declined_section_comes_back_under_another_name() -> None:
    """RFC 8829 section 5.2.2."""
    declined = answer_to_matrix(WEBRTC, CLIENT, PCMA, sip=plain("8"))
    before = Exchange(local=declined, remote=CLIENT)
    offer = offer_to_matrix(WEBRTC, sip=PHONE, previous=before, video=(BASELINE,))
    assert len(offer.media) == 2
    assert (offer.media[1].mid, offer.bundle()) == ("2", ("0", "2"))
    # The number, and how the profile is written, are those of the client's own offer.
    assert section(offer).formats == ("103",)
    assert "profile-level-id=42001f" in section(offer).parameters(103)


def test_what_a_client_declined_comes_back_under_another_name() -> None:
    offered = offer_to_matrix(WEBRTC, sip=DOOR, video=(BASELINE,))
    before = Exchange(local=offered, remote=changed(CLIENT_ANSWERS, 1, port=0))
    again = offer_to_matrix(WEBRTC, sip=DOOR, previous=before, video=(BASELINE,))
    assert [media.mid for media in again.media] == ["0", "2"]
    without = offer_to_matrix(WEBRTC, sip=plain("8"), previous=before)
    assert [media.direction for media in without.media] == [D.SENDRECV, D.INACTIVE]


def test_other_sections_stay_where_they_are() -> None:
    """A telephone with slides and a fax, whose camera is added in a re-INVITE of ours."""
    offer = plain(
        "8 101",
        "m=image 4004 udptl t38",
        "m=video 4006 RTP/AVPF 99",
        *H264,
        "a=content:slides",
    )
    answer = answer_to_sip(RTP, offer, PCMA, matrix=AUDIO_CLIENT)
    before = Exchange(local=answer, remote=offer)
    again = offer_to_sip(RTP, TRUNK, matrix=CLIENT, previous=before, video=(VP8, BASELINE))
    kinds = [(media.kind, media.port, media.protocol) for media in again.media]
    assert kinds == [
        ("audio", 30000, "RTP/AVP"),
        ("image", 0, "udptl"),
        ("video", 30002, "RTP/AVPF"),
    ]
    assert section(again).formats == ("96", "99")


def test_names_are_kept_and_none_means_two_things() -> None:
    offer = offer_to_sip(RTP, (OPUS, PCMA), matrix=CLIENT, video=(VP8, BASELINE))
    before = Exchange(local=offer, remote=with_video("a=rtpmap:96 VP8/90000", formats="96"))
    again = offer_to_sip(
        RTP, (OPUS, PCMA), matrix=CLIENT, previous=before, video=(MAIN, BASELINE, VP8)
    )
    assert section(again).formats == ("98", "97", "96")
    numbers = [number for media in again.media for number in media.formats]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("asked", "other", "changes"),
    [
        (PHONE, PHONE, False),
        (changed(PHONE, 1, direction=D.INACTIVE), PHONE, True),
        (changed(PHONE, 1, direction=D.SENDONLY), PHONE, True),
        (changed(PHONE, 1, port=0), PHONE, True),
        (plain("8"), PHONE, True),
        (with_video("a=rtpmap:99 VP8/90000"), PHONE, True),
        (with_video("a=rtpmap:99 VP8/90000"), plain("8"), False),
        (replace(PHONE, connection=Connection("198.51.100.10")), PHONE, False),
    ],
)
def test_whether_the_other_side_has_to_be_asked(
    asked: SessionDescription, other: SessionDescription, changes: bool
) -> None:
    agreed = Exchange(local=PHONE, remote=PHONE)
    assert video_changes(asked, agreed, Exchange(local=other, remote=other)) == changes


@pytest.mark.parametrize("said", [plain("8"), changed(PHONE, 1, direction=D.INACTIVE)])
def test_nothing_is_no_other_wish_than_nothing(said: SessionDescription) -> None:
    agreed = Exchange(local=PHONE, remote=said)
    for asked in (plain("8"), changed(PHONE, 1, direction=D.INACTIVE)):
        assert not video_changes(asked, agreed, agreed)


# --- encryption -----------------------------------------------------------------------------

SAVP = "RTP/SAVP"


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


def test_video_has_keys_of_its_own() -> None:
    offer = offer_to_sip(secured(1, Encryption.OPTIONAL), TRUNK, matrix=CLIENT, video=(BASELINE,))
    audio, video = (media.crypto for media in offer.media)
    assert [line.tag for line in video] == [1, 2, 3]
    assert not {line.key for line in audio} & {line.key for line in video}
    agreed = leg_video(offer, changed(keyed(2, protocol="RTP/AVP"), 1, formats=("99",)))
    assert agreed is None or agreed.keys is not None


def test_keys_stay_as_long_as_the_peers_do() -> None:
    phone = keyed(2)
    answer = answer_to_sip(
        secured(1, Encryption.REQUIRED), phone, PCMA, matrix=PHONE, video=BASELINE
    )
    before = Exchange(local=answer, remote=phone)
    agreed = leg_video(answer, phone)
    assert agreed is not None
    assert agreed.keys is not None
    media = leg_media(answer, phone)
    assert media.keys is not None
    assert media.keys.ours != agreed.keys.ours
    local = secured(3, Encryption.REQUIRED)
    again = answer_to_sip(local, phone, PCMA, matrix=PHONE, previous=before, video=BASELINE)
    assert leg_video(again, phone) == agreed
    offer = offer_to_sip(local, TRUNK, matrix=PHONE, previous=before, video=(BASELINE,))
    assert section(offer).crypto == (Crypto(1, agreed.keys.suite, section(answer).crypto[0].key),)
    assert section(offer).protocol == SAVP


@pytest.mark.parametrize(
    ("audio", "video", "encryption", "usable"),
    [
        (SAVP, SAVP, Encryption.OPTIONAL, True),
        (SAVP, "RTP/AVP", Encryption.OPTIONAL, True),  # Plain video, with keys (RFC 8643).
        ("RTP/AVP", "RTP/AVP", Encryption.OFF, True),
        ("RTP/AVP", SAVP, Encryption.OFF, False),
    ],
)
def test_video_is_encrypted_as_the_audio_is(
    audio: str, video: str, encryption: Encryption, usable: bool
) -> None:
    offer = changed(changed(keyed(2), 0, protocol=audio), 1, protocol=video)
    assert (video_of(only_fitting(offer, encryption)) is not None) == usable


def test_plain_video_beside_encrypted_audio_is_declined() -> None:
    offer = changed(keyed(2), 1, protocol="RTP/AVP", crypto=())
    assert video_of(only_fitting(offer, Encryption.OPTIONAL)) is None


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
