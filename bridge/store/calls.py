# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of calls and their ladders."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from mautrix.util.async_db import Connection, Database

from bridge.call.commands import (
    Attempt,
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordLegs,
    RecordQuality,
    RecordRinging,
    RecordSilence,
    RecordStart,
    RecordStatistics,
    Ringing,
    StoreCommand,
    VoicemailCommand,
)
from bridge.call.events import Placed, Talk
from bridge.call.ids import CallId, Direction, Side, TrunkName, UserId
from bridge.call.meter import DAY, MINUTE
from bridge.call.quality import Flow
from bridge.records import CallQuery, CallRecord, LadderEntry, QualitySample
from bridge.store.database import transaction
from bridge.store.finding import PRUNE, condition_of
from bridge.store.writer import Row, Write, Writer

LEGS = ("person", "room", "matrix_call_id", "matrix_version", "party", "sip_call_id", "sip_dialog")
_RUNG: Final = (
    "INSERT INTO ladder (call, at, leg, direction, summary, detail) VALUES ($1, $2, $3, $4, $5, $6)"
)
_ATTEMPT: Final = (
    "INSERT INTO call (call, direction, person, address, trunk, started_at, ended_at, cause, "
    "status, ended_by, reason, detail, sip_call_id, times, source) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
)
_MEASURES: Final = ("packets", "lost", "lost_beyond", "jitter_ms", "round_trip_ms", "mos")
_MEASURED: Final = (
    f"INSERT INTO quality (call, at, side, {', '.join(_MEASURES)}) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
)


class Calls:
    """A `CallStore` on the database, with what an admin asks of it."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def do(self, command: StoreCommand, at: float) -> None:
        """Queue a write; `at` is seconds since the epoch."""
        match command:
            case RecordQuality(call=call):
                for side, flow in ((Side.MATRIX, command.matrix), (Side.SIP, command.sip)):
                    self._writer.put(_measured(call, side, flow, float(at)), important=False)
            case RecordSilence():
                return  # The ladder tells it, and in the end the statistics do.
            case VoicemailCommand():
                return  # Recordings are kept elsewhere.
            case _:
                self._writer.put(_write_of(command, float(at)))

    def trace(self, call: CallId, entry: LadderEntry) -> None:
        """Queue one line of a call's ladder; the first to go when the database is away for long."""
        self._writer.put(_rung(call, entry), important=False)

    def add(self, record: CallRecord) -> None:
        """Queue the record of what never was a call."""
        self._writer.put(_whole(record))

    async def unfinished(self) -> Sequence[CallRecord]:
        """Calls without an end, oldest first."""
        rows = await self._database.fetch(
            "SELECT * FROM call WHERE ended_at IS NULL ORDER BY started_at"
        )
        return [_record(row) for row in rows]

    async def talks(self, now: float) -> Sequence[Talk]:
        """Outgoing calls that ended within the last 24 hours, or never: up to now, then."""
        rows = await self._database.fetch(
            "SELECT person, trunk, answered_at, COALESCE(ended_at, $2) AS ended FROM call "
            "WHERE direction=$1 AND answered_at IS NOT NULL "
            "AND (ended_at IS NULL OR ended_at > $3) ORDER BY ended",
            Direction.TO_SIP.value,
            float(now),
            float(now - DAY),
        )
        return [
            Talk(
                person=UserId(row["person"]),
                trunk=TrunkName(row["trunk"]),
                seconds=max(0.0, row["ended"] - row["answered_at"]),
                ago=max(0.0, now - row["ended"]),
            )
            for row in rows
        ]

    async def placed(self, now: float) -> Sequence[Placed]:
        """Outgoing calls that began within the last minute, but for those that were refused."""
        rows = await self._database.fetch(
            "SELECT person, trunk, started_at FROM call WHERE direction=$1 AND started_at > $2 "
            "AND NOT (answered_at IS NULL AND ended_by IS NOT NULL AND ended_by=$3)",
            Direction.TO_SIP.value,
            float(now - MINUTE),
            "bridge",
        )
        return [
            Placed(
                person=UserId(row["person"]),
                trunk=TrunkName(row["trunk"]),
                ago=max(0.0, now - row["started_at"]),
            )
            for row in rows
        ]

    async def call(self, call: CallId) -> CallRecord | None:
        """One call's record."""
        row = await self._database.fetchrow("SELECT * FROM call WHERE call=$1", call)
        return None if row is None else _record(row)

    async def recent(self, limit: int) -> Sequence[CallRecord]:
        """The newest calls, newest first."""
        rows = await self._database.fetch(
            "SELECT * FROM call ORDER BY started_at DESC, call LIMIT $1", limit
        )
        return [_record(row) for row in rows]

    async def recent_of(self, person: UserId, limit: int) -> Sequence[CallRecord]:
        """A person's newest calls, newest first: also those that somebody else answered."""
        rows = await self._database.fetch(
            "SELECT * FROM call "
            "WHERE person=$1 OR call IN (SELECT call FROM rang WHERE person=$1) "
            "ORDER BY started_at DESC, call LIMIT $2",
            person,
            limit,
        )
        return [_record(row) for row in rows]

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        """The calls that are looked for, newest first."""
        where, values = condition_of(query)
        rows = await self._database.fetch(
            f"SELECT * FROM call WHERE {where} ORDER BY started_at DESC, call "
            f"LIMIT {int(query.limit)}",
            *values,
        )
        return [_record(row) for row in rows]

    async def causes(self, since: float) -> Mapping[str, int]:
        """How many calls that began since then (seconds since the epoch) ended for which cause."""
        rows = await self._database.fetch(
            "SELECT cause, SUM(times) AS calls FROM call "
            "WHERE started_at >= $1 AND cause IS NOT NULL GROUP BY cause",
            float(since),
        )
        return {row["cause"]: int(row["calls"]) for row in rows}

    async def ladder(self, call: CallId) -> Sequence[LadderEntry]:
        """What both sides of a call said, in order."""
        rows = await self._database.fetch(
            "SELECT at, leg, direction, summary, detail FROM ladder WHERE call=$1 "
            "ORDER BY at, line",
            call,
        )
        return [
            LadderEntry(
                at=row["at"],
                leg=row["leg"],
                direction=row["direction"],
                summary=row["summary"],
                detail=row["detail"],
            )
            for row in rows
        ]

    async def quality(self, call: CallId) -> Sequence[QualitySample]:
        """How well a call was heard, both directions, oldest first."""
        rows = await self._database.fetch(
            f"SELECT at, side, {', '.join(_MEASURES)} FROM quality WHERE call=$1 ORDER BY at, side",
            call,
        )
        return [
            QualitySample(
                at=row["at"],
                side=Side(row["side"]),
                flow=Flow(**{name: row[name] for name in _MEASURES}),
            )
            for row in rows
        ]

    async def prune_ladders(self, before: float) -> None:
        """Forget what was said before this time (seconds since the epoch), and how well it was
        heard; the records stay."""
        await self._database.execute("DELETE FROM ladder WHERE at < $1", float(before))
        await self._database.execute("DELETE FROM quality WHERE at < $1", float(before))

    async def prune_calls(self, before: float) -> None:
        """Forget calls that ended before this time (seconds since the epoch)."""
        async with transaction(self._database) as connection:
            for statement in PRUNE:
                await connection.execute(statement, float(before))


def _write_of(command: StoreCommand, at: float) -> Write:
    match command:
        case RecordStart():
            return partial(_start, command=command, at=at)
        case RecordLegs():
            return partial(_legs, command=command)
        case RecordAttempts():
            return partial(_attempts, command=command)
        case RecordRinging(call=call):
            return partial(_ringing, call=call, at=at)
        case RecordAnswer(call=call):
            return partial(_answer, call=call, at=at)
        case RecordEnd():
            return partial(_end, command=command, at=at)
        case RecordStatistics():
            return partial(_statistics, command=command)
        case _:
            raise TypeError(f"no record is kept of {type(command).__name__}")


async def _start(connection: Connection, command: RecordStart, at: float) -> None:
    await connection.execute(
        "INSERT INTO call (call, direction, person, address, trunk, started_at, rule) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (call) DO NOTHING",
        command.call,
        command.direction.value,
        command.person,
        command.address,
        command.trunk,
        at,
        command.rule,
    )


async def _legs(connection: Connection, command: RecordLegs) -> None:
    known = {name: value for name in LEGS if (value := getattr(command, name)) is not None}
    for each in command.ringing or ():
        await connection.execute(
            "INSERT INTO rang (person, call) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            each.person,
            command.call,
        )
    if command.ringing is not None:
        known["ringing"] = json.dumps([asdict(each) for each in command.ringing])
    if not known:
        return
    changes = ", ".join(f"{name}=${number}" for number, name in enumerate(known, 2))
    await connection.execute(
        f"UPDATE call SET {changes} WHERE call=$1", command.call, *known.values()
    )


async def _attempts(connection: Connection, command: RecordAttempts) -> None:
    await connection.execute(
        "UPDATE call SET trunk=$2, attempts=$3 WHERE call=$1",
        command.call,
        command.trunk,
        json.dumps([asdict(each) for each in command.failed]),
    )


async def _ringing(connection: Connection, call: CallId, at: float) -> None:
    await connection.execute(
        "UPDATE call SET rang_at=$2 WHERE call=$1 AND rang_at IS NULL", call, at
    )


async def _answer(connection: Connection, call: CallId, at: float) -> None:
    await connection.execute(
        "UPDATE call SET answered_at=$2 WHERE call=$1 AND answered_at IS NULL", call, at
    )


async def _end(connection: Connection, command: RecordEnd, at: float) -> None:
    await connection.execute(
        "UPDATE call SET ended_at=$2, cause=$3, status=$4, ended_by=$5, reason=$6, detail=$7 "
        "WHERE call=$1 AND ended_at IS NULL",
        command.call,
        at,
        command.cause,
        command.status,
        command.ended_by,
        command.reason,
        _storable(command.detail),
    )


async def _statistics(connection: Connection, command: RecordStatistics) -> None:
    await connection.execute(
        "UPDATE call SET statistics=$2 WHERE call=$1",
        command.call,
        json.dumps(command.statistics),
    )


def _whole(record: CallRecord) -> Row:
    return Row(
        _ATTEMPT,
        (
            record.call,
            record.direction.value,
            record.person,
            _storable(record.address),
            record.trunk,
            record.started_at,
            record.ended_at,
            record.cause,
            record.status,
            record.ended_by,
            record.reason,
            _storable(record.detail),
            None if record.sip_call_id is None else _storable(record.sip_call_id),
            record.times,
            record.source,
        ),
    )


def _measured(call: CallId, side: Side, flow: Flow, at: float) -> Row:
    values = (getattr(flow, name) for name in _MEASURES)
    return Row(_MEASURED, (call, at, side.value, *values))


def _rung(call: CallId, entry: LadderEntry) -> Row:
    return Row(
        _RUNG,
        (
            call,
            float(entry.at),
            entry.leg,
            entry.direction,
            _storable(entry.summary),
            _storable(entry.detail),
        ),
    )


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL, and neither keeps half of a surrogate pair."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _record(row: Mapping[str, Any]) -> CallRecord:
    values = {name: row[name] for name in row.keys()}
    values["direction"] = Direction(values["direction"])
    values["statistics"] = json.loads(values["statistics"])
    values["ringing"] = tuple(Ringing(**each) for each in json.loads(values["ringing"]))
    values["attempts"] = tuple(Attempt(**each) for each in json.loads(values["attempts"]))
    return CallRecord(**values)
