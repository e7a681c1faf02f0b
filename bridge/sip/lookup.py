# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server is (RFC 3263): NAPTR, SRV and addresses, looked up on the loop."""

import asyncio
import random
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from bridge.config import Transport

IpAddress = IPv4Address | IPv6Address
Reachable = Mapping[Transport, Collection[int]]
"""The versions of IP that there are listeners of, for each protocol."""

LONGEST: Final = 300.0
"""Seconds after which everything is looked up again, whatever the records say."""
SHORTEST: Final = 10.0
"""Seconds that an answer is good for at least."""
_PATIENCE: Final = 3.0
"""Seconds that name servers get for an answer."""
_SERVICES: Final[Mapping[str, Transport]] = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_PREFIXES: Final[Mapping[Transport, str]] = {
    "udp": "_sip._udp.",
    "tcp": "_sip._tcp.",
    "tls": "_sips._tcp.",
}
_PORTS: Final[Mapping[Transport, int]] = {"udp": 5060, "tcp": 5060, "tls": 5061}


@dataclass(frozen=True, slots=True)
class Target:
    """A server to send to."""

    address: IpAddress
    port: int
    protocol: Transport

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.protocol} {host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Found:
    """Targets, best first, each with its rank: within one they are as good as each other.

    `addresses`: those of the targets, and those that there is no listener for. `good_for`: seconds
    until all should be looked up again.
    """

    targets: tuple[tuple[int, Target], ...]
    addresses: tuple[IpAddress, ...]
    good_for: float


@dataclass(frozen=True, slots=True)
class _Service:
    """A name whose addresses are servers."""

    host: str
    port: int
    protocol: Transport
    rank: int


class Lookup:
    """Asks name servers.

    `nameservers`: `address` or `address:port`; none: the system's. With none, names' addresses are
    the system's to find, as /etc/hosts and its kind count, too. `chance`: gives 0.0 to 1.0.
    """

    def __init__(
        self, nameservers: Sequence[str] = (), chance: Callable[[], float] = random.random
    ) -> None:
        self._nameservers = tuple(nameservers)
        self._chance = chance
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def targets(
        self, host: str, port: int | None, protocol: Transport | None, reachable: Reachable
    ) -> Found:
        """The servers that `host` stands for, as far as there are listeners for them.

        Without a `protocol`, the records of the domain say which. Nothing raises: what is not found
        is not there.
        """
        services, good_for = await self._services(host, port, protocol, reachable)
        hosts = list(dict.fromkeys(service.host for service in services))
        answers = await asyncio.gather(*map(self.addresses, hosts))
        found = dict(zip(hosts, answers, strict=True))
        targets = [
            (service.rank, Target(address, service.port, service.protocol))
            for service in services
            for address in found[service.host][0]
            if address.version in reachable.get(service.protocol, ())
        ]
        good_for = min([good_for, *(seconds for _, seconds in answers)])
        every = dict.fromkeys(address for addresses, _ in answers for address in addresses)
        return Found(tuple(dict.fromkeys(targets)), tuple(every), max(good_for, SHORTEST))

    async def addresses(self, host: str) -> tuple[list[IpAddress], float]:
        """The host's addresses, and the seconds that they are good for."""
        if literal := _literal(host):
            return [literal], LONGEST
        if not self._nameservers:
            return await _system_addresses(host), LONGEST
        answers = await asyncio.gather(self._ask(host, "A"), self._ask(host, "AAAA"))
        found = [ip_address(record.to_text()) for answer in answers if answer for record in answer]
        return found, _good_for(answers)

    async def services(self, name: str) -> list[tuple[str, int]]:
        """Host and port of the SRV records of a whole name (RFC 2782), best first."""
        answer = await self._ask(name, "SRV")
        return [(host, port) for _, host, port in self._ordered(answer)] if answer else []

    # --- inside -----------------------------------------------------------------------------

    async def _services(
        self, host: str, port: int | None, protocol: Transport | None, reachable: Reachable
    ) -> tuple[list[_Service], float]:
        if port or _literal(host):
            known = protocol or "udp"
            return [_Service(host, port or _PORTS[known], known, 0)], LONGEST
        wanted = [protocol] if protocol else [each for each in _PREFIXES if each in reachable]
        pointers, good_for = ([], LONGEST) if protocol else await self._pointers(host, wanted)
        pointers = pointers or [(each, _PREFIXES[each] + host) for each in wanted]
        answers = await asyncio.gather(*(self._ask(name, "SRV") for _, name in pointers))
        services: list[_Service] = []
        for turn, ((known, _), answer) in enumerate(zip(pointers, answers, strict=True)):
            for priority, name, number in self._ordered(answer) if answer else ():
                services.append(_Service(name, number, known, turn * 65536 + priority))
        if not services:
            known = protocol or "udp"
            services = [_Service(host, _PORTS[known], known, 0)]
        return services, min(good_for, _good_for(answers))

    async def _pointers(
        self, host: str, wanted: Collection[Transport]
    ) -> tuple[list[tuple[Transport, str]], float]:
        """What the NAPTR records of a domain point to (RFC 3263 section 4.1)."""
        answer = await self._ask(host, "NAPTR")
        records = [record for record in answer or () if isinstance(record, NAPTR)]
        found: list[tuple[Transport, str]] = []
        for record in sorted(records, key=lambda each: (each.order, each.preference)):
            protocol = _SERVICES.get(record.service.decode(errors="replace").upper())
            if protocol and protocol in wanted and record.flags.lower() == b"s":
                found.append((protocol, record.replacement.to_text(omit_final_dot=True)))
        return found, _good_for([answer])

    def _ordered(self, answer: dns.resolver.Answer) -> list[tuple[int, str, int]]:
        """Priority, host and port; by chance within a priority, as the weights want it."""
        records = [record for record in answer if isinstance(record, SRV)]
        if [record.target.to_text() for record in records] == ["."]:
            return []  # "decidedly not available at this domain"
        # Drawing by weight without putting back: the largest chance to the power of 1/weight.
        drawn = sorted(
            records,
            key=lambda each: (each.priority, -(self._chance() ** (1 / (each.weight or 0.01)))),
        )
        return [
            (each.priority, each.target.to_text(omit_final_dot=True), each.port) for each in drawn
        ]

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer | None:
        try:
            resolver = self._resolver = self._resolver or _resolver(self._nameservers)
            return await resolver.resolve(name, kind, search=False)
        except (dns.exception.DNSException, OSError):
            return None


def _resolver(nameservers: Sequence[str]) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=not nameservers)
    resolver.lifetime = _PATIENCE
    resolver.timeout = _PATIENCE / 2
    if nameservers:
        servers = [split_host_port(each) for each in nameservers]
        resolver.nameservers = [host for host, _ in servers]
        resolver.nameserver_ports = {host: port or 53 for host, port in servers}
    return resolver


def _good_for(answers: Iterable[dns.resolver.Answer | None]) -> float:
    """Seconds; what could not be found may be there soon."""
    seconds = [float(answer.rrset.ttl) for answer in answers if answer and answer.rrset]
    return min([LONGEST, *seconds])


def _literal(host: str) -> IpAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


async def _system_addresses(host: str) -> list[IpAddress]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def split_host_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, None
    host, _, port = text.rpartition(":") if _has_port(text) else (text, "", "")
    return host.strip("[]"), int(port) if port else None


def _has_port(text: str) -> bool:
    return text.rpartition(":")[2].isdecimal() and ":" in text
