# SPDX-License-Identifier: GPL-3.0-or-later
"""Steady calls both ways, for minutes or hours, and what the bridge needs for them."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.markup import escape

from reliability.ledger import Placed, compare
from reliability.place import Place
from reliability.plan import Planned, Planner, waits
from reliability.player import Play
from reliability.verdict import Verdict, judge_calls, judge_growth, judge_log, judge_records
from reliability.watch import Sample, Watch, growth
from tests.simulators.waiting import until_async

LINGER: Final = 35.0
"""Seconds that ended dialogs live on (RFC 3261, timers D and J), and a little."""
WARM_UP: Final = 10
"""Calls at once before anything is measured: so many that every media worker has started."""
_STATUS: Final = 15.0


@dataclass(slots=True)
class Course:
    """How far a run has come."""

    console: Console
    began: float = field(default_factory=time.monotonic)
    placed: list[Placed] = field(default_factory=list)
    running: set[asyncio.Task[Placed]] = field(default_factory=set)

    def say(self, text: str, *, style: str = "") -> None:
        """A line of the timeline."""
        passed = time.monotonic() - self.began
        clock = f"[dim]{passed // 60:3.0f}:{passed % 60:04.1f}[/]"
        self.console.print(f"{clock} {f'[{style}]' if style else ''}{escape(text)}")

    def over(self, placed: Placed) -> None:
        """A call is over."""
        self.placed.append(placed)
        planned = placed.planned
        words = [
            f"{planned.number:5}",
            f"{planned.way.value:3}",
            f"{planned.codec:4}",
            planned.ending.value,
            *(act.value for act in planned.acts),
        ]
        if placed.good:
            self.say("✔ " + "  ".join(words), style="green")
        else:
            self.say("✘ " + "  ".join([*words, *placed.troubles]), style="bold red")

    def start(self, play: Play) -> None:
        """Play a call meanwhile."""
        task = asyncio.create_task(play.run())
        self.running.add(task)
        task.add_done_callback(self._done)

    async def rest(self) -> None:
        """Wait until no call goes on."""
        while self.running:
            await asyncio.wait(tuple(self.running))

    def _done(self, task: asyncio.Task[Placed]) -> None:
        self.running.discard(task)
        if not task.cancelled():
            self.over(task.result())


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What is asked for. Times are seconds; `rate`: calls a second."""

    seconds: float
    rate: float
    seed: int
    longest: float = 8.0
    """Of a talk, besides what happens in it."""
    linger: float = LINGER
    warm_up: int = WARM_UP


async def soak(place: Place, asked: Soak, console: Console) -> Verdict:
    """Play calls for so long, and judge."""
    chance = random.Random(asked.seed)
    planner, pauses = Planner(chance, longest=asked.longest), waits(chance, asked.rate)
    course, watch = Course(console), Watch(place, place.directory / "samples.jsonl")
    course.say(f"{asked.warm_up} calls at once, to warm up")
    for planned in itertools.islice(planner.calls(), asked.warm_up):
        course.start(Play(place, planned))
    await course.rest()
    watch.start()
    status = asyncio.create_task(_say_status(course, watch))
    rests, counts = [await _rest(course, place, watch, asked.linger)], [len(course.placed)]
    calls = planner.calls()
    try:
        for _ in range(2):
            await _steady(place, course, calls, pauses, asked.seconds / 2)
            rests.append(await _rest(course, place, watch, asked.linger))
            counts.append(len(course.placed))
    finally:
        status.cancel()
        await watch.stop()
    verdict = Verdict(f"soak, seed {asked.seed}")
    judge_calls(verdict, course.placed)
    await judge_leftovers(verdict, place)
    judge_records(verdict, compare(course.placed, place.bridge.every_call()))
    judge_growth(verdict, growth(rests, counts[-1] - counts[-2]))
    judge_log(verdict, place.bridge.output())
    return verdict


async def judge_leftovers(verdict: Verdict, place: Place) -> None:
    """Whether anybody believes in a call that is over."""
    active = await _settled(place)
    dialogs = [f"dialog {each.call_id} of {each.user}" for each in place.exchange.live]
    clients = [f"call {c.call_id} at {p.user_id}" for p in place.people for c in p.live]
    strays = [f"a call to {number}" for number in place.exchange.unexpected]
    strays += [f"a call from {ghost}" for person in place.people for ghost in person.unexpected]
    ours = [f"the bridge believes in {active} calls"] if active else []
    verdict.add(
        "nothing is left when all have hung up",
        f"{active} in the bridge, {len(dialogs)} at telephones, {len(clients)} at people,"
        f" {len(strays)} calls that nobody placed",
        why=[*ours, *dialogs, *clients, *strays],
    )


async def _settled(place: Place, within: float = 30.0) -> int:
    """How many calls the bridge believes in, once it has none and all is written, or in the end."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        metrics = await place.metrics()
        if not await place.active() and not metrics["matrix_sip_writes_waiting"]:
            break
        await asyncio.sleep(0.5)
    return await place.active()


async def _steady(
    place: Place,
    course: Course,
    calls: Iterator[Planned],
    pauses: Iterator[float],
    seconds: float,
) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        course.start(Play(place, next(calls)))
        await asyncio.sleep(min(next(pauses), max(0.0, end - time.monotonic())))


async def _rest(course: Course, place: Place, watch: Watch, linger: float) -> Sample:
    """Wait until nothing goes on, and a little longer, and see what is used then."""
    await course.rest()
    course.say(f"a rest of {linger:.0f} s, to see what is left")

    async def over() -> bool:
        return not await place.active()

    try:
        await until_async(over, within=90, what="the bridge has no call any more", every=0.5)
    except TimeoutError as error:
        course.say(str(error), style="bold red")
    await asyncio.sleep(linger)
    sample = await watch.look()
    course.say(_words(sample), style="cyan")
    return sample


async def _say_status(course: Course, watch: Watch) -> None:
    while True:
        await asyncio.sleep(_STATUS)
        if watch.samples:
            bad = sum(not call.good for call in course.placed)
            counts = f"{len(course.placed)} over, {len(course.running)} going on, {bad} bad"
            course.say(f"{counts}; {_words(watch.samples[-1])}", style="cyan")


def _words(sample: Sample) -> str:
    return (
        f"{sample.memory_mb:.0f} MB, {sample.files} files, {sample.tasks} tasks,"
        f" {sample.threads} threads, {sample.workers} media workers, {sample.calls} calls"
    )
