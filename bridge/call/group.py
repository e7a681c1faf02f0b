# SPDX-License-Identifier: GPL-3.0-or-later
"""Several people ring for one call: a leg that forks, as a SIP proxy forks an INVITE.

Everybody is made the same offer, each in a portal of their own; whoever answers first has the call,
and the others stop ringing. The group only fails when all have, and then for the best of their
causes (RFC 3261 16.7): unlike there, who declines does so for themselves alone.
"""

from collections.abc import Hashable, Mapping, Sequence

from bridge.call.cause_mapping import best_of
from bridge.call.causes import Cause
from bridge.call.commands import Command, RecordLegs, Ringing
from bridge.call.events import Event, MatrixCallEvent, MatrixInviteReceived
from bridge.call.ids import Address, CallId, OpId, RoomId, UserId
from bridge.call.leg import Over, PersonLeg, Signal
from bridge.call.machine import Effects
from bridge.call.notices import SOMEBODY_ELSE, Notices
from bridge.call.states import MatrixState, State

_PROGRESS: Sequence[State] = (
    MatrixState.ENDED,
    MatrixState.TELLING,
    MatrixState.PREPARING,
    MatrixState.JOINING,
    MatrixState.READY,
    MatrixState.INVITING,
    MatrixState.ACTIVE,
)
_GONE = (MatrixState.ENDED, MatrixState.TELLING)


class RingGroup:
    """A `PersonLeg` made of others. Once somebody has answered, it is theirs."""

    def __init__(
        self,
        effects: Effects,
        call: CallId,
        members: Sequence[PersonLeg],
        absent: Mapping[UserId, Cause],
    ) -> None:
        """`absent`: who is not rung, and why; they are told if the others miss the call, too."""
        self._effects = effects
        self._call = call
        self._notices = effects.notices
        self._members = members
        self._absent = absent
        self._chosen: PersonLeg | None = None
        self._offer = ""
        self._failed: list[Cause] = []
        self._declined: list[PersonLeg] = []

    # --- what it looks like from outside ----------------------------------------------------

    @property
    def state(self) -> State:
        """That of the member who has come furthest."""
        return self._front.state

    @property
    def deadline(self) -> float | None:
        """The next of any member's."""
        deadlines = (member.deadline for member in self._heard)
        return min((each for each in deadlines if each is not None), default=None)

    @property
    def description(self) -> str:
        """That of the client that answered."""
        return self._front.description

    @description.setter
    def description(self, sdp: str) -> None:
        self._front.description = sdp

    @property
    def polite(self) -> bool:
        """As the one who has answered: we called them."""
        return self._front.polite

    @property
    def people(self) -> Sequence[UserId]:
        """Those who may still answer, then the one who did; everybody, when nobody has."""
        alive = [member for member in self._heard if member.state not in _GONE]
        return [person for member in alive or self._heard for person in member.people]

    @property
    def rooms(self) -> Sequence[RoomId]:
        """The portals that are known."""
        return [room for member in self._heard for room in member.rooms]

    @property
    def keys(self) -> Sequence[Hashable]:
        """What events of any member carry."""
        return [key for member in self._heard for key in member.keys]

    @property
    def can_renegotiate(self) -> bool:
        """Whether the client that answered can be offered a change."""
        return self._front.can_renegotiate

    def yields_to(self, event: MatrixInviteReceived) -> bool:
        """As the member would who calls."""
        callers = (each for each in self._members if event.sender.user in each.people)
        return any(each.yields_to(event) for each in callers)

    def is_stale(self, event: MatrixInviteReceived) -> bool:
        """As the one who has answered would."""
        return self._front.is_stale(event)

    # --- what the call wants ------------------------------------------------------------------

    def prepare(self, display_name: str) -> None:
        """Have every portal made ready, also to leave a word for who is absent."""
        for member in self._members:
            member.prepare(display_name)
            for cause in (self._absent[each] for each in member.people if each in self._absent):
                self._failed.append(cause)
                member.end(cause, telling=True)

    def invite(self, sdp: str) -> None:
        """Ring at everybody who is ready; the others follow."""
        self._offer = sdp
        for member in self._members:
            self._ring(member)

    def answer(self, sdp: str) -> None:
        """Of no use: nobody in a group has called."""
        self._front.answer(sdp)

    def end(self, cause: Cause, *, telling: bool = False) -> None:
        """End it for everybody who has not left."""
        for member in self._heard:
            member.end(cause, telling=telling)

    def tell(self, text: str, since: float) -> None:
        """Tell everybody, except who did not want the call."""
        for member in self._heard:
            if member not in self._declined:
                member.tell(text, since)

    def identify(self, address: Address, name: str) -> None:
        """Whoever answers learns who is there."""
        for member in self._heard:
            member.identify(address, name)

    def reoffer(self, op: OpId, sdp: str) -> Command:
        """To the client that answered."""
        return self._front.reoffer(op, sdp)

    def reanswer(self, sdp: str) -> Command:
        """To the client that answered."""
        return self._front.reanswer(sdp)

    def take_candidates(self) -> list[tuple[str, ...]]:
        """Of the client that answered."""
        return self._front.take_candidates()

    def ringing(self) -> tuple[Ringing, ...]:
        """Where it rings."""
        return tuple(each for member in self._heard for each in member.ringing())

    def record(self) -> None:
        """Record where it rings. The one who answers records that."""
        if ringing := self.ringing():
            self._effects.emit(RecordLegs(call=self._call, ringing=ringing))

    # --- what comes in --------------------------------------------------------------------------

    def handle(self, event: Event) -> Signal | None:
        """Take an event of any member."""
        if self._chosen is not None:
            return self._chosen.handle(event)
        for member in self._members:
            if not isinstance(event, MatrixCallEvent) or event.key in member.keys:
                self._heard_of(member, member.handle(event))
        return self._all_failed()

    def is_due(self) -> bool:
        """Whether a member's state has lasted too long."""
        return any(member.is_due() for member in self._heard)

    def expire(self) -> Over | None:
        """Go on without the members who took too long."""
        for member in self._heard:
            if member.is_due():
                self._heard_of(member, member.expire())
        return self._all_failed()

    # --- inside ---------------------------------------------------------------------------------

    @property
    def _front(self) -> PersonLeg:
        return max(self._heard, key=lambda member: _PROGRESS.index(member.state))

    @property
    def _heard(self) -> Sequence[PersonLeg]:
        """The members who still count."""
        return self._members if self._chosen is None else (self._chosen,)

    def _heard_of(self, member: PersonLeg, signal: Signal | None) -> None:
        if signal is not None:
            assert isinstance(signal, Over), "nothing else comes before an answer"
            self._lose(member, signal)
        elif member.state is MatrixState.ACTIVE:
            self._choose(member)
        elif self._offer:
            self._ring(member)

    def _ring(self, member: PersonLeg) -> None:
        if member.state is MatrixState.READY:
            self.record()
            member.invite(self._offer)

    def _lose(self, member: PersonLeg, over: Over) -> None:
        self._failed.append(over.cause)
        if over.by == "matrix" and over.cause in (Cause.DECLINED, Cause.NORMAL):
            self._declined.append(member)
        member.end(over.cause, telling=member not in self._declined)

    def _choose(self, chosen: PersonLeg) -> None:
        for member in self._members:
            rings = member.state is MatrixState.INVITING
            if member is not chosen:
                member.end(Cause.ANSWERED_ELSEWHERE)
            if rings and self._notices is not Notices.NONE:
                member.tell(SOMEBODY_ELSE, self._effects.now)
        self._chosen = chosen
        person = chosen.people[0]
        self._effects.emit(RecordLegs(call=self._call, person=person, ringing=()))

    def _all_failed(self) -> Over | None:
        alive = any(member.state not in _GONE for member in self._members)
        if alive or not self._failed:
            return None
        by = "matrix" if len(self._declined) == len(self._members) else "bridge"
        return Over(cause=best_of(self._failed), by=by)
