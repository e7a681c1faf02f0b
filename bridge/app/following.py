# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has to be told when other settings are in force, since they keep some of them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from bridge.app.accounts import PersonalAccounts
from bridge.app.in_force import InForce
from bridge.app.log_as import log_as
from bridge.call.switchboard import Switchboard
from bridge.config import Config
from bridge.driver import Driver
from bridge.matrix.adapter import MatrixAdapter
from bridge.media.workers.engine import WorkerEngine
from bridge.ports import MediaEngine
from bridge.sip.adapter import SipAdapter

log = structlog.get_logger(__name__)


class Following:
    """Tells them, each time; calls that go on keep what they began with."""

    def __init__(
        self,
        in_force: InForce,
        *,
        switchboard: Switchboard,
        driver: Driver,
        matrix: MatrixAdapter,
        sip: SipAdapter,
        media: MediaEngine,
        accounts: PersonalAccounts,
    ) -> None:
        self._in_force = in_force
        self._switchboard = switchboard
        self._driver = driver
        self._matrix = matrix
        self._sip = sip
        self._media = media
        self._accounts = accounts
        self._before = in_force.config
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """For use once all of them run."""
        self._in_force.follow(self._changed)

    async def close(self) -> None:
        """Tell nobody any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _changed(self) -> None:
        before, now = self._before, self._in_force.config
        self._before = now
        self._switchboard.use(self._in_force.policy)
        self._driver.zone = zone_of(now)
        self._matrix.join_time = join_time_of(now)
        self._sip.use(now.sip)
        log_as(now)
        if isinstance(self._media, WorkerEngine) and now.logging != before.logging:
            self._media.log_as(now.logging)
        if (now.accounts, now.permissions) != (before.accounts, before.permissions):
            self._spawn(self._accounts.follow)

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(self._try(work), name="accounts follow the settings")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception:
            log.exception("people's accounts do not follow the settings")


def zone_of(config: Config) -> ZoneInfo | None:
    """Of the times that people read; None: the machine's."""
    return ZoneInfo(config.notices.timezone) if config.notices.timezone else None


def join_time_of(config: Config) -> float:
    """Seconds that a person may take to join a room; by then, the core has given up."""
    return config.limits.ring_time + 5
