# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process and its children use, as the operating system counts it: proc(5)."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the operating system says of the bridge's processes, one and its children.

    Pages that several of them share count once.
    """

    cpu_s: float
    memory_kb: int
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Look now."""
        roots = [Path(f"/proc/{each}") for each in family(pid)]
        stats = [(root / "stat").read_text().rpartition(")")[2].split() for root in roots]
        maps = [(root / "smaps_rollup").read_text() for root in roots]
        return cls(
            cpu_s=sum(int(fields[11]) + int(fields[12]) for fields in stats) / _TICKS,
            memory_kb=sum(int(each.partition("\nPss:")[2].split()[0]) for each in maps),
            files=sum(len(list((root / "fd").iterdir())) for root in roots),
            threads=sum(len(list((root / "task").iterdir())) for root in roots),
        )


def family(pid: int) -> list[int]:
    """A process and all that come from it."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(each for child in children for each in family(child))]
