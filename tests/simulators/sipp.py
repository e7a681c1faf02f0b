# SPDX-License-Identifier: GPL-3.0-or-later
"""sipp plays one scenario: a SIP party that does what its file says, and checks the rest."""

import shutil
import socket
from pathlib import Path

from tests.simulators.processes import Child, free_port
from tests.simulators.waiting import PATIENCE

SCENARIOS = Path(__file__).parents[1] / "e2e" / "scenarios"
_PATIENCE = 2 * PATIENCE
"""Seconds for a whole scenario; sipp itself gives up before, and says what it waited for."""


class Sipp:
    """One run of a scenario of `tests/e2e/scenarios`, for one call. Its audio is echoed."""

    def __init__(
        self,
        directory: Path,
        scenario: str,
        *,
        address: str,
        port: int | None = None,
        calls: str | None = None,
        caller: str = "+12025550150",
        dials: str = "",
        echo: bool = True,
    ) -> None:
        """`calls`: host:port that it calls, for a scenario that does; `dials`: the number.

        `echo`: it sends the audio back that it hears.
        """
        self._echo = ("-rtp_echo",) if echo else ()
        self.scenario = scenario
        self.address = address
        self.port = port or free_port(socket.SOCK_DGRAM, address)
        self._directory = directory
        self._calls = calls
        self._caller = caller
        self._dials = dials
        self._child: Child | None = None

    async def __aenter__(self) -> "Sipp":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child:
            await self._child.stop()

    async def start(self) -> None:
        """Start playing."""
        sipp = shutil.which("sipp")
        if not sipp:
            raise FileNotFoundError(
                "there is no sipp; install it (Debian: apt-get install sip-tester)"
            )
        self._directory.mkdir(parents=True, exist_ok=True)
        media = free_port(socket.SOCK_DGRAM, self.address, even=True)
        target = (self._calls, "-s", self._dials) if self._calls else ()
        self._child = await Child.start(
            f"sipp {self.scenario}",
            [
                *(sipp, *target, "-sf", str(SCENARIOS / f"{self.scenario}.xml")),
                *("-i", self.address, "-p", str(self.port)),
                *("-mi", self.address, "-mp", str(media), *self._echo),
                *("-key", "caller", self._caller),
                *("-m", "1", "-nostdin", "-timeout", f"{_PATIENCE - 5:.0f}", "-timeout_error"),
                *("-trace_msg", "-message_file", f"{self.scenario}.messages"),
                *("-trace_err", "-error_file", f"{self.scenario}.errors"),
            ],
            log=self._directory / f"{self.scenario}.log",
            cwd=self._directory,
        )

    async def succeeds(self, *, within: float = _PATIENCE) -> None:
        """Wait for the end of the scenario; raises unless everything went as written."""
        assert self._child is not None
        status = await self._child.wait(within=within)
        if status == 0:
            return
        errors = self._directory / f"{self.scenario}.errors"
        told = errors.read_text() if errors.exists() else self._child.output()
        raise AssertionError(f"sipp {self.scenario} ended with {status}:\n{told[-4000:]}")

    def messages(self) -> str:
        """Every SIP message so far."""
        path = self._directory / f"{self.scenario}.messages"
        return path.read_text() if path.exists() else ""
