# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that the bridge runs on: its database, its disk, its clock."""

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Final

from reliability.faults.base import Fault
from reliability.scene import Scene

_SMALL: Final = 1 << 27
"""Bytes that a disk may have that is filled."""


class DatabaseLocked(Fault):
    """Another process has the lock for writing, as a backup may."""

    name = "database-locked"
    what = "another process holds the lock of the database"

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """Nothing can be written."""
        other = sqlite3.connect(scene.place.bridge.database, timeout=20, isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN EXCLUSIVE")
            try:
                yield
            finally:
                other.execute("ROLLBACK")


class DiskFull(Fault):
    """There is no space for the database."""

    name = "disk-full"
    what = "the disk of the database is full"

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """A file has taken all that was left."""
        ballast = scene.place.data / "ballast"
        _fill(ballast)
        try:
            yield
        finally:
            ballast.unlink()


def _fill(path: Path) -> None:
    disk = os.statvfs(path.parent)
    if disk.f_blocks * disk.f_frsize > _SMALL:
        raise OSError("the folder of the database is no small disk of its own")
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


class _Clock(Fault):
    """For the bridge alone; the monotonic clock goes on as if nothing was."""

    own_clock = True
    mixes = False
    ahead: ClassVar[int]

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """The clock says something else, and goes on saying it."""
        assert scene.place.clock is not None
        scene.place.clock.set(self.ahead)
        yield


class ClockForward(_Clock):
    """Beyond the longest time that a call may last."""

    name = "clock-forward"
    what = "the clock jumps forward by five hours"
    ahead = 5 * 3600


class ClockBack(_Clock):
    """To before the calls began."""

    name = "clock-back"
    what = "the clock jumps back, to two hours before it was right"
    ahead = -2 * 3600
