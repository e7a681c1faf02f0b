# SPDX-License-Identifier: GPL-3.0-or-later
"""Another SIP peer that takes the present one's place: its socket, and what is agreed with it."""

from dataclasses import dataclass

from bridge.call.terms import Terms
from bridge.errors import SdpError
from bridge.media.embedded.ends import OwnEnds
from bridge.media.embedded.sip_leg import SipLeg
from bridge.sdp.agreement import audio_of, codec_choices, leg_media, unheld
from bridge.sdp.codecs import AUDIO_CODECS, Codec, codec_named, pair_codecs
from bridge.sdp.description import MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange
from bridge.sdp.negotiation import answer_to_sip, offer_to_sip
from bridge.sdp.sdes import Encryption, only_fitting
from bridge.sdp.video import leg_video


@dataclass(slots=True)
class Successor:
    """Hears nobody until it has been aimed at the peer."""

    leg: SipLeg
    terms: Terms
    offered: SessionDescription | None = None

    def offer(self, ends: OwnEnds, matrix: Exchange) -> str:
        """What to offer the new peer, who is not to find itself on hold for the old one's sake."""
        client = unheld(matrix.local, matrix.remote)
        local = ends.rtp(self.leg, self.terms, answering=False)
        self.offered = offer_to_sip(local, allowed_by(self.terms), matrix=client)
        return str(self.offered)

    def answer(self, ends: OwnEnds, matrix: Exchange, asked: SessionDescription) -> Exchange:
        """What to answer the new peer's offer with. Raises SdpError."""
        client = unheld(matrix.local, matrix.remote)
        ours = leg_media(matrix.local, matrix.remote).codec
        asked = only_fitting(asked, Encryption(self.terms.srtp.value))
        codec = pair_codecs((ours,), codec_choices(asked, allowed_by(self.terms))).sip
        local = ends.rtp(self.leg, self.terms, answering=True)
        answer = answer_to_sip(local, asked, codec, matrix=client)
        return self._agreed(Exchange(local=answer, remote=asked))

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


def is_surprising(matrix: Exchange, sip: SessionDescription) -> bool:
    """Whether what the SIP peer wants to send and hear is not what the client was told last.

    It has no video; the client may have.
    """
    video = leg_video(matrix.local, matrix.remote)
    seen = video is not None and video.direction is not MediaDirection.INACTIVE
    return seen or audio_of(sip).active_direction is not audio_of(matrix.local).active_direction
