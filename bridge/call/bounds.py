# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person or a trunk may cost: bounds as data, for each that has others than the rest."""

from dataclasses import dataclass
from enum import Enum


class NumberKind(Enum):
    """What kind of number it is, as far as it decides whether it may be called."""

    ORDINARY = "ordinary"
    EMERGENCY = "emergency"
    PREMIUM = "premium_rate"
    SATELLITE = "satellite"
    """Of no country: satellite telephones, and international networks (+870, +881 to +883)."""
    SHARED_COST = "shared_cost"
    PERSONAL = "personal"
    PAGER = "pager"
    UAN = "uan"
    """A company's universal access number."""
    VOIP = "voip"


COSTLY = frozenset({NumberKind.PREMIUM, NumberKind.SATELLITE})
"""What nobody may call unless the settings say so: where stolen accounts make their money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """None, and no prefixes: what holds for everybody else. Times are seconds."""

    calls: int | None = None
    """At once."""
    calls_per_minute: int | None = None
    seconds_per_day: float | None = None
    """Of outgoing calls within 24 hours, those counted whole that ended within them."""
    max_duration: float | None = None
    allowed_prefixes: tuple[str, ...] = ()
    """Of numbers in E.164; if there are any, all others are forbidden."""
    forbidden_prefixes: tuple[str, ...] = ()
    forbidden_kinds: frozenset[NumberKind] | None = None

    def allow(self, number: str) -> bool | None:
        """Whether a number in E.164 may be called: as the longest prefix says; None: not said."""
        allowed = _longest(self.allowed_prefixes, number)
        forbidden = _longest(self.forbidden_prefixes, number)
        if forbidden or allowed:
            return allowed > forbidden
        return False if self.allowed_prefixes else None


NO_BOUNDS = Bounds()


def _longest(prefixes: tuple[str, ...], number: str) -> int:
    return max((len(each) for each in prefixes if number.startswith(each)), default=0)
