# SPDX-License-Identifier: GPL-3.0-or-later
"""Strangers' TCP and TLS connections: so many, and for so long. SIP thread only.

A connection from elsewhere than a trunk's address has to bring a whole message soon, and is closed
when nothing more comes. One that proves to be a trunk's, by a call of ours or by what was
registered, stays.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.sip.strangers import Reason
from bridge.sip.trunks import network_of

FIRST: Final = 10.0
"""Seconds in which a stranger's connection has to bring a whole message."""
_NEXT: Final = 30.0
"""Seconds that one stays after each message."""
_EACH: Final = 10
"""Connections that a stranger may have at the same time."""
_ALL: Final = 200
"""The same of all strangers."""

Later = Callable[[float, Callable[[], None]], None]


@dataclass(slots=True)
class _Connection:
    host: str
    until: float
    heard: bool = False


class Connections:
    """A connection is named by the number that the stack has for it."""

    def __init__(
        self,
        *,
        knows: Callable[[str], bool],
        refused: Callable[[str, Reason], None],
        close: Callable[[int], None],
        call_later: Later,
        clock: Callable[[], float] = time.monotonic,
        first: float = FIRST,
    ) -> None:
        """`knows`: whether an address may be a trunk's. `refused` is told who is sent away."""
        self._knows = knows
        self._refused = refused
        self._close = close
        self._call_later = call_later
        self._clock = clock
        self._first = first
        self._strangers: dict[int, _Connection] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._strangers)

    def opened(self, number: int, host: str) -> None:
        """Somebody has connected from an address."""
        self.closed(number)
        if self._knows(host):
            return
        network = network_of(host)
        if self._counts[network] >= _EACH or len(self._strangers) >= _ALL:
            self._refused(host, Reason.CONNECTIONS)
            self._close(number)
            return
        self._counts[network] += 1
        connection = _Connection(host, self._clock() + self._first)
        self._strangers[number] = connection
        self._watch(number, connection)

    def heard(self, number: int) -> None:
        """A whole message came from a stranger."""
        if connection := self._strangers.get(number):
            connection.heard = True
            connection.until = self._clock() + _NEXT

    def closed(self, number: int) -> None:
        """A connection is over, or it is a trunk's."""
        if connection := self._strangers.pop(number, None):
            network = network_of(connection.host)
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]

    def _watch(self, number: int, connection: _Connection) -> None:
        self._call_later(
            max(0.0, connection.until - self._clock()), lambda: self._look(number, connection)
        )

    def _look(self, number: int, connection: _Connection) -> None:
        if self._strangers.get(number) is not connection:
            return
        if self._knows(connection.host):
            self.closed(number)
        elif self._clock() < connection.until:
            self._watch(number, connection)
        else:
            self.closed(number)
            if not connection.heard:
                self._refused(connection.host, Reason.IDLE)
            self._close(number)
