# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether both sides work: asked by the admin listener, and of it."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import aiohttp
from mautrix.util.async_db import Database

from bridge.config import Web
from bridge.errors import RemoteError
from bridge.sip.trunks import Registration

_PATIENCE = 3.0
"""Seconds that the homeserver and the database may take."""
_KEPT = 5.0
"""Seconds that an answer of the homeserver is good for: health is asked for often."""


class Homeserver:
    """Whether the homeserver answers."""

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = address.rstrip("/") + "/_matrix/client/versions"
        self._clock = clock
        self._answer = False
        self._asked: float | None = None
        self._lock = asyncio.Lock()

    async def answers(self) -> bool:
        """Ask, unless it was asked a moment ago."""
        async with self._lock:
            if self._asked is None or self._clock() - self._asked > _KEPT:
                self._answer = await self._ask()
                self._asked = self._clock()
            return self._answer

    async def _ask(self) -> bool:
        timeout = aiohttp.ClientTimeout(total=_PATIENCE)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url) as reply,
            ):
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


async def database_answers(database: Database) -> bool:
    """Whether the database takes queries."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return bool(await database.fetchval("SELECT 1") == 1)
    except Exception:
        # Whatever it is, the log has it from those who needed the database.
        return False


def trunks_work(registrations: Mapping[Any, Registration]) -> bool:
    """At least one trunk can carry calls, or none is set up."""
    return not registrations or any(each.usable for each in registrations.values())


def admin_url(web: Web, path: str) -> str:
    """Where the admin listener of a bridge on this machine is."""
    host: IPv4Address | IPv6Address = web.listen
    if host.is_unspecified:
        host = IPv4Address("127.0.0.1") if host.version == 4 else IPv6Address("::1")
    return f"http://{f'[{host}]' if host.version == 6 else host}:{web.port}{path}"


def why(error: Exception) -> str:
    """The reason that a request failed for, in a few words."""
    if isinstance(error, aiohttp.ClientConnectorError) and (number := error.os_error.errno):
        return os.strerror(number) if number > 0 else str(error.os_error.strerror)
    return "timed out" if isinstance(error, TimeoutError) else str(error)


async def ask(web: Web) -> tuple[bool, Mapping[str, Any]]:
    """Ask the bridge that runs with these settings: whether it is ready, and details.

    Raises RemoteError when none answers.
    """
    url = admin_url(web, "/health")
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE * 3)) as session,
            session.get(url) as reply,
        ):
            details = await reply.json()
            return reply.status == 200, details
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise RemoteError(
            f"no bridge answers at {url}: {why(error)}",
            remedy="Start it: matrix-sip run",
        ) from None
