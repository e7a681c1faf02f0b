# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that go on with somebody else: transfers from either side, and redirections."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from bridge.call.call import Call
from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import RejectSip
from bridge.call.dialplan import OutboundRoute, follows, terms_of
from bridge.call.events import SipInviteReceived, SipReferReceived
from bridge.call.ids import Address, CallId, Direction, LegId, UserId
from bridge.call.leg import HandedOver, Redirected
from bridge.call.limits import Allowances
from bridge.call.machine import Effects
from bridge.call.making import LegMaker
from bridge.call.notices import CANNOT_BE_CALLED, NOT_TRANSFERRED, TO_NOBODY
from bridge.call.people import People
from bridge.call.policy import Access, Policy, Refusal, access_of
from bridge.call.register import Register, sip_name
from bridge.call.reliefs import Reliefs

_PENDING = 491
_NO_SUCH_DIALOG = 481


class Hands(Protocol):
    """The switchboard, as far as it is needed here."""

    def guard(self, call: Call, action: Callable[[], None]) -> None:
        """Do something to a call, and follow what comes of it."""

    def why_not_ring(self, person: UserId, caller: Address) -> Cause | None:
        """Why a person is not rung; None if they are."""


class Transfers:
    """Decides what becomes of calls whose person or far end wants them to go elsewhere."""

    def __init__(
        self,
        policy: Policy,
        effects: Effects,
        people: People,
        limits: Allowances,
        calls: Register,
        maker: LegMaker,
        hands: Hands,
    ) -> None:
        self._policy = policy
        self._effects = effects
        self._people = people
        self._limits = limits
        self._calls = calls
        self._maker = maker
        self._hands = hands
        self.reliefs = Reliefs()

    def follow(self, call: Call) -> None:
        """Do what was asked for by the last event of a call."""
        redirected = call.take_redirection()
        if redirected is not None:
            self._redirect(call, redirected)
        wanted = call.take_transfer()
        if wanted is not None:
            self._transfer(call, wanted)
        referral = call.take_referral()
        if referral is not None:
            self._follow_referral(call, referral)

    # --- by the person ----------------------------------------------------------------------

    def _transfer(self, call: Call, wanted: HandedOver) -> None:
        """A person transfers a call: to another address, or to one that they talk to already."""
        if wanted.person is not None:
            self._pass_on_to(call, wanted.person)
            return
        if wanted.target is None:
            call.refuse_transfer(TO_NOBODY)
            return
        if wanted.waits:
            call.await_transfer()
            return
        other = self._calls.between(call.person, wanted.target)
        if other is not None and other is not call:
            call.transfer(wanted.target.removeprefix("tel:"), other.sip.leg)
            return
        route = self._people.route_by(call.sip.trunk, call.person, wanted.target)
        if not isinstance(route, Refusal):
            route = self._limits.why_not_transfer(call.person, route.trunk) or route
        if isinstance(route, Refusal):
            call.refuse_transfer(MEANINGS[route.cause].sentence)
            return
        self._limits.placed(call.person, route.trunk)
        call.transfer(route.target)

    def _pass_on_to(self, call: Call, person: UserId) -> None:
        """A person transfers a call to another: who is called, and then gets its far end."""
        if access_of(self._policy, person) < Access.RECEIVE:
            call.refuse_transfer(CANNOT_BE_CALLED)
            return
        limit = self._limits.why_not_transfer(call.person, call.sip.trunk)
        if limit is not None:
            call.refuse_transfer(MEANINGS[limit.cause].sentence)
            return
        absent = self._hands.why_not_ring(person, call.address)
        if absent is Cause.BUSY:
            call.refuse_transfer(NOT_TRANSFERRED)
            return
        if not call.pass_on():
            return
        self._limits.placed(call.person, call.sip.trunk)
        new = self._maker.name()
        leg = self._maker.promised(new, call.sip)
        made = Call(
            self._effects,
            new,
            Direction.TO_MATRIX,
            address=call.address,
            matrix=self._maker.calling(new, person, call.address),
            sip=leg,
            terms=terms_of(self._policy, leg.trunk),
            payer=call.payer,
        )
        self._calls.add(made, sip_name(leg.leg))
        self.reliefs.begin(call, made)
        self._hands.guard(made, made.start if absent is None else partial(made.refuse, absent, ""))

    # --- by the far end -----------------------------------------------------------------------

    def _follow_referral(self, call: Call, event: SipReferReceived) -> None:
        """The far end wants us to call somebody else in its place, at the person's expense."""
        if not call.can_be_referred:
            call.far.refuse_referral(event.op, _PENDING)
            return
        person = call.person
        route = self._people.route_referral(call.sip.trunk, person, event.target, event.uri)
        if not isinstance(route, Refusal):
            route = self._limits.why_not_transfer(person, route.trunk) or route
        if isinstance(route, Refusal):
            call.far.refuse_referral(event.op, MEANINGS[route.cause].status)
            return
        self._limits.placed(person, route.trunk)
        leg = self._maker.referred(call.id, person, route, event)
        self._calls.name(call, sip_name(leg.leg))
        call.far.follow_referral(leg, route.terms, event)

    def replace(self, event: SipInviteReceived, replaced: LegId) -> None:
        """An INVITE takes the place of a leg of ours (RFC 3891), if it still can."""
        call = self._calls.with_leg(replaced)
        if call is None:
            gone = RejectSip(call=CallId(""), leg=event.leg, status=_NO_SUCH_DIALOG)
            self._effects.emit(gone)
            return
        self._calls.name(call, sip_name(event.leg))
        leg = self._maker.incoming(call.id, event)
        terms = terms_of(self._policy, event.trunk)
        if call.can_take_sip:
            call.matrix.identify(event.caller, event.caller_name)
            self._hands.guard(call, lambda: call.take_sip(leg, terms))
        elif call.can_be_taken_over:
            self._hands.guard(call, lambda: call.far.take_over(leg, terms, event))
        else:
            self._effects.emit(RejectSip(call=call.id, leg=event.leg, status=_PENDING))

    # --- redirection ----------------------------------------------------------------------

    def _redirect(self, call: Call, redirected: Redirected) -> None:
        """Place a call where its trunk says it can be reached, as the person might themselves."""
        route = self._elsewhere(call, redirected.contacts)
        if route is not None:
            longest = self._limits.longest(route.trunk, call.person)
            leg = call.place_elsewhere(route, longest)
            if leg is not None:
                self._limits.placed(call.person, route.trunk)
                self._calls.name(call, sip_name(leg))
                return
        over = redirected.over
        call.end(over.cause, over.by, over.status)

    def _elsewhere(self, call: Call, contacts: Sequence[Address]) -> OutboundRoute | None:
        """The best of the contacts that the person may call, by whichever trunk carries it."""
        if not follows(self._policy, call.sip.trunk):
            return None
        for contact in contacts:
            route = self._people.route_out(call.person, contact)
            if isinstance(route, Refusal):
                continue
            if self._limits.why_not_transfer(call.person, route.trunk) is None:
                return route
        return None
