# SPDX-License-Identifier: GPL-3.0-or-later
"""Where calls are played: a homeserver, the bridge beside it, telephone lines, and people."""

import itertools
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulators.audio import Samples
from tests.simulators.baresip import Phone, Registrar
from tests.simulators.bridge_process import BridgeProcess
from tests.simulators.federation import Federated
from tests.simulators.processes import free_port
from tests.simulators.sipp import Sipp
from tests.simulators.synapse import SERVER_NAME, Credentials, Synapse

SIP_PORT = 5060


@dataclass(frozen=True, slots=True)
class Line:
    """A telephone line: a trunk of its own, with one telephone at its end."""

    name: str
    address: str
    number: str
    codecs: Sequence[str]
    port: int = SIP_PORT
    messages: bool = False
    """Whether texts go over it, too."""
    srtp: str = "off"
    transport: str = "udp"
    """With `tls`, the telephone is called at the port above, and calls from 127.0.0.1."""
    refers: bool = True
    """Whether the bridge may send REFER."""
    video: str = "off"

    @property
    def ghost(self) -> str:
        """The Matrix user that stands for the telephone."""
        return self.ghost_at(SERVER_NAME)

    def ghost_at(self, server_name: str) -> str:
        """The same, beside another homeserver."""
        return f"@sip_{self.number.removeprefix('+')}:{server_name}"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A user to be, and the number that rings them."""

    name: str
    number: str


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
        self,
        directory: Path,
        lines: Sequence[Line],
        subscribers: Sequence[Subscriber],
        *,
        ring_time: int = 60,
        logging: Mapping[str, Any] | None = None,
        federated: Federated | None = None,
        permissions: Mapping[str, str] | None = None,
        registrars: Sequence[str] = (),
        auto_join: bool = False,
        encryption: str = "allow",
        inbound: Sequence[Mapping[str, Any]] = (),
        certificate: tuple[Path, Path] | None = None,
        outbound: Sequence[Mapping[str, Any]] = (),
        trunks: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`registrars`: hosts that people may have SIP accounts of their own with. `inbound` and
        `outbound`: rules behind those for the subscribers and for the lines. `certificate`: chain
        and key, for lines by TLS. `trunks`: besides the lines."""
        self.directory = directory
        self.bridge = BridgeProcess(directory / "bridge")
        registrations = [self.bridge.registration]
        if auto_join:
            registrations.append(self.bridge.people_registration)
        self.synapse = Synapse(directory / "synapse", registrations, federated=federated)
        self.sip_port = free_port(socket.SOCK_DGRAM)
        self._lines = lines
        self._inbound = inbound
        self._outbound = outbound
        self._trunks = trunks or {}
        self._subscribers = subscribers
        self._ring_time = ring_time
        self._logging = logging or {}
        self._permissions = permissions or {}
        self._registrars = registrars
        self._auto_join = auto_join
        self._encryption = encryption
        self._certificate = certificate
        self.sips_port = free_port()
        self._next = iter(subscribers)
        self._phones = itertools.count()

    @property
    def homeserver_url(self) -> str:
        """Where the bridge reaches the homeserver."""
        return self.synapse.url

    async def start(self) -> None:
        """Start the homeserver, then the bridge."""
        await self.bridge.configure(self._settings())
        await self.synapse.start()
        await self.bridge.start()

    async def stop(self) -> None:
        """Stop both; the bridge first, so that it can still say goodbye."""
        await self.bridge.stop()
        await self.synapse.stop()

    async def person(self) -> Person:
        """The next subscriber, as a new user."""
        subscriber = next(self._next, None)
        assert subscriber is not None, "this stage has no more people"
        return Person(await self.synapse.register(subscriber.name), subscriber.number)

    def uri(self, person: Person) -> str:
        """What a telephone dials to reach a person."""
        return f"sip:{person.number}@127.0.0.1:{self.sip_port}"

    def phone(
        self,
        line: Line,
        *,
        says: "int | Samples | None" = 1000,
        answers: bool = True,
        name: str = "",
        encrypts: str = "",
        certificate: Path | None = None,
        registrar: Registrar | None = None,
    ) -> Phone:
        """A telephone at the end of a line."""
        return Phone(
            self._phone_directory(line),
            address=line.address,
            port=line.port,
            user=line.number,
            codecs=line.codecs,
            says=says,
            answers=answers,
            name=name,
            encrypts=encrypts,
            certificate=certificate,
            registrar=registrar,
        )

    def scripted_phone(self, line: Line, scenario: str, *, echo: bool = True) -> Sipp:
        """A party at the end of a line that is called and acts out a scenario.

        `echo`: it sends the audio back that it hears; else none.
        """
        directory = self._phone_directory(line)
        return Sipp(directory, scenario, address=line.address, port=line.port, echo=echo)

    def scripted_caller(self, line: Line, scenario: str, dials: str, *, caller: str = "") -> Sipp:
        """A party at the end of a line that calls a number by a scenario.

        `caller`: its own number, if it is not the line's.
        """
        return Sipp(
            self._phone_directory(line),
            scenario,
            address=line.address,
            port=line.port,
            calls=f"127.0.0.1:{self.sip_port}",
            caller=caller or line.number,
            dials=dials,
        )

    def _phone_directory(self, line: Line) -> Path:
        return self.directory / f"{line.name}-{next(self._phones)}"

    def _settings(self) -> dict[str, Any]:
        port = free_port()
        return {
            "homeserver": {"address": self.homeserver_url, "domain": self.synapse.name},
            "appservice": {"address": f"http://127.0.0.1:{port}", "port": port},
            "permissions": {self.synapse.name: "call", **self._permissions},
            "portals": {"auto_join": "as_token" if self._auto_join else "off"},
            "encryption": {"mode": self._encryption},
            "accounts": {"servers": [*self._registrars]},
            "sip": {"transports": [*self._listeners()]},
            "trunks": {
                line.name: {
                    "server": f"{line.address}:{line.port + (line.transport == 'tls')}",
                    "transport": line.transport,
                    "codecs": [*line.codecs],
                    "messages": line.messages,
                    "srtp": line.srtp,
                    "refer": line.refers,
                    "video": line.video,
                    "peers": ["127.0.0.1/32"] if line.transport == "tls" else [],
                }
                for line in self._lines
            }
            | {name: dict(trunk) for name, trunk in self._trunks.items()},
            "outbound": [{"prefix": line.number, "trunk": line.name} for line in self._lines]
            + [dict(rule) for rule in self._outbound],
            "inbound": [
                {"number": one.number, "person": f"@{one.name}:{self.synapse.name}"}
                for one in self._subscribers
            ]
            + [dict(rule) for rule in self._inbound],
            "limits": {"ring_time": self._ring_time},
            "media": {"listen": "127.0.0.1"},
            "voicemail": {"enabled": self._ring_time > 5, "delay": 5},
            "logging": {"full_numbers": True, **self._logging},
            "web": {"port": free_port()},
            "api": {"write_token": "what a program has to show"},
        }

    def _listeners(self) -> Iterator[dict[str, Any]]:
        yield {"protocol": "udp", "listen": "127.0.0.1", "port": self.sip_port}
        if self._certificate:
            chain, key = map(str, self._certificate)
            yield {
                "protocol": "tls",
                "listen": "127.0.0.1",
                "port": self.sips_port,
                "certificate": chain,
                "private_key": key,
                "verify": False,
            }
