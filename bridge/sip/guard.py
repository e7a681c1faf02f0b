# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps exceptions out of pjsua2: one that leaves a callback ends the process."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import structlog

log = structlog.get_logger(__name__)

P = ParamSpec("P")


def guarded(callback: Callable[P, None]) -> Callable[P, None]:
    """Log what `callback` raises."""

    @wraps(callback)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:
            log.exception("SIP callback failed", callback=callback.__name__)

    return run
