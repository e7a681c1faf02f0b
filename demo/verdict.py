# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a call: measured, and judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

_TOLERATED_LOSS = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a verdict."""

    what: str
    value: str
    good: bool = True


@dataclass(slots=True)
class Verdict:
    """All that was found out about a call."""

    title: str
    checks: list[Check] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing fell short."""
        return all(check.good for check in self.checks)

    def add(self, what: str, value: str, *, good: bool = True) -> None:
        """Add a finding."""
        self.checks.append(Check(what, value, good))

    def add_codecs(self, statistics: Mapping[str, Any], *, mode: str) -> None:
        """The codec of each leg, and whether the packets were relayed or transcoded."""
        matrix, sip = statistics.get("matrix_codec"), statistics.get("sip_codec")
        found = str(statistics.get("mode"))
        how = {"relay": "relayed", "transcode": "transcoded"}.get(found, found)
        self.add("codecs", f"{matrix} ↔ {sip}, {how}", good=found == mode)

    def add_packets(self, what: str, sent: int, arrived: int, lost: int) -> None:
        """Packets of one direction, as counted at both of its ends."""
        good = arrived > 0 and lost <= sent * _TOLERATED_LOSS
        self.add(what, f"{sent} packets sent, {lost} lost", good=good)

    def add_tone(self, what: str, found: float, wanted: int) -> None:
        """A tone that was listened for."""
        good = abs(found - wanted) <= 15
        self.add(what, f"{found:.0f} Hz (of {wanted} Hz sent)", good=good)

    def add_time(self, what: str, start: float | None, end: float | None, remark: str = "") -> None:
        """The time between two things that have to have happened."""
        if start is None or end is None:
            self.add(what, "never", good=False)
            return
        self.add(what, f"{(end - start) * 1000:.0f} ms{remark}", good=end >= start)

    def table(self) -> Table:
        """For the terminal."""
        table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1), pad_edge=False)
        table.add_column(width=8, justify="right")
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        for check in self.checks:
            mark = Text("✔", style="bold green") if check.good else Text("✘", style="bold red")
            table.add_row(mark, check.what, Text(check.value, style="" if check.good else "red"))
        return table
