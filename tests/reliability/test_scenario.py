# SPDX-License-Identifier: GPL-3.0-or-later
"""A few seconds of the suite: all of it works, and finds nothing wrong with the bridge."""

from pathlib import Path

import pytest
from rich.console import Console

from reliability.clock import OwnClock
from reliability.place import Place
from reliability.soak import Soak, soak
from tests.simulators.processes import Child

# With this seed, the first calls have a transfer, hold, keys, Opus, and one that is busy.
_ASKED = Soak(seconds=0.1, rate=1.0, seed=311, longest=1.0, linger=0.2, warm_up=3)


@pytest.mark.timeout(300)  # It takes ten seconds, or many more on a busy machine.
async def test_steady_calls(tmp_path: Path) -> None:
    place, console = Place(tmp_path, kind="simulated"), Console(record=True, width=160)
    try:
        await place.start()
        verdict = await soak(place, _ASKED, console)
    finally:
        await place.stop()
    calls = [line for line in verdict.lines if not line.what.startswith("no growth")]
    assert [line.why for line in calls if not line.good] == []
    assert "every attempt has a record" in [line.what for line in calls][5]


async def test_a_clock_of_its_own(tmp_path: Path) -> None:
    clock = OwnClock(tmp_path)
    clock.set(-86400)
    words = "import time; print(round(time.time() - time.clock_gettime(time.CLOCK_TAI) < -80000))"
    child = await Child.start(
        "clock", ["python3", "-c", words], log=tmp_path / "log", env=clock.environment
    )
    assert await child.wait(within=20) == 0
    assert child.output().strip() == "1"
