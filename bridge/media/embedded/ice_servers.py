# SPDX-License-Identifier: GPL-3.0-or-later
"""STUN and TURN servers: those of the settings, and those that the homeserver names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiortc.rtcicetransport import parse_stun_turn_uri

from bridge.config import TurnServer
from bridge.errors import ConfigurationError
from bridge.records import IceServer

REST = 60.0
"""Seconds for which a server is left alone that was of no use."""

Address = tuple[str, int]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is asked: by one transport it may answer that is deaf by another."""

    server: Address
    transport: str = "udp"
    tls: bool = False

    def __str__(self) -> str:
        how = "TLS" if self.tls else self.transport.upper()
        return f"{self.server[0]}:{self.server[1]} by {how}"


@dataclass(frozen=True, slots=True)
class IceServers:
    """STUN and TURN servers, taken apart."""

    stun: tuple[Address, ...] = ()
    turn: tuple[dict[str, Any], ...] = ()
    """Each as aioice wants it."""
    _resting: dict[Way, float] = field(default_factory=dict)

    def answers(self, way: Way, now: float) -> bool:
        """Whether it is worth asking; `now` in seconds of any clock."""
        return self._resting.get(way, now) <= now

    def rest(self, problems: Mapping[Way, str], now: float) -> None:
        """These have led to nothing, and why."""
        for way, problem in problems.items():
            log.warning("STUN or TURN server is of no use", server=str(way), problem=problem)
            self._resting[way] = now + REST

    def with_others(self, others: "IceServers") -> "IceServers":
        """These, and those of the others that are not among them."""
        stun = dict.fromkeys((*self.stun, *others.stun))
        turn = {way_to(server): server for server in (*others.turn, *self.turn)}
        return IceServers(tuple(stun), tuple(turn.values()), self._resting)


def way_to(server: dict[str, Any]) -> Way:
    """How a TURN server is asked."""
    return Way(server["turn_server"], server["turn_transport"], server["turn_ssl"])


def configured(servers: Sequence[TurnServer]) -> IceServers:
    """Take the servers of the settings apart. Raises ConfigurationError."""
    stun: list[Address] = []
    turn: list[dict[str, Any]] = []
    for server in servers:
        try:
            _take(server.url, server.username, server.password.get_secret_value(), stun, turn)
        except ValueError as error:
            raise ConfigurationError(
                f"media.ice_servers: {server.url!r} is not a STUN or TURN URI ({error})",
                remedy="Write stun:host:port, turn:host:port?transport=udp or turns:host:port.",
            ) from error
    return IceServers(tuple(stun), tuple(turn))


def named(servers: Sequence[IceServer]) -> IceServers:
    """Take others apart; those that cannot be understood are left out."""
    stun: list[Address] = []
    turn: list[dict[str, Any]] = []
    for server in servers:
        try:
            _take(server.url, server.username, server.password, stun, turn)
        except ValueError as error:
            log.warning("not a STUN or TURN URI", url=server.url, error=str(error))
    return IceServers(tuple(stun), tuple(turn))


def _take(
    url: str, username: str, password: str, stun: list[Address], turn: list[dict[str, Any]]
) -> None:
    """Raises ValueError."""
    uri = parse_stun_turn_uri(url)
    if uri["scheme"] in {"stun", "stuns"}:
        stun.append((uri["host"], uri["port"]))
        return
    turn.append(
        {
            "turn_server": (uri["host"], uri["port"]),
            "turn_username": username,
            "turn_password": password,
            "turn_ssl": uri["scheme"] == "turns",
            "turn_transport": "tcp" if uri["scheme"] == "turns" else uri["transport"],
        }
    )
