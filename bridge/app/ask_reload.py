# SPDX-License-Identifier: GPL-3.0-or-later
"""`matrix-sip reload`: has the bridge that runs read its settings anew."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from bridge.app.health import admin_url, why
from bridge.config import Config, InvalidConfig
from bridge.config.load import examine, read_file
from bridge.errors import RemoteError
from bridge.web.reloading import PATH, Reloaded, key_of

_PATIENCE: Final = 60.0
"""Seconds: names of new trunks are looked up, and registrars that are left may be slow."""


def settings(path: Path, environment: Mapping[str, str]) -> Config:
    """Enough of them to find the bridge. Raises ConfigurationError.

    Mistakes are for the bridge to find, which reads the same file, and tells admins of them, too.
    """
    text, directory = read_file(path), path.absolute().parent
    config, problems = examine(text, environment, directory=directory, name=str(path))
    if config is None:
        raise InvalidConfig(problems)
    return config


async def reload(config: Config) -> Reloaded:
    """What came of it. Raises BridgeError where no bridge could be told."""
    status, reply = await _ask(config)
    if status == 401:
        raise RemoteError(
            "the bridge that runs has another appservice.as_token than this file",
            remedy="A token wants a restart; --config names the file that the bridge was started "
            "with.",
        )
    if status not in (200, 422):
        raise RemoteError("the bridge is starting or stopping, or is no bridge of this version")
    return Reloaded(**{key: tuple(value) for key, value in reply.items()})


async def _ask(config: Config) -> tuple[int, Mapping[str, Any]]:
    url = admin_url(config.web, PATH)
    key = key_of(config.appservice.as_token.get_secret_value())
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE)) as session,
            session.post(url, headers={"Authorization": f"Bearer {key}"}) as reply,
        ):
            return reply.status, await reply.json() if reply.status in (200, 422) else {}
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise RemoteError(
            f"no bridge answers at {url}: {why(error)}",
            remedy="Start it: matrix-sip run. If web.listen or web.port are others than it was "
            "started with, it wants a restart.",
        ) from None
