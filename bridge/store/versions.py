# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of what a database holds: read, refused, and copied aside before they change."""

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import asyncpg  # type: ignore[import-untyped]

from bridge.errors import LocalError

_PATIENCE: Final = 10.0
_NO_TABLE: Final = "no such table"
SQLITE: Final = "sqlite:"


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables that change together: where their version is kept, and which one is the newest."""

    version_table: str
    newest: int


async def stored(url: str, schemas: Iterable[Schema]) -> Mapping[Schema, int]:
    """The versions that a database has; nothing of those that are not there. Nothing is changed.

    Raises what the database raises.
    """
    wanted = list(schemas)
    if url.startswith(SQLITE):
        return await asyncio.to_thread(_stored_in_file, sqlite_file(url), wanted)
    connection = await asyncpg.connect(url, timeout=_PATIENCE)
    try:
        found = {}
        for each in wanted:
            if await connection.fetchval("SELECT to_regclass($1)", each.version_table):
                version = await connection.fetchval(f"SELECT version FROM {each.version_table}")
                found[each] = int(version or 0)
        return found
    finally:
        await connection.close()


def _stored_in_file(file: Path, schemas: list[Schema]) -> Mapping[Schema, int]:
    if not file.exists():
        return {}
    found = {}
    with closing(sqlite3.connect(file)) as connection:
        for each in schemas:
            try:
                row = connection.execute(f"SELECT version FROM {each.version_table}").fetchone()
            except sqlite3.OperationalError as error:
                if _NO_TABLE not in str(error):
                    raise
            else:
                found[each] = int(row[0]) if row else 0
    return found


def older(versions: Mapping[Schema, int]) -> list[Schema]:
    """What is to be migrated. Raises LocalError for what a newer program has made."""
    for schema, version in versions.items():
        if version > schema.newest:
            raise LocalError(
                f"The database was made by a newer version: {schema.version_table} is {version}, "
                f"and this program knows {schema.newest}",
                remedy="Run that version, or restore a backup from before it ran.",
            )
    return [schema for schema, version in versions.items() if 0 < version < schema.newest]


def refuse_older(versions: Mapping[Schema, int]) -> None:
    """Raises LocalError for what has to be migrated first, or was made by a newer program."""
    for schema in older(versions):
        raise LocalError(
            f"The database was made by an older version: {schema.version_table} is "
            f"{versions[schema]}, and this program wants {schema.newest}",
            remedy="Run matrix-sip upgrade, or start the bridge, which does the same.",
        )


async def secure(
    url: str, versions: Mapping[Schema, int], *, backed_up: bool, now: datetime
) -> Path | None:
    """Copy an older database aside, before it is migrated. Gives the copy, None if none is needed.

    Other databases than SQLite have to be `backed_up` by their own tools. Raises LocalError.
    """
    outdated = older(versions)
    if not outdated:
        return None
    if url.startswith(SQLITE):
        mark = f"v{versions[outdated[0]]}-{now:%Y%m%dT%H%M%S}"
        return await asyncio.to_thread(_copy, sqlite_file(url), mark)
    if backed_up:
        return None
    raise LocalError(
        "The database has to be migrated, and PostgreSQL is for you to back up first",
        remedy="Run pg_dump, then: matrix-sip upgrade --backed-up",
    )


def _copy(file: Path, mark: str) -> Path:
    """A whole copy beside the file, also while somebody writes into it."""
    copy = file.with_name(f"{file.name}.{mark}")
    try:
        copy.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise _not_copied(copy, error) from error
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        copy.unlink()
        raise _not_copied(copy, error) from error
    return copy


def _not_copied(copy: Path, error: Exception) -> LocalError:
    return LocalError(
        f"The database cannot be copied to {copy}: {error}",
        remedy="It is copied before it is migrated: make room, or let the bridge write there.",
    )


def sqlite_file(url: str) -> Path:
    """The file of a `sqlite:` URL."""
    rest = url.removeprefix(SQLITE)
    # Two slashes would start a host; as many as there are, they start the path.
    return Path("/" + rest.lstrip("/") if rest.startswith("/") else rest).absolute()
