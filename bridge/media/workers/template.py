# SPDX-License-Identifier: GPL-3.0-or-later
"""The template's other end: what makes workers, and hears of their end (see `__main__.py`)."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import Final

import structlog

PATIENCE: Final = 5.0
"""Seconds that it gets to end."""

log = structlog.get_logger(__name__)


class Template:
    """Started when it is first needed, and again if it has died."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()

    async def copy(self, sock: socket.socket) -> None:
        """Have a new worker serve `sock`, which is closed here. Raises OSError."""
        with sock:
            async with self._starting:
                if self._control is None:
                    self._control = await self._start()
            socket.send_fds(self._control, [b"worker"], [sock.fileno()])

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "bridge.media.workers",
                    stdin=theirs.fileno(),
                    start_new_session=True,  # Nobody's Ctrl-C is meant for it.
                )
            except BaseException:
                ours.close()
                raise
        asyncio.get_running_loop().add_reader(ours.fileno(), self._readable, ours)
        return ours

    def _readable(self, control: socket.socket) -> None:
        try:
            message = control.recv(64)
        except OSError:
            message = b""
        if not message:
            self._let_go()
            return
        pid, status = map(int, message.split())
        if status:
            log.error("media worker died", pid=pid, status=_in_words(status))

    def _let_go(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control.fileno())
            control.close()

    async def close(self) -> None:
        """End the process; its workers end as their sockets are closed."""
        async with self._starting:
            self._let_go()
            process, self._process = self._process, None
        if process is None:
            return
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _in_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit status {os.waitstatus_to_exitcode(status)}"
