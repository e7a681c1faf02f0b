# SPDX-License-Identifier: GPL-3.0-or-later
"""What was to be shown, and whether it was: a line for each property."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reliability.ledger import Account, Placed
from reliability.watch import Growth

_TROUBLE: Final = re.compile(
    r'"level": ?"(error|critical)"|Traceback|never awaited|never retrieved'
)
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Line:
    """One property. `why`: what fell short, item by item."""

    what: str
    figures: str
    good: bool
    why: tuple[str, ...] = ()


@dataclass(slots=True)
class Verdict:
    """All of them."""

    title: str
    lines: list[Line] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing fell short."""
        return bool(self.lines) and all(line.good for line in self.lines)

    def add(self, what: str, figures: str, *, why: Sequence[str] = ()) -> None:
        """A property, which holds unless there is a `why`."""
        self.lines.append(Line(what, figures, not why, tuple(why)))

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table("", "property", "figures", title=self.title, title_justify="left")
        for line in self.lines:
            mark = "[bold green]✔[/]" if line.good else "[bold red]✘[/]"
            table.add_row(mark, escape(line.what), escape(line.figures))
        console.print(table)
        for line in self.lines:
            for each in line.why[:_SHOWN]:
                console.print(f"[red]✘[/] {escape(line.what)}: {escape(each)}")
            if len(line.why) > _SHOWN:
                console.print(f"  and {len(line.why) - _SHOWN} more, in verdict.json")


def judge_calls(verdict: Verdict, placed: Sequence[Placed]) -> None:
    """Whether calls went as they should."""
    connected = [call for call in placed if call.answered_at is not None]
    lost = [_told(call) for call in placed if call.lost and not call.anyhow]
    stuck = [_told(call) for call in placed if call.stuck and not call.anyhow]
    others = [_told(call) for call in placed if not (call.good or call.lost or call.stuck)]
    verdict.add(
        "no call lost that should live",
        f"{len(placed)} placed, {len(connected)} connected, {len(lost)} lost",
        why=lost,
    )
    verdict.add("none alive that should be dead", f"{len(stuck)} went on", why=stuck)
    verdict.add("all else goes as planned", f"{len(others)} did not", why=others)
    checked, wrong = sum(c.checked for c in placed), sum(c.wrong for c in placed)
    verdict.add(
        "what is heard is what was said",
        f"compared {checked} times, {wrong} times something else",
        why=[_told(call) for call in placed if call.wrong and not call.anyhow],
    )


def judge_records(verdict: Verdict, account: Account) -> None:
    """Whether every attempt has its record."""
    verdict.add(
        "every attempt has a record, which is right",
        f"{account.placed} attempts, {account.records} records,"
        f" {len(account.differences)} differences",
        why=account.differences,
    )


def judge_growth(verdict: Verdict, found: Sequence[Growth]) -> None:
    """Whether nothing grows."""
    for each in found:
        steps = " → ".join(f"{value:g}" for value in each.values)
        verdict.add(
            f"no growth of {each.what}",
            f"{steps}; {each.trend:+g} in 1000 calls",
            why=() if each.good else [steps],
        )


def judge_log(verdict: Verdict, log: str, *, expected: Sequence[str] = ()) -> None:
    """Whether the bridge complained of itself, but for what is `expected`."""
    found = [
        line[:300]
        for line in log.splitlines()
        if _TROUBLE.search(line) and not any(each in line for each in expected)
    ]
    verdict.add("no error in the bridge's log", f"{len(found)} lines", why=found)


def _told(call: Placed) -> str:
    planned = call.planned
    acts = ", ".join(act.value for act in planned.acts)
    how = f"{planned.way.value}, {planned.codec}, {planned.ending.value}"
    return f"call {planned.number} ({how}{f'; {acts}' if acts else ''}): {'; '.join(call.troubles)}"
