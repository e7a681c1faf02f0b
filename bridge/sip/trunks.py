# SPDX-License-Identifier: GPL-3.0-or-later
"""Trunks as SIP sees them: the URIs to write, and which trunk a request comes from."""

import asyncio
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import quote

from bridge.call.ids import TrunkName
from bridge.config import Transport, Trunk
from bridge.sip.lookup import LONGEST, Found, Lookup, Reachable, Target, split_host_port
from bridge.sip.messages import Message, parse_name_addr, parse_uri

USER_SAFE = "-_.!~*'()&=+$,;?/"
DEFAULT_USER = "matrix-sip"


class RegistrationState(Enum):
    """Where a trunk's registration stands."""

    NOT_USED = "not_used"
    """The trunk is known by address."""
    ANSWERS = "answers"
    """So it is, and answers our OPTIONS."""
    SILENT = "silent"
    """It does not, or has no service (503)."""
    TRYING = "trying"
    REGISTERED = "registered"
    FAILED = "failed"
    """Refused or unanswered; tried again with growing pauses, for ever."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A trunk's registration. `status` and `reason` are those of the last final response."""

    state: RegistrationState
    status: int = 0
    reason: str = ""

    @property
    def usable(self) -> bool:
        """Whether the trunk can carry calls, as far as is known."""
        return self.state in _USABLE


_USABLE: Final = (
    RegistrationState.NOT_USED,
    RegistrationState.ANSWERS,
    RegistrationState.REGISTERED,
)


@dataclass(frozen=True, slots=True)
class Route:
    """A trunk with the URIs that follow from its settings."""

    name: TrunkName
    trunk: Trunk
    line: str = field(default_factory=lambda: secrets.token_hex(8))
    """Unguessable mark in our registered Contact: who sends it back was told by the registrar."""
    personal: bool = False
    """Somebody's own account: its server's address alone says nothing, since others use it too."""
    mailbox: bool = False
    """Whether to ask what waits in the account's mailbox."""

    def changed(self, trunk: Trunk, *, mailbox: bool) -> "Route":
        """The same with other settings; its mark is another one where it registers otherwise."""
        route = replace(self, trunk=trunk, mailbox=mailbox)
        return route if self.goes_on_as(route) else replace(route, line=secrets.token_hex(8))

    def goes_on_as(self, other: "Route") -> bool:
        """Whether a registration of this is one of `other`, too."""
        return self._registration == other._registration

    @property
    def _registration(self) -> tuple[object, ...]:
        if not self.trunk.register:
            return (False, self.trunk.probe_interval is None)
        way = (self.registrar, self.protocol, self.trunk.server, self.trunk.outbound_proxy)
        return (True, self.identity, *way, self.trunk.tls)

    @property
    def host(self) -> str:
        """The server without its port."""
        return split_host_port(self.trunk.server)[0]

    @property
    def domain(self) -> str:
        """Domain of our address at the trunk."""
        return self.trunk.domain or _bracketed(self.host)

    @property
    def user(self) -> str:
        """User part of our address at the trunk."""
        return quote(self.trunk.username or DEFAULT_USER, safe=USER_SAFE)

    @property
    def identity(self) -> str:
        """Our own address there."""
        return f"sip:{self.user}@{self.domain}"

    @property
    def registrar(self) -> str:
        """Where REGISTER goes."""
        return f"sip:{self.domain}{self._transport}"

    @property
    def next_hop(self) -> str:
        """Where everything is sent to: the first proxy, or the server, with its port."""
        return self.trunk.outbound_proxy[0] if self.trunk.outbound_proxy else self.trunk.server

    @property
    def protocol(self) -> Transport | None:
        """The transport that the settings name, if they do."""
        return None if self.trunk.transport == "auto" else self.trunk.transport

    @property
    def tls_name(self) -> str:
        """The name that the certificate has to be for, wherever SRV leads (RFC 5922 section 4)."""
        return self.trunk.tls.server_name or split_host_port(self.next_hop)[0]

    def hops(self, target: Target) -> tuple[str, ...]:
        """The route set of every request: where it is sent to, and the proxies that it names.

        The first one does not show in the message. It is an address, so that the stack need not
        look a name up; but TLS wants the name, to hold it against the certificate.
        """
        host = self.tls_name if target.protocol == "tls" else str(target.address)
        way = _transport(target.protocol)
        named = (f"<sip:{proxy}{way};lr>" for proxy in self.trunk.outbound_proxy)
        return f"<sip:{_bracketed(host)}:{target.port}{way};lr;hide>", *named

    def target(self, target: str) -> str:
        """The Request-URI for a number, or for a whole SIP URI."""
        scheme, colon, rest = target.partition(":")
        address = rest if colon and scheme.lower() in ("sip", "sips") else target
        if "@" in address:
            return f"sip:{address}" if ";" in address else f"sip:{address}{self._transport}"
        return f"sip:{quote(address, safe=USER_SAFE)}@{self._authority}{self._transport}"

    @property
    def _authority(self) -> str:
        return self.trunk.domain or self.trunk.server

    @property
    def _transport(self) -> str:
        return _transport(self.protocol)


class Peers:
    """Which trunk a request belongs to: by our registered Contact, else by its source address.

    Trunks come and go, and names are looked up, on the loop; the SIP thread asks.
    """

    def __init__(self, routes: Iterable[Route] = (), lookup: Lookup | None = None) -> None:
        self._lookup = lookup or Lookup()
        self._routes = {route.name: route for route in routes}
        self._addresses: dict[TrunkName, tuple[IPv4Address | IPv6Address, ...]] = {}
        self._targets: dict[TrunkName, tuple[Target, ...]] = {}
        self._registered: set[TrunkName] = set()
        self._retired: set[TrunkName] = set()
        self._near: frozenset[IPv4Address | IPv6Address] = frozenset()
        self._networks: tuple[IPv4Network | IPv6Network, ...] = ()
        self._look_around()

    def add(self, route: Route) -> None:
        """Know another trunk."""
        self._routes = {**self._routes, route.name: route}
        self._look_around()

    def change(self, route: Route, found: Found) -> None:
        """Know a trunk by other settings, and where its servers are then; it is used again."""
        same = self._routes[route.name].next_hop == route.next_hop
        self._routes = {**self._routes, route.name: route}
        self._retired.discard(route.name)
        if not same:
            self._targets.pop(route.name, None)
            self._addresses.pop(route.name, None)
        self._take(route.name, found)
        self._look_around()

    def retire(self, trunk: TrunkName) -> None:
        """Know a trunk for the sake of its calls alone."""
        self._retired.add(trunk)

    def is_retired(self, trunk: TrunkName) -> bool:
        """Whether the trunk is used no more."""
        return trunk in self._retired

    def remove(self, trunk: TrunkName) -> None:
        """Know a trunk no longer."""
        self._routes = {name: route for name, route in self._routes.items() if name != trunk}
        self._addresses.pop(trunk, None)
        self._targets.pop(trunk, None)
        self._registered.discard(trunk)
        self._retired.discard(trunk)
        self._look_around()

    def is_registered(self, trunk: TrunkName) -> bool:
        """Whether the trunk's registration stands, if it has one."""
        route = self._routes.get(trunk)
        return trunk in self._registered or (route is not None and not route.trunk.register)

    def registered(self, trunk: TrunkName, now: bool) -> None:
        """Whether the trunk's registration stands."""
        (self._registered.add if now else self._registered.discard)(trunk)

    def targets_of(self, trunk: TrunkName) -> tuple[Target, ...]:
        """The servers to send to, best first; none if no address is known."""
        return self._targets.get(trunk, ())

    async def resolve(
        self, reachable: Reachable, trunks: Collection[TrunkName] | None = None
    ) -> float:
        """Look the names of these trunks' servers up again, of all if None is given.

        Gives the seconds that this is good for. A trunk whose name has no address now keeps those
        that it had.
        """
        wanted = [r for r in self._routes.values() if trunks is None or r.name in trunks]
        answers = await asyncio.gather(*(self._resolve(route, reachable) for route in wanted))
        self._look_around()
        return min([LONGEST, *answers])

    def knows(self, host: str) -> bool:
        """Whether anything at an address may be a trunk's, or an account's."""
        address = address_in(host)
        return address is not None and (
            address in self._near or any(_within(address, each) for each in self._networks)
        )

    def route(self, trunk: TrunkName) -> Route | None:
        """The trunk as it is known; None if it is gone."""
        return self._routes.get(trunk)

    def calls_per_second(self, trunk: TrunkName) -> float:
        """How many calls the trunk may place; none if it is gone."""
        route = self._routes.get(trunk)
        return route.trunk.calls_per_second if route else 0.0

    def trunk_of(self, request: Message, source: str) -> TrunkName | None:
        """The trunk that sent `request` from `source` (`host:port`); None for a stranger."""
        uri = parse_uri(request.request_uri)
        line = uri.params.get("line")
        routes = self._routes.values()
        for route in routes:
            if route.trunk.register and line == route.line:
                return route.name
        address = address_in(source)
        known = [route for route in routes if self._sends_from(route, address)]
        users = {uri.user, parse_uri(parse_name_addr(request.first("to")).uri).user} - {""}
        named = [route for route in known if route.trunk.username in users]
        # Who may have an account says who its server is: that must not draw others' calls to it.
        order = (
            *(route for route in named if not route.personal),
            *(route for route in named if route.name in self._registered),
            *(route for route in known if not route.personal),
        )
        return next((route.name for route in order), None)

    async def _resolve(self, route: Route, reachable: Reachable) -> float:
        found = await self.find(route, reachable)
        if route.name in self._routes:
            self._take(route.name, found)
        return found.good_for

    async def find(self, route: Route, reachable: Reachable) -> Found:
        """Look up where a trunk's servers are."""
        host, port = split_host_port(route.next_hop)
        found = await self._lookup.targets(host, port, route.protocol, reachable)
        # Behind a proxy, the server may still call by itself.
        own, _ = await self._lookup.addresses(route.host) if route.trunk.outbound_proxy else ([], 0)
        return replace(found, addresses=tuple(dict.fromkeys((*found.addresses, *own))))

    def _take(self, trunk: TrunkName, found: Found) -> None:
        if found.targets:
            # Whoever hands addresses out in turn is not to move us about: the old ones first.
            before = self._targets.get(trunk, ())
            known = [(rank, _position(target, before), target) for rank, target in found.targets]
            ordered = sorted(known, key=lambda each: each[:2])
            self._targets[trunk] = tuple(target for *_, target in ordered)
        if found.addresses:
            self._addresses[trunk] = found.addresses

    def _look_around(self) -> None:
        """Note every address there is, so that a stranger's costs no more than a look."""
        self._near = frozenset(each for known in self._addresses.values() for each in known)
        routes = self._routes.values()
        self._networks = tuple({each for route in routes for each in route.trunk.peers})

    def owns(self, route: Route, host: str) -> bool:
        """Whether what is at `host` (of a URI) is the trunk's own."""
        if host in (route.host.lower(), route.domain.strip("[]").lower()):
            return True
        return self._sends_from(route, address_in(host))

    def _sends_from(self, route: Route, address: IPv4Address | IPv6Address | None) -> bool:
        if address is None:
            return False
        if address in self._addresses.get(route.name, ()):
            return True
        return any(_within(address, network) for network in route.trunk.peers)


def address_in(source: str) -> IPv4Address | IPv6Address | None:
    """The address in `host:port` or `host`; None if it is none."""
    try:
        address = ip_address(split_host_port(source)[0].partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=1024)
def network_of(host: str) -> str:
    """What one stranger can send from: an IPv4 address, or a /64 of IPv6."""
    address = address_in(host)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address) if isinstance(address, IPv4Address) else host


def _transport(protocol: Transport | None) -> str:
    """A URI's parameter."""
    return f";transport={protocol}" if protocol in ("tcp", "tls") else ""


def _position(target: Target, known: tuple[Target, ...]) -> int:
    return known.index(target) if target in known else len(known)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _within(address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network) -> bool:
    return address.version == network.version and address in network
