# SPDX-License-Identifier: GPL-3.0-or-later
"""Every test of the store runs on SQLite and on a PostgreSQL server of its own."""

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest
from mautrix.util.async_db import Database

from bridge.store.database import open_database

_numbers = itertools.count()


def _programs() -> Path:
    """Where Debian keeps the server's programs; they are not in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is missing: apt-get install postgresql")
    return found[-1].parent


class PostgresServer:
    """A server with its own directory, reached by a Unix socket only."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(directory, self._user, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        programs = _programs()
        subprocess.run(
            [programs / "initdb", "-D", self._data, "-A", "trust", "-U", "tester", "-E", "UTF8"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            group=self._user,
            cwd=self._directory,
        )
        options = {"listen_addresses": "", "fsync": "off"}
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    programs / "postgres",
                    *("-D", self._data),
                    *(f"--{name}={value}" for name, value in options.items()),
                    f"--unix_socket_directories={self._directory}",
                ],
                stderr=log,
                user=self._user,
                group=self._user,
                cwd=self._directory,
            )
        self._wait(programs)

    def _wait(self, programs: Path) -> None:
        deadline = time.monotonic() + 20
        ready = [str(programs / "pg_isready"), "--quiet", "--host", str(self._directory)]
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > deadline:
                pytest.fail((self._directory / "log").read_text())
            time.sleep(0.05)

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def url(self, database: str) -> str:
        return f"postgresql:///{database}?host={self._directory}&user=tester"

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests."""
    # Not below pytest's own directory, which only this user may enter.
    with tempfile.TemporaryDirectory(prefix="matrix-sip-pg-") as directory:
        server = PostgresServer(Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/test.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    await server.execute(f"CREATE DATABASE {name} STRATEGY = file_copy")
    return server.url(name)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """An empty database with our tables."""
    async with open_database(url) as opened:
        yield opened
