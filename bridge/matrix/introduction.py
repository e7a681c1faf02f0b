# SPDX-License-Identifier: GPL-3.0-or-later
"""What bridge and homeserver tell each other at the start: who we are, and the way back."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from bridge import config
from bridge.call.ids import UserId
from bridge.errors import BridgeError, ConfigurationError, RemoteError
from bridge.matrix.encryption.ghosts import GhostEncryption
from bridge.matrix.homeserver import Homeserver, HomeserverError, Patience, Refused, Unavailable

log = structlog.get_logger(__name__)

BOT_NAME: Final = "SIP bridge"
_STARTUP: Final = 120.0
"""Seconds that the homeserver may take to come up: machines start both at once."""
_PINGS: Final = 4
_PING_PAUSE: Final = 1.0
"""Times that the homeserver is asked to call us, and seconds between them."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """The bridge's side of it. `address` is the homeserver's, for messages."""

    homeserver: Homeserver
    settings: config.AppService
    address: str
    bot: UserId
    patience: Patience
    keys: GhostEncryption | None

    async def make(self) -> None:
        """Check our token, our name and the way back, and what the homeserver can encrypt.

        Raises `ConfigurationError` or `RemoteError` with a remedy.
        """
        deadline = self.patience.clock() + _STARTUP

        async def persist(attempt: Callable[[], Awaitable[object]]) -> None:
            await self.patience.persist(attempt, lambda: deadline)

        try:
            await persist(self._register)
            await persist(self._check_identity)
            await persist(lambda: self.homeserver.set_display_name(self.bot, BOT_NAME))
            await persist(self._check_way_back)
            if self.keys is not None:
                keys = self.keys
                await persist(lambda: keys.find_out(self.bot))
        except Unavailable as error:
            raise RemoteError(
                f"the homeserver at {self.address} cannot be reached: {error}",
                remedy="Check homeserver.address, and that the homeserver runs.",
            ) from error
        except Refused as error:
            raise _explain(error) from error

    async def _register(self) -> None:
        if await self.homeserver.register(self.bot) and self.keys is not None:
            await self.keys.forget(self.bot)

    async def _check_identity(self) -> None:
        found = await self.homeserver.whoami()
        if found != self.bot:
            raise ConfigurationError(
                f"the homeserver knows the bridge's bot as {found}, the settings as {self.bot}",
                remedy="Make homeserver.domain and appservice.bot_localpart those of the"
                " registration, and load the registration again.",
            )

    async def _check_way_back(self) -> None:
        try:
            await self._ping()
        except Refused as error:
            if error.errcode in ("M_UNRECOGNIZED", "M_NOT_FOUND") and error.status in (404, 405):
                log.info("homeserver knows no ping; whether it reaches the bridge is unchecked")
                return
            raise ConfigurationError(
                f"the homeserver cannot call the bridge: {error}",
                remedy=f"Check that the homeserver reaches appservice.address"
                f" ({self.settings.address}) and that the registration it has loaded has the"
                " same id and tokens.",
            ) from error

    async def _ping(self) -> None:
        """Right after a restart, Synapse still has connections to the run before in its pool."""
        for _ in range(_PINGS - 1):
            try:
                return await self.homeserver.ping(self.settings.id)
            except Refused as error:
                if error.errcode != "M_CONNECTION_FAILED":
                    raise
            await self.patience.sleep(_PING_PAUSE)
        await self.homeserver.ping(self.settings.id)


def check_tokens(settings: config.AppService) -> None:
    """Without them anybody could pose as the homeserver. Raises `ConfigurationError`."""
    for key in ("as_token", "hs_token"):
        if not _TOKEN.fullmatch(getattr(settings, key).get_secret_value()):
            raise ConfigurationError(
                f"appservice.{key} is empty, or holds what a token cannot",
                remedy="Set it to a long random string of letters and digits, and generate the"
                " registration.",
            )


def _explain(error: HomeserverError) -> BridgeError:
    return ConfigurationError(
        f"the homeserver does not accept the bridge: {error}",
        remedy="Generate the registration again, name it in the homeserver's configuration"
        " (app_service_config_files), restart the homeserver.",
    )
