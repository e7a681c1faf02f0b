# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dial plan is made of: trunks, rules that lead to and from them, and who calls as whom."""

from dataclasses import dataclass
from enum import Enum

from bridge.call.bounds import NO_BOUNDS, Bounds
from bridge.call.ids import TrunkName, UserId
from bridge.call.terms import NO_TERMS, Terms


class NumberFormat(Enum):
    """How a number in E.164 is written; any other number stays as it is."""

    E164 = "e164"
    """`+12025550123`"""
    PLAIN = "plain"
    """`12025550123`"""
    INTERNATIONAL = "international"
    """As one's own country dials it abroad: `01112025550123`, `0012025550123`."""
    NATIONAL = "national"
    """As it is dialled within its country, if that is one's own; else as `INTERNATIONAL`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkPolicy:
    """What the core needs to know of a trunk."""

    caller_id: str = ""
    """Number shown on outgoing calls; empty: the trunk's own."""
    callers: tuple[str, ...] = ()
    """Numbers, or patterns of them, that people may show by this trunk instead of `caller_id`."""
    caller_format: NumberFormat = NumberFormat.E164
    """How the number shown is written."""
    withhold: bool = False
    """Whether callers stay unknown, as far as nobody says otherwise."""
    early_media: bool = False
    """Answer the Matrix call as soon as the trunk sends early media (183 with SDP)."""
    follows: bool = True
    """Whether a call that the trunk points elsewhere (300 to 399) is placed there."""
    refers: bool = True
    """Whether it is asked to transfer calls (REFER)."""
    terms: Terms = NO_TERMS
    bounds: Bounds = NO_BOUNDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """As whom somebody calls."""

    numbers: tuple[str, ...] = ()
    """The first one that the trunk lets them show is shown."""
    name: str = ""
    """Shown with it."""
    withhold: bool | None = None
    """Whether they stay unknown; None: as the trunk has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRule:
    """Which trunks carry an address, in order, and how the number is written there.

    The number is written in `format`, loses `strip` digits, and gets `prepend`, in that order.
    """

    trunks: tuple[TrunkName, ...]
    prefix: str = ""
    """The number starts with this; empty: every number."""
    pattern: str = ""
    """The number is as this says (see `patterns.pattern_of`); empty: every number."""
    sip_domain: str | None = None
    """Matches SIP addresses of this domain (`*`: any) instead of numbers."""
    people: tuple[str, ...] = ()
    """Only calls of these people (see `patterns.names`); empty: of everybody."""
    format: NumberFormat = NumberFormat.E164
    strip: int = 0
    """Digits to take off the front, and a plus with them: what is left is not E.164."""
    prepend: str = ""
    """Put in front of everything that is left."""
    caller_id: str = ""
    """Number shown, whoever calls; empty: the caller's own, or the trunk's."""
    name: str = ""
    """What records and explanations call it; empty: `outbound[0]`, by its place."""


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
    """The number dialled, or a pattern: see `patterns.pattern_of`."""
    name: str = ""
    """What records and explanations call it; empty: `inbound[0]`, by its place."""


def name_of(rule: OutboundRule | InboundRule, place: int) -> str:
    """What a rule is called, that stands at this place of its list."""
    kind = "outbound" if isinstance(rule, OutboundRule) else "inbound"
    return rule.name or f"{kind}[{place}]"
