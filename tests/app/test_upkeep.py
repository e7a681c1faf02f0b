# SPDX-License-Identifier: GPL-3.0-or-later
"""What is swept, when, and how old it has to be."""

import asyncio
import ctypes
import os
import platform
from pathlib import Path

import pytest

from bridge.app.upkeep import give_memory_back, keep_up

NOW = 1_800_000_000.0
KEPT = 30 * 86400.0


class Broom:
    """Notes what it was to sweep; the third pause never ends."""

    def __init__(self) -> None:
        self.swept: list[tuple[str, float]] = []
        self.pauses: list[float] = []
        self.fails = False
        self.given_back = 0

    async def ladders(self, before: float) -> None:
        self.swept.append(("ladders", NOW - before))
        if self.fails:
            raise RuntimeError("the database is away")

    async def rooms(self, before: float) -> None:
        self.swept.append(("rooms", NOW - before))

    def give_back(self) -> None:
        self.given_back += 1

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == 2:
            raise asyncio.CancelledError

    async def run(self, after: float | None) -> None:
        sweeps = [(self.ladders, lambda: KEPT), (self.rooms, lambda: after)]
        with pytest.raises(asyncio.CancelledError):
            await keep_up(sweeps, give_back=self.give_back, clock=lambda: NOW, sleep=self.sleep)


async def test_rooms_stay_unless_it_is_set() -> None:
    broom = Broom()
    await broom.run(None)
    assert broom.swept == [("ladders", KEPT)] * 2
    assert broom.pauses == [3600, 3600]
    assert broom.given_back == 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others give it back themselves")
def test_memory_that_is_free_between_what_is_used_goes_back() -> None:
    kept, pieces = [], []
    for _ in range(4000):  # From the heap: larger ones would have pages of their own.
        pieces.append(ctypes.create_string_buffer(16_000))
        kept.append(ctypes.create_string_buffer(600))
    for piece in pieces:
        ctypes.memset(piece, 1, len(piece))
    pieces.clear()
    before = resident()
    give_memory_back()
    assert before - resident() > 20 << 20
    assert len(kept) == 4000


def resident() -> int:
    """Bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_what_fails_does_not_keep_the_rest_from_being_swept() -> None:
    broom = Broom()
    broom.fails = True
    await broom.run(86400)
    assert broom.swept == [("ladders", KEPT), ("rooms", 86400)] * 2


async def test_a_short_time_is_looked_at_more_often() -> None:
    broom = Broom()
    await broom.run(60)
    assert broom.pauses == [60, 60]
