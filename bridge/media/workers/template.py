# SPDX-License-Identifier: GPL-3.0-or-later
"""The template's other end: what makes workers, and hears of their end (see `__main__.py`)."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from typing import Final

import structlog

PATIENCE: Final = 5.0
"""Seconds that it gets to end."""

log = structlog.get_logger(__name__)


class Template:
    """Launched when it is first needed, or before that; and again if it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._heard: asyncio.AbstractEventLoop | None = None

    def launch(self) -> socket.socket:
        """Start to load what workers need, if that has not been done. Raises OSError."""
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "bridge.media.workers"],
                    stdin=theirs.fileno(),
                    start_new_session=True,  # Nobody's Ctrl-C is meant for it.
                )
            except OSError:
                ours.close()
                raise
        self._control = ours
        return ours

    def copy(self, sock: socket.socket) -> None:
        """Have a new worker serve `sock`, which is closed here. Raises OSError."""
        with sock:
            control = self.launch()
            if self._heard is None:
                self._heard = asyncio.get_running_loop()
                self._heard.add_reader(control.fileno(), self._readable, control)
            socket.send_fds(control, [b"worker"], [sock.fileno()])

    def _readable(self, control: socket.socket) -> None:
        try:
            message = control.recv(64)
        except OSError:
            message = b""
        if not message:
            self._bury()
            return
        pid, status = map(int, message.split())
        if status:
            log.error("media worker died", pid=pid, status=_in_words(status))

    def _let_go(self) -> None:
        control, self._control = self._control, None
        heard, self._heard = self._heard, None
        if control is not None:
            if heard is not None:
                heard.remove_reader(control.fileno())
            control.close()

    def _bury(self) -> None:
        """It has died, or is about to: its sockets are closed before it is gone."""
        self._let_go()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    async def close(self) -> None:
        """End the process; its workers end as their sockets are closed."""
        self._let_go()
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _in_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit status {os.waitstatus_to_exitcode(status)}"
