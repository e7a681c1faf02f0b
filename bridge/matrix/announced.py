# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether clients are told of the dial pad, and that they go on being told while we restart.

Synapse asks for a protocol's description when a client asks for it, and keeps the reply for an
hour; it keeps a failure as long. Whoever asks regularly has it keep a good one nearly always.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bridge.matrix.homeserver import Homeserver, HomeserverError
from bridge.matrix.lookups import PROTOCOLS

log = structlog.get_logger(__name__)

ASKED_EVERY: Final = 300.0
"""Seconds: a good description that is forgotten is replaced this soon."""


class Announced:
    """Asks the homeserver what it tells clients, again and again."""

    def __init__(
        self,
        homeserver: Homeserver,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._homeserver = homeserver
        self._sleep = sleep
        self._known: bool | None = None

    async def run(self) -> None:
        """Ask again, for ever."""
        while True:
            await self._sleep(ASKED_EVERY)
            await self.look()

    async def look(self) -> None:
        """Ask once; logs what has changed."""
        try:
            known = await self._homeserver.protocols()
        except HomeserverError as error:
            log.debug("homeserver did not say whether it has a dial pad", reason=str(error))
            return
        shown = known.issuperset(PROTOCOLS)
        if shown is self._known:
            return
        self._known = shown
        if shown:
            log.info("clients are shown the dial pad")
        else:
            log.warning(
                "clients are shown no dial pad",
                remedy="If the registration lacks `protocols`, generate it again and restart the"
                " homeserver. If a client asked while the bridge was down, Synapse forgets that"
                " within an hour. Some homeservers have no lookups.",
            )
