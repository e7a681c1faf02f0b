# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines, loaded when they are needed and let go when they are not."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from bridge.call.ids import UserId
from bridge.errors import RemoteError
from bridge.matrix.encryption.machine import Machine

MOST: Final = 100
"""Machines that stay loaded though nobody uses them."""
IDLE: Final = 300.0
"""Seconds after which an unused machine is let go."""


@dataclass(slots=True, eq=False)
class _Slot:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    machine: Machine | None = None
    users: int = 0
    used_at: float = 0.0


class Vault:
    """The machines of our users. There is never more than one of a user, with one task at it.

    Two of them, or two tasks, would write each other's older ratchets to the database.
    """

    def __init__(
        self,
        load: Callable[[UserId], Awaitable[Machine]],
        *,
        most: int = MOST,
        idle: float = IDLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._most = most
        self._idle = idle
        self._clock = clock
        self._slots: OrderedDict[UserId, _Slot] = OrderedDict()

    @property
    def loaded(self) -> int:
        """How many machines are in memory."""
        return len(self._slots)

    @asynccontextmanager
    async def open(self, user: UserId) -> AsyncIterator[Machine]:
        """The user's machine, for this task alone until the block ends."""
        slot = self._slots.setdefault(user, _Slot())
        slot.users += 1
        self._slots.move_to_end(user)
        try:
            async with slot.lock:
                if slot.machine is None:
                    slot.machine = await self._load(user)
                try:
                    yield slot.machine
                except RemoteError:
                    raise
                except BaseException:
                    # What is in memory may be ahead of the database: read it again.
                    slot.machine = None
                    raise
        finally:
            slot.users -= 1
            slot.used_at = self._clock()
            self._shrink()

    def sweep(self) -> None:
        """Let go of what has been idle."""
        before = self._clock() - self._idle
        for user, slot in list(self._slots.items()):
            if not slot.users and slot.used_at <= before:
                del self._slots[user]

    def _shrink(self) -> None:
        spare = len(self._slots) - self._most
        for user, slot in list(self._slots.items()) if spare > 0 else ():
            if spare > 0 and not slot.users:
                del self._slots[user]
                spare -= 1
