# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin listener: whether the bridge works, and its metrics."""

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from bridge.errors import LocalError
from bridge.web.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Health:
    """Whether calls can be made now, and what that follows from."""

    ready: bool
    details: dict[str, Any] = field(default_factory=dict)


class WebServer:
    """Answers `/health`, `/ready` (both: 200 or 503) and `/metrics`."""

    def __init__(self, health: Callable[[], Awaitable[Health]], metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        """The handlers."""
        application = web.Application()
        application.router.add_get("/health", self._show_health)
        application.router.add_get("/ready", self._show_health)
        application.router.add_get("/metrics", self._show_metrics)
        return application

    async def start(self, listen: str, port: int) -> None:
        """Listen. Raises LocalError."""
        self._runner = web.AppRunner(self.application(), access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, listen, port).start()
        except OSError as error:
            await self.stop()
            raise LocalError(
                f"cannot listen on {listen} port {port}: {os.strerror(error.errno or 0)}",
                remedy="Change web.listen or web.port, or stop what uses it.",
            ) from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _show_health(self, request: web.Request) -> web.Response:
        health = await self._health()
        return web.Response(
            status=200 if health.ready else 503,
            text=json.dumps({"ready": health.ready, **health.details}) + "\n",
            content_type="application/json",
        )

    async def _show_metrics(self, request: web.Request) -> web.Response:
        # The content type carries a version, which `content_type=` does not take.
        return web.Response(
            body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
