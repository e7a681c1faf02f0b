# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

PATIENCE: Final = 30.0
"""Seconds for what should happen at once, on a machine so busy that nothing does.

A wait that is successful is not longer for it, so less is only for what proves that it is quick.
"""

T = TypeVar("T")
What = str | Callable[[], str]
"""What is waited for; where it has to be asked for, that is done when the time is up."""


async def until(
    check: Callable[[], T], *, what: What, within: float = PATIENCE, every: float = 0.02
) -> T:
    """Poll `check` until it returns something true, and return that.

    `within` and `every` are seconds. Raises TimeoutError that says `what` did not happen.
    """

    async def checked() -> T:
        return check()

    return await until_async(checked, within=within, what=what, every=every)


async def until_async(
    check: Callable[[], Awaitable[T]], *, what: What, within: float = PATIENCE, every: float = 0.02
) -> T:
    """`until` for a check that has to wait itself."""
    deadline = time.monotonic() + within
    while not (found := await check()):
        if time.monotonic() > deadline:
            words = what if isinstance(what, str) else what()
            raise TimeoutError(f"within {within:g} s it did not happen that {words}")
        await asyncio.sleep(every)
    return found
