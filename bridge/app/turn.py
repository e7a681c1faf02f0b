# SPDX-License-Identifier: GPL-3.0-or-later
"""The TURN servers that the homeserver gives its users: asked for again before they expire."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from bridge.errors import BridgeError
from bridge.records import IceServer

log = structlog.get_logger(__name__)

RETRY: Final = 60.0
"""Seconds until the homeserver is asked again that did not answer."""
NONE: Final = 3600.0
"""The same, where it names no server."""
LEAST: Final = 30.0
"""Seconds between two questions, however soon it all expires."""


Named = tuple[tuple[IceServer, ...], float]
"""What the homeserver said, and for how many seconds user name and password are good."""


class Engine(Protocol):
    """Who uses them."""

    def use_servers(self, servers: Sequence[IceServer]) -> None:
        """From now on, in place of those before."""


async def follow_homeserver(
    ask: Callable[[], Awaitable[Named]],
    engine: Engine,
    *,
    clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Let the engine use what the homeserver names, for ever.

    They are asked for when half their time is over: who calls in the meantime may talk for
    the other half. What has expired while the homeserver did not answer is not used.
    """
    until, used = 0.0, False
    while True:
        try:
            servers, lasts = await ask()
        except BridgeError as error:
            log.warning("the homeserver names no TURN servers", error=str(error))
            if used and clock() >= until:
                engine.use_servers(())
                used = False
            await sleep(RETRY)
            continue
        engine.use_servers(servers)
        until, used = clock() + lasts, bool(servers)
        log.info("TURN servers", servers=[each.url for each in servers], seconds=lasts)
        await sleep(max(LEAST, lasts / 2) if used else NONE)
