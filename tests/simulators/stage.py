# SPDX-License-Identifier: GPL-3.0-or-later
"""Where calls are played: a homeserver, the bridge beside it, telephone lines, and people."""

import itertools
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulators.baresip import Phone
from tests.simulators.bridge_process import BridgeProcess
from tests.simulators.gate import Gate
from tests.simulators.processes import free_port
from tests.simulators.sipp import Sipp
from tests.simulators.synapse import SERVER_NAME, Credentials, Synapse

RING_TIME = 6
"""Seconds that calls may ring on a stage."""
SIP_PORT = 5060
"""Port of the telephones, each of which has a loopback address of its own."""
_PEOPLE = 100


@dataclass(frozen=True, slots=True)
class Line:
    """A telephone line: a trunk of its own, with one telephone at its end."""

    name: str
    address: str
    number: str
    codecs: Sequence[str]

    @property
    def ghost(self) -> str:
        """The Matrix user that stands for the telephone."""
        return f"@sip_{self.number.removeprefix('+')}:{SERVER_NAME}"


PCMU = Line("pcmu", "127.0.0.10", "+12025550110", ("PCMU",))
PCMA = Line("pcma", "127.0.0.11", "+12025550120", ("PCMA",))
G722 = Line("g722", "127.0.0.12", "+12025550130", ("G722",))
OPUS = Line("opus", "127.0.0.13", "+12025550140", ("opus",))
LINES = (PCMU, PCMA, G722, OPUS)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in Matrix, and the number that rings them."""

    credentials: Credentials
    number: str

    @property
    def user_id(self) -> str:
        """Their Matrix id."""
        return self.credentials.user_id


class Stage:
    """The processes that a call needs, apart from those that call."""

    def __init__(
        self, directory: Path, lines: Sequence[Line] = LINES, ring_time: int = RING_TIME
    ) -> None:
        self.directory = directory
        self.bridge = BridgeProcess(directory / "bridge")
        self.synapse = Synapse(directory / "synapse", [self.bridge.registration])
        self.gate = Gate(self.synapse.port)
        self.sip_port = free_port(socket.SOCK_DGRAM)
        self._lines = lines
        self._ring_time = ring_time
        self._names = itertools.count()

    async def start(self) -> None:
        """Start the homeserver, then the bridge."""
        await self.bridge.configure(self._settings())
        await self.synapse.start()
        await self.gate.start()
        await self.bridge.start()

    async def stop(self) -> None:
        """Stop both; the bridge first, so that it can still say goodbye."""
        await self.bridge.stop()
        await self.gate.stop()
        await self.synapse.stop()

    async def person(self) -> Person:
        """A new user, whom the next free number rings."""
        number = next(self._names)
        credentials = await self.synapse.register(_localpart(number))
        return Person(credentials, _number(number))

    def uri(self, person: Person) -> str:
        """What a telephone dials to reach a person."""
        return f"sip:{person.number}@127.0.0.1:{self.sip_port}"

    def phone(
        self, line: Line, *, says: int | None = 1000, answers: bool = True, name: str = ""
    ) -> Phone:
        """A telephone at the end of a line."""
        directory = self.directory / f"phone-{line.name}-{next(self._names_of_directories)}"
        return Phone(
            directory,
            address=line.address,
            port=SIP_PORT,
            user=line.number,
            codecs=line.codecs,
            says=says,
            answers=answers,
            name=name,
        )

    def scripted_phone(self, line: Line, scenario: str) -> Sipp:
        """A party at the end of a line that is called and acts out a scenario."""
        directory = self.directory / f"sipp-{next(self._names_of_directories)}"
        return Sipp(directory, scenario, address=line.address, port=SIP_PORT)

    def scripted_caller(self, line: Line, scenario: str, dials: str) -> Sipp:
        """A party at the end of a line that calls a number by a scenario."""
        directory = self.directory / f"sipp-{next(self._names_of_directories)}"
        return Sipp(
            directory,
            scenario,
            address=line.address,
            port=SIP_PORT,
            calls=f"127.0.0.1:{self.sip_port}",
            caller=line.number,
            dials=dials,
        )

    _names_of_directories = itertools.count()

    def _settings(self) -> dict[str, Any]:
        port = free_port()
        return {
            "homeserver": {"address": self.gate.url, "domain": SERVER_NAME},
            "appservice": {"address": f"http://127.0.0.1:{port}", "port": port},
            "permissions": {SERVER_NAME: "call"},
            "sip": {
                "transports": [{"protocol": "udp", "listen": "127.0.0.1", "port": self.sip_port}]
            },
            "trunks": {
                line.name: {"server": f"{line.address}:{SIP_PORT}", "codecs": [*line.codecs]}
                for line in self._lines
            },
            "outbound": [{"prefix": line.number[:-1], "trunk": line.name} for line in self._lines],
            "inbound": [
                {"number": _number(n), "person": f"@{_localpart(n)}:{SERVER_NAME}"}
                for n in range(_PEOPLE)
            ],
            "limits": {"ring_time": self._ring_time},
            "media": {"listen": "127.0.0.1"},
            "logging": {"level": "debug", "full_numbers": True},
            "web": {"port": free_port()},
        }


def _localpart(number: int) -> str:
    return f"person{number}"


def _number(number: int) -> str:
    return f"+120255501{number:02}"
