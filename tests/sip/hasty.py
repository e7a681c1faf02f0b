# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge's SIP side in a process whose clock runs faster, for what takes minutes or hours.

`python -m tests.sip.hasty` says the port that it listens on, and then every event, a line each.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bridge.call.commands import AnswerSip
from bridge.call.events import SipEnded, SipEvent, SipInviteReceived
from bridge.sip import endpoint
from tests.simulators.processes import Child
from tests.simulators.waiting import until
from tests.sip.calls import bye
from tests.sip.phone import CALL, TRUNK, Bridge, description, trunk

SPEED: Final = 30
"""Half a minute in each second: a peer still has a second for each of its responses."""
_LIBRARY: Final = "libfaketimeMT.so.1"
_ROOT: Final = Path(__file__).parents[2]


class Hasty:
    """Such a process. It calls the trunk at `port`, or without one, answers a call from it."""

    def __init__(
        self, directory: Path, port: int = 0, *, settings: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory
        self._port = port
        self._settings = settings or {}
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        words = [f"{key}={value}" for key, value in self._settings.items()]
        self._child = await Child.start(
            "hasty bridge",
            [sys.executable, "-m", "tests.sip.hasty", str(self._port), *words],
            log=self._directory / "hasty.log",
            cwd=_ROOT,
            env={"LD_PRELOAD": str(_library()), "FAKETIME": f"+0 x{SPEED}"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._child
        await self._child.stop()

    @property
    def events(self) -> list[str]:
        """What it has said."""
        assert self._child
        return [line[2:] for line in self._child.output().splitlines() if line[:2] == "> "]

    async def says(self, word: str) -> str:
        """Wait until it says something that begins so."""

        def said() -> str:
            assert self._child
            found = next((event for event in self.events if event.startswith(word)), "")
            if not found:
                self._child.check()
            return found

        return await until(said, what=f"the hasty bridge says {word}")

    def hang_up(self) -> None:
        """Have it say BYE."""
        assert self._child
        self._child.process.send_signal(signal.SIGUSR1)


def _library() -> Path:
    found = sorted(Path("/usr/lib").rglob(_LIBRARY))
    assert found, "libfaketime is missing: apt-get install faketime"
    return found[0]


async def _play(port: int, settings: dict[str, object]) -> None:
    # Hundredths of a second of this clock would be no time at all, so that it never waited.
    setattr(endpoint, "_POLL", endpoint._POLL * SPEED)  # noqa: B010
    # The peer's clock is the usual one: a second there is half a minute here.
    by = trunk(port or 9).model_copy(update={"answer_within": 60.0, **settings})
    async with Bridge({TRUNK: by}) as bridge:
        _say(f"port {bridge.port}")
        leg = bridge.call() if port else None
        ended = False
        while not ended:
            event = await bridge.expect(SipEvent, within=100_000)
            _say(repr(event))
            leg = event.leg
            if isinstance(event, SipInviteReceived):
                bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, bridge.sip.do, bye(leg))
            ended = isinstance(event, SipEnded)


def _say(text: str) -> None:
    sys.stdout.write(f"> {text}\n")
    sys.stdout.flush()


def _value(text: str) -> object:
    return int(text) if text.isdecimal() else text


if __name__ == "__main__":
    pairs = (word.partition("=") for word in sys.argv[2:])
    asyncio.run(_play(int(sys.argv[1]), {key: _value(value) for key, _, value in pairs}))
