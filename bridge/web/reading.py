# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody asks of the list of calls, as an address of the page says it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlencode

from bridge.call.ids import CallId, Direction
from bridge.call.outcomes import Outcome
from bridge.records import CallQuery

PAGE = 50
"""Calls on one page."""
MOST = 10_000
"""Calls in one file."""
_LONGEST = 255
Kind = TypeVar("Kind", Direction, Outcome)


class NotUnderstood(Exception):
    """The message is a sentence for who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """As it was written, for the form to show again."""

    person: str = ""
    number: str = ""
    trunk: str = ""
    since: str = ""
    until: str = ""
    outcome: str = ""
    direction: str = ""
    after: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Asked":
        """What an address says; what is not known there is left out."""
        known = {name: given.get(name, "").strip()[:_LONGEST] for name in cls.__slots__}
        return cls(**known)

    def address(self, **changes: str) -> str:
        """The same for an address, with changes."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return urlencode({name: each for name, each in {**values, **changes}.items() if each})

    def query(self, limit: int) -> CallQuery:
        """What it means. Raises NotUnderstood."""
        return CallQuery(
            person=self.person,
            number=_digits(self.number),
            trunk=self.trunk,
            direction=_known(Direction, self.direction) if self.direction else None,
            since=_time(self.since),
            until=_time(self.until),
            outcomes=(_known(Outcome, self.outcome),) if self.outcome else (),
            after=CallId(self.after) if self.after else None,
            limit=limit,
        )


def _digits(number: str) -> str:
    """A number as it is kept; what is none stays as it is."""
    bare = number.translate(str.maketrans("", "", " ()/-."))
    return bare if bare.removeprefix("+").isdigit() else number


def _known(kind: type[Kind], value: str) -> Kind:
    try:
        return kind(value)
    except ValueError:
        raise NotUnderstood(f"“{value}” is not known here.") from None


def _time(text: str) -> float | None:
    """Seconds since the epoch of a time of this machine, written as ISO 8601 has it."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError, OSError):
        raise NotUnderstood(f"“{text}” is no time; wanted: like 2026-03-01T14:30.") from None
