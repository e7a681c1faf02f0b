# SPDX-License-Identifier: GPL-3.0-or-later
"""Where calls are played: a homeserver behind a gate, the bridge, people, an exchange."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp

from reliability.clock import OwnClock
from reliability.exchange import Exchange
from reliability.homeservers import Real, Server, Simulated
from reliability.people import Person
from reliability.sound import Metronome
from reliability.telephone import Telephone
from tests.simulators.bridge_process import BridgeProcess
from tests.simulators.gate import Gate
from tests.simulators.processes import free_port
from tests.simulators.synapse import SERVER_NAME
from tests.simulators.waiting import until

PBX: Final = "127.0.0.10"
TRUNK: Final = "pbx"
CHIEF: Final = "chief"
"""Who may see everything, and is told what is wrong."""
_PEOPLE: Final = 12
_TELEPHONES: Final = 24
"""Lines, each of which has one call at a time; a line calls always the same person."""
_BOT: Final = f"@sipbot:{SERVER_NAME}"

Kind = Literal["synapse", "simulated"]


class Place:
    """Everything that calls need."""

    def __init__(
        self,
        directory: Path,
        *,
        kind: Kind = "synapse",
        max_calls: int = 1000,
        ring_time: int = 60,
        own_clock: bool = False,
    ) -> None:
        """`own_clock`: the bridge has a wall clock that can be set."""
        self.directory = directory
        self.clock = OwnClock(directory) if own_clock else None
        self.data = directory / "data"
        """The folder of the bridge's database."""
        self.kind = kind
        self.ring_time = ring_time
        self.max_calls = max_calls
        environment = self.clock.environment if self.clock else None
        self.bridge = BridgeProcess(directory / "bridge", environment=environment)
        self._appservice = free_port()
        self.server: Server = (
            Real(directory, self.bridge)
            if kind == "synapse"
            else Simulated(self.bridge, f"http://127.0.0.1:{self._appservice}")
        )
        self.gate = Gate(self.server.port)
        self.sip_port = free_port(socket.SOCK_DGRAM)
        self.exchange = Exchange(
            PBX, free_port(socket.SOCK_DGRAM, PBX), f"127.0.0.1:{self.sip_port}"
        )
        self.metronome = Metronome()
        self.people: list[Person] = []
        self.chief: Person | None = None
        self._lines = list(range(_TELEPHONES))
        self._targets = itertools.cycle(range(_TELEPHONES, 100))
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Start everything; nobody has called yet."""
        self.data.mkdir(parents=True, exist_ok=True)
        await self.bridge.configure(self._settings())
        await asyncio.gather(self.gate.start(), self.exchange.start(), self.server.start())
        await self.bridge.start()
        self.metronome.start()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        for number in range(_PEOPLE):
            account = await self.server.account(f"person{number}")
            self.people.append(Person(account, self.metronome))
        if self.kind == "synapse":
            self.chief = Person(await self.server.account(CHIEF), self.metronome)
            await self.chief.account.room_with(_BOT)

    async def stop(self) -> None:
        """Stop everything; the bridge first, so that it can still say goodbye."""
        await self.bridge.stop()
        everybody = [*self.people, *([self.chief] if self.chief else [])]
        await asyncio.gather(*(person.stop() for person in everybody))
        await self.metronome.stop()
        await self.exchange.stop()
        await self.server.close()
        await self.gate.stop()
        if self._http:
            await self._http.close()

    # --- who calls whom -------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[int, int]]:
        """A person and a line that has no call."""
        await until(lambda: self._lines, within=120, what="a line is free")
        line = self._lines.pop(0)
        try:
            yield line % _PEOPLE, line
        finally:
            self._lines.append(line)

    def telephone(self, line: int, hertz: int) -> Telephone:
        """The telephone of a line, for one call."""
        return Telephone(self.exchange, self.metronome, PBX, number_of(line), hertz)

    def another_telephone(self, hertz: int) -> Telephone:
        """One that has no call, to which one can be transferred."""
        return self.telephone(next(self._targets), hertz)

    # --- what can be seen of the bridge ---------------------------------------------------------

    async def metrics(self) -> Mapping[str, float]:
        """What its metrics say, by name with labels."""
        assert self._http is not None
        async with self._http.get(f"{self.bridge.admin_page[0]}/metrics") as reply:
            return metrics_of(await reply.text())

    async def active(self) -> int:
        """How many calls the bridge believes in."""
        metrics = await self.metrics()
        return round(sum(v for name, v in metrics.items() if "_calls_active{" in name))

    async def workers(self) -> int:
        """How many processes carry audio."""
        return round((await self.metrics()).get("matrix_sip_media_workers", 0))

    async def ready(self) -> bool:
        """Whether it says that calls can be made."""
        assert self._http is not None
        async with self._http.get(f"{self.bridge.admin_page[0]}/health/ready") as reply:
            return reply.status == 200

    def _settings(self) -> dict[str, Any]:
        address = f"http://127.0.0.1:{self._appservice}"
        return {
            "homeserver": {"address": self.gate.url, "domain": SERVER_NAME},
            "appservice": {"address": address, "port": self._appservice},
            "database": {"url": f"sqlite:{self.data / 'matrix-sip.db'}"},
            "permissions": {SERVER_NAME: "call", f"@{CHIEF}:{SERVER_NAME}": "admin"},
            "encryption": {"mode": "off"},
            "sip": {
                "transports": [{"protocol": "udp", "listen": "127.0.0.1", "port": self.sip_port}],
                "max_calls": self.max_calls,
            },
            "trunks": {
                TRUNK: {
                    "server": self.exchange.here,
                    "peers": [f"{PBX}/32"],
                    "codecs": ["PCMU"],
                    "probe_interval": 5,
                    "calls_per_second": 100,
                }
            },
            "outbound": [{"prefix": "+1202555", "trunk": TRUNK}],
            "inbound": [
                {"number": persons_number(number), "person": f"@person{number}:{SERVER_NAME}"}
                for number in range(_PEOPLE)
            ],
            "limits": {
                "calls_per_person": 1000,
                "calls_per_minute": 1_000_000,
                "ring_time": self.ring_time,
            },
            "media": {"listen": "127.0.0.1", "workers": 2},
            "logging": {"format": "json", "full_numbers": True},
            "web": {"port": free_port()},
        }


def persons_number(person: int) -> str:
    """What a telephone dials to reach a person."""
    return f"+13035550{100 + person}"


def number_of(line: int) -> str:
    """The number of a telephone."""
    return f"+12025550{100 + line}"


def ghost_of(line: int) -> str:
    """The Matrix user that stands for a telephone."""
    return f"@sip_{number_of(line)[1:]}:{SERVER_NAME}"


def metrics_of(text: str) -> dict[str, float]:
    """Values by name with labels."""
    return dict(_values(text))


def _values(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            with contextlib.suppress(ValueError):
                yield name, float(value)
