# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage that the tests play on: ten telephone lines, and people enough for each test."""

import asyncio
from pathlib import Path
from typing import Any

from tests.simulators.baresip import Registrar
from tests.simulators.gate import Gate
from tests.simulators.kamailio import Kamailio, TlsPeer
from tests.simulators.stage import Line, Stage, Subscriber
from tests.simulators.synapse import SERVER_NAME
from tests.sip.certificates import Certificates

RING_TIME = 6
"""Seconds that calls may ring."""
PCMU = Line("pcmu", "127.0.0.10", "+12025550110", ("PCMU",), messages=True)
PCMA = Line("pcma", "127.0.0.11", "+12025550120", ("PCMA",))
G722 = Line("g722", "127.0.0.12", "+12025550130", ("G722",))
OPUS = Line("opus", "127.0.0.13", "+12025550140", ("opus",))
KEYED = Line("keyed", "127.0.0.15", "+12025550170", ("PCMU",), srtp="optional")
SECURE = Line("secure", "127.0.0.16", "+12025550180", ("PCMU",), srtp="required", transport="tls")
DESK = Line("desk", "127.0.0.17", "+12025550190", ("PCMU", "PCMA", "G722"))
"""One that has several codecs."""
PROXIED = Line("proxied", "127.0.0.18", "+12025550150", ("PCMU",))
"""Not a trunk itself: it registers with the proxy that one is registered with."""
PROXY = "127.0.0.19"
_PASSWORDS = {"gateway": "open-sesame", PROXIED.number: "battery-staple"}
LOBBY = Line("lobby", "127.0.0.31", "+12025550101", ("PCMU",), refers=False)
GUEST = Line("guest", "127.0.0.32", "+12025550102", ("G722",), refers=False)
"""Two that do not transfer calls: the bridge has to."""
DOOR = Line("door", "127.0.0.33", "+12025550103", ("PCMU",), video="relay")
"""One with a camera."""
REGISTRARS = tuple(
    Line(f"registrar{n}", f"127.0.0.{20 + n}", "+12025550160", ("PCMU",)) for n in range(10)
)
"""Not a trunk: where people have accounts of their own."""
CHIEF, BARRED = f"@chief:{SERVER_NAME}", f"@barred:{SERVER_NAME}"
_PEOPLE = 300
SPARED = "+13035550700"
"""By the first line, or else by the second, whose telephone has this number, too."""
REFERRED = "+13035550800"
"""The guest's, by its own line; the first line is told to transfer calls there."""
GROUP_NUMBER = "+13035550600"
GROUP = ("first", "second", "third")
"""Localparts of those whom a call to that number rings."""


def _number(person: int) -> str:
    """A number for stories: 555-0100 to 0199, in one area after the other."""
    area, last = divmod(person, 100)
    return f"+1{303 + area}55501{last:02}"


class GatedStage(Stage):
    """A stage on which the bridge's requests to the homeserver can be held back."""

    def __init__(self, directory: Path) -> None:
        files = Certificates.make(directory)
        self.certificate = directory / "phone.pem"
        """Chain and key for a telephone."""
        self.certificate.write_bytes(files.chain.read_bytes() + files.key.read_bytes())
        self.proxy = Kamailio(
            directory / "kamailio",
            address=PROXY,
            accounts=_PASSWORDS,
            challenge_calls=True,
            others="gateway",
            tls=TlsPeer(files.chain, files.key, clients=files.authority, client="localhost"),
        )
        """It knows one telephone, and sends all other numbers to the bridge."""
        super().__init__(
            directory,
            (PCMU, PCMA, G722, OPUS, KEYED, SECURE, DESK, LOBBY, GUEST, DOOR),
            [Subscriber(f"person{n}", _number(n)) for n in range(_PEOPLE)],
            ring_time=RING_TIME,
            permissions={CHIEF: "admin", BARRED: "blocked"},
            registrars=[line.address for line in REGISTRARS],
            inbound=[
                {
                    "number": GROUP_NUMBER,
                    "people": [f"@{name}:{SERVER_NAME}" for name in GROUP],
                },
                {"trunk": PCMU.name, "number": "named*", "localpart": True},
            ],
            outbound=[
                {
                    "prefix": SPARED,
                    "trunks": [PCMU.name, PCMA.name],
                    "strip": len(SPARED) - 1,
                    "prepend": PCMA.number,
                },
                {"prefix": PROXIED.number, "trunk": "proxy"},
                {
                    "prefix": REFERRED,
                    "trunks": [GUEST.name, PCMU.name],
                    "strip": len(REFERRED) - 1,
                    "prepend": GUEST.number,
                },
            ],
            trunks={"proxy": _by_proxy(self.proxy, files)},
            logging={"level": "debug", "format": "json"},
            certificate=(files.chain, files.key),
        )
        self.gate = Gate(self.synapse.port)
        self._registrars_left = iter(REGISTRARS)

    def registrar(self) -> Line:
        """One that no other test has: what an account's end says is repeated until answered."""
        return next(self._registrars_left)

    @property
    def homeserver_url(self) -> str:
        """The gate."""
        return self.gate.url

    async def start(self) -> None:
        """Start the gate and the proxy too."""
        await asyncio.gather(self.gate.start(), self.proxy.start())
        await super().start()

    async def stop(self) -> None:
        """Stop the gate and the proxy too."""
        await super().stop()
        await asyncio.gather(self.gate.stop(), self.proxy.stop())

    def proxied_registrar(self) -> Registrar:
        """Where the telephone registers that the proxy knows."""
        return Registrar(self.proxy.uri, self.proxy.domain, _PASSWORDS[PROXIED.number])


def _by_proxy(proxy: Kamailio, files: Certificates) -> dict[str, Any]:
    """A trunk as a cautious provider gives it: by TLS, with certificates on both sides."""
    return {
        "server": f"{PROXY}:{proxy.tls_port}",
        "domain": proxy.domain,
        "transport": "tls",
        "tls": {
            "server_name": "localhost",
            "ca_list": str(files.authority),
            "certificate": str(files.chain),
            "private_key": str(files.key),
            "verify": True,
        },
        "register": True,
        "username": "gateway",
        "password": _PASSWORDS["gateway"],
        "codecs": ["PCMU"],
        "srtp": "required",
    }
