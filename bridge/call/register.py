# SPDX-License-Identifier: GPL-3.0-or-later
"""Which calls there are: what they are known by, whose they are, and which of them is due next."""

from collections import deque
from collections.abc import Hashable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from bridge.call.call import Call
from bridge.call.events import Event, MatrixCallEvent, MatrixMemberLeft, SipEvent
from bridge.call.ids import Address, CallId, LegId, RoomId, UserId

_SLACK: Final = 64
"""Void deadlines that are never worth a sweep."""


class Register:
    """The calls that are not finished; what others called them is known a while longer."""

    def __init__(self, forget: float) -> None:
        """`forget`: seconds for which events of a finished call are still known as such."""
        self._forget_after = forget
        self._calls: dict[CallId, Call] = {}
        self._names: dict[Hashable, CallId] = {}
        """Whose a SIP leg, a Matrix call or a call id is."""
        self._names_of: dict[CallId, set[Hashable]] = {}
        self._past: deque[tuple[float, CallId]] = deque()
        self._deadlines: dict[CallId, float | None] = {}
        self._due: list[tuple[float, CallId]] = []
        """A heap of deadlines; those that `_deadlines` does not confirm are void."""

    def all(self) -> list[Call]:
        """Every call, oldest first."""
        return list(self._calls.values())

    def inside(self, room: RoomId) -> list[Call]:
        """The calls that go on, or ring, in a room."""
        return [call for call in self._calls.values() if room in call.matrix.rooms]

    def of(self, person: UserId) -> Sequence[Call]:
        """The calls of a person, also those that ring at others as well."""
        calls = self._calls.values()
        return [each for each in calls if each.over is None and person in each.matrix.people]

    def between(self, person: UserId, address: Address, besides: Call | None = None) -> Call | None:
        """The call that goes on between these two."""
        for call in self.of(person):
            if call.is_put_through or call.voicemail.is_on:
                continue
            if call.address == address and call is not besides:
                return call
        return None

    def knows(self, name: Hashable) -> bool:
        """Whether something is called that, or was a short while ago."""
        return name in self._names

    def id_of(self, event: Event) -> CallId | None:
        """The call that an event belongs to, also for a while after that call has ended."""
        if isinstance(event, MatrixMemberLeft):
            return next((call.id for call in self.inside(event.room)), None)
        return self._names.get(_name(event))

    def call_of(self, event: Event) -> Call | None:
        """The same, if it has not finished."""
        known = self.id_of(event)
        return None if known is None else self._calls.get(known)

    def with_leg(self, leg: LegId) -> Call | None:
        """The call whose far end is on this SIP leg, if that is still so."""
        call = self._calls.get(self._names.get(sip_name(leg), CallId("")))
        return call if call is not None and call.sip.leg == leg else None

    def add(self, call: Call, *names: Hashable) -> None:
        """A new call, and what it is called."""
        others = (each for person in call.matrix.people for each in self.of(person))
        if (other := next(others, None)) is not None:
            call.stay_near(other.id)
        self._calls[call.id] = call
        for name in (("call", call.id), *names):
            self.name(call, name)

    def name(self, call: Call, name: Hashable) -> None:
        """One more name of a call, which is no other's from now on."""
        before = self._names.get(name, call.id)
        if before != call.id:
            self._names_of[before].discard(name)
        self._names[name] = call.id
        self._names_of.setdefault(call.id, set()).add(name)

    def settle(self, call: Call, now: float) -> None:
        """Follow what an event made of a call: its names, its deadline, its end."""
        if call.is_finished:
            del self._calls[call.id]
            self._deadlines.pop(call.id, None)
            self._past.append((now + self._forget_after, call.id))
            return
        for name in (*call.matrix.keys, *(sip_name(leg.leg) for leg in call.far.legs)):
            self.name(call, name)
        if call.deadline != self._deadlines.get(call.id):
            self._deadlines[call.id] = call.deadline
            heappush(self._due, (call.deadline, call.id))
            self._sweep()

    def _sweep(self) -> None:
        """Drop void deadlines when they are most: that of a long call would stay for hours."""
        if len(self._due) > 2 * len(self._deadlines) + _SLACK:
            self._due = [each for each in self._due if self._deadlines.get(each[1]) == each[0]]
            heapify(self._due)

    def forget(self, now: float) -> None:
        """Let go of the names of calls that ended long ago."""
        while self._past and self._past[0][0] <= now:
            for name in self._names_of.pop(self._past.popleft()[1]):
                del self._names[name]

    def next_deadline(self) -> float | None:
        """When a call has something to do; None while there is no call."""
        while self._due and self._deadlines.get(self._due[0][1]) != self._due[0][0]:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def due(self, now: float) -> Call | None:
        """A call that has something to do by now."""
        deadline = self.next_deadline()
        return self._calls[self._due[0][1]] if deadline is not None and deadline <= now else None


def sip_name(leg: LegId) -> Hashable:
    """What a call is known by on the SIP side."""
    return "sip", leg


def _name(event: Event) -> Hashable:
    """What an event calls the call that it belongs to."""
    match event:
        case MatrixCallEvent():
            return event.key
        case SipEvent():
            return sip_name(event.leg)
    return "call", getattr(event, "call", None)
