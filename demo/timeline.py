# SPDX-License-Identifier: GPL-3.0-or-later
"""The two legs of a call as they happen: a ladder with the bridge in the middle."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from tests.simulators.bridge_process import BridgeProcess, Record, Rung

_LANE = 32
_LONGEST = _LANE - 6
_POLL = 0.05
_SETTLED = 0.4
"""Seconds after which nothing older is still on its way to us."""
_COLOURS = {"matrix": "cyan", "sip": "magenta"}
_ENDS = ("matrix", "sip")


@dataclass(frozen=True, slots=True, order=True)
class _Line:
    at: float
    number: int
    text: Text


class Timeline:
    """Prints the ladder that the bridge writes of one call, and what is heard at its ends."""

    def __init__(self, console: Console, bridge: BridgeProcess, person: str, number: int) -> None:
        """The `number`th call of `person`, counted from 0."""
        self.rungs: list[Rung] = []
        self._console = console
        self._bridge = bridge
        self._person = person
        self._number = number
        self._pending: list[_Line] = []
        self._count = 0
        self._zero: float | None = None

    @property
    def record(self) -> Record | None:
        """The call's record, once there is one."""
        calls = self._bridge.calls(self._person)
        return calls[self._number] if len(calls) > self._number else None

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Print what comes, until the block is left and all of it is printed."""
        self._console.print(_heading())
        follower = asyncio.get_running_loop().create_task(self._follow())
        try:
            yield
        finally:
            follower.cancel()
            self._read()
            self._print(before=float("inf"))

    def note(self, leg: str, text: str, at: float | None = None) -> None:
        """Something observed at the end of a leg; `at` is seconds since the epoch."""
        note = Text(f"♪ {text}", style="bold green")
        note.align("left" if leg == "matrix" else "right", _LANE)
        blank = Text(" " * _LANE)
        lanes = (note, blank) if leg == "matrix" else (blank, note)
        self._add(at or time.time(), Text.assemble(lanes[0], ("│", "dim"), lanes[1]))

    def first(self, leg: str, direction: str, pattern: str) -> float | None:
        """When the first message was seen whose summary begins so; seconds since the epoch."""
        for rung in self.rungs:
            if (rung.leg, rung.direction) == (leg, direction) and re.match(pattern, rung.summary):
                return rung.at
        return None

    async def _follow(self) -> None:
        while True:
            self._read()
            self._print(before=time.time() - _SETTLED)
            await asyncio.sleep(_POLL)

    def _read(self) -> None:
        record = self.record
        if record is None:
            return
        rungs = self._bridge.ladder(record.call)
        known = len(self.rungs)
        self.rungs = rungs
        for rung in rungs[known:]:
            if (text := _drawn(rung)) is not None:
                self._add(rung.at, text)

    def _add(self, at: float, text: Text) -> None:
        self._count += 1
        self._pending.append(_Line(at, self._count, text))

    def _print(self, *, before: float) -> None:
        self._pending.sort(key=lambda line: (line.at, line.number))
        while self._pending and self._pending[0].at < before:
            line = self._pending.pop(0)
            if self._zero is None:
                self._zero = line.at
            passed = (line.at - self._zero) * 1000
            self._console.print(Text.assemble((f"{passed:8,.0f} ms  ", "dim"), line.text))


def _heading() -> Text:
    left, right = Text("Matrix client", style="bold"), Text("telephone", style="bold")
    left.align("left", _LANE - 3)
    right.align("right", _LANE - 3)
    return Text.assemble(" " * 13, left, ("bridge", "bold"), " ", right)


def _drawn(rung: Rung) -> Text | None:
    """An arrow on the leg's side; nothing for what stays inside the bridge, but for its media."""
    if rung.leg == "media" and rung.summary.startswith("media connected"):
        codecs = rung.summary.partition(": ")[2].replace(", ", " ↔ ")
        text = Text(f"audio up: {codecs}", style="yellow")
        text.align("center", 2 * _LANE + 1)
        return text
    if rung.leg not in _ENDS or not rung.direction:
        return None
    summary = _short(rung)
    inwards = rung.direction == "in"
    rightwards = inwards == (rung.leg == "matrix")
    shaft = "─" * max(2, _LANE - len(summary) - 4)
    arrow = f" {summary} {shaft}▶ " if rightwards else f" ◀{shaft} {summary} "
    lane = Text(arrow[:_LANE].ljust(_LANE), style=_COLOURS[rung.leg])
    blank = Text(" " * _LANE)
    lanes = (lane, blank) if rung.leg == "matrix" else (blank, lane)
    return Text.assemble(lanes[0], ("│", "dim"), lanes[1])


def _short(rung: Rung) -> str:
    """Without the long URI of a SIP request and the party that `select_answer` names."""
    summary = rung.summary
    if rung.leg == "sip" and " sip:" in summary:
        summary = summary.partition(" ")[0]
    if summary.startswith("m.call.select_answer"):
        summary = "m.call.select_answer"
    return summary if len(summary) <= _LONGEST else summary[: _LONGEST - 1] + "…"
