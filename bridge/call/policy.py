# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call what, and which way: data, and the pure functions that read it.

Nothing is allowed that is not written down: a policy without entries lets nobody call, and rings
nobody.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from urllib.parse import unquote

from bridge.call.causes import Cause
from bridge.call.ids import ANONYMOUS, Address, TrunkName, UserId
from bridge.call.notices import Notices


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
class TrunkPolicy:
    """What the core needs to know of a trunk."""

    caller_id: str = ""
    """User part of From on outgoing calls; empty: the trunk's own."""
    early_media: bool = False
    """Answer the Matrix call as soon as the trunk sends early media (183 with SDP)."""
    codecs: tuple[str, ...] = ()
    """Audio codecs that the trunk allows, best first; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRule:
    """Which trunk carries an address, and how the number is written there."""

    trunk: TrunkName
    prefix: str = ""
    """The number starts with this; empty: every number."""
    sip_domain: str | None = None
    """Matches SIP addresses of this domain (`*`: any) instead of numbers."""
    strip: int = 0
    """Digits to take off the front, not counting the plus."""
    prepend: str = ""
    """Put in front of everything that is left."""
    keep_plus: bool = True
    """Whether the number keeps its plus. One that lost digits never does: it is not E.164."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRule:
    """Whom an incoming call rings: these people, all at once, or whose localpart was dialled."""

    people: tuple[UserId, ...] = ()
    server: str = ""
    """Rings whoever of this homeserver has what was dialled as their localpart."""
    reserved: tuple[str, ...] = ()
    """Localparts (patterns) that are nobody's: those of ghosts and of the bot."""
    trunk: TrunkName | None = None
    """Only calls of this trunk; None: of any."""
    number: str = "*"
    """The number dialled, or a pattern: see `inbound.pattern_of`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRoute:
    """How an outgoing call leaves."""

    trunk: TrunkName
    target: str
    """A number as the trunk wants it, or a whole SIP URI."""
    caller: str
    early_media: bool
    codecs: tuple[str, ...]


def codecs_of(policy: Policy, trunk: TrunkName) -> tuple[str, ...]:
    """The audio codecs that `trunk` allows; empty: all."""
    return policy.trunks.get(trunk, TrunkPolicy()).codecs


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


def route_out(
    policy: Policy, person: UserId, address: Address, account: TrunkName | None = None
) -> OutboundRoute | Refusal:
    """Where a call of `person` to `address` leaves, or why it may not.

    By their own `account`, if they have one: it needs no rule, and numbers stay as they are.
    """
    if access_of(policy, person) < Access.CALL:
        return Refusal(Cause.NOT_PERMITTED)
    return route_of(policy, address, account)


def route_of(
    policy: Policy, address: Address, account: TrunkName | None = None
) -> OutboundRoute | Refusal:
    """Where calls to `address` leave, whoever places them, or why nobody may."""
    if address == ANONYMOUS:
        return Refusal(Cause.NUMBER_WITHHELD)
    scheme, _, rest = address.partition(":")
    # The server that a user part is sent to may dial it as a number.
    refusal = _forbidden(policy, rest if scheme == "tel" else unquote(rest.rpartition("@")[0]))
    if refusal is not None:
        return refusal
    if account is not None:
        return _leave_by(policy, account, rest if scheme == "tel" else address)
    for rule in policy.outbound:
        if carries(rule, address):
            target = rewrite(rule, rest) if scheme == "tel" else address
            return _leave_by(policy, rule.trunk, target)
    return Refusal(Cause.NO_ROUTE)


def carries(rule: OutboundRule, address: Address) -> bool:
    """Whether the rule is for this address."""
    scheme, _, rest = address.partition(":")
    if scheme == "tel":
        return rule.sip_domain is None and rest.startswith(rule.prefix)
    return rule.sip_domain is not None and rule.sip_domain.lower() in ("*", _host(address))


def check_limits(limits: Limits, *, active: int, recent: int = 0) -> Refusal | None:
    """Whether one more call is too many.

    `active` counts the person's calls now, `recent` the calls that they placed within a minute.
    """
    if active >= limits.calls_per_person:
        return Refusal(Cause.TOO_MANY_CALLS)
    if recent >= limits.calls_per_minute:
        return Refusal(Cause.TOO_FREQUENT)
    return None


def _forbidden(policy: Policy, number: str) -> Refusal | None:
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


def _leave_by(policy: Policy, trunk: TrunkName, target: str) -> OutboundRoute:
    known = policy.trunks.get(trunk, TrunkPolicy())
    return OutboundRoute(
        trunk=trunk,
        target=target,
        caller=known.caller_id,
        early_media=known.early_media,
        codecs=known.codecs,
    )


def rewrite(rule: OutboundRule, number: str) -> str:
    """`number` as the rule's trunk wants it."""
    digits = number.removeprefix("+")
    plus = "+" if rule.keep_plus and not rule.strip and digits != number else ""
    return rule.prepend + plus + digits[rule.strip :]


def _host(uri: str) -> str:
    """The host of a SIP URI, in lower case, without port and parameters."""
    authority = uri.partition(":")[2].rpartition("@")[2].partition(";")[0].lower()
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0]
