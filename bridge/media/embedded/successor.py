# SPDX-License-Identifier: GPL-3.0-or-later
"""Another SIP peer that takes the present one's place: its socket, and what is agreed with it."""

from dataclasses import dataclass

from bridge.call.terms import Terms
from bridge.errors import SdpError
from bridge.media.embedded.legs import Legs
from bridge.media.embedded.sip_leg import SipLeg
from bridge.sdp.agreement import audio_of, codec_choices, leg_media, unheld
from bridge.sdp.codecs import AUDIO_CODECS, Codec, codec_named, pair_codecs
from bridge.sdp.description import MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange, LocalRtp
from bridge.sdp.negotiation import answer_to_sip, offer_to_sip
from bridge.sdp.sdes import Encryption, only_fitting
from bridge.sdp.video import agreed_video, told_of_video, unheld_video, video_wish
from bridge.sdp.video_codecs import VideoCodec


@dataclass(slots=True)
class Successor:
    """Hears nobody until it has been aimed at the peer."""

    leg: SipLeg
    terms: Terms
    offered: SessionDescription | None = None

    def offer(self, legs: Legs, matrix: Exchange, *, video: bool) -> SessionDescription:
        """What to offer the new peer, who is not to find itself on hold for the old one's sake.

        `video`: whether it may be shown what the client shows.
        """
        client = _free(matrix)
        shown = self._shown(matrix, client) if video else None
        self.offered = offer_to_sip(
            self._local(legs, shown, answering=False),
            allowed_by(self.terms),
            matrix=client,
            video=(shown,) if shown else (),
        )
        return self.offered

    def answer(
        self, legs: Legs, matrix: Exchange, asked: SessionDescription, *, video: bool
    ) -> Exchange:
        """What to answer the new peer's offer with; `video` as in `offer`. Raises SdpError."""
        client = _free(matrix)
        ours = leg_media(matrix.local, matrix.remote).codec
        asked = only_fitting(asked, Encryption(self.terms.srtp.value))
        codec = pair_codecs((ours,), codec_choices(asked, allowed_by(self.terms))).sip
        shown = self._shown(matrix, client) if video else None
        local = self._local(legs, shown, answering=True)
        answer = answer_to_sip(local, asked, codec, matrix=client, video=shown)
        return self._agreed(Exchange(local=answer, remote=asked))

    def _local(self, legs: Legs, shown: VideoCodec | None, *, answering: bool) -> LocalRtp:
        return legs.local_rtp_of_next(
            self.leg, self.terms, answering=answering, video=shown is not None
        )

    def _shown(self, matrix: Exchange, client: SessionDescription) -> VideoCodec | None:
        """The codec of the client's video, if there is any now."""
        off = video_wish(client) in (None, MediaDirection.INACTIVE)
        return None if off or not self.terms.video else agreed_video(matrix)

    def accept(self, answer: SessionDescription) -> Exchange:
        """The new peer answered our offer. Raises SdpError."""
        if self.offered is None:
            raise SdpError("An answer without an offer")
        return self._agreed(Exchange(local=self.offered, remote=answer))

    def _agreed(self, exchange: Exchange) -> Exchange:
        media = leg_media(exchange.local, exchange.remote)
        self.leg.aim(media.address, media.rtcp_address, muxed=media.rtcp_mux)
        return exchange


def allowed_by(terms: Terms) -> tuple[Codec, ...]:
    """The audio codecs that a trunk's terms allow."""
    return tuple(map(codec_named, terms.codecs)) or AUDIO_CODECS


def _free(matrix: Exchange) -> SessionDescription:
    """What the client would have said last, had nobody kept it on hold."""
    return unheld_video(matrix, unheld(matrix.local, matrix.remote))


def is_surprising(matrix: Exchange, sip: Exchange) -> bool:
    """Whether what the SIP peer wants to send, hear and see is not what the client was told."""
    seen = video_wish(sip.remote) if agreed_video(sip) else None
    if (seen or MediaDirection.INACTIVE) is not told_of_video(matrix):
        return True
    return audio_of(sip.remote).active_direction is not audio_of(matrix.local).active_direction
