# SPDX-License-Identifier: GPL-3.0-or-later
"""Who calls without being a trunk: scanners mostly, so one log line per source and hour."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from bridge.sip.trunks import split_host_port

log = structlog.get_logger(__name__)

_QUIET: Final = 3600.0
"""Seconds without another line about the same source."""
_MOST: Final = 1000
"""Sources remembered; beyond that only counted."""


class Strangers:
    """Counts refused INVITEs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._clock = clock
        self._logged: dict[str, float] = {}

    def refused(self, source: str) -> None:
        """An INVITE from `source` (`host:port`) was refused with 403."""
        self.count += 1
        host, _ = split_host_port(source)
        now = self._clock()
        for old in [name for name, at in self._logged.items() if now - at >= _QUIET]:
            del self._logged[old]
        if host in self._logged or len(self._logged) >= _MOST:
            return
        self._logged[host] = now
        log.warning("refused an INVITE from an unknown source", source=host, status=403)
