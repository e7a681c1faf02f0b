# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults, one after the other and several together, while calls go on."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from reliability.acts import WentWrong
from reliability.faults import FAULTS
from reliability.faults.base import Fault
from reliability.faults.load import STRANGER
from reliability.ledger import Placed, compare
from reliability.place import Place
from reliability.plan import Planner, Way
from reliability.scene import Scene
from reliability.soak import Course, judge_leftovers
from reliability.verdict import Verdict, judge_calls, judge_log, judge_records

_TOGETHER: Final = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """What is asked for. `rounds`: how often several faults are had together."""

    faults: Sequence[str]
    rounds: int
    seed: int


async def chaos(place: Place, asked: Chaos, console: Console) -> Verdict:
    """Have each fault, then some of them together, and judge."""
    chance = random.Random(asked.seed)
    planner, course = Planner(chance), Course(console)
    verdict, placed = Verdict(f"chaos, seed {asked.seed}"), list[Placed]()
    singles = [FAULTS[name]() for name in asked.faults]
    for fault in singles:
        await _one([fault], Scene(place, planner, course), verdict, placed)
    for _ in range(asked.rounds):
        faults = together(singles, chance)
        if len(faults) > 1:
            await _one(faults, Scene(place, planner, course), verdict, placed)
    judge_calls(verdict, placed)
    await judge_leftovers(verdict, place)
    judge_records(verdict, compare(placed, place.bridge.every_call(), {STRANGER}))
    expected = [each for fault in singles for each in fault.complaints]
    judge_log(verdict, place.bridge.output(), expected=expected)
    return verdict


def together(faults: Sequence[Fault], chance: random.Random) -> list[Fault]:
    """Some that can be had at the same time, each of another part of what is around the bridge."""
    parts: dict[str, list[Fault]] = {}
    for fault in faults:
        if fault.mixes:
            parts.setdefault(type(fault).__module__, []).append(fault)
    chosen = chance.sample(list(parts), min(chance.choice(_TOGETHER), len(parts)))
    return [chance.choice(parts[part]) for part in chosen]


async def _one(
    faults: Sequence[Fault], scene: Scene, verdict: Verdict, placed: list[Placed]
) -> None:
    what = " and ".join(fault.what for fault in faults)
    scene.course.say(what, style="bold yellow")
    try:
        await _play(faults, scene)
    except (WentWrong, TimeoutError, OSError, AssertionError) as error:
        scene.falls_short(f"{type(error).__name__}: {error}")
    for play in scene.plays:
        play.leave.set()
    await scene.course.rest()
    placed.extend(scene.placed)
    verdict.add(what, "; ".join(scene.found), why=scene.short)


async def _play(faults: Sequence[Fault], scene: Scene) -> None:
    """Calls begin, the faults are there for a while, the calls live, and all works again."""
    steady = scene.base = await scene.steady(Way.IN, Way.OUT)
    for fault in faults:
        fault.plays = await scene.steady(*fault.talks)
    async with AsyncExitStack() as stack:
        for fault in faults:
            await stack.enter_async_context(fault.broken(scene))
        scene.listen(steady)
        if len(faults) == 1:
            await faults[0].meanwhile(scene)
        else:
            await scene.tried_anyhow()
        await asyncio.sleep(max(fault.lasts for fault in faults))
        scene.lives(steady)
    await scene.works_again(max(fault.recovers for fault in faults))
    for fault in faults:
        await fault.afterwards(scene)
    scene.listen(steady)
    await asyncio.sleep(1.0)
    scene.lives(steady)
    await scene.end(steady)
