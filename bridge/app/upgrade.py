# SPDX-License-Identifier: GPL-3.0-or-later
"""From one version to the next: configuration and database, each copied aside before it changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mautrix.util.async_db import UpgradeTable

from bridge.app.files import write_private
from bridge.app.health import ask
from bridge.config import Config, outdated, parse
from bridge.config.changes import Changed, rewrite
from bridge.config.load import read_file
from bridge.errors import ConfigurationError, LocalError, RemoteError
from bridge.matrix.encryption import tables
from bridge.store.database import is_outdated, migrate
from bridge.store.versions import Schema


@dataclass(frozen=True, slots=True)
class FileUpgrade:
    """What became of a configuration file."""

    changed: list[Changed]
    copy: Path | None = None
    """What it was before."""


def upgrade_file(path: Path, environment: Mapping[str, str], now: datetime) -> FileUpgrade:
    """Write a file anew that has settings of an earlier version. Raises as `load`."""
    text = read_file(path)
    changed = outdated(text, str(path))
    if not changed:
        return FileUpgrade([])
    written = rewrite(text)

    def read(text: str) -> Config:
        return parse(text, environment, directory=path.absolute().parent, name=str(path))

    if read(written) != read(text):
        raise ConfigurationError(
            f"{path} cannot be written anew:\n" + "\n".join(map(str, changed)),
            remedy="Make these changes by hand; until then, it is understood as it is.",
        )
    return FileUpgrade(changed, write_private(path, written, now))


async def upgrade_database(
    config: Config, now: datetime, *, backed_up: bool = False
) -> tuple[bool, Path | None]:
    """Migrate an older database: whether that was wanted, and the copy that was made before.

    Raises LocalError where a bridge uses it, and as `migrate`.
    """
    url = config.database.url.get_secret_value()
    if not await is_outdated(url, _others()):
        return False, None
    if await _runs(config):
        raise LocalError(
            "A bridge runs with these settings, and its database would be migrated under it",
            remedy="Stop it first, and start it again afterwards.",
        )
    return True, await migrate(url, _others(), backed_up=backed_up, now=now)


async def prepare_database(config: Config, now: datetime) -> Path | None:
    """What a bridge that starts does; gives the copy of what was migrated. Raises as `migrate`."""
    return await migrate(config.database.url.get_secret_value(), _others(), now=now)


def _others() -> list[Schema]:
    """What is in the database besides the bridge's own tables, and migrated when it is used."""
    return [_schema(table) for table in tables.VERSIONED]


def _schema(table: UpgradeTable) -> Schema:
    return Schema(table.version_table_name, len(table.upgrades))


async def _runs(config: Config) -> bool:
    try:
        await ask(config.web)
    except RemoteError:
        return False
    return True
