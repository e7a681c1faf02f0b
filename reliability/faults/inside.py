# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of the bridge itself dies."""

import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from reliability.faults.base import Fault
from reliability.plan import Way
from reliability.player import Play
from reliability.scene import Scene
from tests.simulators.usage import family

_CALLS: Final = 8
"""So many that there is another worker."""
_MORE: Final = 4
"""Calls for that one."""


class WorkerKilled(Fault):
    """A process that carries audio dies."""

    name = "worker-killed"
    what = "a media worker is killed"
    lasts = 1.0
    mixes = False

    complaints = ("media worker is gone", "media worker died")

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """Its calls end on both sides; those of the others live."""
        first = await scene.steady(*(Way.IN, Way.OUT) * (_CALLS // 2))

        async def another() -> bool:
            return await scene.place.workers() > 1

        await scene.happens_async(another, "a second worker has started", within=30)
        more = await scene.steady(*(Way.IN, Way.OUT) * (_MORE // 2))
        plays = [*scene.base, *first, *more]
        owners = [owner(scene.place.bridge.pid, _port(play)) for play in plays]
        victim = owners[0]
        doomed = [play for play, pid in zip(plays, owners, strict=True) if pid == victim]
        spared = [play for play, pid in zip(plays, owners, strict=True) if pid != victim]
        for play in doomed:
            play.doomed, play.placed.causes = True, ("media_failed",)
        scene.listen(spared)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        over = await scene.happens(
            lambda: all(map(_is_over, doomed)),
            f"all {len(doomed)} calls of the dead process end on both sides",
            within=15,
        )
        if over:
            scene.note(f"{len(doomed)} calls ended in {time.monotonic() - began:.1f} s")
        yield
        scene.lives(spared)
        await scene.end([play for play in spared if play not in scene.base])


def _port(play: Play) -> int:
    assert play.ends is not None, "it is talked in"
    return play.ends.phone.remote_port


def _is_over(play: Play) -> bool:
    dialog = play.ends.phone.dialog if play.ends else None
    return bool(play.ends and play.ends.call.ended.is_set() and dialog and dialog.ended.is_set())


def owner(root: int, port: int) -> int:
    """The process that has a UDP port, among one and its children. Raises OSError for nobody's."""
    rows = Path(f"/proc/{root}/net/udp").read_text().splitlines()[1:]
    inodes = {row.split()[9] for row in rows if int(row.split()[1].rpartition(":")[2], 16) == port}
    names = {f"socket:[{inode}]" for inode in inodes}
    for pid in reversed(family(root)):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(link) in names:
                    return pid
    raise OSError(f"nobody has port {port}")
