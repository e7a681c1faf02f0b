# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening the database: SQLite by default, PostgreSQL by URL."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from datetime import datetime
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
from mautrix.util.async_db import Connection, Database, DatabaseException
from yarl import URL

from bridge.errors import ConfigurationError, LocalError
from bridge.store.schema import VERSION_TABLE, migrations
from bridge.store.sqlite import SqlitePool
from bridge.store.versions import Schema, older, refuse_older, secure, sqlite_file, stored

TRANSIENT = (
    ConnectionError,
    TimeoutError,
    OSError,
    sqlite3.OperationalError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
)
"""Errors that go away by themselves: the server restarts, the file is locked, the disk is full."""

FAILURES = (*TRANSIENT, sqlite3.Error, asyncpg.PostgresError, DatabaseException)
"""Everything that the database may raise."""


SCHEMA = Schema(VERSION_TABLE, len(migrations.upgrades))
"""What this part keeps."""


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """The database at `url`, made if there is none. Raises `ConfigurationError` or `LocalError`.

    `url` is `sqlite:FILE` or `postgresql://…`. Another version is not touched: see `migrate`.
    """
    refuse_older(await _versions(url, [SCHEMA]))
    async with _opened(url) as database:
        yield database


async def migrate(
    url: str, others: Sequence[Schema] = (), *, backed_up: bool = False, now: datetime
) -> Path | None:
    """Bring an older database to this version, after it was copied aside; gives the copy.

    `others`: what else in it will be migrated, by whoever keeps it. Raises as `open_database`, and
    LocalError unless a database other than SQLite is `backed_up`.
    """
    versions = await _versions(url, [SCHEMA, *others])
    copy = await secure(url, versions, backed_up=backed_up, now=now)
    if 0 < versions.get(SCHEMA, 0) < SCHEMA.newest:
        async with _opened(url):
            pass
    return copy


async def is_outdated(url: str, others: Sequence[Schema] = ()) -> bool:
    """Whether `migrate` would do something. Raises LocalError for what a newer program has made."""
    return bool(older(await _versions(url, [SCHEMA, *others])))


async def is_there(url: str) -> bool:
    """Whether there is a database already. Raises as `open_database`."""
    return (await _versions(url, [SCHEMA])).get(SCHEMA, 0) > 0


async def _versions(url: str, schemas: Sequence[Schema]) -> dict[Schema, int]:
    try:
        return dict(await stored(url, schemas))
    except FAILURES as error:
        raise _explained(url, error) from error


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = connect(url)
    try:
        if isinstance(database, SqlitePool):
            await asyncio.to_thread(_try_file, database.url.path)
        await database.start()
    except FAILURES as error:
        await database.stop()
        raise _explained(url, error) from error
    except BaseException:
        await database.stop()
        raise
    try:
        yield database
    finally:
        await database.stop()


def connect(url: str) -> Database:
    """A database that is not started yet."""
    scheme, _, _ = url.partition(":")
    if scheme != "sqlite":
        return Database.create(
            url,
            upgrade_table=migrations,
            db_args={"min_size": 1, "max_size": 10, "timeout": 10, "command_timeout": 30},
        )
    return SqlitePool(
        URL.build(scheme="sqlite", path=str(sqlite_file(url))),
        upgrade_table=migrations,
        # Readers go on while one connection writes (WAL). Nested use needs more than one.
        db_args={"min_size": 4},
    )


@asynccontextmanager
async def transaction(database: Database) -> AsyncIterator[Connection]:
    """A connection on which everything is written, or nothing."""
    acquired: AbstractAsyncContextManager[Connection] = database.acquire()
    async with acquired as connection:
        begun: AbstractAsyncContextManager[None] = connection.transaction()  # type: ignore[assignment]
        async with begun:
            yield connection


async def version(database: Database) -> int:
    """The schema's version that the database has."""
    return int(await database.fetchval(f"SELECT version FROM {VERSION_TABLE}"))


def _try_file(path: str) -> None:
    """Raise what is wrong with the file: a pool that fails half-way leaves threads behind.

    A new one is its owner's alone.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _explained(url: str, error: Exception) -> ConfigurationError | LocalError:
    if url.startswith("sqlite:"):
        file = url.removeprefix("sqlite:")
        return ConfigurationError(
            f"The database {file} cannot be opened: {error}",
            remedy="database.url needs a file in a directory that the bridge may write to.",
        )
    return ConfigurationError(
        f"The PostgreSQL database cannot be opened: {error}",
        remedy="Look at database.url: host, database, user and password; is the server running?",
    )
