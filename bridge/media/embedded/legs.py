# SPDX-License-Identifier: GPL-3.0-or-later
"""Both legs of a session, and what passes between them: sockets, keys and packets.

What they are to do was agreed elsewhere (`agreements`).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from socket import socket as Socket
from time import monotonic, time

from bridge.call.events import MediaFault
from bridge.call.ids import Side
from bridge.call.terms import Terms
from bridge.config import Media as MediaSettings
from bridge.media.embedded.dtls import CertificateSource
from bridge.media.embedded.ends import OwnEnds
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.ice_servers import IceServers
from bridge.media.embedded.matrix_leg import Callbacks, MatrixLeg, our_setup
from bridge.media.embedded.path import OnEvent
from bridge.media.embedded.sip_leg import SipLeg
from bridge.media.embedded.sockets import PortRange, gathering_addresses, local_address
from bridge.media.embedded.srtp import Outlet
from bridge.media.embedded.streams import Statistics, Streams
from bridge.media.embedded.video.path import MAX_PACKET
from bridge.media.embedded.video.relay import VideoRelay
from bridge.media.embedded.watch import Facts
from bridge.sdp.agreement import LegMedia, audio_of, webrtc_peer
from bridge.sdp.description import SessionDescription
from bridge.sdp.ends import Exchange, LocalRtp, LocalWebRtc


@dataclass(slots=True, kw_only=True)
class Resources:
    """What all sessions of an engine share."""

    settings: MediaSettings
    ports: PortRange
    servers: IceServers
    """Others in time: what lets one in at a TURN server expires."""
    certificates: CertificateSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What the session wants to know of its legs."""

    connected: Callable[[], None]
    """Audio can pass to the client."""
    failed: Callable[[MediaFault, str], None]
    """There is no way to the client any more."""
    codec_changed: Callable[[], None]
    """How audio passes may have changed."""
    event: OnEvent
    """A telephone-event of the client's that SIP does not take."""
    sip_blind: Callable[[], None]
    """Nothing that the SIP peer sends can be decrypted."""
    picture_wanted: Callable[[], None]
    """The SIP peer is to be asked for a whole picture."""


class Legs:
    """The Matrix side, the SIP side, and the streams between them."""

    def __init__(self, resources: Resources, reports: Reports) -> None:
        self._resources = resources
        self._reports = reports
        certificate = resources.certificates.get()
        cname = secrets.token_urlsafe(12)
        self.streams = Streams(
            cname, reports.codec_changed, reports.event, resources.settings.opus_bitrate
        )
        self.ends = OwnEnds(
            public_address=resources.settings.public_address,
            certificate=certificate,
            ssrc=self.streams.to_matrix.emission.ssrc,
            cname=cname,
        )
        self.sip: SipLeg | None = None
        self._hear_sip = self.streams.to_matrix.ear
        self._hear_matrix = self.streams.to_sip.ear
        self.matrix = MatrixLeg(
            certificate=certificate,
            sockets=self._ice_sockets,
            servers=lambda: resources.servers,
            callbacks=Callbacks(
                ear=self._hear_matrix,
                rtcp=self._matrix_rtcp,
                outlet=self._lead_to_matrix,
                connected=reports.connected,
                failed=reports.failed,
            ),
        )
        self.video = VideoRelay(
            cname=cname,
            audio=self.streams,
            to_matrix=self.matrix.send_rtcp,
            open_leg=self._video_leg,
            on_wanted=reports.picture_wanted,
        )

    # --- our own ends ---------------------------------------------------------------------------

    def open_sip(self, remote: SessionDescription | None) -> None:
        """Have sockets for the SIP peer, of which this is known. Raises SdpError, LocalError."""
        if self.sip is None:
            self.sip = self.sip_leg(remote)
            self.streams.to_sip.lead(self.sip.outlet)

    def sip_leg(self, remote: SessionDescription | None) -> SipLeg:
        """Sockets for a SIP peer, of which this is known. Raises SdpError, LocalError."""
        connection = audio_of(remote).connection if remote else None
        peer = connection.address if connection and not connection.unspecified else None
        address = local_address(self._resources.settings.listen, peer)
        rtp, rtcp = self._resources.ports.pair(address)
        return SipLeg(rtp, rtcp, self._hear_sip, self._sip_rtcp, self._reports.sip_blind)

    def _video_leg(self, address: str, ear: Ear, on_rtcp: Callable[[bytes], None]) -> SipLeg:
        rtp, rtcp = self._resources.ports.pair(address)
        return SipLeg(
            rtp, rtcp, ear, on_rtcp, self._reports.sip_blind, most=MAX_PACKET, repeats=True
        )

    def succeed(self, leg: SipLeg) -> None:
        """Let go of the present SIP peer for another one."""
        assert self.sip is not None
        self.sip.close()
        self.video.succeed()
        self.sip = leg
        self.streams.to_sip.lead(leg.outlet)

    def _ice_sockets(self) -> list[Socket]:
        addresses = gathering_addresses(self._resources.settings.listen)
        return self._resources.ports.singles(addresses)

    def local_rtp(self, terms: Terms, *, answering: bool, video: bool) -> LocalRtp:
        """Our end of the SIP leg, with `video` if it can be had."""
        assert self.sip is not None
        local = self.ends.rtp(self.sip, terms, answering=answering)
        return replace(local, video=self.video.rtp(terms, self.sip.address)) if video else local

    def local_rtp_of_next(
        self, leg: SipLeg, terms: Terms, *, answering: bool, video: bool
    ) -> LocalRtp:
        """The same of a leg with a SIP peer that may take the present one's place."""
        local = self.ends.rtp(leg, terms, answering=answering)
        return replace(local, video=self.video.rtp_of_next(terms, leg.address)) if video else local

    def local_webrtc(self, *, video: bool) -> LocalWebRtc:
        """Our end of the Matrix leg."""
        ice = self.matrix.gathered or self.matrix.ice
        if ice is None:
            raise RuntimeError("no ICE candidates were gathered")
        local = self.ends.webrtc(ice, self.matrix.setup)
        return replace(local, video=self.video.webrtc()) if video else local

    # --- what was agreed on -----------------------------------------------------------------------

    def aim(self, media: LegMedia) -> None:
        """Talk with the SIP peer as was agreed. Raises SdpError."""
        assert self.sip is not None
        self.sip.aim(media.address, media.rtcp_address, muxed=media.rtcp_mux)
        self.sip.secure(media.keys)

    def connect_matrix(self, exchange: Exchange) -> None:
        """Start ICE if something was gathered for it."""
        if self.matrix.gathered is None:
            return
        peer = webrtc_peer(exchange.remote)
        setup = our_setup(audio_of(exchange.local).setup, peer.setup)
        self.matrix.connect(peer, setup=setup)

    def follow_video(self, matrix: Exchange, sip: Exchange) -> None:
        """Relay the video that was agreed on, if any was."""
        if self.video.follow(matrix, sip):
            self.tell(Side.MATRIX, self._hear_matrix)

    async def leave_matrix(self) -> None:
        """The client is out of the call: the SIP peer of another one is there, or nobody."""
        self.streams.to_matrix.lead(None)
        self.video.drop()
        await self.matrix.close()

    # --- who hears what ---------------------------------------------------------------------------

    def tell(self, side: Side, ear: Ear | None) -> None:
        """Let somebody hear a side before its path does, or nobody any more."""
        if side is Side.MATRIX:
            self._hear_matrix = ear or self.ear_of(side)
            self.matrix.tell(self.video.divide(self._hear_matrix))
        elif self.sip is not None:
            self.sip.tell(ear or self.ear_of(side))

    def ear_of(self, side: Side) -> Ear:
        """Who hears a side while nobody else is told to."""
        return self.streams.to_sip.ear if side is Side.MATRIX else self._hear_sip

    def hear_elsewhere(self, ear: Ear) -> None:
        """What the SIP peer says is for somebody else from now on."""
        self._hear_sip = ear
        if self.sip is not None:
            self.sip.tell(ear)

    def _lead_to_matrix(self, outlet: Outlet | None) -> None:
        self.streams.to_matrix.lead(outlet)
        self.video.lead(outlet)

    def _matrix_rtcp(self, packet: bytes) -> None:
        self.streams.matrix_rtcp.receive(packet, monotonic(), time())
        self.video.matrix_rtcp(packet)

    def _sip_rtcp(self, packet: bytes) -> None:
        self.streams.sip_rtcp.receive(packet, monotonic(), time())

    def send_sip_rtcp(self, packet: bytes) -> None:
        """Send a compound packet to the SIP peer, if there is one."""
        if self.sip is not None:
            self.sip.send_rtcp(packet)

    def facts(self, side: Side) -> Facts:
        """What may be the reason that nothing comes from a side."""
        if side is Side.MATRIX:
            return Facts(self.matrix.hurdle, undecipherable=self.matrix.undecipherable)
        if self.sip is None:
            return Facts()
        return Facts(None, self.sip.strangers, self.sip.undecipherable)

    # --- the end --------------------------------------------------------------------------------

    def statistics(self, answered_at: float) -> Statistics:
        """What was measured so far; the keys are described in `streams.py`."""
        result = self.streams.statistics(answered_at)
        result["matrix_undecipherable"] = self.matrix.undecipherable
        unread = self.streams.matrix_rtcp.far_end.malformed
        result["matrix_malformed"] = self.matrix.malformed + unread
        if self.sip is not None:
            result["sip_strangers"] = self.sip.strangers
            result["sip_latched"] = int(self.sip.latched)
            result["sip_undecipherable"] = self.sip.undecipherable
            result["sip_unsent"] = self.sip.outlet.unsent
            unread = self.streams.sip_rtcp.far_end.malformed
            result["sip_malformed"] = self.sip.malformed + self.sip.oversize + unread
        if self.sip is not None and self.sip.srtp is not None:
            result["sip_srtp"] = self.sip.srtp.keys.suite
        if self.matrix.suite:
            result["matrix_srtp"] = self.matrix.suite
        if self.matrix.pair:
            result["matrix_pair"] = self.matrix.pair
        return result | self.video.statistics()

    async def close(self) -> None:
        """Say goodbye on both sides and free everything."""
        self.video.close()
        if self.sip is not None:
            self.sip.close()
        await self.matrix.close()
        self.streams.close()
