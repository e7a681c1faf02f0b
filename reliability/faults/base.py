# SPDX-License-Identifier: GPL-3.0-or-later
"""What all faults have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from reliability.plan import Way
from reliability.player import Play
from reliability.scene import Scene


class Fault(ABC):
    """One thing that goes wrong, beside calls that have to live."""

    name: ClassVar[str]
    what: ClassVar[str]
    """For people."""
    lasts: ClassVar[float] = 8.0
    """Seconds, besides what is tried meanwhile."""
    recovers: ClassVar[float] = 30.0
    """Seconds within which calls have to work again."""
    mixes: ClassVar[bool] = True
    """Whether it can be had together with others."""
    complaints: ClassVar[tuple[str, ...]] = ()
    """What the bridge's log says of it as an error, and should."""
    own_clock: ClassVar[bool] = False
    """Whether the bridge needs a clock of its own for it."""
    talks: ClassVar[tuple[Way, ...]] = ()
    """Calls of its own, which it makes end as it likes."""
    plays: Sequence[Play] = ()
    """Those; they have begun before anything is broken."""

    @abstractmethod
    def broken(self, scene: Scene) -> AbstractAsyncContextManager[None]:
        """It is so within the block. Raises OSError where it cannot be had."""

    async def afterwards(self, scene: Scene) -> None:
        """What has to hold once all works again."""
        return

    async def meanwhile(self, scene: Scene) -> None:
        """What is tried while it is; calls both ways, if nothing else is said."""
        for way in Way:
            await scene.connects(way, within=20, when="meanwhile")
