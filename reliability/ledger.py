# SPDX-License-Identifier: GPL-3.0-or-later
"""What was placed, beside what the bridge has on record: one by one."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from reliability.plan import Ending, Planned, Way
from tests.simulators.bridge_process import Record

TOLERANCE: Final = 5.0
"""Seconds by which the length of a talk may differ: a busy homeserver keeps events for a while."""
_DIRECTIONS: Final = {Way.IN: "to_matrix", Way.OUT: "to_sip"}
_PHONE, _PERSON, _BRIDGE = "sip", "matrix", "bridge"


@dataclass(slots=True, kw_only=True)
class Placed:
    """A call that was made, as its ends saw it. Times are monotonic seconds."""

    planned: Planned
    at: float
    matrix_call: str = ""
    """Its name in Matrix; empty if it never came there."""
    sip_call: str = ""
    answered_at: float | None = None
    ended_at: float | None = None
    causes: tuple[str, ...] = ()
    """What may stand on its record; empty: what the plan says."""
    troubles: list[str] = field(default_factory=list)
    """What was not as it should be."""
    anyhow: bool = False
    """Whether it may go as it likes; it has a record if it came to the bridge at all."""
    lost: bool = False
    """It ended although nobody ended it."""
    stuck: bool = False
    """An end went on although the other had ended."""
    checked: int = 0
    """Times that what was heard was compared with what was said."""
    wrong: int = 0
    """Times that it was something else."""

    @property
    def good(self) -> bool:
        """Whether all was as planned."""
        return self.anyhow or not self.troubles


@dataclass(frozen=True, slots=True)
class Account:
    """What the comparison found."""

    placed: int
    records: int
    differences: tuple[str, ...]


def compare(
    placed: Sequence[Placed], records: Iterable[Record], strangers: Collection[str] = ()
) -> Account:
    """Each call has one record, which says what its ends saw; and no record is of nothing.

    `strangers`: addresses from which calls were tried that nobody counts here.
    """
    every = [record for record in records if record.source not in strangers]
    by_name: dict[str, list[Record]] = {}
    for record in every:
        for name in {record.matrix_call_id, record.sip_call_id} - {None, ""}:
            by_name.setdefault(str(name), []).append(record)
    differences: list[str] = []
    seen: set[str] = set()
    for call in placed:
        found = by_name.get(call.matrix_call) or by_name.get(call.sip_call) or []
        seen |= {record.call for record in found}
        what = f"call {call.planned.number}"
        if call.anyhow:
            ends = [record.ended_at for record in found]
            differences += [f"{what} has no end"] if None in ends or len(ends) > 1 else []
        elif len(found) != 1:
            differences.append(f"{what} has {len(found)} records")
        else:
            differences += [f"{what} ({found[0].call}): {each}" for each in _unlike(call, found[0])]
    differences += [
        f"record {record.call} ({record.direction}, {record.cause}) is of no call that was placed"
        for record in every
        if record.call not in seen
    ]
    return Account(len(placed), len(every), tuple(differences))


def ending_of(planned: Planned) -> tuple[str, str]:
    """The cause on the record of a call that goes as planned, and who ended it."""
    caller, callee = (_PHONE, _PERSON) if planned.way is Way.IN else (_PERSON, _PHONE)
    return {
        Ending.CALLER_LEAVES: ("normal", caller),
        Ending.CALLEE_LEAVES: ("normal", callee),
        Ending.GIVEN_UP: ("cancelled", caller),
        Ending.DECLINED: ("declined", callee),
        Ending.BUSY: ("busy", callee),
        Ending.HANDED_ON: ("transferred", _PERSON),
    }[planned.ending]


def _unlike(call: Placed, record: Record) -> list[str]:
    found = []
    if record.direction != _DIRECTIONS[call.planned.way]:
        found.append(f"its direction is {record.direction}")
    if record.ended_at is None:
        return [*found, "it has no end"]
    cause, by = ending_of(call.planned)
    if call.causes:
        if record.cause not in call.causes:
            found.append(f"ended for {record.cause}, not {' or '.join(call.causes)}")
    elif (record.cause, record.ended_by) != (cause, by):
        found.append(f"ended for {record.cause} by {record.ended_by}, not for {cause} by {by}")
    if (record.answered_at is None) != (call.answered_at is None):
        found.append("answered" if call.answered_at is None else "not answered")
    elif record.answered_at is not None and call.answered_at is not None and call.ended_at:
        theirs = record.ended_at - record.answered_at
        ours = call.ended_at - call.answered_at
        if abs(theirs - ours) > TOLERANCE:
            found.append(f"was talked in for {theirs:.1f} s, not {ours:.1f} s")
    return found
