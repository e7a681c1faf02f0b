# SPDX-License-Identifier: GPL-3.0-or-later
"""A world of its own for every test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mautrix.util.async_db import Database

from bridge.store.database import open_database
from tests.matrix.encryption.world import World


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(f"sqlite:{tmp_path}/bridge.db") as opened:
        yield opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    made = await World(database).start()
    yield made
    await made.encryption.stop()
