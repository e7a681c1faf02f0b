# SPDX-License-Identifier: GPL-3.0-or-later
"""All calls: which event is whose, who may call, and what happens when both sides call at once.

This is the whole of the core's interface: facts go in with the time at which they happened, and
what is to be done comes out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bridge.call.call import Call
from bridge.call.cause_mapping import best_of
from bridge.call.causes import Cause
from bridge.call.commands import Command
from bridge.call.deadlines import Timeouts
from bridge.call.dialplan import OutboundRoute, on_request, terms_of
from bridge.call.events import (
    CallRequested,
    DrainRequested,
    Event,
    MatrixInviteReceived,
    MatrixMemberLeft,
    PersonChanged,
    ShutdownRequested,
    SipInviteReceived,
    TalksRecalled,
    VoicemailFilled,
)
from bridge.call.ids import (
    Address,
    CallId,
    Direction,
    PartyId,
    TrunkName,
    UserId,
)
from bridge.call.leg import Over
from bridge.call.limits import Allowance, Allowances, usable
from bridge.call.machine import Effects
from bridge.call.making import LegMaker
from bridge.call.notices import MISSED_WHILE_BUSY
from bridge.call.people import People
from bridge.call.policy import Policy, Refusal
from bridge.call.register import Register, sip_name
from bridge.call.terms import Terms
from bridge.call.transfers import Transfers
from bridge.call.view import CallView

PARTY = PartyId("matrix-sip")
"""Our party id in every Matrix call."""
_BUSY = Over(cause=Cause.BUSY, by="bridge")
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
        self._effects = Effects(timeouts or Timeouts(), policy)
        self._people = People(self._effects)
        self._calls = Register(self._effects.timeouts.forget)
        self._limits = Allowances(self._effects, self._calls)
        self._maker = LegMaker(self._effects, self._limits, nonce=nonce, party=party)
        self._transfers = Transfers(
            self._effects,
            self._people,
            self._limits,
            self._calls,
            self._maker,
            self,
        )
        self._faults: list[tuple[CallId, Exception]] = []
        self._stopping = False

    # --- the interface --------------------------------------------------------------------

    def use(self, policy: Policy) -> None:
        """Have another policy hold for what begins from now on; calls go on as they began."""
        self._effects.policy = policy

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
            case VoicemailFilled(full=full):
                self._people.fill(full=full)
            case TalksRecalled():
                self._limits.recall(event)
            case MatrixMemberLeft(room=room):
                for call in self._calls.inside(room):
                    self._pass_on(call, event)
            case DrainRequested(seconds=seconds):
                self._effects.closes_at = now + seconds
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
            self.guard(call, call.handle_timer)
        for call, action in self._limits.due():
            self.guard(call, action)
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
            self.guard(other, partial(other.end, Cause.REPLACED, "matrix"))
            other = None
        route = self._may_call(person, address, other)
        outbound = replace(_NOWHERE, trunk=route.trunk) if isinstance(route, Refusal) else route
        call = self._maker.name()
        sip = self._maker.outgoing(call, person, outbound)
        made = Call(
            self._effects,
            call,
            Direction.TO_SIP,
            address=address,
            matrix=self._maker.called(call, event),
            sip=sip,
            terms=outbound.terms,
            rule=outbound.rule,
        )
        self._calls.add(made, event.key, sip_name(sip.leg))
        if isinstance(route, Refusal):
            self.guard(made, partial(made.end, route.cause, "bridge", detail=route.detail))
        else:
            self._limits.placed(person, route.trunk)
            self.guard(made, made.start)

    def _call_requested(self, event: CallRequested) -> None:
        """A person asked to be called, and then connected. Who asks was told if it cannot be."""
        person, address = event.person, event.address
        other = self._calls.between(person, address)
        route = self._may_call(person, address, other, event.withhold)
        if isinstance(route, Refusal):
            return
        call, outbound = self._maker.name(), on_request(route)
        sip = self._maker.outgoing(call, person, outbound, we_offer=True)
        made = Call(
            self._effects,
            call,
            Direction.TO_SIP,
            address=address,
            matrix=self._maker.calling(call, person, address),
            sip=sip,
            terms=outbound.terms,
            rule=outbound.rule,
        )
        self._calls.add(made, sip_name(sip.leg))
        self._limits.placed(person, route.trunk)
        self.guard(made, made.start)

    def _sip_invite(self, event: SipInviteReceived) -> None:
        """A telephone calls."""
        if self._calls.knows(sip_name(event.leg)):
            return
        if event.replaces is not None:
            self._transfers.replace(event, event.replaces)
            return
        routed = self._people.route_in(event.trunk, event.dialled)
        people = () if isinstance(routed, Refusal) else routed
        for person in people:
            other = self._calls.between(person, event.caller)
            if other is not None and other.can_take_sip:
                self._sip_glare(other, event)
                return
        absent = {
            person: why for person in people if (why := self.why_not_ring(person, event.caller))
        }
        call = self._maker.name()
        made = Call(
            self._effects,
            call,
            Direction.TO_MATRIX,
            address=event.caller,
            matrix=self._maker.ringing(call, people, event.caller, absent),
            sip=self._maker.incoming(call, event),
            terms=terms_of(self._effects.policy, event.trunk),
            rule=self._people.rule_in(event.trunk, event.dialled) if people else "",
            voicemail=self._people.voicemail(people[0]) if len(people) == 1 else None,
            may_speak=self._limits.may_speak,
        )
        self._calls.add(made, sip_name(event.leg))
        if isinstance(routed, Refusal):
            self.guard(made, lambda: made.end(routed.cause, "bridge", detail=routed.detail))
        else:
            self.guard(made, lambda: self._ring(made, event, routed, absent))

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
        if self._effects.closes_at is not None:
            call.refuse(Cause.SHUTDOWN, event.caller_name)
            return
        if event.full:
            call.refuse(Cause.NO_RESOURCES, event.caller_name)
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
        elif other is not None and not call.voicemail.answers(_BUSY) and len(people) == 1:
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
        if self._stopping or self._effects.closes_at is not None:
            return Refusal(Cause.SHUTDOWN)
        route = self._people.route_out(person, address, withhold)
        if isinstance(route, Refusal):
            return route
        if other is not None:
            return Refusal(Cause.IN_CALL)
        return usable(route, partial(self._limits.why_not, person))

    def why_not_ring(self, person: UserId, caller: Address) -> Cause | None:
        """Why a person is not rung; None if they are."""
        if self._calls.between(person, caller) is not None:
            return Cause.BUSY
        if self._people.wishes(person).dnd:
            return Cause.DO_NOT_DISTURB
        return self._limits.why_not_ring(person)

    # --- setup glare ----------------------------------------------------------------------

    def _matrix_glare(self, other: Call, event: MatrixInviteReceived) -> None:
        """A person calls the number that we are about to let ring at theirs.

        Before our invite is sent theirs is accepted; after, the lesser call id survives. Ours are
        made to be the greater (`~`), for matrix-js-sdk only ever follows its own call.
        """
        self._calls.name(other, event.key)
        theirs = self._maker.called(other.id, event)
        if not other.matrix.yields_to(event):
            theirs.end(Cause.ANSWERED_ELSEWHERE)
            return
        self.guard(other, lambda: other.take_matrix(theirs))

    def _sip_glare(self, other: Call, event: SipInviteReceived) -> None:
        """The number that a person is calling calls them."""
        self._calls.name(other, sip_name(event.leg))
        leg = self._maker.incoming(other.id, event)
        terms = terms_of(self._effects.policy, event.trunk)
        self.guard(other, lambda: other.take_sip(leg, terms))

    # --- inside ---------------------------------------------------------------------------

    def _pass_on(self, call: Call | None, event: Event) -> None:
        if call is not None:
            self.guard(call, partial(self._hand_over, call, event))

    def _hand_over(self, call: Call, event: Event) -> None:
        call.handle(event)
        self._transfers.follow(call)

    def guard(self, call: Call, action: Callable[[], None]) -> None:
        """Do something to a call. If that goes wrong, it does so for this call alone."""
        try:
            action()
        except Exception as error:
            self._faults.append((call.id, error))
            call.give_up()
        self._limits.follow(call)
        self._calls.settle(call, self._effects.now)
        for other, following in self._transfers.consequences(call):
            self.guard(other, following)

    def _shut_down(self) -> None:
        self._stopping = True
        for call in self._calls.all():
            self.guard(call, partial(call.end, Cause.SHUTDOWN, "bridge"))
