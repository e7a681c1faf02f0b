# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of writes: order, retries, bounds."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mautrix.util.async_db import Connection, Database
from mautrix.util.async_db.connection import LoggingConnection
from structlog.testing import capture_logs

from bridge.store.database import open_database
from bridge.store.writer import FIRST_PAUSE, LONGEST_PAUSE, Row, Write, Writer
from tests.simulators.waiting import until


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(f"sqlite:{tmp_path}/a.db") as database:
        yield database


class Pauses:
    """Remembers how long the writer wanted to wait, and does not wait."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


def remember(name: str) -> Write:
    async def write(connection: Connection) -> None:
        await connection.execute("INSERT INTO ghost (address, display_name) VALUES ($1, '')", name)

    return write


async def names(database: Database) -> list[str]:
    rows = await database.fetch("SELECT address FROM ghost ORDER BY rowid")
    return [row["address"] for row in rows]


class Flaky:
    """Raises a few times before it writes."""

    def __init__(self, name: str, errors: list[Exception]) -> None:
        self._write = remember(name)
        self._errors = errors

    async def __call__(self, connection: Connection) -> None:
        if self._errors:
            raise self._errors.pop(0)
        await self._write(connection)


async def test_writes_keep_their_order(sqlite: Database) -> None:
    writer = Writer(sqlite)
    wanted = [f"tel:{number}" for number in range(500)]
    for name in wanted[:250]:
        writer.put(remember(name))
    writer.start()
    for name in wanted[250:]:
        writer.put(remember(name))
    assert writer.waiting == 500
    await writer.flush()
    assert writer.waiting == 0
    assert await names(sqlite) == wanted
    await writer.close()


async def test_who_looks_is_told_of_what_can_be_read_by_then(sqlite: Database) -> None:
    told = 0

    def written() -> None:
        nonlocal told
        told += 1

    writer = Writer(sqlite, written=written)
    writer.start()
    assert told == 0
    writer.put(remember("tel:1"))
    await until(lambda: told == 1, what="it was told")
    assert await names(sqlite) == ["tel:1"]
    await writer.close()


def row(name: str) -> Row:
    return Row("INSERT INTO ghost (address, display_name) VALUES ($1, $2)", (name, ""))


async def test_rows_go_in_together_and_in_order(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    original = LoggingConnection.executemany

    async def counted(self: LoggingConnection, query: str, *args: Any, **more: Any) -> Any:
        sent.append(len(args[0]))
        return await original(self, query, *args, **more)

    monkeypatch.setattr(LoggingConnection, "executemany", counted)
    writer = Writer(sqlite)
    for write in (row("1"), row("2"), remember("3"), row("4"), row("5"), row("6")):
        writer.put(write)
    writer.start()
    await writer.close()
    assert sent == [2, 3]
    assert await names(sqlite) == ["1", "2", "3", "4", "5", "6"]


async def test_a_row_that_is_refused_costs_no_other(sqlite: Database) -> None:
    writer = Writer(sqlite)
    for name in ("1", "2", "1", "3"):
        writer.put(row(name))
    writer.start()
    with capture_logs() as lines:
        await writer.flush()
    assert await names(sqlite) == ["1", "2", "3"]
    assert [line["log_level"] for line in lines] == ["error"]
    await writer.close()


async def test_what_is_not_important_waits_for_company(sqlite: Database) -> None:
    writer = Writer(sqlite)
    writer.start()
    writer.put(row("rung"), important=False)
    for _ in range(20):
        await asyncio.sleep(0)
    assert writer.waiting == 1
    writer.put(row("record"))
    await until(lambda: writer.waiting == 0, what="both are written")
    writer.put(row("last"), important=False)
    await until(lambda: writer.waiting == 0, what="it goes alone in the end")
    assert await names(sqlite) == ["rung", "record", "last"]
    await writer.close()


async def test_while_the_database_is_away_writes_wait(sqlite: Database) -> None:
    pauses = Pauses()
    writer = Writer(sqlite, sleep=pauses.sleep)
    errors: list[Exception] = [sqlite3.OperationalError("database is locked")] * 8
    for write in (remember("first"), Flaky("second", errors), remember("third")):
        writer.put(write)
    with capture_logs() as lines:
        writer.start()
        await writer.flush()
    assert await names(sqlite) == ["first", "second", "third"]
    assert pauses.taken[:3] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert max(pauses.taken) == LONGEST_PAUSE
    assert {each["log_level"] for each in lines} == {"warning"}
    await writer.close()


async def test_a_write_that_is_refused_takes_no_other_with_it(sqlite: Database) -> None:
    writer = Writer(sqlite)
    for name in ("first", "first", "second"):
        writer.put(remember(name))
    with capture_logs() as lines:
        writer.start()
        await writer.flush()
    assert await names(sqlite) == ["first", "second"]
    assert [each["log_level"] for each in lines] == ["error"]
    await writer.close()


async def test_when_too_many_wait_the_unimportant_go_first(sqlite: Database) -> None:
    writer = Writer(sqlite, bound=2)
    with capture_logs() as lines:
        for number in range(4):
            writer.put(remember(f"minor {number}"), important=False)
        for number in range(4):
            writer.put(remember(f"major {number}"))
        writer.start()
        await writer.flush()
    assert await names(sqlite) == ["minor 0", "minor 1", "major 0", "major 1"]
    assert [each["event"] for each in lines] == [
        "too many writes wait for the database; dropping some",
        "the database answers again; some writes were dropped",
    ]
    assert lines[1]["n"] == 4
    await writer.close()


async def test_closing_writes_what_is_queued(sqlite: Database) -> None:
    writer = Writer(sqlite)
    writer.start()
    writer.put(remember("last"))
    await writer.close()
    assert await names(sqlite) == ["last"]


async def test_closing_does_not_wait_for_ever(sqlite: Database) -> None:
    never = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await never.wait()

    writer = Writer(sqlite, sleep=sleep)
    writer.put(Flaky("lost", [sqlite3.OperationalError("disk is full")]))
    with capture_logs() as lines:
        writer.start()
        await asyncio.sleep(0)
        await writer.close(patience=0.01)
    assert lines[-1]["writes"] == 1


async def test_closing_before_starting(sqlite: Database) -> None:
    await Writer(sqlite).close()
