# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening: migrations, what lasts, and errors that help."""

import asyncio
import stat
from datetime import datetime
from pathlib import Path

import pytest

from bridge.call.ids import Address
from bridge.errors import ConfigurationError, LocalError
from bridge.store.database import is_outdated, migrate, open_database, transaction, version
from bridge.store.portals import Portals
from bridge.store.schema import VERSION_TABLE, migrations
from bridge.store.versions import Schema
from tests.store.older import make_older

NUMBER = Address("tel:+12025550123")
NOW = datetime(2026, 3, 1, 10, 12, 40)


async def test_what_was_written_is_there_after_opening_again(url: str) -> None:
    async with open_database(url) as database:
        await Portals(database).save_ghost_name(NUMBER, "Ann")
        assert await version(database) == len(migrations.upgrades)
    async with open_database(url) as database:
        assert await Portals(database).ghost_name(NUMBER) == "Ann"
        assert await version(database) == len(migrations.upgrades)


async def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    async with open_database(url) as database:
        await database.execute(f"UPDATE {VERSION_TABLE} SET version=version+1")
    with pytest.raises(LocalError, match="newer version") as error:
        async with open_database(url):
            pass
    assert "backup" in error.value.remedy


async def test_an_older_database_is_refused_until_it_is_migrated(url: str) -> None:
    await make_older(url, 3)
    assert await is_outdated(url)
    with pytest.raises(LocalError, match="older version") as error:
        async with open_database(url):
            pass
    assert "matrix-sip upgrade" in error.value.remedy
    copy = await migrate(url, backed_up=True, now=NOW)
    assert (copy is not None) == url.startswith("sqlite:")
    assert not await is_outdated(url)
    async with open_database(url) as database:
        assert await version(database) == len(migrations.upgrades)
        assert await Portals(database).ghost_name(NUMBER) == "Ann"


async def test_postgresql_is_migrated_only_after_somebody_copied_it(url: str) -> None:
    await make_older(url, 3)
    if url.startswith("sqlite:"):
        assert await migrate(url, now=NOW)
        return
    with pytest.raises(LocalError, match="back up first") as error:
        await migrate(url, now=NOW)
    assert "pg_dump" in error.value.remedy
    assert await is_outdated(url)


async def test_what_others_keep_in_it_counts_too(url: str) -> None:
    theirs = Schema("others_version", 2)
    async with open_database(url) as database:
        await database.execute("CREATE TABLE others_version (version INTEGER)")
        await database.execute("INSERT INTO others_version VALUES (1)")
    assert await is_outdated(url, [theirs])
    # They migrate it when they use it; the copy is made before.
    copy = await migrate(url, [theirs], backed_up=True, now=NOW)
    assert (copy is not None) == url.startswith("sqlite:")
    with pytest.raises(LocalError, match="others_version is 1, and this program knows 0"):
        await migrate(url, [Schema("others_version", 0)], now=NOW)


async def test_a_new_database_is_nothing_to_migrate(url: str) -> None:
    assert not await is_outdated(url)
    assert await migrate(url, now=NOW) is None


@pytest.mark.parametrize("late", [False, True], ids=["while it begins", "in the midst"])
async def test_what_is_cancelled_holds_up_nobody(url: str, late: bool) -> None:
    async with open_database(url) as database:
        begun = asyncio.Event()

        async def write(name: str) -> None:
            begun.set()
            async with transaction(database) as connection:
                await connection.execute(
                    "INSERT INTO ghost (address, display_name) VALUES ($1, $2)", NUMBER, name
                )
                if name == "Ann":
                    begun.set()
                    await asyncio.Event().wait()

        given_up = asyncio.create_task(write("Ann"))
        await begun.wait()
        if late:
            begun.clear()
            await begun.wait()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        async with asyncio.timeout(3):  # Who finds SQLite locked waits for five seconds.
            await write("Bob")
        assert await Portals(database).ghost_name(NUMBER) == "Bob"


async def test_sqlite_writes_ahead(tmp_path: Path) -> None:
    async with open_database(f"sqlite:{tmp_path}/a.db") as database:
        assert await database.fetchval("PRAGMA journal_mode") == "wal"


def modes_in(directory: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()}


async def test_sqlite_files_are_for_nobody_else(tmp_path: Path) -> None:
    async with open_database(f"sqlite:{tmp_path}/a.db") as database:
        await Portals(database).save_ghost_name(NUMBER, "Ann")
        modes = modes_in(tmp_path)
    assert modes == dict.fromkeys(("a.db", "a.db-wal", "a.db-shm"), 0o600)


async def test_sqlite_names_the_file_that_it_cannot_open(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing/a\.db") as error:
        async with open_database(f"sqlite:{tmp_path}/missing/a.db"):
            pass
    assert "database.url" in error.value.remedy


async def test_sqlite_refuses_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("These are not the pages you are looking for. " * 40)
    with pytest.raises(ConfigurationError, match="not a database"):
        async with open_database(f"sqlite:{tmp_path}/a.db"):
            pass


async def test_postgresql_that_does_not_answer() -> None:
    with pytest.raises(ConfigurationError) as error:
        async with open_database("postgresql://user:hunter22@127.0.0.1:1/db"):
            pass
    assert "hunter22" not in str(error.value)
    assert "is the server running?" in error.value.remedy
