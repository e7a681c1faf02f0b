# SPDX-License-Identifier: GPL-3.0-or-later
"""A homeserver that lacks what not every homeserver has: Synapse, seen through a narrow door.

What the bridge asks passes through here, and what is not in the first versions of the Application
Service API is refused as a server refuses what it has never heard of.
"""

import re
from typing import Any

import aiohttp
from aiohttp import web

from tests.simulators.processes import free_port

_UNKNOWN = re.compile(
    r"/_matrix/client/(?:"
    r"v1/appservice/.*"  # ping
    r"|v3/thirdparty/.*"
    r"|v3/devices/.*"  # MSC4190
    r"|v3/keys/.*|v3/sendToDevice/.*|v3/user/.*/account_data/.*)"
)
_DROPPED = ("Host", "Content-Length", "Transfer-Encoding", "Content-Encoding", "Connection")


class LesserHomeserver:
    """A proxy on loopback, in front of a homeserver that has more."""

    def __init__(self, target: str) -> None:
        self.port = free_port()
        self.refused: list[str] = []
        """Paths that were asked for in vain."""
        self._target = target
        self._http: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where to send requests."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start to listen."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._http = aiohttp.ClientSession()
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Close every connection."""
        if self._runner:
            await self._runner.cleanup()
        if self._http:
            await self._http.close()

    async def _serve(self, request: web.Request) -> web.Response:
        if _UNKNOWN.fullmatch(request.path):
            self.refused.append(request.path)
            body = {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}
            return web.json_response(body, status=404)
        if request.path == "/_matrix/client/versions":
            return web.json_response({"versions": ["r0.6.1", "v1.1", "v1.4"]})
        return await self._pass_on(request)

    async def _pass_on(self, request: web.Request) -> web.Response:
        assert self._http is not None
        headers: Any = {
            name: value for name, value in request.headers.items() if name not in _DROPPED
        }
        async with self._http.request(
            request.method,
            f"{self._target}{request.raw_path}",
            data=await request.read(),
            headers=headers,
        ) as reply:
            passed = {name: value for name, value in reply.headers.items() if name not in _DROPPED}
            return web.Response(status=reply.status, body=await reply.read(), headers=passed)
