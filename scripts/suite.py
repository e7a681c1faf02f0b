# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks and all tests, in processes side by side: most of what they do is waiting."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Each branch of the pure core has to be taken. Nothing else is measured, which would take time.
MEASURED = (
    "--cov=bridge/call",
    "--cov=bridge/sdp",
    "--cov-report=term-missing:skip-covered",
    "--cov-fail-under=100",
)

_LONGEST_LINE = 1 << 24
_CLOSING = re.compile(r"=+ .*\b(?:passed|failed|errors?|skipped|no tests ran)\b.* in [\d.]+s.*")
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
_REASON = re.compile(r"(?:FAILED|ERROR) |.*\.\.\. FAILED|FAIL Required")


class Manner(Enum):
    """What a part does most of the time, which decides what may run beside it."""

    BUSY = "busy"
    """It waits and computes by turns, and some of its tests count seconds."""
    POLITE = "polite"
    """It computes more than it waits, and gets what the busy leave, so that they are not late."""
    MODEST = "modest"
    """It computes and counts no seconds, so that what all others leave will do."""
    PATIENT = "patient"
    """It waits, and is in nobody's way."""


_PRECEDENCE = {Manner.POLITE: ("nice",), Manner.MODEST: ("nice", "-n", "19")}
# Parts for every two processors at the same time: while some wait, others compute.
AT_ONCE = {Manner.BUSY: 2, Manner.POLITE: 1, Manner.MODEST: 2, Manner.PATIENT: 1}


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the run."""

    name: str
    command: tuple[str, ...]
    manner: Manner = Manner.BUSY


@dataclass(slots=True)
class Outcome:
    """How a part ended."""

    part: Part
    status: int = 0
    seconds: float = 0.0
    closing: str = ""
    reasons: list[str] = field(default_factory=list)


def parts() -> list[Part]:
    """What is run, the longest first; those of end to end have a homeserver and a bridge each."""
    core = ("tests/call", "tests/sdp", "tests/test_driver.py")
    # In halves, so that at the end there is something for either processor.
    sip = sorted(str(each.relative_to(ROOT)) for each in ROOT.glob("tests/sip/**/test_*.py"))
    image = "tests/toolchain/test_dockerfile.py"
    own = ("tests/e2e", "tests/matrix", "tests/media", image, *sip, *core)
    others = [f"--ignore={each}" for each in own]
    return [
        Part("e2e", _pytest("tests/e2e", "-m", "not browser")),
        Part("browser", _pytest("tests/e2e", "-m", "browser")),
        Part("media", _pytest("tests/media")),
        Part("sip", _pytest(*sip[::2])),
        Part("sip too", _pytest(*sip[1::2])),
        Part("rest", _pytest("tests", *others), Manner.POLITE),
        Part("image", _pytest(image), Manner.MODEST),
        Part("moods", _pytest("tests/matrix", "-m", "patient"), Manner.PATIENT),
        Part("matrix", _pytest("tests/matrix", "-m", "not patient"), Manner.POLITE),
        # Traced, a search takes three times as long, and what it alone covers is covered by chance.
        Part("core", _pytest(*core, "-m", "not hypothesis", *MEASURED), Manner.MODEST),
        Part("check", ("scripts/check",), Manner.MODEST),
        Part("search", _pytest(*core, "-m", "hypothesis"), Manner.MODEST),
    ]


def _pytest(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pytest", *arguments)


async def run(part: Part, width: int, turn: asyncio.Semaphore) -> Outcome:
    """Run a part to its end, when it is its turn.

    Each line that it prints is shown with the part's name before it.
    """
    async with turn:
        return await _run(part, width)


async def _run(part: Part, width: int) -> Outcome:
    outcome = Outcome(part)
    before = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(*_PRECEDENCE.get(part.manner, ()), *part.command),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LONGEST_LINE,
    )
    assert process.stdout
    try:
        async for data in process.stdout:
            line = data.decode(errors="replace").rstrip()
            print(f"{part.name:{width}} | {line}", flush=True)
            if _CLOSING.fullmatch(line):
                outcome.closing = line
            elif _REASON.match(line):
                outcome.reasons.append(line)
    finally:
        # An interrupt has reached it, too.
        outcome.status = await process.wait()
    outcome.seconds = time.monotonic() - before
    return outcome


def report(outcomes: Sequence[Outcome]) -> int:
    """Say how each part ended, then all of them; returns the status of the whole."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for outcome in outcomes:
        ending = f"FAILED, status {outcome.status}" if outcome.status else "good"
        print(f"\n{outcome.part.name}: {ending}, after {outcome.seconds:.0f} s")
        print(*outcome.reasons, *filter(None, [outcome.closing]), sep="\n")
        for number, word in _COUNT.findall(outcome.closing):
            counts["failed" if word.startswith("error") else word] += int(number)
    print("\ntotal: " + ", ".join(f"{number} {word}" for word, number in counts.items()))
    return int(any(outcome.status for outcome in outcomes))


async def main() -> int:
    """Run all parts, then tell the outcome, last of all in a line."""
    before = time.monotonic()
    chosen = parts()
    width = max(len(part.name) for part in chosen)
    processors = os.cpu_count() or 1
    turns = {
        manner: asyncio.Semaphore(max(1, at_once * processors // 2))
        for manner, at_once in AT_ONCE.items()
    }
    outcomes = await asyncio.gather(*(run(part, width, turns[part.manner]) for part in chosen))
    status = report(outcomes)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{'FAILED' if status else 'all good'}, after {time.monotonic() - before:.0f} s"
        f" ({used.ru_utime + used.ru_stime:.0f} s of processor time)"
    )
    return status


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
