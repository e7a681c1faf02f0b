# SPDX-License-Identifier: GPL-3.0-or-later
"""A bad network between two UDP ports, the same every time: it follows a script, not chance."""

import asyncio
import socket
from collections.abc import Callable, Sequence

Script = Callable[[int], Sequence[int]]
"""For the number of a packet (from 0): after how many later packets each of its copies leaves.

`(0,)` passes it on at once, `()` loses it, `(0, 0)` doubles it, `(2,)` holds it back until the
second packet after it has passed.
"""


def lose(*numbers: int) -> Script:
    """Lose these packets."""
    return lambda number: () if number in numbers else (0,)


def lose_every(nth: int) -> Script:
    """Lose every nth packet."""
    return lambda number: () if number % nth == nth - 1 else (0,)


def swap_every(nth: int) -> Script:
    """Let every nth packet be overtaken by the next."""
    return lambda number: (1,) if number % nth == nth - 1 else (0,)


def double_every(nth: int) -> Script:
    """Deliver every nth packet twice."""
    return lambda number: (0, 0) if number % nth == nth - 1 else (0,)


def pass_all(_: int) -> Sequence[int]:
    """A good network."""
    return (0,)


class UdpProxy:
    """Forwards what arrives at `address` to `target`, and answers from there back.

    The script applies on the way to the target; the way back is good.
    """

    def __init__(
        self,
        target: tuple[str, int],
        script: Script = pass_all,
        *,
        delay: float = 0.0,
        host: str = "127.0.0.1",
    ) -> None:
        self._target = target
        self._script = script
        self._delay = delay
        self._front = self._socket(host)
        self._back = self._socket(host)
        self._client: tuple[str, int] | None = None
        self._number = 0
        self._held: list[tuple[int, bytes]] = []
        self.address: tuple[str, int] = self._front.getsockname()
        self.outside: tuple[str, int] = self._back.getsockname()
        """The address that the target sees."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._front, self._forward)
        loop.add_reader(self._back, self._return)

    @staticmethod
    def _socket(host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((host, 0))
        return sock

    def _forward(self) -> None:
        data, self._client = self._front.recvfrom(2048)
        for wait in self._script(self._number):
            if wait:
                self._held.append((self._number + wait, data))
            else:
                self._send(data)
        for due, held in list(self._held):
            if due <= self._number:
                self._held.remove((due, held))
                self._send(held)
        self._number += 1

    def _send(self, data: bytes) -> None:
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._deliver, data)
        else:
            self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        if self._back.fileno() >= 0:
            self._back.sendto(data, self._target)

    def _return(self) -> None:
        data, _ = self._back.recvfrom(2048)
        if self._client is not None:
            self._front.sendto(data, self._client)

    def close(self) -> None:
        """Free the ports."""
        loop = asyncio.get_running_loop()
        for sock in (self._front, self._back):
            loop.remove_reader(sock)
            sock.close()
