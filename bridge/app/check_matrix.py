# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the homeserver: that it answers, that it knows us, and that it reaches us."""

import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from aiohttp import web

from bridge.app.health import why
from bridge.app.verdicts import Doubt, NotTried
from bridge.config import AppService, Config
from bridge.errors import ConfigurationError, RemoteError

_PATIENCE: Final = aiohttp.ClientTimeout(total=15)
_CLOCK_SKEW: Final = 10.0
"""Seconds that the clocks may differ; calls that look older than they may ring do not ring."""
_PING_SINCE: Final = "v1.7"
_LOAD = (
    "Run matrix-sip generate-registration, name the file in the homeserver's configuration "
    "(app_service_config_files), restart the homeserver."
)


async def reachable(config: Config) -> str:
    """The homeserver answers, and speaks a version that the bridge can use."""
    _, reply = await request(config, "GET", "/_matrix/client/versions")
    versions = reply.get("versions")
    if not isinstance(versions, list) or not versions:
        raise RemoteError(
            f"{config.homeserver.address} is no homeserver: it names no versions",
            remedy="Look at homeserver.address.",
        )
    return f"{config.homeserver.address} answers, up to {versions[-1]}"


async def clock(config: Config, now: Callable[[], float]) -> str:
    """The clocks of homeserver and bridge agree."""
    headers, _ = await request(config, "GET", "/_matrix/client/versions")
    date = headers.get("Date")
    if date is None:
        raise NotTried("not compared: the homeserver does not tell the time")
    try:
        difference = now() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        raise NotTried(f"not compared: {date!r} is no date") from None
    if abs(difference) > _CLOCK_SKEW:
        way = "ahead of" if difference > 0 else "behind"
        raise ConfigurationError(
            f"{abs(difference):.0f} s {way} the homeserver's",
            remedy="Set the clock by NTP on both machines.",
        )
    return "agrees with the homeserver's"


async def as_token(config: Config) -> str:
    """The homeserver knows our token, as our bot's."""
    token = config.appservice.as_token.get_secret_value()
    try:
        _, reply = await request(config, "GET", "/_matrix/client/v3/account/whoami", token)
    except Refused as error:
        raise ConfigurationError(
            f"the homeserver does not accept it: {error}", remedy=_LOAD
        ) from error
    bot = f"@{config.appservice.bot_localpart}:{config.homeserver.domain}"
    if reply.get("user_id") != bot:
        raise ConfigurationError(
            f"it is that of {reply.get('user_id')}, not of {bot}",
            remedy="Look at homeserver.domain and appservice.bot_localpart. " + _LOAD,
        )
    return f"accepted, as {bot}"


async def hs_token(config: Config) -> str:
    """The homeserver reaches us and shows the token that we expect."""
    service = config.appservice
    path = f"/_matrix/client/v1/appservice/{quote(service.id, safe='')}/ping"
    async with _listening(service) as seen:
        try:
            await request(config, "POST", path, service.as_token.get_secret_value(), {})
        except Refused as error:
            raise _explained(service, error, wrong=seen.wrong) from error
    return f"the homeserver reaches {service.address} and shows the right token"


def _explained(service: AppService, error: "Refused", *, wrong: bool) -> ConfigurationError | Doubt:
    if error.errcode in ("M_UNRECOGNIZED", "M_NOT_FOUND"):
        return Doubt(
            f"cannot be checked: the homeserver knows no ping (before {_PING_SINCE}), or no "
            f"application service {service.id!r}",
            remedy="Nothing, if calls from Matrix arrive. Else: " + _LOAD,
        )
    if wrong or error.upstream in (401, 403):
        return ConfigurationError("the homeserver shows another token", remedy=_LOAD)
    if error.errcode in ("M_FORBIDDEN", "M_UNKNOWN_TOKEN"):
        return ConfigurationError(
            f"the homeserver does not let {service.id!r} ping: {error}",
            remedy="Look at appservice.id. " + _LOAD,
        )
    return ConfigurationError(
        f"the homeserver does not reach {service.address}: {error}",
        remedy="Look at appservice.address and appservice.listen, and at firewalls in between. "
        "The homeserver takes the address from the registration.",
    )


class Refused(RemoteError):
    """The homeserver answered with an error. `upstream` is the status that a ping met."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.errcode = str(body.get("errcode", ""))
        upstream = body.get("status")
        self.upstream = upstream if isinstance(upstream, int) else None
        super().__init__(f"HTTP {status} {self.errcode}: {body.get('error', 'no explanation')}")


async def request(
    config: Config,
    method: str,
    path: str,
    token: str = "",
    body: Mapping[str, Any] | None = None,
) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """A request to the homeserver: headers and JSON of its reply. Raises Refused, RemoteError."""
    url = config.homeserver.address.rstrip("/") + path
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=_PATIENCE) as session,
            session.request(method, url, headers=headers, json=body) as reply,
        ):
            content = await reply.json(content_type=None)
            status, answered = reply.status, reply.headers
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RemoteError(
            f"{config.homeserver.address} does not answer: {why(error)}",
            remedy="Look at homeserver.address; does the homeserver run?",
        ) from error
    except ValueError:
        content, status, answered = None, reply.status, reply.headers
    if not isinstance(content, dict):
        content = {"error": "the reply is not that of a homeserver"}
        status = max(status, 400)
    if status >= 400:
        raise Refused(status, content)
    return answered, content


class _Seen:
    """Whether somebody came with a token that is not ours."""

    wrong = False


@asynccontextmanager
async def _listening(service: AppService) -> AsyncIterator[_Seen]:
    """Answer the homeserver's ping; a bridge that has the port already does so itself."""
    seen = _Seen()
    expected = f"Bearer {service.hs_token.get_secret_value()}".encode()

    async def ping(request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "").encode()
        if hmac.compare_digest(shown, expected):
            return web.json_response({})
        seen.wrong = True
        return web.json_response({"errcode": "M_FORBIDDEN"}, status=403)

    application = web.Application()
    application.router.add_post("/_matrix/app/v1/ping", ping)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        with suppress(OSError):
            await web.TCPSite(runner, str(service.listen), service.port).start()
        yield seen
    finally:
        await runner.cleanup()
