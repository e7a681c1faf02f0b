# SPDX-License-Identifier: GPL-3.0-or-later
"""How much people and trunks may call: at once, within a minute, and within 24 hours.

A trunk's bounds hold for all people together: whoever steals an account does not get further than
what the trunk is good for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from bridge.call.bounds import Bounds
from bridge.call.call import Call
from bridge.call.causes import Cause
from bridge.call.dialplan import OutboundRoute, in_order
from bridge.call.events import TalksRecalled
from bridge.call.ids import CallId, TrunkName, UserId
from bridge.call.machine import Effects
from bridge.call.meter import Meter, Rates
from bridge.call.notices import SOON_OVER
from bridge.call.policy import Limits, Policy, Refusal, entries_of
from bridge.call.register import Register

_WARNING = 60.0
"""Seconds before the time is used up, at which people are told."""
_NEXT_TO_NOTHING = 0.01
"""Seconds."""
T = TypeVar("T")
_Who = tuple[str, str]
"""`person` or `trunk`, and which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is left to a person. Times are seconds; None: no limit."""

    calls: int
    """That they may have besides those that they have."""
    seconds: float | None
    """Of outgoing calls within 24 hours."""


@dataclass(frozen=True, slots=True)
class _Talk:
    """An outgoing call that goes on."""

    call: Call
    since: float
    who: tuple[_Who, ...]
    """Whose time it takes."""
    limits: Mapping[_Who, float]
    """How much of theirs may be taken, where that was limited when it began."""


class Allowances:
    """Counts calls, and the time that is talked in them."""

    def __init__(self, effects: Effects, calls: Register) -> None:
        self._effects = effects
        self._calls = calls
        self._placed = Rates()
        self._forwarded = Rates()
        self._meter = Meter()
        self._talks: dict[CallId, _Talk] = {}
        self._attempts: dict[CallId, int] = {}
        """Trunks that could not carry a call, as far as they were counted."""
        self._warned: set[CallId] = set()
        self._due: float | None = None

    # --- may it be? -----------------------------------------------------------------------

    def why_not(self, person: UserId, trunk: TrunkName) -> Refusal | None:
        """Why a person may place no more calls by a trunk now."""
        if self._active(person) >= self._limits_of(person).calls_per_person:
            return Refusal(Cause.TOO_MANY_CALLS)
        return (
            self._too_frequent(self._placed, person)
            or self._used_up(person)
            or self._trunk_is_full(trunk)
        )

    def why_not_transfer(self, person: UserId, trunk: TrunkName) -> Refusal | None:
        """Why a person may not have the far end call somebody else now."""
        return self._may_pass_on(self._placed, person, trunk)

    def why_not_put_through(self, person: UserId, trunk: TrunkName) -> Refusal | None:
        """Why we may not call somebody by a trunk with whom a person's far end is to talk.

        The person leaves their call for it, so they have no more calls than before.
        """
        return self._used_up(person) or self._trunk_is_full(trunk)

    def why_not_forward(self, person: UserId, trunk: TrunkName) -> Refusal | None:
        """Why callers of a person may not be sent elsewhere now."""
        return self._may_pass_on(self._forwarded, person, trunk)

    def why_not_ring(self, person: UserId) -> Cause | None:
        """Why one more call is not to ring a person."""
        too_many = self._active(person) >= self._limits_of(person).calls_per_person
        return Cause.TOO_MANY_CALLS if too_many else None

    def may_speak(self, person: UserId) -> bool:
        """Whether one more caller may be taken by a person's voicemail."""
        speaking = sum(call.voicemail.is_on for call in self._calls.of(person))
        return speaking < self._limits_of(person).calls_per_person

    def longest(self, trunk: TrunkName, person: UserId | None = None) -> float:
        """Seconds that a call may last: of a person's own, or of anybody's that comes in."""
        limits = self._effects.limits if person is None else self._limits_of(person)
        of_trunk = self._trunk(trunk).max_duration
        return limits.max_duration if of_trunk is None else min(limits.max_duration, of_trunk)

    def left(self, person: UserId) -> Allowance:
        """What a person may do yet."""
        limits = self._limits_of(person)
        used = self._used(_person(person))
        day = limits.seconds_per_day
        return Allowance(
            calls=max(0, limits.calls_per_person - self._active(person)),
            seconds=None if day is None else max(0.0, day - used),
        )

    # --- it was ---------------------------------------------------------------------------

    def placed(self, person: UserId, trunk: TrunkName) -> None:
        """A person placed a call, or had somebody else place one."""
        for who in (_person(person), _line(trunk)):
            self._placed.add(who, self._effects.now)

    def forwarded(self, person: UserId) -> None:
        """A caller of a person was sent elsewhere."""
        self._forwarded.add(_person(person), self._effects.now)

    def recall(self, event: TalksRecalled) -> None:
        """What was talked, and who called, before the bridge was started."""
        for talk in sorted(event.talks, key=lambda talk: -talk.ago):
            ended = self._effects.now - talk.ago
            for who in (_person(talk.person), _line(talk.trunk)):
                self._meter.add(who, talk.seconds, ended)
        for placed in sorted(event.placed, key=lambda placed: -placed.ago):
            for who in (_person(placed.person), _line(placed.trunk)):
                self._placed.add(who, self._effects.now - placed.ago)

    def follow(self, call: Call) -> None:
        """A call may have been answered, have gone on by another trunk, or have ended."""
        self._count_attempts(call)
        talk = self._talks.get(call.id)
        if talk is not None and call.over is not None:
            self._end(talk)
        elif talk is None and call.over is None and call.talks_since is not None:
            self._begin(call, call.talks_since)

    # --- time passes ----------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `due` has something; None while nobody talks whose time is limited."""
        return self._due

    def due(self) -> Iterator[tuple[Call, Callable[[], None]]]:
        """What is to be done to which calls now: those that took the last of somebody's time."""
        if self._due is None or self._due > self._effects.now:
            return
        for talk in list(self._talks.values()):
            if not talk.limits:
                continue
            left, who = min((limit - self._used(each), each) for each, limit in talk.limits.items())
            if left <= _NEXT_TO_NOTHING:
                cause = Cause.MINUTES_USED_UP if who[0] == "person" else Cause.TRUNK_SPENT
                yield talk.call, partial(talk.call.end, cause, "bridge")
            elif left <= _WARNING + _NEXT_TO_NOTHING and talk.call.id not in self._warned:
                self._warned.add(talk.call.id)
                yield talk.call, partial(talk.call.notify, SOON_OVER)
        self._rearm()

    # --- inside ---------------------------------------------------------------------------

    def _count_attempts(self, call: Call) -> None:
        """Each trunk that is tried counts a call of its own."""
        if call.over is not None:
            self._attempts.pop(call.id, None)
        elif call.attempts > self._attempts.get(call.id, 0):
            self._attempts[call.id] = call.attempts
            self._placed.add(_line(call.sip.trunk), self._effects.now)

    def _begin(self, call: Call, since: float) -> None:
        if call.payer is None:
            return
        who = (_person(call.payer), _line(call.sip.trunk))
        limits = {each: limit for each in who if (limit := self._limit(each)) is not None}
        # Also what has no limit: there may be one before it is over.
        self._talks[call.id] = _Talk(call, since, who, limits)
        self._rearm()

    def _end(self, talk: _Talk) -> None:
        del self._talks[talk.call.id]
        self._warned.discard(talk.call.id)
        now = self._effects.now
        for who in talk.who:
            self._meter.add(who, now - talk.since, now)
        self._rearm()

    def _rearm(self) -> None:
        whose = {who for talk in self._talks.values() for who in talk.limits}
        self._due = min(map(self._when, whose), default=None)

    def _when(self, who: _Who) -> float:
        """When a warning about somebody's time is due, or its end."""
        talks = [talk for talk in self._talks.values() if who in talk.limits]
        left = min(talk.limits[who] for talk in talks) - self._used(who)
        if not all(talk.call.id in self._warned for talk in talks):
            left -= _WARNING
        running = sum(who in talk.who for talk in self._talks.values())
        return self._effects.now + max(0.0, left) / running

    def _may_pass_on(self, rates: Rates, person: UserId, trunk: TrunkName) -> Refusal | None:
        return (
            self._too_frequent(rates, person)
            or self._used_up(person)
            or self._trunk_is_spent(trunk)
        )

    def _too_frequent(self, rates: Rates, person: UserId) -> Refusal | None:
        recent = rates.of(_person(person), self._effects.now)
        limit = self._limits_of(person).calls_per_minute
        return Refusal(Cause.TOO_FREQUENT) if recent >= limit else None

    def _used_up(self, person: UserId) -> Refusal | None:
        if self._left(_person(person)) > _NEXT_TO_NOTHING:
            return None
        return Refusal(Cause.MINUTES_USED_UP)

    def _trunk_is_full(self, trunk: TrunkName) -> Refusal | None:
        bounds = self._trunk(trunk)
        active = sum(
            call.over is None and call.sip.trunk == trunk and not call.sip.stands_in
            for call in self._calls.all()
        )
        recent = self._placed.of(_line(trunk), self._effects.now)
        for limit, count, what in (
            (bounds.calls, active, "calls"),
            (bounds.calls_per_minute, recent, "calls_per_minute"),
        ):
            if limit is not None and count >= limit:
                detail = f"trunks.{trunk}.limits.{what}: {limit}"
                return Refusal(Cause.TRUNK_BUSY, detail, trunk)
        return self._trunk_is_spent(trunk)

    def _trunk_is_spent(self, trunk: TrunkName) -> Refusal | None:
        if self._left(_line(trunk)) > _NEXT_TO_NOTHING:
            return None
        return Refusal(Cause.TRUNK_SPENT, f"trunks.{trunk}.limits.minutes_per_day", trunk)

    def _left(self, who: _Who) -> float:
        limit = self._limit(who)
        return float("inf") if limit is None else limit - self._used(who)

    def _used(self, who: _Who) -> float:
        now = self._effects.now
        running = sum(now - talk.since for talk in self._talks.values() if who in talk.who)
        return self._meter.used(who, now) + running

    def _limit(self, who: _Who) -> float | None:
        kind, name = who
        if kind == "person":
            return self._limits_of(UserId(name)).seconds_per_day
        return self._trunk(TrunkName(name)).seconds_per_day

    def _active(self, person: UserId) -> int:
        """Two calls whose telephones talk with each other take the place of one.

        What voicemail takes does not keep the person from calling.
        """
        calls = [call for call in self._calls.of(person) if not call.voicemail.is_on]
        through = sum(call.is_put_through for call in calls)
        return len(calls) - through + through // 2

    def _limits_of(self, person: UserId) -> Limits:
        return limits_of(self._effects.policy, person)

    def _trunk(self, trunk: TrunkName) -> Bounds:
        return self._effects.policy.trunk(trunk).bounds


def usable(
    route: OutboundRoute, why_not: Callable[[TrunkName], Refusal | None]
) -> OutboundRoute | Refusal:
    """The route without the trunks that carry no more calls: these leave them to those behind."""
    refusals = [why_not(way.trunk) for way in route.ways]
    if refusals[0] is not None and all(refusals):
        return refusals[0]
    ways = zip(route.ways, refusals, strict=True)
    return in_order([way for way, refusal in ways if refusal is None])


def limits_of(policy: Policy, person: UserId) -> Limits:
    """A person's limits: each as the most exact entry has it that has any."""
    limits = policy.limits
    for key in reversed(entries_of(policy.people, person)):
        own = policy.people[key]
        limits = replace(
            limits,
            calls_per_person=_or(own.calls, limits.calls_per_person),
            calls_per_minute=_or(own.calls_per_minute, limits.calls_per_minute),
            seconds_per_day=_or(own.seconds_per_day, limits.seconds_per_day),
            max_duration=_or(own.max_duration, limits.max_duration),
        )
    return limits


def _or(own: T | None, general: T) -> T:
    return general if own is None else own


def _person(person: UserId) -> _Who:
    return "person", person


def _line(trunk: TrunkName) -> _Who:
    return "trunk", trunk
