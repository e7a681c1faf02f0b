# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what the homeserver may lack: the bridge works without, but not every feature does."""

from collections.abc import Mapping
from typing import Any, Final

from bridge.app.check_matrix import Refused, request
from bridge.app.verdicts import Doubt, NotTried
from bridge.config import Config, EncryptionMode
from bridge.errors import ConfigurationError

_DEVICE: Final = "MATRIX_SIP_CHECK"
_PROTOCOLS: Final = ("m.protocol.pstn", "im.vector.protocol.pstn")
_SERVERS: Final = "See docs/reference/homeservers.md for what each feature needs. "
_REGISTER: Final = (
    "Run matrix-sip generate-registration again, replace the file that the homeserver has, restart "
    "the homeserver, then the bridge."
)


async def dial_pad(config: Config, *, running: bool) -> str:
    """Clients are offered the dial pad: the homeserver hands third-party lookups on to us."""
    if not running:
        # Synapse keeps the answer for an hour, also that nobody answered.
        raise NotTried("not asked: the bridge does not run, and Synapse would remember that")
    token = config.appservice.as_token.get_secret_value()
    path = "/_matrix/client/v3/thirdparty/protocols"
    try:
        _, offered = await request(config, "GET", path, token)
    except Refused as error:
        raise Doubt(
            f"clients show none: the homeserver has no third-party lookups ({error})",
            remedy=_SERVERS + "Without it, chats are started with the ghost's Matrix id.",
        ) from error
    missing = [protocol for protocol in _PROTOCOLS if protocol not in offered]
    if missing:
        raise Doubt(
            f"clients show none, or not all do: the homeserver does not offer {missing[0]}",
            remedy=_REGISTER + " Synapse remembers for an hour that the bridge was away.",
        )
    return "offered to clients"


async def encryption(config: Config, health: Mapping[str, Any] | None) -> str:
    """The homeserver lets ghosts have devices; a bridge that runs has tried everything."""
    if config.encryption.mode is EncryptionMode.OFF:
        return "off, as encryption.mode says"
    if health is not None and "encryption" in health:
        if health["encryption"]:
            return "works in the bridge that runs"
        raise _lacking(config, "the bridge that runs has found that the homeserver lacks something")
    try:
        await _try_device(config)
    except Refused as error:
        raise _lacking(
            config, f"the homeserver does not let the bridge make devices (MSC4190): {error}"
        ) from error
    return "ghosts can have devices; whether messages for them come is tried when the bridge starts"


async def _try_device(config: Config) -> None:
    """Make a device of the bot and delete it again (MSC4190)."""
    token = config.appservice.as_token.get_secret_value()
    path = f"/_matrix/client/v3/devices/{_DEVICE}"
    await request(config, "PUT", path, token, {"display_name": "matrix-sip check"})
    await request(config, "DELETE", path, token, {})


def _lacking(config: Config, what: str) -> Doubt | ConfigurationError:
    remedy = (
        _SERVERS + "For Synapse: set msc2409_to_device_messages_enabled and "
        "msc3202_transaction_extensions under experimental_features. " + _REGISTER
    )
    if config.encryption.mode is EncryptionMode.REQUIRE:
        return ConfigurationError(f"encryption.mode is require, but {what}", remedy=remedy)
    return Doubt(f"no calls in encrypted rooms: {what}", remedy=remedy)


async def people_token(config: Config) -> str:
    """The homeserver knows the token of the second registration (portals.auto_join)."""
    bot = f"@{config.appservice.bot_localpart}-people:{config.homeserver.domain}"
    remedy = (
        "Run matrix-sip generate-registration --people, name that file in the homeserver's "
        "configuration too (app_service_config_files), restart the homeserver."
    )
    token = config.portals.people_token.get_secret_value()
    try:
        _, reply = await request(config, "GET", "/_matrix/client/v3/account/whoami", token)
    except Refused as error:
        message = f"the homeserver does not accept it: {error}"
        raise ConfigurationError(message, remedy=remedy) from error
    if reply.get("user_id") != bot:
        raise ConfigurationError(f"it is that of {reply.get('user_id')}, not {bot}", remedy=remedy)
    return f"accepted, as {bot}"
