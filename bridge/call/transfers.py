# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that go on with somebody else: transfers from either side, and redirections."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from bridge.call.call import Call
from bridge.call.cause_mapping import blames_trunk, from_sip
from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import RejectSip
from bridge.call.dialplan import OutboundRoute, follows, heard, refers, terms_of
from bridge.call.events import SipInviteReceived, SipReferReceived
from bridge.call.ids import Address, CallId, Direction, LegId, TrunkName, UserId
from bridge.call.junctions import Actions, Junctions
from bridge.call.leg import HandedOver, NotTransferred, Redirected
from bridge.call.limits import Allowances, usable
from bridge.call.machine import Effects
from bridge.call.making import LegMaker
from bridge.call.notices import CANNOT_BE_CALLED, NOT_TRANSFERRED, TO_NOBODY, not_taken
from bridge.call.people import People
from bridge.call.policy import Access, Refusal, access_of
from bridge.call.register import Register, sip_name
from bridge.call.reliefs import Reliefs
from bridge.call.sip_leg import SipLeg

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
        effects: Effects,
        people: People,
        limits: Allowances,
        calls: Register,
        maker: LegMaker,
        hands: Hands,
    ) -> None:
        self._effects = effects
        self._people = people
        self._limits = limits
        self._calls = calls
        self._maker = maker
        self._hands = hands
        self._reliefs = Reliefs()
        self._junctions = Junctions(self._recall)

    def consequences(self, call: Call) -> Actions:
        """What is to be done to other calls, now that something has happened to this one."""
        forsaken = call.leaving.take_forsaken()
        given_back = [(call, partial(self._give_back, call))] if forsaken else []
        return [*given_back, *self._reliefs.follow(call), *self._junctions.follow(call)]

    def follow(self, call: Call) -> None:
        """Do what was asked for by the last event of a call."""
        redirected = call.rerouting.take_redirection()
        if redirected is not None:
            self._redirect(call, redirected)
        wanted = call.leaving.take_wanted()
        if wanted is not None:
            self._transfer(call, wanted)
        unreferred = call.leaving.take_unreferred()
        if unreferred is not None:
            self._transfer_otherwise(call, *unreferred)
        referral = call.far.take_referral()
        if referral is not None:
            self._follow_referral(call, referral)

    # --- by the person ----------------------------------------------------------------------

    def _transfer(self, call: Call, wanted: HandedOver) -> None:
        """A person transfers a call: to another address, or to one that they talk to already."""
        if wanted.person is not None:
            self._pass_on_to(call, wanted.person)
            return
        if wanted.target is None:
            call.leaving.refuse(TO_NOBODY)
            return
        if wanted.waits:
            call.leaving.await_replacement()
            return
        other = self._other(call, wanted.target)
        if not call.far.is_steady:
            call.leaving.refuse(NOT_TRANSFERRED)
        elif other is not None and self._refers(call):
            call.leaving.refer(wanted, wanted.target.removeprefix("tel:"), other.sip.leg)
        elif other is not None:
            self._join(call, other)
        else:
            self._transfer_to(call, wanted, wanted.target)

    def _transfer_to(self, call: Call, wanted: HandedOver, target: Address) -> None:
        """By its own trunk, if that does it; or else by whichever trunk the target is called."""
        limit = self._limits.why_not_transfer(call.person, call.sip.trunk)
        if limit is not None:
            call.leaving.refuse(MEANINGS[limit.cause].sentence)
            return
        route = self._people.route_by(call.sip.trunk, call.person, target)
        if isinstance(route, Refusal) or not self._refers(call):
            self._connect(call, target)
            return
        self._limits.placed(call.person, route.trunk)
        call.leaving.refer(wanted, route.target)

    def _refers(self, call: Call) -> bool:
        """Whether the far end is asked to transfer itself."""
        return call.sip.refers and refers(self._effects.policy, call.sip.trunk)

    def _other(self, call: Call, target: Address) -> Call | None:
        """The call of the same person into which this one is transferred."""
        other = self._calls.between(call.person, target)
        return other if other is not call else None

    # --- where the far end does not do it -----------------------------------------------------

    def _transfer_otherwise(self, call: Call, wanted: HandedOver, why: NotTransferred) -> None:
        """The far end was asked to transfer itself, and has refused, or come to nothing."""
        assert wanted.target is not None
        other = self._other(call, wanted.target)
        if other is not None:
            self._join(call, other)
        elif why.tried and not blames_trunk(why.status):
            call.leaving.refuse(not_taken(from_sip(why.status, 0, remote=True)))
        else:
            self._connect(call, wanted.target)

    def _join(self, call: Call, other: Call) -> None:
        """Let the far ends of two calls of the person's talk with each other."""
        if not (call.leaving.can_put_through and other.leaving.can_put_through):
            call.leaving.refuse(NOT_TRANSFERRED)
            return
        self._junctions.begin(call, other, joined=True)
        for one, beside in ((call, other), (other, call)):
            self._hands.guard(one, partial(one.leaving.put_through, beside.id, rings=False))

    def _connect(self, call: Call, target: Address) -> None:
        """Call somebody, for the person, with whom the far end is to talk."""
        person = call.person
        route = self._people.route_out(person, target)
        if not isinstance(route, Refusal):
            route = usable(route, partial(self._limits.why_not_put_through, person))
        if isinstance(route, Refusal):
            call.leaving.refuse(MEANINGS[route.cause].sentence)
            return
        if not call.leaving.can_put_through:
            call.leaving.refuse(NOT_TRANSFERRED)
            return
        self._limits.placed(person, route.trunk)
        route, new = heard(route), self._maker.name()
        leg = self._maker.outgoing(new, person, route)
        made = Call(
            self._effects,
            new,
            Direction.TO_SIP,
            address=target,
            matrix=self._maker.beside(new, person, target),
            sip=leg,
            terms=route.terms,
            rule=route.rule,
            beside=call.id,
        )
        self._calls.add(made, sip_name(leg.leg))
        self._junctions.begin(call, made, joined=False)
        self._hands.guard(call, partial(call.leaving.put_through, new, rings=True))
        self._hands.guard(made, made.start)

    def _recall(self, call: Call, cause: Cause) -> None:
        """Whom we have called for it does not take a call: it rings at its person's again."""
        call.notify(not_taken(cause))
        call.sip.settle()
        call.leaving.pass_on()
        absent = self._hands.why_not_ring(call.person, call.address)
        self._ring(self._maker.name(), call, call.person, absent)

    def _give_back(self, call: Call) -> None:
        """A call was not transferred, and its person has left it: it rings at theirs again."""
        new = self._maker.name()
        call.leaving.put_through(new, rings=True)
        absent = self._hands.why_not_ring(call.person, call.address)
        self._ring(new, call, call.person, absent)

    # --- to a person ------------------------------------------------------------------------

    def _pass_on_to(self, call: Call, person: UserId) -> None:
        """A person transfers a call to another: who is called, and then gets its far end."""
        if access_of(self._effects.policy, person) < Access.RECEIVE:
            call.leaving.refuse(CANNOT_BE_CALLED)
            return
        limit = self._limits.why_not_transfer(call.person, call.sip.trunk)
        if limit is not None:
            call.leaving.refuse(MEANINGS[limit.cause].sentence)
            return
        absent = self._hands.why_not_ring(person, call.address)
        if absent is Cause.BUSY:
            call.leaving.refuse(NOT_TRANSFERRED)
            return
        if not call.leaving.pass_on():
            return
        self._limits.placed(call.person, call.sip.trunk)
        self._ring(self._maker.name(), call, person, absent)

    def _ring(self, new: CallId, call: Call, person: UserId, absent: Cause | None) -> None:
        """Let it ring at a person, who is to get the far end of a call. `absent`: why it cannot."""
        leg = self._maker.promised(new, call.sip)
        made = Call(
            self._effects,
            new,
            Direction.TO_MATRIX,
            address=call.address,
            matrix=self._maker.calling(new, person, call.address),
            sip=leg,
            terms=terms_of(self._effects.policy, leg.trunk),
            payer=call.payer,
        )
        self._calls.add(made, sip_name(leg.leg))
        self._reliefs.begin(call, made)
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
        terms = terms_of(self._effects.policy, event.trunk)
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
        successor = call.far.successor
        if successor is not None:
            self._call_elsewhere(call, successor, redirected)
            return
        route = self._elsewhere(call, call.sip.trunk, redirected.contacts)
        if route is not None:
            longest = self._limits.longest(route.trunk, call.person)
            leg = call.rerouting.place_elsewhere(route, longest)
            if leg is not None:
                self._limits.placed(call.person, route.trunk)
                self._calls.name(call, sip_name(leg))
                return
        over = redirected.over
        call.end(over.cause, over.by, over.status)

    def _call_elsewhere(self, call: Call, successor: SipLeg, redirected: Redirected) -> None:
        """The same for whom the far end wants in its place."""
        route = self._elsewhere(call, successor.trunk, redirected.contacts)
        if route is None or successor.replaces or not call.far.can_hop:
            call.lose_successor(redirected.over)
            return
        longest = self._limits.longest(route.trunk, call.person)
        leg = successor.elsewhere(LegId(f"{successor.leg}-to"), route, longest)
        self._limits.placed(call.person, route.trunk)
        self._calls.name(call, sip_name(leg.leg))
        call.far.call_elsewhere(leg, route.terms)

    def _elsewhere(
        self, call: Call, trunk: TrunkName, contacts: Sequence[Address]
    ) -> OutboundRoute | None:
        """The best of the contacts that the person may call, by whichever trunk carries it."""
        if not follows(self._effects.policy, trunk):
            return None
        for contact in contacts:
            route = self._people.route_out(call.person, contact)
            if isinstance(route, Refusal):
                continue
            if self._limits.why_not_transfer(call.person, route.trunk) is None:
                return route
        return None
