# SPDX-License-Identifier: GPL-3.0-or-later
"""One call's media session: offers and answers turned into legs and paths.

Commands arrive one after the other (see `engine.py`). State changes only when an answer completes
an exchange, so that an offer that is refused leaves everything as it was.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from socket import socket as Socket
from time import monotonic, time

import structlog

from bridge.call.events import (
    MediaConnected,
    MediaFault,
    MediaKeyPressed,
    MediaLost,
    MediaPictureWanted,
    MediaVideoChanged,
)
from bridge.call.ids import CallId, Side
from bridge.call.terms import NO_TERMS, Keypad, Terms
from bridge.config import Media as MediaSettings
from bridge.errors import BridgeError, SdpError
from bridge.media.embedded.beside import Beside, unbound
from bridge.media.embedded.ends import OwnEnds
from bridge.media.embedded.ice_servers import IceServers
from bridge.media.embedded.keys import KeyListener, KeyPlayer
from bridge.media.embedded.matrix_leg import Callbacks, MatrixLeg, our_setup
from bridge.media.embedded.sip_leg import OnRtp, SipLeg
from bridge.media.embedded.sockets import PortRange, gathering_addresses, local_address
from bridge.media.embedded.sounds import Sounds
from bridge.media.embedded.streams import Statistics, Streams
from bridge.media.embedded.successor import Successor, allowed_by, is_surprising
from bridge.media.embedded.upkeep import Upkeep
from bridge.media.embedded.video.path import MAX_PACKET
from bridge.media.embedded.video.relay import VideoRelay
from bridge.media.embedded.watch import Facts, Watch
from bridge.media.embedded.webrtc import (
    CertificateSource,
    SendMedia,
)
from bridge.ports import Emit
from bridge.sdp.agreement import LegMedia, audio_of, codec_choices, leg_media, webrtc_peer
from bridge.sdp.codecs import AUDIO_CODECS, Codec, pair_codecs
from bridge.sdp.description import MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange, LocalRtp, LocalWebRtc
from bridge.sdp.negotiation import answer_to_matrix, answer_to_sip, offer_to_matrix, offer_to_sip
from bridge.sdp.parser import parse
from bridge.sdp.sdes import Encryption, only_fitting
from bridge.sdp.video import (
    agreed_video,
    leg_video,
    pair_video,
    video_changes,
    video_choices,
)
from bridge.sdp.video_codecs import VideoCodec

logger = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Resources:
    """What all sessions of an engine share."""

    settings: MediaSettings
    ports: PortRange
    servers: IceServers
    """Others in time: what lets one in at a TURN server expires."""
    certificates: CertificateSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What to offer the other side, or if it need not be asked, what to answer this one.

    Neither, where nobody waits for an answer.
    """

    offer: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class _Pending:
    """An offer that waits for its answer."""

    asker: Side | None
    """The side that offered; None when it was we alone (an INVITE without SDP)."""
    asked: SessionDescription | None
    """Its offer; None if it had none."""
    offered: SessionDescription
    """What we offered the other side."""


class Session:
    """The two legs of a call, what was agreed on each, and the paths between them."""

    def __init__(self, call: CallId, resources: Resources, emit: Emit) -> None:
        self._resources = resources
        self._call = call
        self._emit = emit
        self._log = logger.bind(call=call)
        certificate = resources.certificates.get()
        cname = secrets.token_urlsafe(12)
        self._terms = NO_TERMS
        self._allowed: tuple[Codec, ...] = AUDIO_CODECS
        self._agreed: dict[Side, Exchange] = {}
        self._pending: _Pending | None = None
        self._listener = KeyListener(self._key_pressed)
        self._streams = Streams(
            cname, self._codec_changed, self._listener.hear, resources.settings.opus_bitrate
        )
        self._player = KeyPlayer(self._streams.to_matrix)
        self._ends = OwnEnds(
            public_address=resources.settings.public_address,
            certificate=certificate,
            ssrc=self._streams.to_matrix.emission.ssrc,
            cname=cname,
        )
        self._sip: SipLeg | None = None
        self._hear: OnRtp = self._streams.to_matrix.receive
        self._hear_matrix: OnRtp = self._streams.to_sip.receive
        self._beside: Beside | None = None
        self._successor: Successor | None = None
        self._stale = False
        """Whether the client has yet to be told what another SIP peer wants."""
        self._matrix = MatrixLeg(
            certificate=certificate,
            sockets=self._ice_sockets,
            servers=lambda: resources.servers,
            callbacks=Callbacks(
                rtp=self._streams.to_sip.receive,
                rtcp=self._matrix_rtcp,
                sender=self._set_matrix_sender,
                connected=self._matrix_connected,
                failed=self._matrix_failed,
            ),
        )
        self._video = VideoRelay(
            cname=cname,
            audio=self._streams,
            to_matrix=self._matrix.send_rtcp,
            open_leg=self._video_leg,
            on_wanted=lambda: self._emit(MediaPictureWanted(call=call)),
        )
        self._video_told = ""
        self._answered_at = 0.0
        self._connected_at = 0.0
        self._upkeep = Upkeep(self._streams, self._matrix.send_rtcp, self._send_sip_rtcp)
        self.sounds = Sounds(call, self._streams, self._tell, emit)
        self._watch = Watch(call, self._streams, self._wants, self._facts, emit)

    # --- offers -------------------------------------------------------------------------------

    async def offer(self, side: Side, sdp: str | None, terms: Terms | None) -> Offered:
        """`side` offered: see `OfferMedia`. Raises SdpError, LocalError."""
        self._agree_to(terms)
        if self._beside is not None and side is Side.MATRIX:
            return self._offer_beside()
        asked = self._read_offer(side, sdp) if sdp is not None else None
        if len(self._agreed) == 2:
            return await self._renegotiate(side, asked)
        self._open_sip(asked if side is Side.SIP else None)
        await self._matrix.gather(controlling=side is Side.SIP)
        offered = self._make_offer(side.other, asked)
        self._pending = _Pending(side, asked, offered)
        return Offered(offer=str(offered))

    def _read_offer(self, side: Side, sdp: str) -> SessionDescription:
        """What could not be answered later has to fail now."""
        offer = parse(sdp)
        if side is Side.MATRIX:
            webrtc_peer(offer)
            pair_codecs(codec_choices(offer), AUDIO_CODECS)
            return offer
        offer = only_fitting(offer, Encryption(self._terms.srtp.value))
        pair_codecs(AUDIO_CODECS, codec_choices(offer, self._allowed))
        return offer

    def _agree_to(self, terms: Terms | None) -> None:
        if terms is not None:
            self._terms, self._allowed = terms, allowed_by(terms)

    def _make_offer(self, to: Side, other: SessionDescription | None) -> SessionDescription:
        """Our offer `to` a side; `other` is what the opposite side said last."""
        wanted = other is not None and self._may_have_video
        return self._offer_with(video_choices(other) if other and wanted else (), to, other)

    def _offer_with(
        self, video: Sequence[VideoCodec], to: Side, other: SessionDescription | None
    ) -> SessionDescription:
        previous, allowed = self._agreed.get(to), self._allowed
        if to is Side.MATRIX:
            webrtc = self._local_webrtc(video=bool(video))
            return offer_to_matrix(webrtc, allowed, sip=other, previous=previous, video=video)
        rtp = self._local_rtp(answering=False, video=bool(video))
        return offer_to_sip(rtp, allowed, matrix=other, previous=previous, video=video)

    @property
    def _may_have_video(self) -> bool:
        return self._terms.video and self._beside is None

    def _video_of(self, exchange: Exchange) -> VideoCodec | None:
        """The codec of video that the other side can be answered with."""
        return agreed_video(exchange) if self._may_have_video else None

    async def _renegotiate(self, side: Side, asked: SessionDescription | None) -> Offered:
        """An offer in an established session. The other side is asked only if it has to know."""
        if asked is None:
            other = self._agreed[side.other]
            video = self._video_of(other)
            ours = self._offer_with((video,) if video else (), side, other.remote)
            self._pending = _Pending(None, None, ours)
            return Offered(answer=str(ours))
        if side is Side.MATRIX:
            await self._prepare_restart(asked)
        before = audio_of(self._agreed[side].remote).active_direction
        stale = side is Side.SIP and self._stale
        same = audio_of(asked).active_direction is before and not stale
        if self._may_have_video and video_changes(
            asked, self._agreed[side], self._agreed[side.other]
        ):
            same = False
        if same or self._beside is not None:
            self._pending = None
            return Offered(answer=str(self._answer_alone(side, asked)))
        offered = self._make_offer(side.other, asked)
        self._pending = _Pending(side, asked, offered)
        return Offered(offer=str(offered))

    async def _prepare_restart(self, asked: SessionDescription) -> None:
        """Gather again if the client restarts ICE; what is in use goes on until then."""
        await self._matrix.discard()
        before = webrtc_peer(self._agreed[Side.MATRIX].remote)
        peer = webrtc_peer(asked)
        new_keys = set(peer.fingerprints) != set(before.fingerprints)
        if peer.restarts_ice(before) or new_keys:
            ice = self._matrix.ice
            await self._matrix.gather(controlling=ice.ice_controlling if ice else False)

    def _answer_alone(self, side: Side, asked: SessionDescription) -> SessionDescription:
        """Answer `side` without asking the other; a changed codec is transcoded."""
        kept = self._agreed[side.other]
        codec = self._codec_for(side, asked, kept)
        answer = self._answer(side, asked, codec, kept.remote, self._video_of(kept))
        self._commit({side: Exchange(local=answer, remote=asked)})
        return answer

    # --- answers ------------------------------------------------------------------------------

    async def answer(self, side: Side, sdp: str, *, provisional: bool) -> str:
        """`side` answered our offer: see `AnswerMedia`. Raises SdpError, LocalError."""
        pending = self._pending
        if pending is None:
            raise SdpError("An answer without an offer")
        answer = parse(sdp)
        if pending.asker is None:
            self._pending = pending if provisional else None
            agreed = Exchange(local=pending.offered, remote=answer)
            agreed = agreed if self._beside is None else self._accept(side, agreed)
            self._commit({side: agreed}, early=provisional)
            return ""
        if pending.asked is None:
            return self._offer_late(pending, side, answer)
        exchange = self._accept(side, Exchange(local=pending.offered, remote=answer))
        codec = self._codec_for(side.other, pending.asked, exchange)
        video = self._video_of(exchange)
        ours = self._answer(side.other, pending.asked, codec, answer, video)
        exchanges = {side: exchange, side.other: Exchange(local=ours, remote=pending.asked)}
        self._commit(exchanges, early=provisional)
        if not provisional:
            self._pending = None
        return str(ours)

    def _accept(self, side: Side, exchange: Exchange) -> Exchange:
        """What counts: where `side` was not asked, or refused, what it agreed to before goes on."""
        kept = self._agreed.get(side)
        if kept is None or kept.remote != exchange.remote or kept.local == exchange.local:
            return exchange
        return _renumbered(kept, exchange.local)

    def _codec_for(self, side: Side, offer: SessionDescription, other: Exchange) -> Codec:
        """The codec to answer an offer of `side` with, now that the other side has agreed."""
        agreed = leg_media(other.local, other.remote).codec
        if side is Side.SIP:
            return pair_codecs((agreed,), codec_choices(offer, self._allowed)).sip
        early = self._agreed.get(side)
        if early is not None and early.remote == offer:  # A second answer (18x, then 200).
            return leg_media(early.local, early.remote).codec
        return pair_codecs(codec_choices(offer), (agreed,)).matrix

    def _offer_late(self, pending: _Pending, side: Side, answer: SessionDescription) -> str:
        """The first side offered nothing: now that the other has answered, offer it something."""
        exchange = Exchange(local=pending.offered, remote=answer)
        leg_media(exchange.local, exchange.remote)  # Raises if there is nothing to agree on.
        self._agreed[side] = exchange
        if side is Side.MATRIX:
            self._connect_matrix(exchange)
        ours = self._make_offer(side.other, answer)
        self._pending = _Pending(None, None, ours)
        return str(ours)

    async def join(self, matrix_sdp: str, sip_sdp: str, terms: Terms | None) -> tuple[str, str]:
        """Answer two offers: see `JoinMedia`. Raises SdpError, LocalError."""
        self._agree_to(terms)
        matrix = self._read_offer(Side.MATRIX, matrix_sdp)
        sip = self._read_offer(Side.SIP, sip_sdp)
        pair = pair_codecs(codec_choices(matrix), codec_choices(sip, self._allowed))
        self._agreed.clear()
        self._pending = None
        self._open_sip(sip)
        await self._matrix.gather(controlling=False)
        video = pair_video(matrix, sip) if self._may_have_video else None
        to_matrix = self._answer(Side.MATRIX, matrix, pair.matrix, sip, video)
        to_sip = self._answer(Side.SIP, sip, pair.sip, matrix, video)
        self._commit(
            {
                Side.MATRIX: Exchange(local=to_matrix, remote=matrix),
                Side.SIP: Exchange(local=to_sip, remote=sip),
            }
        )
        return str(to_matrix), str(to_sip)

    async def rollback(self) -> None:
        """Forget the offer that waits for an answer: see `RollbackMedia`."""
        self._pending = None
        await self._matrix.discard()

    # --- another SIP peer -----------------------------------------------------------------------

    async def offer_successor(self, terms: Terms | None) -> str:
        """What to offer another SIP peer: see `OfferSuccessor`. Raises SdpError, LocalError."""
        await self.drop_successor()
        successor = self._successor = self._new_successor(None, terms)
        return successor.offer(self._ends, self._agreed[Side.MATRIX])

    async def switch(self, sdp: str, *, offered: bool, terms: Terms | None) -> tuple[str, bool]:
        """Talk with another SIP peer: see `SwitchMedia`. Raises SdpError, LocalError."""
        remote = parse(sdp)
        if offered:
            await self.drop_successor()
            self._successor = self._new_successor(remote, terms)
        if self._successor is None:
            raise SdpError("An answer without an offer")
        try:
            exchange = self._agree_with(self._successor, remote, offered=offered)
        except BridgeError:
            await self.drop_successor()
            raise
        await self.rollback()
        self._succeed(self._successor, exchange)
        surprising = is_surprising(self._agreed[Side.MATRIX], remote)
        self._stale = surprising and self._beside is None
        return (str(exchange.local) if offered else ""), self._stale

    async def drop_successor(self) -> None:
        """See `DropSuccessor`."""
        successor, self._successor = self._successor, None
        if successor is not None:
            successor.leg.close()

    def _new_successor(self, remote: SessionDescription | None, terms: Terms | None) -> Successor:
        return Successor(self._sip_leg(remote), terms or self._terms)

    def _agree_with(
        self, successor: Successor, remote: SessionDescription, *, offered: bool
    ) -> Exchange:
        if offered:
            return successor.answer(self._ends, self._agreed[Side.MATRIX], remote)
        return successor.accept(remote)

    def _succeed(self, successor: Successor, exchange: Exchange) -> None:
        """Let go of the present peer."""
        assert self._sip is not None
        self._sip.close()
        self._video.drop()
        self._sip, self._successor = successor.leg, None
        self._agree_to(successor.terms)
        self._streams.to_sip.lead(self._sip.send_rtp)
        self._watch.restart(Side.SIP)
        self._commit({Side.SIP: exchange})

    # --- the SIP peer of another call in the client's place ---------------------------------------

    async def bridge(self, name: CallId, session_of: Callable[[CallId], "Session | None"]) -> None:
        """See `BridgeMedia`; the session of the other call may come to be while ours leaves."""
        if self._beside is not None:
            return
        self._streams.to_matrix.lead(None)
        self._video.drop()
        await self._matrix.close()
        ours = self._beside = Beside(
            name,
            self._streams,
            hear=self._hear_elsewhere,
            follow=self._follow_beside,
            on_key=self._key_pressed,
        )
        self._pending = None
        if Side.MATRIX in self._agreed:
            self._agreed[Side.MATRIX] = unbound(self._agreed[Side.MATRIX])
        other = session_of(name)
        theirs = other._beside if other is not None else None
        if theirs is not None and theirs.other == self._call:
            ours.meet(theirs)
        if Side.SIP in self._agreed:
            self._commit({Side.SIP: self._agreed[Side.SIP]})

    def _offer_beside(self) -> Offered:
        """What to offer our SIP peer now, if it is not what it has."""
        kept = self._agreed.get(Side.SIP)
        if kept is not None and audio_of(kept.local).direction is MediaDirection.SENDRECV:
            if leg_video(kept.local, kept.remote) is None:
                return Offered()
        self._open_sip(None)
        theirs = self._agreed.get(Side.MATRIX)
        offered = self._make_offer(Side.SIP, theirs.remote if theirs else None)
        self._pending = _Pending(None, None, offered)
        return Offered(offer=str(offered))

    def _follow_beside(self, exchange: Exchange) -> None:
        """The other call's SIP peer agreed to something."""
        self._agreed[Side.MATRIX] = unbound(exchange)
        self._commit({})

    def _hear_elsewhere(self, hear: OnRtp) -> None:
        self._hear = hear
        if self._sip is not None:
            self._sip.tell(hear)

    def _answer(
        self,
        to: Side,
        offer: SessionDescription,
        codec: Codec,
        other: SessionDescription,
        video: VideoCodec | None,
    ) -> SessionDescription:
        previous = self._agreed.get(to)
        if to is Side.SIP:
            rtp = self._local_rtp(answering=True, video=video is not None)
            return answer_to_sip(rtp, offer, codec, matrix=other, previous=previous, video=video)
        webrtc = self._local_webrtc(video=video is not None)
        return answer_to_matrix(webrtc, offer, codec, sip=other, previous=previous, video=video)

    # --- putting it into force ------------------------------------------------------------------

    def _commit(self, exchanges: dict[Side, Exchange], *, early: bool = False) -> None:
        """Make exchanges count, all or none. `early`: there is no answer yet."""
        agreed = self._agreed | exchanges
        media = {side: leg_media(e.local, e.remote) for side, e in agreed.items()}
        if Side.SIP in media:
            self._aim(media[Side.SIP])
        self._agreed = agreed
        if Side.MATRIX in exchanges:
            self._stale = False
            self._connect_matrix(exchanges[Side.MATRIX])
        if self._beside is not None and Side.SIP in exchanges:
            self._beside.agree(exchanges[Side.SIP])
        if len(media) < 2:
            return
        self._streams.follow(media[Side.MATRIX], media[Side.SIP])
        if self._beside is None and self._video.follow(agreed[Side.MATRIX], agreed[Side.SIP]):
            self._tell(Side.MATRIX, self._hear_matrix)
        if not self._answered_at:
            self._answered_at = monotonic()
        if self._beside is not None:
            self._beside.ring()
        self._upkeep.start()
        if not early:  # Before the answer, silence is usual.
            self._watch.start()
            self._announce_video()
        self._announce()

    def _aim(self, media: LegMedia) -> None:
        assert self._sip is not None
        self._sip.aim(media.address, media.rtcp_address, muxed=media.rtcp_mux)
        self._sip.secure(media.keys)

    def _connect_matrix(self, exchange: Exchange) -> None:
        """Start ICE if something was gathered for it."""
        if self._matrix.gathered is None:
            return
        peer = webrtc_peer(exchange.remote)
        setup = our_setup(audio_of(exchange.local).setup, peer.setup)
        self._matrix.connect(peer, setup=setup)

    def _announce(self) -> None:
        """Say once that audio can pass."""
        there = self._matrix.connected if self._beside is None else self._beside.talks
        if self._connected_at or not there or len(self._streams.codecs) < 2:
            return
        self._connected_at = monotonic()
        matrix, sip = (str(self._streams.codecs[side]) for side in (Side.MATRIX, Side.SIP))
        seconds = round(self._connected_at - self._answered_at, 3)
        self._log.info("media connected", matrix=matrix, sip=sip, seconds=seconds)
        self._emit(MediaConnected(call=self._call, matrix_codec=matrix, sip_codec=sip))

    def _announce_video(self) -> None:
        """Say which video passes, if that is another than before."""
        codec = self._video.codec
        if codec != self._video_told:
            self._video_told = codec
            self._emit(MediaVideoChanged(call=self._call, codec=codec))

    # --- our own ends ---------------------------------------------------------------------------

    def _open_sip(self, remote: SessionDescription | None) -> None:
        if self._sip is None:
            self._sip = self._sip_leg(remote)
            self._streams.to_sip.lead(self._sip.send_rtp)

    def _sip_leg(self, remote: SessionDescription | None) -> SipLeg:
        connection = audio_of(remote).connection if remote else None
        peer = connection.address if connection and not connection.unspecified else None
        address = local_address(self._resources.settings.listen, peer)
        rtp, rtcp = self._resources.ports.pair(address)
        return SipLeg(rtp, rtcp, self._hear, self._sip_rtcp, self._sip_blind)

    def _video_leg(self, on_rtp: OnRtp, on_rtcp: Callable[[bytes], None]) -> SipLeg:
        assert self._sip is not None
        rtp, rtcp = self._resources.ports.pair(self._sip.address)
        return SipLeg(rtp, rtcp, on_rtp, on_rtcp, self._sip_blind, most=MAX_PACKET, repeats=True)

    def _ice_sockets(self) -> list[Socket]:
        addresses = gathering_addresses(self._resources.settings.listen)
        return self._resources.ports.singles(addresses)

    def _local_rtp(self, *, answering: bool, video: bool) -> LocalRtp:
        assert self._sip is not None
        local = self._ends.rtp(self._sip, self._terms, answering=answering)
        return replace(local, video=self._video.rtp(self._terms)) if video else local

    def _local_webrtc(self, *, video: bool) -> LocalWebRtc:
        ice = self._matrix.gathered or self._matrix.ice
        if ice is None:
            raise RuntimeError("no ICE candidates were gathered")
        local = self._ends.webrtc(ice, self._matrix.setup)
        return replace(local, video=self._video.webrtc()) if video else local

    # --- what the legs report ---------------------------------------------------------------------

    async def add_candidates(self, candidates: tuple[str, ...]) -> None:
        """See `AddRemoteCandidates`."""
        await self._matrix.add_candidates(candidates)

    async def play(self, key: str, duration: float) -> None:
        """See `PlayKey`."""
        if self._beside is not None:
            self._beside.play(key, duration)
            return
        self._player.play(key, duration)
        self._streams.to_matrix.events += 1

    async def refresh_picture(self) -> None:
        """See `RefreshPicture`."""
        self._video.refresh()

    def _key_pressed(self, key: str, duration: float) -> None:
        if self._terms.keypad is Keypad.EVENTS:
            return
        self._streams.to_sip.events += 1
        self._emit(MediaKeyPressed(call=self._call, key=key, duration=round(duration, 3)))

    def _set_matrix_sender(self, send: SendMedia | None) -> None:
        self._streams.to_matrix.lead(send)
        self._video.lead(send)

    def _matrix_connected(self) -> None:
        self._announce()

    def _codec_changed(self) -> None:
        self._upkeep.start()

    def _matrix_failed(self, fault: MediaFault, detail: str) -> None:
        self._log.warning("media lost", side="matrix", fault=fault.value, detail=detail)
        self._emit(MediaLost(call=self._call, side=Side.MATRIX, fault=fault, detail=detail))

    def _sip_blind(self) -> None:
        self._log.warning(
            "what the SIP peer sends cannot be decrypted: it uses another key than it said"
        )

    def _matrix_rtcp(self, packet: bytes) -> None:
        self._streams.matrix_rtcp.receive(packet, monotonic(), time())
        self._video.matrix_rtcp(packet)

    def _send_sip_rtcp(self, packet: bytes) -> None:
        if self._sip is not None:
            self._sip.send_rtcp(packet)

    def _sip_rtcp(self, packet: bytes) -> None:
        self._streams.sip_rtcp.receive(packet, monotonic(), time())

    def _tell(self, side: Side, hear: OnRtp | None) -> None:
        """Let somebody hear a side before its path does, or nobody any more."""
        if side is Side.MATRIX:
            self._hear_matrix = hear or self._streams.to_sip.receive
            self._matrix.tell(self._video.divide(self._hear_matrix))
        elif self._sip is not None:
            self._sip.tell(hear or self._hear)

    def _wants(self, side: Side) -> bool:
        """Whether audio is to come from a side. Whose SIP peer is there instead watches that."""
        elsewhere = side is Side.MATRIX and self._beside is not None
        return self._streams.wants(side) and not elsewhere

    def _facts(self, side: Side) -> Facts:
        """What may be the reason that nothing comes."""
        if side is Side.MATRIX:
            return Facts(self._matrix.hurdle, undecipherable=self._matrix.undecipherable)
        if self._sip is None:
            return Facts()
        return Facts(None, self._sip.strangers, self._sip.undecipherable)

    # --- the end --------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """What was measured so far; the keys are described in `streams.py`."""
        result = self._streams.statistics(self._answered_at)
        if self._connected_at and self._answered_at:
            result["connect_s"] = round(self._connected_at - self._answered_at, 3)
        result["matrix_undecipherable"] = self._matrix.undecipherable
        unread = self._streams.matrix_rtcp.far_end.malformed
        result["matrix_malformed"] = self._matrix.malformed + unread
        if self._sip is not None:
            result["sip_strangers"] = self._sip.strangers
            result["sip_latched"] = int(self._sip.latched)
            result["sip_undecipherable"] = self._sip.undecipherable
            result["sip_unsent"] = self._sip.unsent
            unread = self._streams.sip_rtcp.far_end.malformed
            result["sip_malformed"] = self._sip.malformed + self._sip.oversize + unread
        if self._sip is not None and self._sip.srtp is not None:
            result["sip_srtp"] = self._sip.srtp.keys.suite
        if self._matrix.suite:
            result["matrix_srtp"] = self._matrix.suite
        if self._matrix.pair:
            result["matrix_pair"] = self._matrix.pair
        return result | self._video.statistics()

    async def close(self) -> None:
        """Say goodbye on both sides and free everything."""
        self._upkeep.stop()
        self._watch.stop()
        await self.sounds.close()
        self._listener.stop()
        self._player.stop()
        if self._beside is not None:
            self._beside.part()
        await self.drop_successor()
        self._video.close()
        if self._sip is not None:
            self._sip.close()
        await self._matrix.close()
        self._streams.close()


def _renumbered(exchange: Exchange, sent: SessionDescription) -> Exchange:
    """The same, but as new as what was `sent` since: version numbers only rise (RFC 3264 8)."""
    return replace(exchange, local=replace(exchange.local, origin=sent.origin))
