# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the admin page together, where there is one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from bridge.app.office import Archive, Changes, Counter, ServiceOffice
from bridge.config import Web
from bridge.web.server import Health

if TYPE_CHECKING:
    from bridge.web.pages import Pages

log = structlog.get_logger(__name__)


class AdminPage:
    """The page of a bridge that may still be starting; nothing where there is no token."""

    def __init__(self, settings: Web, health: Callable[[], Awaitable[Health]]) -> None:
        self.changes = Changes()
        self._health = health
        self._pages = _pages(settings)

    def serve(self, application: web.Application) -> None:
        """Add the page to what the listener serves."""
        if self._pages is not None:
            self._pages.serve(application)

    def open(
        self, archive: Archive, desk: Counter, load: Callable[[], Sequence[tuple[str, str]]]
    ) -> None:
        """There is something to show."""
        if self._pages is not None:
            self._pages.open(
                ServiceOffice(
                    archive=archive,
                    desk=desk,
                    changes=self.changes,
                    health=self._parts,
                    load=load,
                )
            )

    async def _parts(self) -> tuple[bool, Mapping[str, object]]:
        health = await self._health()
        return health.ready, health.details


def _pages(settings: Web) -> "Pages | None":
    token = settings.token.get_secret_value()
    if not token:
        return None
    # Templates take memory, and are loaded where there is a page alone.
    try:
        from bridge.web.pages import Pages
    except ModuleNotFoundError as error:
        log.warning("there is no admin page: a package is missing", package=error.name)
        return None
    return Pages(token, actions=settings.actions)
