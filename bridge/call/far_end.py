# SPDX-License-Identifier: GPL-3.0-or-later
"""The SIP side of a call: the leg with the far end, the one that may take its place, former ones.

The rest of the call knows the first alone. How another one gets there is decided here.
"""

from collections.abc import Callable, Iterator

from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import RecordLegs
from bridge.call.events import (
    MediaEvent,
    SipDialogChanged,
    SipEvent,
    SipIdentityChanged,
    SipInviteReceived,
    SipProgressed,
    SipReferReceived,
)
from bridge.call.ids import Address, CallId, OpId
from bridge.call.leg import NotCarried, Over, Redirected, Referred, Reoffer, Signal, Switched
from bridge.call.machine import Effects
from bridge.call.renegotiation import Renegotiation
from bridge.call.sip_leg import SipLeg
from bridge.call.states import SipState
from bridge.call.succession import Succession
from bridge.call.terms import Terms

HOPS = 3
"""Times that somebody is called elsewhere because they were pointed there."""
_TRYING = 100
_FORWARDED = 181
_FAILED = 300
_PENDING = 491

Identify = Callable[[Address, str], None]
"""Tells the person who is at the far end now: address and name."""


class FarEnd:
    """Who is at the SIP side. `leg` is the one that counts."""

    def __init__(
        self,
        effects: Effects,
        call: CallId,
        leg: SipLeg,
        renegotiation: Renegotiation,
        identify: Identify,
    ) -> None:
        self.leg = leg
        self._effects = effects
        self._call = call
        self._renegotiation = renegotiation
        self._identify = identify
        self._succession = Succession(effects, call)
        self._former: list[SipLeg] = []
        self._referral: SipReferReceived | None = None
        self._hops = 0
        self._over = False

    # --- what the call wants --------------------------------------------------------------

    def end(self, cause: Cause) -> None:
        """End every leg."""
        self._over = True
        successor = self._succession.close()
        if successor is not None:
            self._dismiss(successor, cause)
        self.leg.end(cause)

    @property
    def legs(self) -> tuple[SipLeg, ...]:
        """That with the far end, and that with who may take its place."""
        successor = self._succession.leg
        return (self.leg,) if successor is None else (self.leg, successor)

    @property
    def is_ended(self) -> bool:
        """Whether no leg is left."""
        legs = (self.leg, *self._former)
        return self._succession.leg is None and all(one.state is SipState.ENDED for one in legs)

    def deadlines(self) -> Iterator[float | None]:
        """When `expire` has something to do."""
        yield from (leg.deadline for leg in (*self.legs, *self._former))
        yield self._succession.deadline

    def expire(self) -> Iterator[Signal | None]:
        """Go on from every state that has lasted too long."""
        for leg in (self.leg, *self._former):
            if leg.is_due():
                yield leg.expire()
        for machine in (self._succession.leg, self._succession):
            if machine is not None and machine.is_due():
                yield self._failed(machine.expire())

    def give_way(self, leg: SipLeg) -> None:
        """Have `leg` instead of the present one, which nothing was agreed with yet."""
        self._dismiss(self.leg, Cause.ANSWERED_ELSEWHERE)
        self.leg = leg
        self.record()

    def follow(self, leg: SipLeg) -> None:
        """Go on with `leg`: the present one was refused, and pointed there."""
        self._former.append(self.leg)
        self.leg = leg

    def give_to(self, other: "FarEnd", sdp: str) -> None:
        """Exchange the leg, whose far end has answered with `sdp`, for what stood in for it."""
        given, self.leg = self.leg, other.leg
        self.leg.settle()
        given.settle()
        given.belong_to(other._call, sdp)
        other.leg = given
        other.record()

    def record(self) -> None:
        """Keep what names the leg, where the far end has named it."""
        named, dialog = self.leg.sip_call_id or None, self._dialogs() or None
        if named or dialog:
            self._effects.emit(RecordLegs(call=self._call, sip_call_id=named, sip_dialog=dialog))

    # --- what comes in --------------------------------------------------------------------

    def handle(self, event: SipEvent) -> Signal | None:
        """Take an event of any of the legs; others are ignored."""
        successor = self._succession.leg
        for leg in self._former:
            if event.leg == leg.leg:
                leg.handle(event)
                return None
        if event.leg == self.leg.leg:
            self._said(self.leg, event)
            return self._waits_for(self.leg.handle(event))
        if successor is not None and event.leg == successor.leg:
            self._said(successor, event)
            return self._successor_said(successor, event)
        return None

    def media_said(self, event: MediaEvent) -> Over | None:
        """Take a result of the engine that concerns a successor; why the call is over, if it is."""
        return self._failed(self._succession.handle(event))

    def _dialogs(self) -> str:
        """What ends each leg after a crash, one a line."""
        return "\n".join(leg.dialog for leg in self.legs if leg.dialog)

    def _said(self, leg: SipLeg, event: SipEvent) -> None:
        """What needs no answer, whichever leg says it."""
        if self._over:
            return
        if isinstance(event, SipDialogChanged):
            leg.dialog = event.state
            self._effects.emit(RecordLegs(call=self._call, sip_dialog=self._dialogs()))
        elif isinstance(event, SipIdentityChanged):
            self._identify(event.address, event.name)

    # --- somebody else --------------------------------------------------------------------

    @property
    def is_steady(self) -> bool:
        """Whether the leg is up, and nobody is about to take its place."""
        return self._succession.leg is None and self.leg.state is SipState.CONFIRMED

    @property
    def can_be_put_through(self) -> bool:
        """The same, also where it waits for another call to take the person's place."""
        waits = self.leg.state is SipState.AWAITING
        return self.is_steady or (waits and self._succession.leg is None)

    def note_referral(self, wanted: SipReferReceived) -> None:
        """The far end wants us to call somebody else instead of it (RFC 3515)."""
        self._referral = wanted

    def take_referral(self) -> SipReferReceived | None:
        """Whom the far end wants us to call, if that was not dealt with yet."""
        wanted, self._referral = self._referral, None
        return None if self._over else wanted

    def refuse_referral(self, op: OpId, status: int) -> None:
        """Tell the far end that nobody is called for it."""
        self.leg.notify(op, status)

    def follow_referral(self, leg: SipLeg, terms: Terms, wanted: SipReferReceived) -> None:
        """Call whom the far end wants in its place."""
        self.leg.notify(wanted.op, _TRYING)
        self._hops = 0
        self._succession.begin(leg, terms, (wanted.target, ""), (self.leg, wanted.op))

    @property
    def successor(self) -> SipLeg | None:
        """Who may take the far end's place."""
        return self._succession.leg

    @property
    def can_hop(self) -> bool:
        """Whether the successor may be called elsewhere; where it goes on for ever, it may not."""
        return self._hops < HOPS

    def call_elsewhere(self, leg: SipLeg, terms: Terms) -> None:
        """The successor was pointed to where `leg` leads."""
        self._hops += 1
        self._succession.report(_FORWARDED)
        self._former.append(self._succession.go_elsewhere(leg, terms))

    def lose_successor(self, over: Over) -> Over | None:
        """Nobody takes the far end's place; why the call is over, if it is."""
        return self._failed(over)

    def take_over(self, leg: SipLeg, terms: Terms, event: SipInviteReceived) -> None:
        """An INVITE takes the far end's place."""
        self._succession.begin(leg, terms, (event.caller, event.caller_name))
        if leg.state is SipState.INVITED:
            self._renegotiation.switch(leg, terms, offered=True)

    def switched(self, switched: Switched) -> None:
        """The media has gone over to the successor: so does everything else."""
        former, party = self.leg, self._succession.party
        self.leg = leg = self._succession.finish()
        if leg.state is SipState.INVITED:
            self._identify(*party)
            leg.answer(switched.sdp)
        self.record()
        leg.last_until(former.deadline)
        self._dismiss(former, Cause.TRANSFERRED)
        self._renegotiation.go_on(needed=switched.needed)

    def not_switched(self, cause: Cause) -> Over | None:
        """The engine cannot talk with the successor; why the call is over, if it is."""
        return self._failed(Over(cause=cause, by="media"))

    # --- inside ---------------------------------------------------------------------------

    def _waits_for(self, signal: Signal | None) -> Signal | None:
        """A far end that has left does not matter while somebody may come in its place."""
        gone = isinstance(signal, Over) and self.leg.state is SipState.ENDED
        if not gone or self._succession.leg is None:
            return signal
        self._renegotiation.lose_peer()
        return None

    def _successor_said(self, leg: SipLeg, event: SipEvent) -> Over | Redirected | None:
        if isinstance(event, SipProgressed):
            self._succession.progressed(event)
        signal = leg.handle(event)
        if isinstance(signal, Redirected):
            return signal
        if isinstance(signal, NotCarried):
            return self._try_again(leg, signal)
        if isinstance(signal, Over):
            return self._failed(signal)
        if isinstance(signal, Reoffer) and signal.op is not None:
            leg.refuse(signal.op, _PENDING)
        elif isinstance(signal, Referred):
            leg.notify(signal.event.op, _PENDING)
        elif self._succession.answered(leg):
            self._identify(*self._succession.party)
            self._renegotiation.switch(leg, self._succession.terms, offered=False)
        return None

    def _try_again(self, failed: SipLeg, why: NotCarried) -> Over | None:
        """The successor is called by the next trunk, or without video that it has refused."""
        leg = failed.without_video() if why.video else failed.successor()
        if leg is None:
            return self._failed(why.over)
        self._former.append(self._succession.go_elsewhere(leg, leg.terms))
        return None

    def _failed(self, over: Over | None) -> Over | None:
        """The successor does not come; without the far end, the call is over."""
        if over is None:
            return None
        if self.leg.state is SipState.ENDED or not self._renegotiation.withdraw():
            return over
        status = over.status if over.status >= _FAILED else MEANINGS[over.cause].status
        self._dismiss(self._succession.fail(status), over.cause)
        return None

    def _dismiss(self, leg: SipLeg, cause: Cause) -> None:
        self._former.append(leg)
        leg.end(cause)
