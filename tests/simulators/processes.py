# SPDX-License-Identifier: GPL-3.0-or-later
"""Child processes that never outlive the program that started them."""

import asyncio
import contextlib
import ctypes
import errno
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.simulators.waiting import PATIENCE, until_async

_PR_SET_PDEATHSIG = 1
_PORTS = (10_000, 29_000)
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """Ask the kernel for SIGKILL should our parent go away, however that happens."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def free_port(
    kind: socket.SocketKind = socket.SOCK_STREAM, address: str = "127.0.0.1", even: bool = False
) -> int:
    """A port that nobody listens on now. `even`: as RTP wants it (RFC 3550 section 11).

    Neither of those that the kernel gives to whoever connects, nor of the bridge's range for media:
    those may be taken by the time that the port is used.
    """
    while True:
        port = random.randrange(*_PORTS, 2 if even else 1)
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        return port


class Child:
    """A child process with its output in a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self.process = process

    @classmethod
    async def start(
        cls,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pipes: bool = False,
    ) -> "Child":
        """Start `argv` in a session of its own, so that Ctrl-C reaches only the parent.

        With `pipes`, standard input and output are pipes and only errors go to `log`.
        """
        wanted = asyncio.subprocess.PIPE if pipes else None
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *map(str, argv),
                stdin=wanted or asyncio.subprocess.DEVNULL,
                stdout=wanted or output,
                stderr=output,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                limit=1 << 24,
            )
        return cls(name, process, log)

    @property
    def running(self) -> bool:
        """Whether it has not exited."""
        return self.process.returncode is None

    def output(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace")

    async def listens(
        self, port: int, *, within: float = PATIENCE, address: str = "127.0.0.1"
    ) -> None:
        """Wait until it accepts TCP connections; raises when it exits instead."""

        async def connects() -> bool:
            self.check()
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError:
                return False
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return True

        await until_async(connects, within=within, what=f"{self.name} listens on port {port}")

    def check(self) -> None:
        """Raise when it has exited, with the end of what it wrote."""
        if self.running:
            return
        tail = "\n".join(self.output().splitlines()[-25:])
        raise RuntimeError(f"{self.name} exited with {self.process.returncode}:\n{tail}")

    async def wait(self, *, within: float) -> int:
        """Wait for it to exit by itself; returns its exit status."""
        return await asyncio.wait_for(self.process.wait(), within)

    async def stop(self, *, grace: float = 5.0) -> None:
        """SIGTERM, then SIGKILL for what does not go within `grace` seconds."""
        if not self.running:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), grace)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.running:
            self.process.kill()
        await self.process.wait()
