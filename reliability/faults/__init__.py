# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, by name."""

from typing import Final

from reliability.faults.base import Fault
from reliability.faults.homeserver import Fails, Limits, Slow, Stopped
from reliability.faults.inside import WorkerKilled
from reliability.faults.load import Flood, Overload
from reliability.faults.machine import ClockBack, ClockForward, DatabaseLocked, DiskFull
from reliability.faults.peer import Garbles, Silent

FAULTS: Final[dict[str, type[Fault]]] = {
    fault.name: fault
    for fault in (
        Stopped,
        Slow,
        Limits,
        Fails,
        Silent,
        Garbles,
        DatabaseLocked,
        DiskFull,
        WorkerKilled,
        Flood,
        Overload,
        ClockForward,
        ClockBack,
    )
}
