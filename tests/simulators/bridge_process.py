# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge as people run it: its own command line, in a process of its own."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.simulators.processes import Child
from tests.simulators.waiting import PATIENCE, until_async

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Record:
    """A call as the bridge's database keeps it."""

    call: str
    direction: str
    person: str
    address: str
    trunk: str
    started_at: float
    answered_at: float | None
    ended_at: float | None
    matrix_call_id: str | None
    cause: str | None
    status: int | None
    ended_by: str | None
    statistics: Mapping[str, Any]
    sip_call_id: str | None = None
    times: int = 1
    source: str = ""
    message_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """A line of a call's ladder."""

    at: float
    leg: str
    direction: str
    summary: str
    detail: str


class BridgeProcess:
    """The process, its files, and what can be seen of it from outside."""

    def __init__(self, directory: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """`environment`: more variables for the process that runs."""
        self.directory = directory
        self._environment = environment
        self.config = directory / "config.yaml"
        self.registration = directory / "registration.yaml"
        self.people_registration = directory / "people.yaml"
        """Written where the bridge is to join for people."""
        self.log = directory / "bridge.log"
        self._child: Child | None = None
        self.admin_page = ("", "")
        """Its address, and the token."""
        self.api_token = ""
        """What programs show that write; empty where there is no API."""
        self.homeserver_token = ""
        """By which the homeserver proves itself."""
        self._health = ""
        self.database = directory
        """The file of the SQLite database."""

    async def configure(self, settings: Mapping[str, Mapping[str, Any] | list[Any]]) -> None:
        """Generate configuration and registration with the bridge's own commands.

        `settings` are laid over what `generate-config` writes: sections merged key by key.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        generated = yaml.safe_load(await self._command("generate-config"))
        generated["shutdown"]["drain"] = 0  # Whoever plays with calls wants them ended.
        for section, values in settings.items():
            if isinstance(values, Mapping) and isinstance(generated.get(section), dict):
                generated[section].update(values)
            else:
                generated[section] = values
        self.config.write_text(yaml.safe_dump(generated, sort_keys=False))
        web = generated["web"]
        self.admin_page = (f"http://{web['listen']}:{web['port']}", web["token"])
        self.api_token = generated["api"]["write_token"]
        self.homeserver_token = generated["appservice"]["hs_token"]
        self._health = f"{self.admin_page[0]}/health/ready"
        self.database = self.directory / generated["database"]["url"].removeprefix("sqlite:")
        self.registration.write_text(
            await self._command("generate-registration", "--config", self.config)
        )
        if generated["portals"]["auto_join"] == "as_token":
            self.people_registration.write_text(
                await self._command("generate-registration", "--people", "--config", self.config)
            )

    async def check(self) -> str:
        """What its own `check` says, in one line, also where something failed.

        Something may: most telephones that the settings name are not there.
        """
        report = await self._command("check", "--config", self.config, statuses=(0, 1))
        return " ".join(report.split())

    async def start(self, *, within: float = 90.0) -> None:
        """Start it and wait until it says that both of its sides are ready."""
        child = self._child = await Child.start(
            "bridge",
            [sys.executable, "-m", "bridge", "run", "--config", self.config],
            log=self.log,
            cwd=_ROOT,
            env=self._environment,
        )

        async def ready() -> bool:
            child.check()
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http,
                    http.get(self._health) as reply,
                ):
                    return reply.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

        await until_async(ready, within=within, what="the bridge became ready", every=0.05)

    async def stop(self) -> None:
        """SIGTERM; it ends its calls first."""
        if self._child:
            await self._child.stop(grace=15)

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    async def gone(self) -> int:
        """Wait until it has ended by itself; its exit status."""
        assert self._child is not None
        return await self._child.wait(within=PATIENCE)

    async def health(self) -> tuple[int, Mapping[str, Any]]:
        """What it says of itself: the status, and the details."""
        async with aiohttp.ClientSession() as http, http.get(self._health) as reply:
            return reply.status, await reply.json()

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change its settings in the file."""
        settings = yaml.safe_load(self.config.read_text())
        change(settings)
        self.config.write_text(yaml.safe_dump(settings, sort_keys=False))

    async def reload(self) -> str:
        """What its own `reload` says; raises RuntimeError with what is wrong."""
        return await self._command("reload", "--config", self.config)

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._child:
            await self._child.kill()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return bool(self._child and self._child.running)

    @property
    def pid(self) -> int:
        """The number of the process, which must have been started."""
        assert self._child is not None
        return self._child.process.pid

    def output(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def calls(self, person: str) -> list[Record]:
        """Records of a person's calls, oldest first."""
        return self._records("WHERE person = ? ORDER BY started_at", person)

    def every_call(self) -> list[Record]:
        """Records of everybody's calls, oldest first."""
        return self._records("ORDER BY started_at")

    def ladder(self, call: str) -> list[Rung]:
        """What both sides of a call said, in order."""
        rows = self._query(
            "SELECT at, leg, direction, summary, detail FROM ladder WHERE call = ?"
            " ORDER BY at, line",
            call,
        )
        return [Rung(*row) for row in rows]

    def story(self, since: float) -> str:
        """Records and ladders of the calls since then (seconds since the epoch), for a person."""
        lines = []
        calls = self._query("SELECT call, started_at FROM call WHERE started_at >= ?", since)
        for call, started_at in calls:
            lines.append(f"call {call}")
            for rung in self.ladder(call):
                passed = (rung.at - started_at) * 1000
                lines.append(f"{passed:9.1f} ms {rung.leg:7}{rung.direction:4}{rung.summary}")
                lines += [f"{'':26}{line}" for line in rung.detail.splitlines()]
        return "\n".join(lines)

    async def ended(self, person: str, *, count: int = 1, within: float = PATIENCE) -> Record:
        """Wait for the `count`th call of a person to be over, on the record, and measured."""

        async def found() -> list[Record]:
            return [one for one in self.calls(person) if _is_complete(one)][count - 1 :]

        what = f"call {count} of {person} ended on the record"
        return (await until_async(found, within=within, what=what, every=0.05))[0]

    def _records(self, condition: str, *values: str) -> list[Record]:
        columns = tuple(Record.__dataclass_fields__)
        rows = self._query(f"SELECT {', '.join(columns)} FROM call {condition}", *values)
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        return [Record(**each | {"statistics": json.loads(each["statistics"])}) for each in found]

    def _query(self, statement: str, *values: str | float) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return database.execute(statement, values).fetchall()

    async def _command(self, *arguments: str | Path, statuses: Collection[int] = (0,)) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", *map(str, arguments)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=_ROOT,
        )
        out, errors = await process.communicate()
        if process.returncode not in statuses:
            raise RuntimeError(f"bridge {arguments[0]} failed:\n{errors.decode()}{out.decode()}")
        return out.decode()


def _is_complete(record: Record) -> bool:
    """What was measured comes after the end, unless a crash took it along."""
    measured = record.statistics or record.answered_at is None or record.cause == "shutdown"
    return record.ended_at is not None and bool(measured)
