# SPDX-License-Identifier: GPL-3.0-or-later
"""All calls: which event is whose, who may call, and what happens when both sides call at once.

This is the whole of the core's interface: facts go in with the time at which they happened, and
what is to be done comes out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bridge.call.call import Call
from bridge.call.causes import MEANINGS, Cause, best_of
from bridge.call.commands import Command, RejectSip
from bridge.call.deadlines import Timeouts
from bridge.call.dialplan import OutboundRoute, follows, in_order, on_request, terms_of
from bridge.call.events import (
    CallRequested,
    Event,
    MatrixInviteReceived,
    MatrixMemberLeft,
    PersonChanged,
    ShutdownRequested,
    SipInviteReceived,
    SipReferReceived,
    TalksRecalled,
)
from bridge.call.group import RingGroup
from bridge.call.ids import (
    Address,
    CallId,
    Direction,
    LegId,
    MatrixCallId,
    PartyId,
    TrunkName,
    UserId,
)
from bridge.call.leg import HandedOver, PersonLeg, Redirected
from bridge.call.limits import Allowance, Allowances
from bridge.call.machine import Effects
from bridge.call.matrix_leg import MatrixLeg
from bridge.call.notices import CANNOT_BE_CALLED, MISSED_WHILE_BUSY, NOT_TRANSFERRED, TO_NOBODY
from bridge.call.people import People
from bridge.call.policy import Access, Policy, Refusal, access_of
from bridge.call.register import Register, sip_name
from bridge.call.reliefs import Reliefs
from bridge.call.sip_leg import SipLeg
from bridge.call.states import MatrixState
from bridge.call.terms import Terms
from bridge.call.view import CallView

_PENDING = 491
_NO_SUCH_DIALOG = 481
PARTY = PartyId("matrix-sip")
"""Our party id in every Matrix call."""
_NOWHERE = OutboundRoute(
    trunk=TrunkName(""), target="", caller="", early_media=False, terms=Terms()
)


class Switchboard:
    """The core. Pure: it reads no clock and does nothing but answer with commands."""

    def __init__(
        self,
        policy: Policy,
        timeouts: Timeouts | None = None,
        *,
        nonce: str,
        party: PartyId = PARTY,
    ) -> None:
        """`nonce` makes names unique: letters and digits, another one for every run."""
        self._policy = policy
        self._people = People(policy)
        self._party = party
        self._nonce = nonce
        self._made = 0
        self._effects = Effects(timeouts or Timeouts(), policy.limits, policy.notices)
        self._calls = Register(self._effects.timeouts.forget)
        self._limits = Allowances(policy, self._effects, self._calls)
        self._reliefs = Reliefs()
        self._faults: list[tuple[CallId, Exception]] = []
        self._stopping = False

    # --- the interface --------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take a fact; `now` is seconds on any clock that never goes back."""
        self._effects.now = now
        self._calls.forget(now)
        match event:
            case MatrixInviteReceived():
                self._matrix_invite(event)
            case SipInviteReceived():
                self._sip_invite(event)
            case CallRequested():
                self._call_requested(event)
            case PersonChanged():
                self._people.change(event)
            case TalksRecalled():
                self._limits.recall(event)
            case MatrixMemberLeft(room=room):
                for call in self._calls.inside(room):
                    self._pass_on(call, event)
            case ShutdownRequested():
                self._shut_down()
            case _:
                self._pass_on(self._calls.call_of(event), event)
        return self._effects.take()

    def next_deadline(self) -> float | None:
        """When `handle_timer` is to be called; None while there is no call."""
        due = (self._calls.next_deadline(), self._limits.deadline)
        return min((each for each in due if each is not None), default=None)

    def handle_timer(self, now: float) -> list[Command]:
        """Do what is due by `now`."""
        self._effects.now = now
        while (call := self._calls.due(now)) is not None:
            self._guard(call, call.handle_timer)
        for call, action in self._limits.due():
            self._guard(call, action)
        return self._effects.take()

    def take_faults(self) -> list[tuple[CallId, Exception]]:
        """What went wrong in which call, each to be reported once; the calls were given up."""
        faults, self._faults = self._faults, []
        return faults

    def call_of(self, event: Event) -> CallId | None:
        """The call that an event belongs to, also for a while after that call has ended."""
        return self._calls.id_of(event)

    def active(self) -> list[CallView]:
        """The calls that are not finished, oldest first."""
        return [call.view() for call in self._calls.all()]

    def why_not(self, person: UserId, address: Address, now: float) -> Refusal | None:
        """Why a `CallRequested` would come to nothing now; None if it would not."""
        self._effects.now = now
        route = self._may_call(person, address, self._calls.between(person, address))
        return route if isinstance(route, Refusal) else None

    def left(self, person: UserId, now: float) -> Allowance:
        """What a person may do yet."""
        self._effects.now = now
        return self._limits.left(person)

    def route_out(self, person: UserId, address: Address) -> OutboundRoute | Refusal:
        """Where something of `person` that is no call leaves."""
        return self._people.route_out(person, address)

    def route_in(self, trunk: TrunkName, dialled: str) -> tuple[UserId, ...] | Refusal:
        """Whom something that is no call is for."""
        return self._people.route_in(trunk, dialled)

    # --- new calls ------------------------------------------------------------------------

    def _matrix_invite(self, event: MatrixInviteReceived) -> None:
        """A person calls."""
        left = event.lifetime - event.age
        if self._calls.knows(event.key) or left < self._effects.timeouts.invite_left:
            return
        person, address = event.sender.user, event.address
        other = self._calls.between(person, address)
        if other is not None and other.can_take_matrix:
            self._matrix_glare(other, event)
            return
        if other is not None and other.matrix.is_stale(event):
            self._guard(other, partial(other.end, Cause.REPLACED, "matrix"))
            other = None
        route = self._may_call(person, address, other)
        outbound = replace(_NOWHERE, trunk=route.trunk) if isinstance(route, Refusal) else route
        call = self._new_id()
        sip = self._outgoing_leg(call, person, outbound)
        made = Call(
            self._effects,
            call,
            Direction.TO_SIP,
            address=address,
            matrix=MatrixLeg.called(self._effects, call, self._party, event),
            sip=sip,
            terms=outbound.terms,
        )
        self._calls.add(made, event.key, sip_name(sip.leg))
        if isinstance(route, Refusal):
            self._guard(made, partial(made.end, route.cause, "bridge", detail=route.detail))
        else:
            self._limits.placed(person, route.trunk)
            self._guard(made, made.start)

    def _call_requested(self, event: CallRequested) -> None:
        """A person asked to be called, and then connected. Who asks was told if it cannot be."""
        person, address = event.person, event.address
        other = self._calls.between(person, address)
        route = self._may_call(person, address, other, event.withhold)
        if isinstance(route, Refusal):
            return
        call, outbound = self._new_id(), on_request(route)
        sip = self._outgoing_leg(call, person, outbound, bare=True)
        made = Call(
            self._effects,
            call,
            Direction.TO_SIP,
            address=address,
            matrix=self._calling_leg(call, person, address),
            sip=sip,
            terms=outbound.terms,
        )
        self._calls.add(made, sip_name(sip.leg))
        self._limits.placed(person, route.trunk)
        self._guard(made, made.start)

    def _sip_invite(self, event: SipInviteReceived) -> None:
        """A telephone calls."""
        if self._calls.knows(sip_name(event.leg)):
            return
        if event.replaces is not None:
            self._replace(event, event.replaces)
            return
        routed = self._people.route_in(event.trunk, event.dialled)
        people = () if isinstance(routed, Refusal) else routed
        for person in people:
            other = self._calls.between(person, event.caller)
            if other is not None and other.can_take_sip:
                self._sip_glare(other, event)
                return
        absent = {person: why for person in people if (why := self._why_not(person, event.caller))}
        call = self._new_id()
        made = Call(
            self._effects,
            call,
            Direction.TO_MATRIX,
            address=event.caller,
            matrix=self._ringing_leg(call, people, event.caller, absent),
            sip=self._incoming_leg(call, event),
            terms=terms_of(self._policy, event.trunk),
        )
        self._calls.add(made, sip_name(event.leg))
        if isinstance(routed, Refusal):
            self._guard(made, lambda: made.end(routed.cause, "bridge", detail=routed.detail))
        else:
            self._guard(made, lambda: self._ring(made, event, routed, absent))

    def _ring(
        self,
        call: Call,
        event: SipInviteReceived,
        people: Sequence[UserId],
        absent: Mapping[UserId, Cause],
    ) -> None:
        """Let an incoming call ring, unless something is in the way."""
        if self._stopping:
            call.end(Cause.SHUTDOWN, "bridge")
            return
        # What several have in common is no one's to forward.
        forward = (
            self._people.forward(people[0], event.trunk, event.caller, event.dialled)
            if len(people) == 1
            else None
        )
        other = self._calls.between(people[0], event.caller, besides=call)
        if forward is not None:
            self._forward(call, forward)
        elif len(absent) < len(people):
            call.start(event.caller_name)
        elif len(people) == 1 and other is not None:
            other.notify(MISSED_WHILE_BUSY)
            call.end(Cause.BUSY, "bridge")
        else:
            call.refuse(best_of(list(absent.values())), event.caller_name)

    def _forward(self, call: Call, route: OutboundRoute) -> None:
        """Redirect the caller; but where calls go round in circles, that has to stop."""
        limit = self._limits.why_not_forward(call.person, route.trunk)
        if limit is not None:
            call.end(limit.cause, "bridge", detail=limit.detail)
            return
        self._limits.forwarded(call.person)
        call.redirect(route.target)

    def _may_call(
        self,
        person: UserId,
        address: Address,
        other: Call | None,
        withhold: bool | None = None,
    ) -> OutboundRoute | Refusal:
        """Where a person's call leaves, or why it does not."""
        if self._stopping:
            return Refusal(Cause.SHUTDOWN)
        route = self._people.route_out(person, address, withhold)
        if isinstance(route, Refusal):
            return route
        if other is not None:
            return Refusal(Cause.IN_CALL)
        # A trunk that carries no more calls leaves them to those behind it.
        refusals = [self._limits.why_not(person, way.trunk) for way in route.ways]
        if refusals[0] is not None and all(refusals):
            return refusals[0]
        ways = zip(route.ways, refusals, strict=True)
        return in_order([way for way, refusal in ways if refusal is None])

    def _why_not(self, person: UserId, caller: Address) -> Cause | None:
        """Why a person is not rung; None if they are."""
        if self._calls.between(person, caller) is not None:
            return Cause.BUSY
        if self._people.wishes(person).dnd:
            return Cause.DO_NOT_DISTURB
        return self._limits.why_not_ring(person)

    # --- transfer -------------------------------------------------------------------------

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
        absent = self._why_not(person, call.address)
        if absent is Cause.BUSY:
            call.refuse_transfer(NOT_TRANSFERRED)
            return
        if not call.pass_on():
            return
        self._limits.placed(call.person, call.sip.trunk)
        new = self._new_id()
        leg = SipLeg.promised(self._effects, new, LegId(f"{new}-out"), call.sip)
        made = Call(
            self._effects,
            new,
            Direction.TO_MATRIX,
            address=call.address,
            matrix=self._calling_leg(new, person, call.address),
            sip=leg,
            terms=terms_of(self._policy, leg.trunk),
            payer=call.payer,
        )
        self._calls.add(made, sip_name(leg.leg))
        self._reliefs.begin(call, made)
        self._guard(made, made.start if absent is None else partial(made.refuse, absent, ""))

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
        self._made += 1
        name = LegId(f"{call.id}-out-{self._made}")
        longest = self._limits.longest(route.trunk, person)
        leg = SipLeg.calling(self._effects, call.id, name, route, longest=longest, referral=event)
        self._calls.name(call, sip_name(name))
        call.far.follow_referral(leg, route.terms, event)

    def _replace(self, event: SipInviteReceived, replaced: LegId) -> None:
        """An INVITE takes the place of a leg of ours (RFC 3891), if it still can."""
        call = self._calls.with_leg(replaced)
        if call is None:
            gone = RejectSip(call=CallId(""), leg=event.leg, status=_NO_SUCH_DIALOG)
            self._effects.emit(gone)
            return
        self._calls.name(call, sip_name(event.leg))
        leg = self._incoming_leg(call.id, event)
        terms = terms_of(self._policy, event.trunk)
        if call.can_take_sip:
            call.matrix.identify(event.caller, event.caller_name)
            self._guard(call, lambda: call.take_sip(leg, terms))
        elif call.can_be_taken_over:
            self._guard(call, lambda: call.far.take_over(leg, terms, event))
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

    # --- setup glare ----------------------------------------------------------------------

    def _matrix_glare(self, other: Call, event: MatrixInviteReceived) -> None:
        """A person calls the number that we are about to let ring at theirs.

        Before our invite is sent theirs is accepted; after, the lesser call id survives. Ours are
        made to be the greater (`~`), for matrix-js-sdk only ever follows its own call.
        """
        self._calls.name(other, event.key)
        theirs = MatrixLeg.called(self._effects, other.id, self._party, event)
        if not other.matrix.yields_to(event):
            theirs.end(Cause.ANSWERED_ELSEWHERE)
            return
        self._guard(other, lambda: other.take_matrix(theirs))

    def _sip_glare(self, other: Call, event: SipInviteReceived) -> None:
        """The number that a person is calling calls them."""
        self._calls.name(other, sip_name(event.leg))
        leg = self._incoming_leg(other.id, event)
        terms = terms_of(self._policy, event.trunk)
        self._guard(other, lambda: other.take_sip(leg, terms))

    # --- inside ---------------------------------------------------------------------------

    def _outgoing_leg(
        self, call: CallId, person: UserId, route: OutboundRoute, *, bare: bool = False
    ) -> SipLeg:
        # Whichever trunk carries it, the call lasts no longer than the strictest of them allows.
        longest = min(self._limits.longest(way.trunk, person) for way in route.ways)
        leg = LegId(f"{call}-out")
        return SipLeg.calling(self._effects, call, leg, route, longest=longest, bare=bare)

    def _incoming_leg(self, call: CallId, event: SipInviteReceived) -> SipLeg:
        longest = self._limits.longest(event.trunk)
        return SipLeg.called(self._effects, call, event, longest=longest)

    def _ringing_leg(
        self,
        call: CallId,
        people: Sequence[UserId],
        address: Address,
        absent: Mapping[UserId, Cause],
    ) -> PersonLeg:
        """The leg of a call that rings at these people; nobody's, if there are none."""
        legs = [self._calling_leg(call, person, address) for person in people or [UserId("")]]
        return legs[0] if len(legs) == 1 else RingGroup(self._effects, call, legs, absent)

    def _calling_leg(self, call: CallId, person: UserId, address: Address) -> MatrixLeg:
        return MatrixLeg(
            self._effects,
            MatrixState.PREPARING,
            call=call,
            us=self._party,
            person=person,
            address=address,
            call_id=MatrixCallId(f"~{self._nonce}{self._made}"),
        )

    def _new_id(self) -> CallId:
        self._made += 1
        return CallId(f"{self._nonce}-{self._made}")

    def _pass_on(self, call: Call | None, event: Event) -> None:
        if call is not None:
            self._guard(call, partial(self._hand_over, call, event))

    def _hand_over(self, call: Call, event: Event) -> None:
        call.handle(event)
        redirected = call.take_redirection()
        if redirected is not None:
            self._redirect(call, redirected)
        wanted = call.take_transfer()
        if wanted is not None:
            self._transfer(call, wanted)
        referral = call.take_referral()
        if referral is not None:
            self._follow_referral(call, referral)

    def _guard(self, call: Call, action: Callable[[], None]) -> None:
        """Do something to a call. If that goes wrong, it does so for this call alone."""
        try:
            action()
        except Exception as error:
            self._faults.append((call.id, error))
            call.give_up()
        self._limits.follow(call)
        self._calls.settle(call, self._effects.now)
        for other, following in self._reliefs.follow(call):
            self._guard(other, following)

    def _shut_down(self) -> None:
        self._stopping = True
        for call in self._calls.all():
            self._guard(call, partial(call.end, Cause.SHUTDOWN, "bridge"))
