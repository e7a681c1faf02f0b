# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the homeserver can do what encryption needs: it is tried, not read off a list."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final

import structlog
from mautrix.types import EventType

from bridge.call.ids import UserId
from bridge.matrix.encryption.client import DeviceClient
from bridge.matrix.encryption.identity import DEVICE_NAME
from bridge.matrix.encryption.seam import KeyTraffic
from bridge.matrix.homeserver import Refused

log = structlog.get_logger(__name__)

WAIT: Final = 5.0
"""Seconds within which a message to our own device has to come back in a transaction."""
_LONGEST_WAITS: Final = 12
_TRIES: Final = 5
"""How often it is sent meanwhile: Synapse drops messages for devices of an application service that
was away, until the events that it has kept for it are delivered."""
_TYPE: Final = "matrix_sip.probe"

NO_DEVICES: Final = (
    "the homeserver does not let the bridge make devices (MSC4190, in Synapse since 1.121;"
    " the registration must say io.element.msc4190)"
)
NO_MESSAGES: Final = (
    "the homeserver does not hand messages for devices to the bridge (MSC2409 and MSC3202, in"
    " Synapse under experimental_features; the registration must say receive_ephemeral and"
    " org.matrix.msc3202)"
)


class Probe:
    """Sends a message from the bot's device to itself, and waits for it in a transaction."""

    def __init__(self) -> None:
        self._word = secrets.token_hex()
        self._came = asyncio.Event()
        self._heard = 0

    def look(self, traffic: KeyTraffic) -> bool:
        """Whether the message was in a transaction, which shows that the way is open."""
        self._heard += 1
        if any(_is_ours(raw, self._word) for raw in traffic.to_device):
            self._came.set()
        return self._came.is_set()

    async def run(self, client: DeviceClient, bot: UserId, wait: float = WAIT) -> str | None:
        """What the homeserver lacks, as part of a sentence; None if nothing."""
        try:
            await client.make_device(DEVICE_NAME)
        except Refused as error:
            log.debug("no device", reason=str(error))
            return NO_DEVICES
        silent = 0
        for _ in range(_TRIES * _LONGEST_WAITS):
            heard = self._heard
            try:
                await self.send(client, bot)
            except Refused as error:
                log.debug("no message to a device", reason=str(error))
                return NO_MESSAGES
            if await self._comes(wait / _TRIES):
                return None
            # After a long time away, much may come before it.
            silent = 0 if heard != self._heard else silent + 1
            if silent == _TRIES:
                break
        return NO_MESSAGES

    async def send(self, client: DeviceClient, bot: UserId) -> None:
        """Send the message once. Raises `HomeserverError`."""
        kind = EventType.find(_TYPE, EventType.Class.TO_DEVICE)
        message: Any = {bot: {client.device_id: {"word": self._word}}}
        await client.send_to_device(kind, message)

    async def _comes(self, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await self._came.wait()
        except TimeoutError:
            return False
        return True


def _is_ours(raw: Mapping[str, Any], word: str) -> bool:
    content = raw.get("content")
    return raw.get("type") == _TYPE and isinstance(content, Mapping) and content.get("word") == word
