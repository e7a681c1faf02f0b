# SPDX-License-Identifier: GPL-3.0-or-later
"""A person in a real browser and a telephone call each other, again and again, almost at once.

    python -m benchmarks.glare --times 20 --spread 0.3 [--json]

Needs what the end-to-end tests need, and a network of its own, so root or user namespaces. Ends
with status 1 unless every collision left exactly one connected call that both sides heard.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.browser import Browser
from tests.simulators.collision import Collision, collide, phone_legs
from tests.simulators.isolation import isolate_for_good, isolated
from tests.simulators.waiting import until


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt; `error` says what did not happen."""

    offset: float
    collision: Collision | None
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether one call came of it, at both ends."""
        found = self.collision
        return found is not None and len(found.connected) == 1 and found.legs == 1


def offsets(times: int, spread: float) -> Iterator[float]:
    """Evenly from -spread to spread."""
    for number in range(times):
        yield spread * (2 * number / max(1, times - 1) - 1)


async def trials(times: int, spread: float) -> AsyncIterator[Trial]:
    """New people for every collision, one homeserver, bridge and browser for all."""
    with tempfile.TemporaryDirectory(prefix="glare-") as name:
        directory = Path(name)
        stage, browser = GatedStage(directory / "stage"), Browser(directory / "browser")
        async with contextlib.AsyncExitStack() as stack:
            await stage.start()
            stack.push_async_callback(stage.stop)
            await browser.start()
            stack.push_async_callback(browser.stop)
            for offset in offsets(times, spread):
                yield await _trial(stage, browser, offset)


async def _trial(stage: GatedStage, browser: Browser, offset: float) -> Trial:
    person = await stage.person()
    client = await browser.client(stage.synapse.url, person.credentials)
    try:
        room = await client.room_with(PCMU.ghost)
        async with stage.phone(PCMU) as phone:
            collision = await collide(client, room, phone, stage.uri(person), offset)
            await client.do("hangUp")
            await until(lambda: phone_legs(phone) == 0, within=5, what="nothing is left of it")
    except TimeoutError as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        return Trial(offset, None, f"{error} {notes}".strip())
    finally:
        await client.close()
    return Trial(offset, collision)


async def _report(times: int, spread: float, *, as_json: bool) -> bool:
    good = True
    async for trial in trials(times, spread):
        good = good and trial.good
        if as_json:
            print(json.dumps({**asdict(trial), "good": trial.good}))
        elif trial.collision is None:
            print(f"{trial.offset * 1000:+5.0f} ms  FAILED  {trial.error}")
        else:
            found = trial.collision
            print(
                f"{trial.offset * 1000:+5.0f} ms  {'good' if trial.good else 'BAD':6}"
                f"  {found.survivor:6}  both heard after {found.seconds:.2f} s"
            )
        sys.stdout.flush()
    return good


def main() -> int:
    """Exit status: 0 when every collision left one call."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.glare", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--spread", type=float, default=0.3, help="seconds before and after")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        isolate_for_good()
    with isolated() if os.geteuid() == 0 else contextlib.nullcontext():
        good = asyncio.run(_report(chosen.times, chosen.spread, as_json=chosen.json))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
