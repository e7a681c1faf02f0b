# SPDX-License-Identifier: GPL-3.0-or-later
"""Which calls are looked for, and which are forgotten, in the database's words."""

from collections.abc import Iterator
from itertools import count
from typing import Final, Protocol

from bridge.call.ids import Direction
from bridge.call.outcomes import causes_of
from bridge.records import CallQuery

_OLD: Final = "SELECT call FROM call WHERE ended_at < $1"
PRUNE: Final = (
    # Whether somebody ever talked there says whether a room may be left for want of calls.
    "UPDATE portal SET talked=TRUE WHERE EXISTS (SELECT 1 FROM call WHERE ended_at < $1 "
    "AND call.person=portal.person AND call.address=portal.address "
    f"AND (answered_at IS NOT NULL OR direction='{Direction.TO_SIP.value}'))",
    f"DELETE FROM ladder WHERE call IN ({_OLD})",
    f"DELETE FROM quality WHERE call IN ({_OLD})",
    f"DELETE FROM rang WHERE call IN ({_OLD})",
    "DELETE FROM call WHERE ended_at < $1",
)
"""In this order; `$1` is the time before which calls ended."""


class _Value(Protocol):
    """Takes a value, and says what stands for it."""

    def __call__(self, each: object, /) -> str: ...


def condition_of(query: CallQuery) -> tuple[str, list[object]]:
    """What stands behind WHERE, and its values."""
    values: list[object] = []
    numbers = count(1)

    def value(each: object) -> str:
        values.append(each)
        return f"${next(numbers)}"

    conditions = list(_conditions(query, value))
    return " AND ".join(conditions) or "1=1", values


def _conditions(query: CallQuery, value: _Value) -> Iterator[str]:
    if query.person:
        like = f"LOWER(person) LIKE {value(_part(query.person.lower()))} ESCAPE '!'"
        yield f"({like} OR call IN (SELECT call FROM rang WHERE {like}))"
    if query.number:
        wanted = value(_part(query.number.lower()))
        columns = ("LOWER(address)", "source", "CASE WHEN source='' THEN '' ELSE LOWER(detail) END")
        # Of what SIP refused, the detail says what was dialled.
        likes = (f"{column} LIKE {wanted} ESCAPE '!'" for column in columns)
        yield f"({' OR '.join(likes)})"
    if query.trunk:
        yield f"trunk={value(query.trunk)}"
    if query.direction is not None:
        yield f"direction={value(query.direction.value)}"
    if query.since is not None:
        yield f"started_at >= {value(query.since)}"
    if query.until is not None:
        yield f"started_at < {value(query.until)}"
    if query.outcomes:
        causes = [cause for outcome in query.outcomes for cause in causes_of(outcome)]
        yield f"cause IN ({', '.join(value(cause.value) for cause in causes)})"
    if query.after is not None:
        last = value(query.after)
        start = f"(SELECT started_at FROM call WHERE call={last})"
        yield f"(started_at < {start} OR (started_at = {start} AND call > {last}))"


def _part(text: str) -> str:
    """A pattern for what contains a text."""
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text}%"
