# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of calls to take along: as CSV for a spreadsheet, as JSON for programs."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from bridge.call.ids import Direction
from bridge.records import CallRecord, LadderEntry
from bridge.web.verdict import outcome, talked

COLUMNS: Final = (
    "call",
    "direction",
    "person",
    "number",
    "trunk",
    "rule",
    "started",
    "rang",
    "answered",
    "ended",
    "talked_s",
    "outcome",
    "cause",
    "sip_status",
    "matrix_reason",
    "ended_by",
    "detail",
    "times",
    "source",
    "message_s",
    "other_trunks",
    "mode",
    "matrix_codec",
    "sip_codec",
    "matrix_mos",
    "sip_mos",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def csv_of(records: Sequence[CallRecord]) -> str:
    """A line for each call, under a line of names; times in UTC."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in map(_row, records))
    return sheet.getvalue()


def json_of(records: Sequence[CallRecord]) -> str:
    """Everything that is known of each call but how to end it after a crash."""
    return json.dumps([_whole(record) for record in records], indent=1) + "\n"


def call_json(record: CallRecord, entries: Sequence[LadderEntry], quality: Sequence[Any]) -> str:
    """One call with its ladder, and how well it was heard."""
    known = {
        **_whole(record),
        "ladder": [asdict(entry) for entry in entries],
        "heard": [asdict(sample) for sample in quality],
    }
    return json.dumps(known, indent=1, default=lambda value: value.value) + "\n"


def _row(record: CallRecord) -> dict[str, object]:
    figures = record.statistics
    ended = outcome(record)
    lasted = talked(record)
    return {
        "call": record.call,
        "direction": record.direction.value,
        "person": record.person,
        "number": record.address.removeprefix("tel:"),
        "trunk": record.trunk,
        "rule": record.rule,
        "started": _time(record.started_at),
        "rang": _time(record.rang_at),
        "answered": _time(record.answered_at),
        "ended": _time(record.ended_at),
        "talked_s": None if lasted is None else round(lasted, 1),
        "outcome": ended.value if ended else None,
        "cause": record.cause,
        "sip_status": record.status or None,
        "matrix_reason": record.reason,
        "ended_by": record.ended_by,
        "detail": record.detail,
        "times": record.times,
        "source": record.source,
        "message_s": None if record.message_s is None else round(record.message_s, 1),
        "other_trunks": " ".join(each.trunk for each in record.attempts if not each.video),
        **{
            name: figures.get(name)
            for name in ("mode", "matrix_codec", "sip_codec", "matrix_mos", "sip_mos")
        },
    }


def _whole(record: CallRecord) -> dict[str, object]:
    return {
        **_row(record),
        "caller": "person" if record.direction is Direction.TO_SIP else "number",
        "room": record.room,
        "matrix_call_id": record.matrix_call_id,
        "sip_call_id": record.sip_call_id,
        "other_trunks": [asdict(each) for each in record.attempts],
        "statistics": record.statistics,
    }


def _cell(value: object) -> object:
    """A value that no spreadsheet takes for a formula; numbers stay numbers."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return value if value[1:].isdigit() else f"'{value}"
    return value


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
