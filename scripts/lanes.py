# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps side by side, each as soon as those that it needs have worked."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from scripts.steps import StepError, Steps

# More than there ever are: work that waits for other work has a thread, too.
_THREADS = 32


class _Pointless(StepError):
    """What this work needs has failed, which is told by that."""


class Lanes:
    """Inside `with`, work begins; leaving it waits for all, and raises StepError if some failed.

    What one failure does not touch goes on to its end, so that the next run need not do it again.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._pool = ThreadPoolExecutor(_THREADS)
        self._works: list[Future[None]] = []

    def start(
        self, name: str, work: Callable[[Steps], None], *, after: tuple[Future[None], ...] = ()
    ) -> Future[None]:
        """Do some work, with a log of this name, as soon as what it needs is done."""
        steps = self._steps.beside(name)

        def do() -> None:
            if any(needed.exception() for needed in after):
                raise _Pointless
            work(steps)

        future = self._pool.submit(do)
        self._works.append(future)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        errors = [future.exception() for future in self._works]
        for found in errors:
            if found and not isinstance(found, StepError):
                raise found
        told = [str(found) for found in errors if found and not isinstance(found, _Pointless)]
        if told:
            raise StepError("\n\n".join(told))
