# SPDX-License-Identifier: GPL-3.0-or-later
"""Video that comes, goes, and is declined in the course of a call."""

from dataclasses import dataclass, replace

import pytest

from bridge.sdp.codecs import OPUS, PCMA
from bridge.sdp.description import Connection, SessionDescription
from bridge.sdp.ends import Exchange
from bridge.sdp.negotiation import answer_to_matrix, answer_to_sip, offer_to_matrix, offer_to_sip
from bridge.sdp.video import LegVideo, agreed_video, leg_video, video_changes, video_choices
from bridge.sdp.video_codecs import VP8
from tests.sdp.samples import plain
from tests.sdp.video_samples import (
    AUDIO_CLIENT,
    AUDIO_PHONE,
    BASELINE,
    CLIENT,
    CLIENT_ANSWERS,
    DOOR,
    H264,
    MAIN,
    PHONE,
    RTP,
    TRUNK,
    WEBRTC,
    D,
    changed,
    section,
    secured,
    with_video,
)


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
