# SPDX-License-Identifier: GPL-3.0-or-later
"""What `matrix-sip check` is let look at: settings, and a homeserver that is none."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from bridge.app.check import check
from bridge.app.verdicts import Finding
from bridge.config import Config, parse


@dataclass
class FakeHomeserver:
    """Does for `check` what a homeserver with a registration does."""

    as_token: str = "ours"
    hs_token: str = "theirs"
    bot: str = "@sipbot:mx.test"
    people_bot: str = "@sipbot-people:mx.test"
    way_back: str = ""
    skew: timedelta = timedelta()
    date: str | None = None
    knows_ping: bool = True
    is_one: bool = True
    protocols: tuple[str, ...] | None = ("m.protocol.pstn", "im.vector.protocol.pstn")
    makes_devices: bool = True
    turn_servers: dict[str, Any] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    async def versions(self, request: web.Request) -> web.Response:
        date = self.date or format_datetime(datetime.now(UTC) + self.skew, usegmt=True)
        body = {"versions": ["v1.1", "v1.12"]} if self.is_one else {"hello": "world"}
        return web.json_response(body, headers={"Date": date})

    async def whoami(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") == "Bearer people":
            return web.json_response({"user_id": self.people_bot})
        return self._for_us(request) or web.json_response({"user_id": self.bot})

    async def ping(self, request: web.Request) -> web.Response:
        if not self.knows_ping:
            return web.json_response({"errcode": "M_UNRECOGNIZED"}, status=404)
        if refusal := self._for_us(request):
            return refusal
        if request.match_info["id"] != "matrix-sip":
            return web.json_response({"errcode": "M_FORBIDDEN", "error": "Not you"}, status=403)
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(
                    self.way_back + "/_matrix/app/v1/ping",
                    headers={"Authorization": f"Bearer {self.hs_token}"},
                    json={},
                ) as reply,
            ):
                if reply.status == 200:
                    return web.json_response({"duration_ms": 1})
                body: dict[str, Any] = {"errcode": "M_BAD_STATUS", "status": reply.status}
        except aiohttp.ClientError:
            body = {"errcode": "M_CONNECTION_FAILED", "error": "no way"}
        return web.json_response(body, status=502)

    async def thirdparty(self, request: web.Request) -> web.Response:
        if self.protocols is None:
            return web.json_response({"errcode": "M_UNRECOGNIZED"}, status=404)
        return self._for_us(request) or web.json_response({key: {} for key in self.protocols})

    async def device(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path}")
        if not self.makes_devices:
            return web.json_response({"errcode": "M_NOT_FOUND"}, status=404)
        return self._for_us(request) or web.json_response({})

    async def turn(self, request: web.Request) -> web.Response:
        return self._for_us(request) or web.json_response(self.turn_servers)

    def _for_us(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Bearer {self.as_token}":
            return None
        return web.json_response({"errcode": "M_UNKNOWN_TOKEN", "error": "Who?"}, status=401)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/_matrix/client/versions", self.versions)
        application.router.add_get("/_matrix/client/v3/account/whoami", self.whoami)
        application.router.add_post("/_matrix/client/v1/appservice/{id}/ping", self.ping)
        application.router.add_get("/_matrix/client/v3/thirdparty/protocols", self.thirdparty)
        application.router.add_route("*", "/_matrix/client/v3/devices/{id}", self.device)
        application.router.add_get("/_matrix/client/v3/voip/turnServer", self.turn)
        return application


@dataclass
class World:
    """A homeserver, and settings that are right for it."""

    homeserver: FakeHomeserver
    settings: dict[str, Any]
    directory: Path

    @property
    def config(self) -> Config:
        return parse(yaml.safe_dump(self.settings), directory=self.directory)

    async def findings(self) -> dict[str, Finding]:
        return {finding.what: finding async for finding in check(self.config)}

    async def finding(self, what: str) -> Finding:
        return (await self.findings())[what]
