# SPDX-License-Identifier: GPL-3.0-or-later
"""One call's media session: offers and answers turned into legs and paths.

Commands arrive one after the other (see `engine.py`). State changes only when an answer completes
an exchange, so that an offer that is refused leaves everything as it was.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bridge.call.ids import CallId, Side
from bridge.call.terms import Keypad, Terms
from bridge.errors import BridgeError, SdpError
from bridge.media.embedded.agreements import Agreements, Pending
from bridge.media.embedded.alone import Alone
from bridge.media.embedded.beside import Beside, unbound_exchange
from bridge.media.embedded.keys import KeyListener, KeyPlayer
from bridge.media.embedded.legs import Legs, Reports, Resources
from bridge.media.embedded.news import News
from bridge.media.embedded.sounds import Sounds
from bridge.media.embedded.streams import Statistics
from bridge.media.embedded.successor import Successor, is_surprising
from bridge.media.embedded.upkeep import Upkeep
from bridge.media.embedded.watch import Watch
from bridge.ports import Emit
from bridge.sdp.agreement import audio_of, leg_media, webrtc_peer
from bridge.sdp.description import MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange
from bridge.sdp.parser import parse
from bridge.sdp.video import leg_video, own_video_index


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What to offer the other side, or if it need not be asked, what to answer this one.

    Neither, where nobody waits for an answer.
    """

    offer: str = ""
    answer: str = ""
    video: bool = False
    """Whether video is offered."""


class Session:
    """The two legs of a call, what was agreed on each, and the paths between them."""

    def __init__(self, call: CallId, resources: Resources, emit: Emit) -> None:
        self._call = call
        self._news = News(call, emit)
        self._listener = KeyListener(self._key_pressed)
        legs = self._legs = Legs(
            resources,
            Reports(
                connected=self._announce,
                failed=self._news.lost,
                codec_changed=lambda: self._upkeep.start(),
                event=self._listener.hear,
                sip_blind=self._news.blind,
                picture_wanted=self._news.picture_wanted,
            ),
        )
        self._agreements = Agreements(legs)
        self._player = KeyPlayer(legs.streams.to_matrix)
        self._beside: Beside | Alone | None = None
        self._successor: Successor | None = None
        self._upkeep = Upkeep(legs.streams, legs.matrix.send_rtcp, legs.send_sip_rtcp)
        self.sounds = Sounds(call, legs.streams, legs.tell, legs.ear_of, emit)
        self._watch = Watch(call, legs.streams, self._wants, legs.facts, emit)

    # --- offers -------------------------------------------------------------------------------

    async def offer(
        self, side: Side, sdp: str | None, terms: Terms | None, *, audio_alone: bool = False
    ) -> Offered:
        """`side` offered: see `OfferMedia`. Raises SdpError, LocalError."""
        agreements = self._agreements
        agreements.accept(terms)
        if side is Side.MATRIX and sdp == "":
            await self._be_alone()
        if self._beside is not None and side is Side.MATRIX:
            return self._offer_beside()
        asked = agreements.read_offer(side, sdp) if sdp is not None else None
        if len(agreements.on) == 2:
            return await self._renegotiate(side, asked)
        self._legs.open_sip(asked if side is Side.SIP else None)
        await self._legs.matrix.gather(controlling=side is Side.SIP)
        return self._ask(side, asked, audio_alone=audio_alone)

    def _ask(
        self, side: Side, asked: SessionDescription | None, *, audio_alone: bool = False
    ) -> Offered:
        """Ask the other side, for this one has offered something, or wants an offer."""
        offered = self._agreements.offer(side.other, asked, audio_alone=audio_alone)
        self._agreements.pending = Pending(side, asked, offered)
        return Offered(offer=str(offered), video=own_video_index(offered) is not None)

    async def _renegotiate(self, side: Side, asked: SessionDescription | None) -> Offered:
        """An offer in an established session. The other side is asked only if it has to know."""
        agreements = self._agreements
        if asked is None:
            ours = agreements.offer_again(side)
            agreements.pending = Pending(None, None, ours)
            return Offered(answer=str(ours))
        if side is Side.MATRIX:
            await self._prepare_restart(asked)
        if agreements.concerns_other(side, asked):
            return self._ask(side, asked, audio_alone=agreements.was_declined(side, asked))
        agreements.pending = None
        answer = agreements.answer(side, asked, agreements.on[side.other])
        self._commit({side: Exchange(local=answer, remote=asked)})
        return Offered(answer=str(answer))

    async def _prepare_restart(self, asked: SessionDescription) -> None:
        """Gather again if the client restarts ICE; what is in use goes on until then."""
        matrix = self._legs.matrix
        await matrix.discard()
        before = webrtc_peer(self._agreements.on[Side.MATRIX].remote)
        peer = webrtc_peer(asked)
        new_keys = set(peer.fingerprints) != set(before.fingerprints)
        if peer.restarts_ice(before) or new_keys:
            await matrix.gather(controlling=matrix.ice.ice_controlling if matrix.ice else False)

    # --- answers ------------------------------------------------------------------------------

    async def answer(
        self, side: Side, sdp: str, *, provisional: bool = False, refused: bool = False
    ) -> str:
        """`side` answered our offer: see `AnswerMedia`. Raises SdpError, LocalError."""
        agreements = self._agreements
        pending = agreements.pending
        if pending is None:
            raise SdpError("An answer without an offer")
        agreed = Exchange(local=pending.offered, remote=parse(sdp))
        if pending.asker is None:
            agreements.pending = pending if provisional else None
            agreed = agreements.what_counts(side, agreed, refused=refused)
            self._commit({side: agreed}, early=provisional)
            return ""
        if pending.asked is None:
            return self._offer_late(side, agreed)
        exchange = agreements.what_counts(side, agreed, refused=refused)
        ours = agreements.answer(side.other, pending.asked, exchange)
        exchanges = {side: exchange, side.other: Exchange(local=ours, remote=pending.asked)}
        self._commit(exchanges, early=provisional)
        if not provisional:
            agreements.pending = None
        return str(ours)

    def _offer_late(self, side: Side, exchange: Exchange) -> str:
        """The first side offered nothing: now that the other has answered, offer it something."""
        leg_media(exchange.local, exchange.remote)  # Raises if there is nothing to agree on.
        self._agreements.on[side] = exchange
        if side is Side.MATRIX:
            self._legs.connect_matrix(exchange)
        ours = self._agreements.offer(side.other, exchange.remote)
        self._agreements.pending = Pending(None, None, ours)
        return str(ours)

    async def join(self, matrix_sdp: str, sip_sdp: str, terms: Terms | None) -> tuple[str, str]:
        """Answer two offers: see `JoinMedia`. Raises SdpError, LocalError."""
        agreements = self._agreements
        agreements.accept(terms)
        if not matrix_sdp:
            return "", await self._answer_alone(sip_sdp)
        matrix = agreements.read_offer(Side.MATRIX, matrix_sdp)
        sip = agreements.read_offer(Side.SIP, sip_sdp)
        agreements.on.clear()
        agreements.pending = None
        self._legs.open_sip(sip)
        await self._legs.matrix.gather(controlling=False)
        exchanges = agreements.answer_both(matrix, sip)
        self._commit(exchanges)
        return str(exchanges[Side.MATRIX].local), str(exchanges[Side.SIP].local)

    async def rollback(self) -> None:
        """Forget the offer that waits for an answer: see `RollbackMedia`."""
        self._agreements.pending = None
        await self._legs.matrix.discard()

    # --- another SIP peer -----------------------------------------------------------------------

    async def offer_successor(self, terms: Terms | None, *, audio_alone: bool) -> Offered:
        """What to offer another SIP peer: see `OfferSuccessor`. Raises SdpError, LocalError."""
        await self.drop_successor()
        successor = self._successor = self._new_successor(None, terms)
        agreements = self._agreements
        offered = successor.offer(
            self._legs,
            agreements.on[Side.MATRIX],
            video=not audio_alone and not agreements.bridged,
        )
        return Offered(offer=str(offered), video=own_video_index(offered) is not None)

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
        surprising = is_surprising(self._agreements.on[Side.MATRIX], exchange)
        self._agreements.stale = surprising and self._beside is None
        return (str(exchange.local) if offered else ""), self._agreements.stale

    async def drop_successor(self) -> None:
        """See `DropSuccessor`."""
        successor, self._successor = self._successor, None
        if successor is not None:
            successor.leg.close()
            self._legs.video.drop_next()

    def _new_successor(self, remote: SessionDescription | None, terms: Terms | None) -> Successor:
        return Successor(self._legs.sip_leg(remote), terms or self._agreements.terms)

    def _agree_with(
        self, successor: Successor, remote: SessionDescription, *, offered: bool
    ) -> Exchange:
        if offered:
            agreements = self._agreements
            matrix, video = agreements.on[Side.MATRIX], not agreements.bridged
            return successor.answer(self._legs, matrix, remote, video=video)
        return successor.accept(remote)

    def _succeed(self, successor: Successor, exchange: Exchange) -> None:
        """Let go of the present peer."""
        self._legs.succeed(successor.leg)
        self._successor = None
        self._agreements.accept(successor.terms)
        self._watch.restart(Side.SIP)
        self._commit({Side.SIP: exchange})

    # --- the SIP peer of another call in the client's place ---------------------------------------

    async def bridge(self, name: CallId, session_of: Callable[[CallId], "Session | None"]) -> None:
        """See `BridgeMedia`; the session of the other call may come to be while ours leaves."""
        if self._beside is not None:
            return
        await self._legs.leave_matrix()
        ours = self._beside = Beside(
            name,
            self._legs.streams,
            hear=self._legs.hear_elsewhere,
            follow=self._follow_beside,
            on_key=self._key_pressed,
        )
        agreements = self._agreements
        agreements.pending, agreements.bridged = None, True
        if Side.MATRIX in agreements.on:
            agreements.on[Side.MATRIX] = unbound_exchange(agreements.on[Side.MATRIX])
        other = session_of(name)
        theirs = other._beside if other is not None else None
        if isinstance(theirs, Beside) and theirs.other == self._call:
            ours.meet(theirs)
        if Side.SIP in agreements.on:
            self._commit({Side.SIP: agreements.on[Side.SIP]})

    async def _be_alone(self) -> None:
        """There is no client; what was offered to it is void."""
        if self._beside is not None:
            return
        await self._legs.leave_matrix()
        self._agreements.pending, self._agreements.bridged = None, True
        self._beside = Alone(
            self._legs.streams,
            hear=self._legs.hear_elsewhere,
            follow=self._follow_beside,
            on_key=self._news.key,
        )

    async def _answer_alone(self, sdp: str) -> str:
        """Answer a SIP peer with whom nobody but ourselves will talk."""
        offer = self._agreements.read_offer(Side.SIP, sdp)
        await self._be_alone()
        self._legs.open_sip(offer)
        exchange = self._agreements.answer_alone(offer)
        self._commit({Side.SIP: exchange})
        return str(exchange.local)

    def _offer_beside(self) -> Offered:
        """What to offer our SIP peer now, if it is not what it has."""
        agreements = self._agreements
        kept = agreements.on.get(Side.SIP)
        if kept is not None and audio_of(kept.local).direction is MediaDirection.SENDRECV:
            if leg_video(kept.local, kept.remote) is None:
                return Offered()
        self._legs.open_sip(None)
        theirs = agreements.on.get(Side.MATRIX)
        offered = agreements.offer(Side.SIP, theirs.remote if theirs else None)
        agreements.pending = Pending(None, None, offered)
        return Offered(offer=str(offered))

    def _follow_beside(self, exchange: Exchange) -> None:
        """The other call's SIP peer agreed to something."""
        self._agreements.on[Side.MATRIX] = unbound_exchange(exchange)
        self._commit({})

    # --- putting it into force ------------------------------------------------------------------

    def _commit(self, exchanges: dict[Side, Exchange], *, early: bool = False) -> None:
        """Make exchanges count, all or none. `early`: there is no answer yet."""
        agreements, legs = self._agreements, self._legs
        agreed = agreements.on | exchanges
        media = {side: leg_media(e.local, e.remote) for side, e in agreed.items()}
        if Side.SIP in media:
            legs.aim(media[Side.SIP])
        agreements.on = agreed
        if Side.MATRIX in exchanges:
            agreements.stale = False
            legs.connect_matrix(exchanges[Side.MATRIX])
        if self._beside is not None and Side.SIP in exchanges:
            self._beside.agree(exchanges[Side.SIP])
        if len(media) < 2:
            return
        legs.streams.follow(media[Side.MATRIX], media[Side.SIP])
        self._news.agreed()
        if self._beside is None:
            legs.follow_video(agreed[Side.MATRIX], agreed[Side.SIP])
        else:
            self._beside.ring()
        self._upkeep.start()
        if not early:  # Before the answer, silence is usual.
            self._watch.start()
            self._news.video(legs.video.codec)
        self._announce()

    def _announce(self) -> None:
        """Say once that audio can pass."""
        codecs = self._legs.streams.codecs
        there = self._legs.matrix.connected if self._beside is None else self._beside.talks
        if there and len(codecs) == 2:
            self._news.connected(codecs[Side.MATRIX], codecs[Side.SIP])

    # --- what the legs report ---------------------------------------------------------------------

    async def add_candidates(self, candidates: tuple[str, ...]) -> None:
        """See `AddRemoteCandidates`."""
        await self._legs.matrix.add_candidates(candidates)

    async def play(self, key: str, duration: float) -> None:
        """See `PlayKey`."""
        if self._beside is not None:
            self._beside.play(key, duration)
            return
        self._player.play(key, duration)
        self._legs.streams.to_matrix.events += 1

    async def refresh_picture(self) -> None:
        """See `RefreshPicture`."""
        self._legs.video.refresh()

    def _key_pressed(self, key: str, duration: float) -> None:
        if self._agreements.terms.keypad is Keypad.EVENTS:
            return
        self._legs.streams.to_sip.events += 1
        self._news.key(key, duration)

    def _wants(self, side: Side) -> bool:
        """Whether audio is to come from a side. Whose SIP peer is there instead watches that."""
        elsewhere = side is Side.MATRIX and self._beside is not None
        return self._legs.streams.wants(side) and not elsewhere

    # --- the end --------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """What was measured so far; the keys are described in `streams.py`."""
        result = self._legs.statistics(self._news.answered_at)
        if (seconds := self._news.connect_seconds) is not None:
            result["connect_s"] = seconds
        return result

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
        await self._legs.close()
