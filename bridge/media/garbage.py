# SPDX-License-Identifier: GPL-3.0-or-later
"""The garbage collector, kept out of the way of packets, and how long it held them up."""

import gc
from time import perf_counter
from typing import Any


def freeze() -> None:
    """Take what lives as long as the process out of the collector's sight.

    To be called once after start-up: full collections then cost what calls allocate, not what the
    imported modules weigh, and no longer hold packets up.
    """
    gc.collect()
    gc.freeze()


class Pauses:
    """Measures collections: nothing else happens in the process meanwhile."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds."""
        self._began = 0.0

    def watch(self) -> None:
        """Measure from now on."""
        gc.callbacks.append(self._happened)

    def stop(self) -> None:
        """Measure no more."""
        gc.callbacks.remove(self._happened)

    def _happened(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        self.longest = max(self.longest, perf_counter() - self._began)
