# SPDX-License-Identifier: GPL-3.0-or-later
"""The time between the wish to stop and the end, with a clock of its own."""

import asyncio

import pytest

from bridge.app import drain
from bridge.app.drain import Drain


class Bench:
    """Calls, SIP peers, admins, systemd and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, active: int) -> None:
        self.active = active
        self.now = 1000.0
        self.drained: list[float] = []
        self.announced: list[float] = []
        self.told: list[str] = []
        self.status: list[str] = []
        self.hurry = asyncio.Event()
        self._over = asyncio.Event()
        self._time = asyncio.Event()
        monkeypatch.setattr(drain, "notify", self.status.append)
        self.drain_of = Drain(
            self,
            announce=self.announced.append,
            tell=self.told.append,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    def drain(self, seconds: float) -> None:
        self.drained.append(seconds)

    async def quiet(self) -> None:
        await self._over.wait()

    async def _sleep(self, seconds: float) -> None:
        await self._time.wait()
        self.now += seconds

    def end_calls(self) -> None:
        self.active = 0
        self._over.set()

    def let_time_pass(self) -> None:
        self._time.set()

    async def begin(self, seconds: float = 60) -> "asyncio.Task[None]":
        task = asyncio.create_task(self.drain_of.run(seconds, self.hurry))
        for _ in range(3):
            await asyncio.sleep(0)
        return task


async def test_everybody_is_told_and_the_last_call_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, 2)
    task = await bench.begin()
    assert not task.done()
    assert bench.drained == bench.announced == [60]
    assert bench.told == [
        "The bridge is about to stop, and takes no new calls."
        " Waiting for 2 calls to end, for 60 s at most."
    ]
    assert bench.status == [
        "STATUS=Waiting for 2 calls to end, for 60 s at most.\nEXTEND_TIMEOUT_USEC=90000000"
    ]
    assert bench.drain_of.left == 60
    bench.now += 17.5
    assert bench.drain_of.left == 43
    bench.end_calls()
    await task


async def test_time_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, 1)
    task = await bench.begin(30)
    assert "Waiting for 1 call to end" in bench.told[0]
    bench.let_time_pass()
    await task
    assert (bench.active, bench.drain_of.left) == (1, 0)


async def test_a_second_signal_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, 1)
    task = await bench.begin()
    bench.hurry.set()
    await task
    assert bench.active == 1


@pytest.mark.parametrize(("active", "seconds"), [(0, 60.0), (3, 0.0)])
async def test_nobody_is_told_where_nothing_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, active: int, seconds: float
) -> None:
    bench = Bench(monkeypatch, active)
    await bench.drain_of.run(seconds, bench.hurry)
    assert (bench.told, bench.status, bench.announced, bench.drained) == ([], [], [], [])
    assert bench.drain_of.left is None


async def test_two_signals_at_once_leave_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, 1)
    bench.hurry.set()
    await bench.drain_of.run(60, bench.hurry)
    assert bench.told == []
