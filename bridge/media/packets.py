# SPDX-License-Identifier: GPL-3.0-or-later
"""A loop for packets: what comes over media's sockets is handled where the kernel tells of it.

Elsewhere a packet costs a handle, a queue and a callback before anybody sees it, which is as much
as what is then done with it. Here it is one look into a dictionary. All else is asyncio as ever.
"""

import asyncio
import math
import select
import selectors
import socket
from collections.abc import Callable, Mapping
from contextvars import Context
from time import monotonic
from typing import Any, TypeVarTuple, Unpack

ROUND = 0.05
"""Seconds between rounds, see `until_round`."""

Arguments = TypeVarTuple("Arguments")
OnReadable = Callable[[float], None]
"""Called when a socket has something to read, with the present time (monotonic, seconds)."""


class PacketLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, whose wait for something to happen handles packets meanwhile."""

    def __init__(self) -> None:
        self._packets = _PacketSelector(self._failed)
        super().__init__(self._packets)

    def watch(self, sock: socket.socket, on_readable: OnReadable) -> None:
        """Call `on_readable` whenever there is something to read."""
        self._packets.watch(sock.fileno(), on_readable)

    def unwatch(self, sock: socket.socket) -> None:
        """Look there no longer. To be called before the socket is closed."""
        self._packets.unwatch(sock.fileno())

    def call_soon(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As ever; a wait that is under way ends."""
        self._packets.woken = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As ever; a wait that is under way is made shorter."""
        self._packets.woken = True
        return super().call_at(when, callback, *args, context=context)

    def _failed(self, error: Exception) -> None:
        self.call_exception_handler({"message": "handling a packet failed", "exception": error})


class _PacketSelector(selectors.BaseSelector):
    """asyncio's selector within an epoll of media's sockets: a selector is a file, too."""

    def __init__(self, on_failure: Callable[[Exception], None]) -> None:
        self.woken = False
        """Whether something has to be done beside packets."""
        self._on_failure = on_failure
        self._others = selectors.EpollSelector()
        self._epoll = select.epoll()
        self._epoll.register(self._others.fileno(), select.EPOLLIN)
        self._handlers: list[OnReadable | None] = [None] * (self._others.fileno() + 1)
        """By their sockets' numbers, which are as small as can be."""

    def watch(self, fd: int, on_readable: OnReadable) -> None:
        handlers = self._handlers
        handlers.extend([None] * (fd + 1 - len(handlers)))
        handlers[fd] = on_readable
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        self._handlers[fd] = None
        self._epoll.unregister(fd)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.woken = False
        poll, handlers = self._epoll.poll, self._handlers
        deadline = math.inf if timeout is None else monotonic() + timeout
        while True:
            ready = poll(timeout)
            now = monotonic()
            others = False
            for fd, _ in ready:
                on_readable = handlers[fd]
                if on_readable is None:
                    others = True
                    continue
                try:
                    on_readable(now)
                except Exception as error:
                    self._on_failure(error)
            if others:
                return self._others.select(0)
            if self.woken or now >= deadline:
                return []
            if timeout is not None:
                timeout = deadline - now

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._others.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._others.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._others.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._others.get_map()

    def close(self) -> None:
        self._epoll.close()
        self._others.close()


def watch(sock: socket.socket, on_readable: OnReadable) -> None:
    """Call `on_readable` whenever there is something to read, on the loop that runs."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, PacketLoop):
        loop.watch(sock, on_readable)
    else:
        loop.add_reader(sock.fileno(), lambda: on_readable(monotonic()))


def unwatch(sock: socket.socket) -> None:
    """Look there no longer. To be called before the socket is closed."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, PacketLoop):
        loop.unwatch(sock)
    else:
        loop.remove_reader(sock.fileno())


def until_round(delay: float) -> float:
    """Seconds until the round that is nearest to `delay` seconds from now.

    What every call does now and then is done in rounds: together it costs a fraction of what each
    would alone, for between packets a processor forgets how it is done.
    """
    now = monotonic()
    return round((now + delay) / ROUND) * ROUND - now
