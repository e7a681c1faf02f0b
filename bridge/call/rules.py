# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dial plan is made of: trunks, and the rules that lead to and from them."""

from dataclasses import dataclass

from bridge.call.bounds import NO_BOUNDS, Bounds
from bridge.call.ids import TrunkName, UserId
from bridge.call.terms import NO_TERMS, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkPolicy:
    """What the core needs to know of a trunk."""

    caller_id: str = ""
    """User part of From on outgoing calls; empty: the trunk's own."""
    early_media: bool = False
    """Answer the Matrix call as soon as the trunk sends early media (183 with SDP)."""
    follows: bool = True
    """Whether a call that the trunk points elsewhere (300 to 399) is placed there."""
    terms: Terms = NO_TERMS
    bounds: Bounds = NO_BOUNDS


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
    """The number dialled, or a pattern: see `patterns.pattern_of`."""
