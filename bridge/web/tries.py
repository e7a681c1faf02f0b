# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong tokens, counted for each client by itself: nobody can lock others out."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Final

_TRIES: Final = 5
"""Wrong tokens within a minute; after that, a client may not try."""
_MINUTE: Final = 60.0
_TRUSTED: Final = 12 * 3600.0
"""Seconds for which who has shown the token is not kept waiting for the wrong ones of others, who
may come from the same address: that of a reverse proxy."""
_MOST: Final = 1024
"""Clients remembered; of more, the one that was quiet for longest is forgotten."""


@dataclass(slots=True)
class _Client:
    wrong: deque[float] = field(default_factory=lambda: deque(maxlen=_TRIES))
    right: float | None = None


class Tries:
    """A client is an IPv4 address, or a /64 of IPv6. `wall` tells seconds since the epoch."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def closed_for(self, remote: str | None) -> float:
        """Seconds until a token may be tried from that address; 0.0: now."""
        client, now = self._clients.get(_client_of(remote)), self._wall()
        if client is None or len(client.wrong) < _TRIES:
            return 0.0
        if client.right is not None and now - client.right < _TRUSTED:
            return 0.0
        return max(0.0, client.wrong[0] + _MINUTE - now)

    def wrong(self, remote: str | None) -> bool:
        """One was wrong; whether that is worth a line in the log."""
        client, now = self._of(remote), self._wall()
        few = len(client.wrong) < _TRIES or client.wrong[0] + _MINUTE <= now
        client.wrong.append(now)
        return few

    def right(self, remote: str | None) -> None:
        """One was the token."""
        self._of(remote).right = self._wall()

    def _of(self, remote: str | None) -> _Client:
        name = _client_of(remote)
        client = self._clients.setdefault(name, _Client())
        self._clients.move_to_end(name)
        if len(self._clients) > _MOST:
            self._clients.popitem(last=False)
        return client


def _client_of(remote: str | None) -> str:
    try:
        address = ip_address((remote or "").partition("%")[0])
    except ValueError:
        return remote or ""
    address = getattr(address, "ipv4_mapped", None) or address
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
