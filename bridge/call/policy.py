# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call what, and how much: data, and the pure functions that read it.

Nothing is allowed that is not written down: a policy without entries lets nobody call, and rings
nobody.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from bridge.call.causes import Cause
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.notices import Notices
from bridge.call.rules import InboundRule, OutboundRule, TrunkPolicy


class Access(IntEnum):
    """What a person may do; each level includes those before it."""

    BLOCKED = 0
    RECEIVE = 1
    CALL = 2
    ADMIN = 3
    """May see and end the calls of others, through the bot."""


class NumberKind(Enum):
    """What kind of number it is, as far as it decides whether it may be called."""

    ORDINARY = "ordinary"
    PREMIUM = "premium"
    EMERGENCY = "emergency"


def ordinary(number: str) -> NumberKind:
    """The default of `Policy.kind_of`: no number is special."""
    return NumberKind.ORDINARY


def as_written(number: str) -> Collection[str]:
    """The default of `Policy.meanings`: a number is nothing but itself."""
    return (number,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that keep a mistake, or a thief, cheap. Times are seconds."""

    calls_per_person: int = 2
    calls_per_minute: int = 10
    ring_time: float = 60.0
    max_duration: float = 14400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that decides whether a call is made, and where it goes."""

    access: Mapping[str, Access] = field(default_factory=dict)
    """By Matrix id, server name or `*`; the most exact entry counts."""
    trunks: Mapping[TrunkName, TrunkPolicy] = field(default_factory=dict)
    outbound: Sequence[OutboundRule] = ()
    inbound: Sequence[InboundRule] = ()
    forbidden_prefixes: Sequence[str] = ()
    limits: Limits = Limits()
    notices: Notices = Notices.ERRORS
    """How much people read about their calls."""
    kind_of: Callable[[str], NumberKind] = ordinary
    """Tells emergency and premium-rate numbers from others; must be pure."""
    meanings: Callable[[str], Collection[str]] = as_written
    """Every number that a trunk may take a user part for; none for a name. Must be pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person has set for themselves."""

    dnd: bool = False
    """Nothing rings."""
    forward: Address | None = None
    """Who calls is told to call this instead."""
    account: TrunkName | None = None
    """The trunk of their own SIP account."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The call is not to be made. `detail` is for the admin."""

    cause: Cause
    detail: str = field(default="", compare=False)


def access_of(policy: Policy, person: UserId) -> Access:
    """The access of `person`: by Matrix id, else by server name, else `*`, else none."""
    return access_entry(policy, person)[1]


def access_entry(policy: Policy, person: UserId) -> tuple[str, Access]:
    """The entry that decides what `person` may do, empty if there is none; and what that is."""
    server = person.partition(":")[2]
    for key in (person, server, "*"):
        if key in policy.access:
            return key, policy.access[key]
    return "", Access.BLOCKED


def check_limits(limits: Limits, *, active: int, recent: int = 0) -> Refusal | None:
    """Whether one more call is too many.

    `active` counts the person's calls now, `recent` the calls that they placed within a minute.
    """
    if active >= limits.calls_per_person:
        return Refusal(Cause.TOO_MANY_CALLS)
    if recent >= limits.calls_per_minute:
        return Refusal(Cause.TOO_FREQUENT)
    return None


def forbidden(policy: Policy, number: str) -> Refusal | None:
    """Why nobody may call a number, written as it is dialled; None if they may."""
    meanings = policy.meanings(number)
    # Most trunks take ITU-T E.164's prefix for international calls, whatever the country dials.
    public = ["+" + one[2:] if one.startswith("00") else one for one in meanings]
    if any(policy.kind_of(one) is NumberKind.EMERGENCY for one in meanings):
        return Refusal(Cause.EMERGENCY_NUMBER)
    if any(one.startswith(prefix) for one in public for prefix in policy.forbidden_prefixes):
        return Refusal(Cause.FORBIDDEN_NUMBER)
    if any(policy.kind_of(one) is NumberKind.PREMIUM for one in public):
        return Refusal(Cause.PREMIUM_NUMBER)
    return None
