# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call what, and how much: data, and the pure functions that read it.

Nothing is allowed that is not written down: a policy without entries lets nobody call, and rings
nobody.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from bridge.call.bounds import COSTLY, Bounds, NumberKind
from bridge.call.causes import Cause
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.notices import Notices
from bridge.call.rules import Caller, InboundRule, NumberFormat, OutboundRule, TrunkPolicy
from bridge.call.voicemail_terms import VoicemailTerms


class Access(IntEnum):
    """What a person may do; each level includes those before it."""

    BLOCKED = 0
    RECEIVE = 1
    CALL = 2
    ADMIN = 3
    """May see and end the calls of others, through the bot."""


def ordinary(number: str) -> NumberKind:
    """The default of `Policy.kind_of`: no number is special."""
    return NumberKind.ORDINARY


def as_written(number: str) -> Collection[str]:
    """The default of `Policy.meanings`: a number is nothing but itself."""
    return (number,)


def without_a_country(number: str, style: NumberFormat) -> str:
    """The default of `Policy.write`: no country is known whose way to dial it would be."""
    return number.removeprefix("+") if style is NumberFormat.PLAIN else number


def nothing_in_front(address: Address) -> tuple[Address, bool | None]:
    """The default of `Policy.unwrap`: a code in front of a number is the trunk's business."""
    return address, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that keep a mistake, or a thief, cheap. Times are seconds."""

    calls_per_person: int = 2
    calls_per_minute: int = 10
    ring_time: float = 60.0
    max_duration: float = 14400.0
    seconds_per_day: float | None = None
    """Of one person's outgoing calls within 24 hours."""
    vanished_after: float | None = 300.0
    """Of a telephone from which nothing comes, neither audio nor reports; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that decides whether a call is made, and where it goes."""

    access: Mapping[str, Access] = field(default_factory=dict)
    """By Matrix id, server name or `*`; the most exact entry counts."""
    trunks: Mapping[TrunkName, TrunkPolicy] = field(default_factory=dict)
    accounts: TrunkPolicy = field(default_factory=TrunkPolicy)
    """What holds for all that are no trunks of these: people's own accounts."""
    outbound: Sequence[OutboundRule] = ()
    inbound: Sequence[InboundRule] = ()
    callers: Mapping[str, Caller] = field(default_factory=dict)
    """As whom people call, by Matrix id or another way to name them: see `patterns.names`."""
    allowed_prefixes: Sequence[str] = ()
    """If there are any, no other number in E.164 may be called."""
    forbidden_prefixes: Sequence[str] = ()
    forbidden_kinds: frozenset[NumberKind] = COSTLY
    limits: Limits = Limits()
    people: Mapping[str, Bounds] = field(default_factory=dict)
    """By Matrix id, server name or `*`: who has other bounds."""
    notices: Notices = Notices.ERRORS
    """How much people read about their calls."""
    voicemail: VoicemailTerms | None = None
    """How it answers for whoever has switched it on; None: nobody may."""
    kind_of: Callable[[str], NumberKind] = ordinary
    """What kind of number it is; must be pure."""
    meanings: Callable[[str], Collection[str]] = as_written
    """Every number that a trunk may take a user part for; none for a name. Must be pure."""
    write: Callable[[str, NumberFormat], str] = without_a_country
    """Writes a number in a format; must be pure."""
    unwrap: Callable[[Address], tuple[Address, bool | None]] = nothing_in_front
    """An address without the code in front of it that withholds the caller's number (True) or shows
    it (False), and which it was; must be pure."""

    def trunk(self, name: TrunkName) -> TrunkPolicy:
        """What is known of a trunk."""
        return self.trunks.get(name, self.accounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person has set for themselves."""

    dnd: bool = False
    """Nothing rings."""
    forward: Address | None = None
    """Who calls is told to call this instead."""
    account: TrunkName | None = None
    """The trunk of their own SIP account."""
    withhold: bool | None = None
    """Whether they stay unknown when they call; None: as the configuration has it."""
    voicemail: bool = False
    """Whether it takes the calls that they do not."""
    voicemail_delay: float | None = None
    """Seconds for which it rings first; None: as the configuration has it."""
    greeting: str = ""
    """The file that callers hear; empty: that of the configuration."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The call is not to be made. `detail` is for the admin."""

    cause: Cause
    detail: str = field(default="", compare=False)
    trunk: TrunkName = field(default=TrunkName(""), compare=False)
    """The trunk whose bounds were reached; empty where it was not for a trunk."""


def access_of(policy: Policy, person: UserId) -> Access:
    """The access of `person`: by Matrix id, else by server name, else `*`, else none."""
    return access_entry(policy, person)[1]


def access_entry(policy: Policy, person: UserId) -> tuple[str, Access]:
    """The entry that decides what `person` may do, empty if there is none; and what that is."""
    for key in entries_of(policy.access, person):
        return key, policy.access[key]
    return "", Access.BLOCKED


def entries_of(table: Collection[str], person: UserId) -> Sequence[str]:
    """The entries about a person, the most exact first: by Matrix id, server name, or `*`."""
    return [key for key in (person, person.partition(":")[2], "*") if key in table]
