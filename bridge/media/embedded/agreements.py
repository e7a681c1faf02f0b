# SPDX-License-Identifier: GPL-3.0-or-later
"""What the legs of a session agreed on, and the offers and answers that lead there.

State changes only when an answer completes an exchange: see `session`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bridge.call.ids import Side
from bridge.call.terms import NO_TERMS, Terms
from bridge.media.embedded.beside import unbound
from bridge.media.embedded.legs import Legs
from bridge.media.embedded.successor import allowed_by
from bridge.sdp.agreement import audio_of, codec_choices, leg_media, webrtc_peer
from bridge.sdp.codecs import AUDIO_CODECS, Codec, pair_codecs
from bridge.sdp.description import SessionDescription
from bridge.sdp.ends import Exchange
from bridge.sdp.negotiation import answer_to_matrix, answer_to_sip, offer_to_matrix, offer_to_sip
from bridge.sdp.parser import parse
from bridge.sdp.sdes import Encryption, only_fitting
from bridge.sdp.video import agreed_video, pair_video, video_changes, video_choices
from bridge.sdp.video_codecs import VideoCodec


@dataclass(frozen=True, slots=True)
class Pending:
    """An offer that waits for its answer."""

    asker: Side | None
    """The side that offered; None when it was we alone (an INVITE without SDP)."""
    asked: SessionDescription | None
    """Its offer; None if it had none."""
    offered: SessionDescription
    """What we offered the other side."""


class Agreements:
    """The exchange in force on each leg, and how the next one is worded."""

    def __init__(self, legs: Legs) -> None:
        self.terms = NO_TERMS
        self.on: dict[Side, Exchange] = {}
        """What each side has agreed to."""
        self.pending: Pending | None = None
        self.stale = False
        """Whether the client has yet to be told what another SIP peer wants."""
        self.bridged = False
        """Whether another call's SIP peer is there in the client's place, or nobody."""
        self._allowed: tuple[Codec, ...] = AUDIO_CODECS
        self._legs = legs

    def accept(self, terms: Terms | None) -> None:
        """Go by the terms of a trunk from now on; None: as before."""
        if terms is not None:
            self.terms, self._allowed = terms, allowed_by(terms)

    def read_offer(self, side: Side, sdp: str) -> SessionDescription:
        """An offer. What could not be answered later has to fail now: raises SdpError."""
        offer = parse(sdp)
        if side is Side.MATRIX:
            webrtc_peer(offer)
            pair_codecs(codec_choices(offer), AUDIO_CODECS)
            return offer
        offer = only_fitting(offer, Encryption(self.terms.srtp.value))
        pair_codecs(AUDIO_CODECS, codec_choices(offer, self._allowed))
        return offer

    # --- offers -------------------------------------------------------------------------------

    def offer(
        self, to: Side, other: SessionDescription | None, *, audio_alone: bool = False
    ) -> SessionDescription:
        """Our offer `to` a side; `other` is what the opposite side said last."""
        wanted = other is not None and self._may_have_video and not audio_alone
        return self._offer(to, other, video_choices(other) if other and wanted else ())

    def offer_again(self, to: Side) -> SessionDescription:
        """Our offer to a side that has offered nothing itself: what the other has agreed to."""
        other = self.on[to.other]
        video = self._video_of(other)
        return self._offer(to, other.remote, (video,) if video else ())

    def _offer(
        self, to: Side, other: SessionDescription | None, video: Sequence[VideoCodec]
    ) -> SessionDescription:
        previous, allowed = self.on.get(to), self._allowed
        if to is Side.MATRIX:
            webrtc = self._legs.local_webrtc(video=bool(video))
            return offer_to_matrix(webrtc, allowed, sip=other, previous=previous, video=video)
        rtp = self._legs.local_rtp(self.terms, answering=False, video=bool(video))
        return offer_to_sip(rtp, allowed, matrix=other, previous=previous, video=video)

    def concerns_other(self, side: Side, asked: SessionDescription) -> bool:
        """Whether the other side has to know what this one wants now."""
        if self.bridged:
            return False
        agreed = self.on[side]
        if audio_of(asked).active_direction is not audio_of(agreed.remote).active_direction:
            return True
        if self.stale and side is Side.SIP:
            return True
        return self.terms.video and video_changes(asked, agreed, self.on[side.other])

    def was_declined(self, side: Side, asked: SessionDescription) -> bool:
        """Whether an offer was answered already, without its video: another SIP peer's."""
        agreed = self.on[side]
        return asked == agreed.remote and agreed_video(agreed) is None

    # --- answers ------------------------------------------------------------------------------

    def answer(self, side: Side, asked: SessionDescription, other: Exchange) -> SessionDescription:
        """Our answer to an offer, now that the other side has agreed to something."""
        codec = self._codec_for(side, asked, other)
        return self._answer(side, asked, codec, other.remote, self._video_of(other))

    def answer_both(
        self, matrix: SessionDescription, sip: SessionDescription
    ) -> dict[Side, Exchange]:
        """Our answers to two offers, by what both can do."""
        pair = pair_codecs(codec_choices(matrix), codec_choices(sip, self._allowed))
        video = pair_video(matrix, sip) if self._may_have_video else None
        to_matrix = self._answer(Side.MATRIX, matrix, pair.matrix, sip, video)
        to_sip = self._answer(Side.SIP, sip, pair.sip, matrix, video)
        return {
            Side.MATRIX: Exchange(local=to_matrix, remote=matrix),
            Side.SIP: Exchange(local=to_sip, remote=sip),
        }

    def answer_alone(self, sip: SessionDescription) -> Exchange:
        """Our answer to the offer of a SIP peer with whom nobody but ourselves will talk."""
        codec = pair_codecs(AUDIO_CODECS, codec_choices(sip, self._allowed)).sip
        answer = self._answer(Side.SIP, sip, codec, unbound(sip, codec), None)
        return Exchange(local=answer, remote=sip)

    def _answer(
        self,
        to: Side,
        offer: SessionDescription,
        codec: Codec,
        other: SessionDescription,
        video: VideoCodec | None,
    ) -> SessionDescription:
        previous = self.on.get(to)
        if to is Side.SIP:
            rtp = self._legs.local_rtp(self.terms, answering=True, video=video is not None)
            return answer_to_sip(rtp, offer, codec, matrix=other, previous=previous, video=video)
        webrtc = self._legs.local_webrtc(video=video is not None)
        return answer_to_matrix(webrtc, offer, codec, sip=other, previous=previous, video=video)

    def what_counts(self, side: Side, exchange: Exchange, *, refused: bool) -> Exchange:
        """Where `side` was not asked, or refused, what it agreed to before goes on."""
        kept = self.on.get(side)
        if kept is None or not refused:
            return exchange
        # But as new as what was sent since: version numbers only rise (RFC 3264 8).
        return replace(kept, local=replace(kept.local, origin=exchange.local.origin))

    # --- codecs -------------------------------------------------------------------------------

    def _codec_for(self, side: Side, offer: SessionDescription, other: Exchange) -> Codec:
        """The codec to answer an offer of `side` with; a changed one is transcoded."""
        agreed = leg_media(other.local, other.remote).codec
        if side is Side.SIP:
            return pair_codecs((agreed,), codec_choices(offer, self._allowed)).sip
        early = self.on.get(side)
        if early is not None and early.remote == offer:  # A second answer (18x, then 200).
            return leg_media(early.local, early.remote).codec
        return pair_codecs(codec_choices(offer), (agreed,)).matrix

    @property
    def _may_have_video(self) -> bool:
        return self.terms.video and not self.bridged

    def _video_of(self, exchange: Exchange) -> VideoCodec | None:
        """The codec of video that the other side can be answered with."""
        return agreed_video(exchange) if self._may_have_video else None
