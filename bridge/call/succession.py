# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody takes the far end's place, and the person's call goes on: nothing rings for them.

Either the far end asks us to call somebody else (REFER, RFC 3515), or that somebody calls us with
the name of the far end's dialog (Replaces, RFC 3891). Until the media has gone over to the
successor, the far end may go on, or be gone already.
"""

from bridge.call.cause_mapping import from_fault
from bridge.call.causes import Cause
from bridge.call.commands import DropSuccessor, OfferSuccessor
from bridge.call.events import (
    MediaEvent,
    MediaFailed,
    MediaOfferReady,
    MediaSwitched,
    SipAnswered,
    SipConfirmed,
    SipInviteReceived,
    SipProgressed,
)
from bridge.call.ids import Address, CallId, OpId
from bridge.call.leg import Over
from bridge.call.machine import Effects, Machine
from bridge.call.sip_leg import SipLeg
from bridge.call.states import SipState, SuccessionState
from bridge.call.tables import SUCCESSION
from bridge.call.terms import NO_TERMS, Terms

_CANCELLED = 487
_S = SuccessionState


class Succession(Machine):
    """Who is to take the far end's place, if anybody is."""

    def __init__(self, effects: Effects, call: CallId) -> None:
        super().__init__(SUCCESSION, _S.NONE, effects)
        self.leg: SipLeg | None = None
        self._call = call
        self._party: tuple[Address, str] = (Address(""), "")
        self._terms: Terms = NO_TERMS
        self._referral: tuple[SipLeg, OpId] | None = None
        self._op: OpId | None = None

    # --- what the call wants --------------------------------------------------------------

    def begin(
        self,
        leg: SipLeg,
        terms: Terms,
        party: tuple[Address, str],
        referral: tuple[SipLeg, OpId] | None = None,
    ) -> None:
        """`leg` is to take the place; `referral`: who asked for that, and by which REFER."""
        self.leg, self._terms, self._party = leg, terms, party
        self._referral = referral
        if leg.state is SipState.INVITED:
            self.hears(SipInviteReceived)
            return
        self._ask_for_offer(leg)

    def go_elsewhere(self, leg: SipLeg, terms: Terms) -> SipLeg:
        """Try `leg` instead, for the present one was pointed there, or refused; it is over."""
        former = self.leg
        assert former is not None
        self.leg, self._terms = leg, terms
        self._ask_for_offer(leg)
        return former

    def _ask_for_offer(self, leg: SipLeg) -> None:
        self._op = self._effects.op()
        offer = OfferSuccessor(
            call=self._call, op=self._op, terms=self._terms, audio_alone=leg.audio_alone
        )
        self.says(offer)

    @property
    def terms(self) -> Terms:
        """What the successor's trunk wants of its media."""
        return self._terms

    @property
    def party(self) -> tuple[Address, str]:
        """Who the successor is: address and name."""
        return self._party

    def report(self, status: int) -> None:
        """Tell who asked for it how it goes."""
        if self._referral is not None:
            leg, op = self._referral
            leg.notify(op, status)

    def finish(self) -> SipLeg:
        """The media has gone over."""
        leg = self.leg
        assert leg is not None
        self.hears(MediaSwitched)
        self.report(200)
        self._forget()
        return leg

    def fail(self, status: int) -> SipLeg:
        """It comes to nothing; the leg has to be ended."""
        leg = self.leg
        assert leg is not None
        self.says(DropSuccessor(call=self._call))
        self.report(status)
        self._forget()
        return leg

    def close(self) -> SipLeg | None:
        """The call is over, and with it the session; the leg has to be ended, if there is one."""
        leg = self.leg
        self.report(_CANCELLED)
        self.enter(_S.NONE)
        self._forget()
        return leg

    # --- what comes in --------------------------------------------------------------------

    def progressed(self, event: SipProgressed) -> None:
        """The successor rings."""
        self.report(event.status)

    def answered(self, leg: SipLeg) -> bool:
        """Whether the successor has just accepted."""
        up = leg.state is SipState.CONFIRMED
        return up and self.hears(SipConfirmed if leg.we_offer else SipAnswered)

    def handle(self, event: MediaEvent) -> Over | None:
        """Take a result of the engine."""
        if self._op is None or getattr(event, "op", None) != self._op:
            return None
        self._op = None
        match event:
            case MediaOfferReady(sdp=sdp, video=video):
                self._offer(sdp, video=video)
            case MediaFailed(fault=fault):
                return Over(cause=from_fault(fault), by="media")
        return None

    def expire(self) -> Over:
        """The engine took too long."""
        return Over(cause=Cause.MEDIA_FAILED, by="media")

    # --- inside ---------------------------------------------------------------------------

    def _offer(self, sdp: str, *, video: bool) -> None:
        assert self.leg is not None
        self.hears(MediaOfferReady)
        if self.leg.state is SipState.IDLE:
            self.leg.invite(sdp, video=video)
        else:
            self.leg.answer(sdp)

    def _forget(self) -> None:
        self.leg = self._op = self._referral = None
