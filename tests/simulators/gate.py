# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate on the bridge's way to the homeserver: closed, requests wait before it.

The homeserver's own way to the bridge stays open. So the bridge can be made to be still preparing
something when it hears of something else.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator

from tests.simulators.processes import free_port


class Gate:
    """A TCP proxy on loopback that can hold back what clients send."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.waiting = 0
        """How many connections have something that is held back."""
        self._target_port = target_port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where to send requests."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start to listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Close every connection."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Hold back what is sent meanwhile."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        self._spawn(self._pump(reader, requests, self._pass))
        self._spawn(self._pump(answers, writer, _at_once))

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        permission: Callable[[], Awaitable[None]],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await permission()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _pass(self) -> None:
        self.waiting += 1
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _at_once() -> None:
    """The way back is never closed."""
