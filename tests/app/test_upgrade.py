# SPDX-License-Identifier: GPL-3.0-or-later
"""From one version to the next: what is migrated, what is copied first, and what is refused."""

import sqlite3
import stat
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner, Result

from bridge.app.cli import commands
from bridge.app.upgrade import prepare_database, upgrade_database
from bridge.config import Config, load
from bridge.errors import LocalError
from bridge.store.database import open_database, version
from bridge.store.schema import VERSION_TABLE, migrations
from tests.simulators.processes import free_port
from tests.store.older import make_older

NOW = datetime(2026, 3, 1, 10, 12, 40)
OLD_RULE = "  # to everywhere\n  - {trunk: provider, keep_plus: false}\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with a rule of the first version."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(
        "appservice: {as_token: ours, hs_token: theirs}\n"
        f"web: {{port: {free_port()}}}\n"
        "database: {secret_key: what nobody could ever guess}\n"
        "trunks: {provider: {server: sip.example.com}}\n"
        f"outbound:\n{OLD_RULE}"
    )
    path.chmod(0o640)
    return path


def upgrade(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["upgrade", *arguments])


async def database_of_version(path: Path, number: int) -> None:
    """What a program that knew so many migrations left behind, with a ghost in it."""
    await make_older(f"sqlite:{path}", number)


def stored_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT version FROM {VERSION_TABLE}").fetchone()[0])


def config_of(file: Path) -> Config:
    return load(file, {})


def test_a_configuration_is_written_anew_and_copied_before(file: Path) -> None:
    before, meant = file.read_text(), config_of(file)
    result = upgrade()
    assert result.exit_code == 0, result.output
    assert "outbound[0].keep_plus: is now format" in result.output
    assert "# to everywhere" in file.read_text()
    assert yaml.safe_load(file.read_text())["outbound"] == [
        {"trunk": "provider", "format": "plain"}
    ]
    assert config_of(file) == meant
    (copy,) = file.parent.glob("config.yaml.*")
    assert copy.read_text() == before
    for each in (file, copy):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600

    again = upgrade()
    assert "up to date" in again.output
    assert [*file.parent.glob("config.yaml.*")] == [copy]


async def test_a_database_is_copied_then_migrated(file: Path) -> None:
    database = file.parent / "matrix-sip.db"
    await database_of_version(database, 3)
    config = config_of(file)
    done, copy = await upgrade_database(config, NOW)
    assert done
    assert copy == file.parent / "matrix-sip.db.v3-20260301T101240"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert (stored_version(copy), stored_version(database)) == (3, len(migrations.upgrades))
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT display_name FROM ghost").fetchone() == ("Ann",)
    assert await upgrade_database(config, NOW) == (False, None)


async def test_a_copy_that_is_put_back_can_be_used_by_the_version_before(file: Path) -> None:
    """As docs/how-to/upgrade.md says."""
    database = file.parent / "matrix-sip.db"
    await database_of_version(database, 3)
    _, copy = await upgrade_database(config_of(file), NOW)
    assert copy
    for each in file.parent.glob("matrix-sip.db-*"):
        each.unlink()
    copy.replace(database)
    assert stored_version(database) == 3
    await upgrade_database(config_of(file), NOW)
    async with open_database(f"sqlite:{database}") as opened:
        assert await version(opened) == len(migrations.upgrades)


async def test_a_bridge_that_starts_does_the_same(file: Path) -> None:
    await database_of_version(file.parent / "matrix-sip.db", 3)
    copy = await prepare_database(config_of(file), NOW)
    assert copy
    assert stored_version(copy) == 3
    assert await prepare_database(config_of(file), NOW) is None


async def test_what_only_looks_does_not_migrate(file: Path) -> None:
    database = file.parent / "matrix-sip.db"
    await database_of_version(database, 3)
    with pytest.raises(LocalError, match="older version") as error:
        async with open_database(f"sqlite:{database}"):
            pass
    assert "matrix-sip upgrade" in error.value.remedy
    assert stored_version(database) == 3


async def test_nothing_is_migrated_under_a_bridge_that_runs(file: Path) -> None:
    await database_of_version(file.parent / "matrix-sip.db", 3)

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    application = web.Application()
    application.router.add_get("/health", health)
    async with TestServer(application, port=config_of(file).web.port):
        with pytest.raises(LocalError, match="A bridge runs"):
            await upgrade_database(config_of(file), NOW)
    assert stored_version(file.parent / "matrix-sip.db") == 3


async def test_without_room_for_a_copy_nothing_is_migrated(file: Path) -> None:
    database = file.parent / "matrix-sip.db"
    await database_of_version(database, 3)
    (file.parent / "matrix-sip.db.v3-20260301T101240").touch()
    with pytest.raises(LocalError, match="cannot be copied"):
        await upgrade_database(config_of(file), NOW)
    assert stored_version(database) == 3
