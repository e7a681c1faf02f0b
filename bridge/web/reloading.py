# SPDX-License-Identifier: GPL-3.0-or-later
"""The address at which the bridge is told to read its settings anew."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Final

from aiohttp import web

PATH: Final = "/reload"
_SCHEME: Final = "Bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What came of settings that were read anew; keys as people write them, never values."""

    applied: tuple[str, ...] = ()
    """Keys that count otherwise from now on."""
    restart: tuple[str, ...] = ()
    """Keys that differ, and count when the bridge is started again."""
    problems: tuple[str, ...] = ()
    """What is wrong; then nothing has changed."""
    warnings: tuple[str, ...] = ()
    """What else is wrong, and stays as it was."""


def key_of(as_token: str) -> str:
    """What proves that somebody may: who reads the settings can make it, and nobody else."""
    return hashlib.sha256(b"matrix-sip reload:" + as_token.encode()).hexdigest()


class ReloadPoint:
    """POST only. 200: applied; 422: refused; 401: wrong key; 503: the bridge is not ready."""

    def __init__(self, key: str, reload: Callable[[], Awaitable[Reloaded | None]]) -> None:
        self._key = key
        self._reload = reload

    def serve(self, application: web.Application) -> None:
        """Add it to what the listener serves."""
        application.router.add_post(PATH, self._asked)

    async def _asked(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "").removeprefix(_SCHEME)
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), self._key.encode()):
            return web.json_response({}, status=401)
        done = await self._reload()
        if done is None:
            return web.json_response({}, status=503)
        return web.json_response(asdict(done), status=422 if done.problems else 200)
