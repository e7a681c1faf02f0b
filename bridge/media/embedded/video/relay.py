# SPDX-License-Identifier: GPL-3.0-or-later
"""A session's video: sockets on the SIP side, a part of the client's transport, and a timer."""

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from time import monotonic, time
from typing import Final

import structlog

from bridge.call.ids import Side
from bridge.call.terms import Srtp, Terms
from bridge.errors import LocalError, SdpError
from bridge.media.embedded.ends import new_keys
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.sip_leg import SipLeg
from bridge.media.embedded.srtp import Outlet, Packet
from bridge.media.embedded.streams import Statistics, Streams
from bridge.media.embedded.video.streams import Send, VideoStreams
from bridge.sdp.ends import Exchange, LocalRtpVideo, LocalWebRtcVideo
from bridge.sdp.video import LegVideo, leg_video

logger = structlog.get_logger(__name__)

TICK: Final = 1.0
"""Seconds between reports. Senders of video find by them how much they may send."""


class VideoRelay:
    """What a session has beside its audio, from when video is spoken of first."""

    def __init__(
        self,
        *,
        cname: str,
        audio: Streams,
        to_matrix: Send,
        open_leg: Callable[[str, Ear, Send], SipLeg],
        on_wanted: Callable[[], None],
    ) -> None:
        """`to_matrix`: sends RTCP. `open_leg`: makes the SIP side's sockets, at an address of ours.

        `on_wanted`: a picture is wanted of the SIP peer, which cannot be told so by RTCP.
        """
        send = {Side.MATRIX: to_matrix, Side.SIP: self._to_sip}
        self._make_streams = partial(VideoStreams, cname, audio, send, on_wanted)
        self._made: VideoStreams | None = None
        self._lead: Outlet | None = None
        self._open_leg = open_leg
        self._track_id = secrets.token_hex(16)
        self._sip: SipLeg | None = None
        self._next: SipLeg | None = None
        """Of a SIP peer that may take the present one's place."""
        self._kinds: frozenset[int] = frozenset()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def _streams(self) -> VideoStreams:
        """Most calls never need them."""
        if self._made is None:
            self._made = self._make_streams()
            self._lead_to_matrix(self._made)
        return self._made

    @property
    def codec(self) -> str:
        """What passes, as `VP8/90000`; empty if nothing is agreed on."""
        return self._made.codec if self._made else ""

    # --- our ends ---------------------------------------------------------------------------------

    def rtp(self, terms: Terms, address: str) -> LocalRtpVideo | None:
        """Our end on the SIP side, with new keys if it may be encrypted; None: there is no port."""
        if self._sip is None:
            self._sip = self._opened(address)
            if self._sip is not None:
                self._streams.to_sip.lead(self._sip.outlet.send)
        return _described(self._sip, terms)

    def rtp_of_next(self, terms: Terms, address: str) -> LocalRtpVideo | None:
        """The same towards another SIP peer, with whom nothing passes before `succeed`."""
        self.drop_next()
        self._next = self._opened(address)
        return _described(self._next, terms)

    def _opened(self, address: str) -> SipLeg | None:
        try:
            return self._open_leg(address, Ear(self._streams.to_matrix.receive), self._sip_rtcp)
        except LocalError as error:  # Without a picture the call goes on.
            logger.warning("no port for video", error=str(error))
            return None

    def webrtc(self) -> LocalWebRtcVideo:
        """Our end on the client's side."""
        ssrc = self._streams.to_matrix.emission.ssrc
        return LocalWebRtcVideo(ssrc=ssrc, track_id=self._track_id)

    # --- what is agreed on ------------------------------------------------------------------------

    def follow(self, matrix: Exchange, sip: Exchange) -> bool:
        """Relay as the legs agreed; whether more payload types are video than before."""
        if self._sip is None:
            return False
        client = leg_video(matrix.local, matrix.remote)
        phone = leg_video(sip.local, sip.remote)
        if client is None or phone is None:
            self._follow(None, None)
            return False
        try:
            self._sip.aim(phone.address, phone.rtcp_address, muxed=phone.rtcp_mux)
        except SdpError:  # Without a picture the call goes on.
            self._follow(None, None)
            return False
        self._sip.secure(phone.keys)
        self._follow(client, phone)
        before, self._kinds = self._kinds, self._kinds | client.receive
        return before != self._kinds

    def _follow(self, client: LegVideo | None, phone: LegVideo | None) -> None:
        self._streams.follow(client, phone)
        if self.codec and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def drop(self) -> None:
        """Let go of the SIP peer: another one comes, with whom nothing is agreed on."""
        sip, self._sip = self._sip, None
        if sip is not None:
            self._follow(None, None)
            self._streams.to_sip.lead(None)
            sip.close()

    def drop_next(self) -> None:
        """No other SIP peer comes."""
        other, self._next = self._next, None
        if other is not None:
            other.close()

    def succeed(self) -> None:
        """The other SIP peer is there; it may have no video."""
        self.drop()
        self._sip, self._next = self._next, None
        if self._sip is not None:
            self._streams.to_sip.lead(self._sip.outlet.send)

    def divide(self, ear: Ear) -> Ear:
        """What takes packets of the client's: `ear` all that is no video."""
        if not self._kinds:
            return ear
        kinds, audio, video = self._kinds, ear.receive, self._streams.to_sip.receive

        def take(packet: Packet, now: float) -> None:
            if packet[1] & 0x7F in kinds:
                video(packet, now)
            else:
                audio(packet, now)

        return Ear(take, ear.adopt)

    # --- what comes and goes ----------------------------------------------------------------------

    def lead(self, outlet: Outlet | None) -> None:
        """Send to the client this way from now on; None: there is no way."""
        self._lead = outlet
        if self._made is not None:
            self._lead_to_matrix(self._made)

    def _lead_to_matrix(self, made: VideoStreams) -> None:
        made.to_matrix.lead(self._lead.send if self._lead else None)

    def matrix_rtcp(self, packet: bytes) -> None:
        """Take what the client says; it may be about audio."""
        if self._kinds:
            self._streams.receive_rtcp(Side.MATRIX, packet, monotonic(), time())

    def _sip_rtcp(self, packet: bytes) -> None:
        self._streams.receive_rtcp(Side.SIP, packet, monotonic(), time())

    def _to_sip(self, packet: bytes) -> None:
        if self._sip is not None:
            self._sip.send_rtcp(packet)

    def refresh(self) -> None:
        """See `RefreshPicture`."""
        if self._made is not None:
            self._made.refresh(monotonic())

    def _tick(self) -> None:
        self._timer = None
        if not self.codec:
            return
        now = monotonic()
        self._streams.look(now)
        self._streams.report(now, time())
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    # --- the end ----------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """What was measured so far; the keys are described in `streams.py`."""
        result = self._made.statistics() if self._made else {}
        if self._sip is not None and result:
            result["sip_video_strangers"] = self._sip.strangers
            result["sip_video_undecipherable"] = self._sip.undecipherable
            oversize = result["sip_video_packets_oversize"]
            assert isinstance(oversize, int)
            result["sip_video_packets_oversize"] = oversize + self._sip.oversize
            if self._sip.srtp is not None:
                result["sip_video_srtp"] = self._sip.srtp.keys.suite
        return result

    def close(self) -> None:
        """Say goodbye on both sides and free the sockets."""
        if self._timer is not None:
            self._timer.cancel()
            self._streams.goodbye(monotonic(), time())
        self.drop_next()
        self.drop()


def _described(leg: SipLeg | None, terms: Terms) -> LocalRtpVideo | None:
    if leg is None:
        return None
    crypto = () if terms.srtp is Srtp.OFF else new_keys()
    return LocalRtpVideo(port=leg.port, crypto=crypto)
