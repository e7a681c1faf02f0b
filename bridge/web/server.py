# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin listener: whether the bridge works, its metrics, and what else is served there."""

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from bridge.errors import LocalError
from bridge.web.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Health:
    """Whether calls can be made now, and what that follows from."""

    ready: bool
    details: dict[str, Any] = field(default_factory=dict)


_GOODBYE: Final = 2.0
"""Seconds that pages which are open get to end."""


class WebServer:
    """Answers `/health/live`, `/health/ready` (200 or 503; `/health` and `/ready` are the same) and
    `/metrics`, and what `more` adds."""

    def __init__(
        self,
        health: Callable[[], Awaitable[Health]],
        metrics: Metrics,
        more: Callable[[web.Application], None] = lambda application: None,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._more = more
        self._runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        """The handlers."""
        application = web.Application()
        for path in ("/health", "/ready", "/health/ready"):
            application.router.add_get(path, self._show_health)
        application.router.add_get("/health/live", self._show_life)
        application.router.add_get("/metrics", self._show_metrics)
        self._more(application)
        return application

    async def start(self, listen: str, port: int) -> None:
        """Listen. Raises LocalError."""
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=_GOODBYE)
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

    async def _show_life(self, request: web.Request) -> web.Response:
        """That this is answered at all says that the process is not stuck."""
        return web.json_response({"alive": True})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        # The content type carries a version, which `content_type=` does not take.
        return web.Response(
            body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
