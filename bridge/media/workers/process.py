# SPDX-License-Identifier: GPL-3.0-or-later
"""A media worker, inside: the embedded engine in a process that does nothing else."""

import asyncio
import contextlib
import os
import socket
from typing import Final

import structlog

from bridge import logs
from bridge.call.commands import MediaCommand
from bridge.call.events import Event, MediaEvent
from bridge.config import Logging, secrets_of
from bridge.errors import BridgeError
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.media.garbage import Pauses, freeze
from bridge.media.packets import PacketLoop
from bridge.media.workers.wire import Begin, Channel, Logs, Message, Ready, Report, Servers, Unable

log = structlog.get_logger(__name__)


PRECEDENCE: Final = 5
"""Steps of niceness before the main process, where the system lets us: packets cannot wait."""


def serve(sock: socket.socket) -> None:
    """Work for whoever holds the other end, until it is closed there."""
    with contextlib.suppress(OSError):
        os.nice(-PRECEDENCE)
    with asyncio.Runner(loop_factory=PacketLoop) as runner:
        runner.run(_Worker(sock).run())


class _Worker:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._over = asyncio.Event()
        self._pauses = Pauses()
        self._channel = Channel(self._take, self._over.set)
        self._engine: EmbeddedEngine | None = None
        self._secrets: list[str] = []

    async def run(self) -> None:
        """Until the other end says that it is enough, or is gone."""
        await self._channel.open(self._sock)
        await self._over.wait()
        if self._engine is not None:
            await self._engine.close()
        self._channel.close()
        await self._channel.closed.wait()

    def _take(self, message: Message) -> None:
        match message:
            case Begin():
                self._begin(message)
            case Logs(logging=logging):
                self._log_as(logging)
            case Servers(servers=servers) if self._engine is not None:
                self._engine.use_servers(servers)
            case MediaCommand() if self._engine is not None:
                self._engine.do(message)

    def _begin(self, begin: Begin) -> None:
        self._secrets = list(secrets_of(begin.media))
        self._log_as(begin.logging)
        structlog.contextvars.bind_contextvars(worker=begin.number)
        try:
            self._engine = EmbeddedEngine(begin.media, self._tell)
        except BridgeError as error:
            self._channel.send(Unable(message=str(error), remedy=error.remedy))
            return
        self._engine.use_servers(begin.servers)
        freeze()
        self._pauses.watch()
        self._channel.send(Ready(pid=os.getpid()))
        self._report(begin.report_every)

    def _log_as(self, settings: Logging) -> None:
        logs.configure(
            settings.level,
            settings.format,
            full_numbers=settings.full_numbers,
            secrets=self._secrets,
        )

    def _tell(self, event: Event) -> None:
        assert isinstance(event, MediaEvent)
        self._channel.send(event)

    def _report(self, every: float) -> None:
        self._channel.send(Report(longest_pause=self._pauses.longest))
        asyncio.get_running_loop().call_later(every, self._report, every)
