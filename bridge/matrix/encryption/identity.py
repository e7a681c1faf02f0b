# SPDX-License-Identifier: GPL-3.0-or-later
"""Our users' own devices: made, given keys, and signed, before anybody can look them up."""

import asyncio
import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

import structlog
from mautrix.crypto.cross_signing_key import CrossSigningSeeds

from bridge.call.ids import UserId
from bridge.matrix.encryption.client import DeviceClient
from bridge.matrix.encryption.tables import OwnDevice, OwnDevices
from bridge.matrix.encryption.vault import Vault
from bridge.ports import Sealer

log = structlog.get_logger(__name__)

DEVICE_NAME: Final = "SIP bridge"
NONE_LEFT: Final = 0


class Identity:
    """Devices of our users. Every step can be repeated: a crash in between does no harm."""

    def __init__(
        self,
        devices: OwnDevices,
        vault: Vault,
        sealer: Sealer,
        client: Callable[[UserId, str], DeviceClient],
    ) -> None:
        self._devices = devices
        self._vault = vault
        self._sealer = sealer
        self._client = client
        self._ready: set[UserId] = set()
        self._locks: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()

    async def ready(self, user: UserId) -> None:
        """Give the user a device with keys, cross-signed. Raises `HomeserverError`."""
        if user in self._ready:
            return
        async with self._locks.setdefault(user, asyncio.Lock()):
            own = await self.begun(user)
            if not own.ready:
                await self._make(own)
            self._ready.add(user)

    async def forget(self, user: UserId) -> None:
        """A homeserver that was set up anew knows nothing of the user: tell it everything again."""
        own = await self._devices.get(user)
        if own is None or not own.ready:
            return
        log.warning("the homeserver has forgotten a device", user=user, device=own.device)
        await self._devices.put(replace(own, ready=False))
        async with self._vault.open(user) as machine:
            await machine.forget_published()
        self._ready.discard(user)

    async def begun(self, user: UserId) -> OwnDevice:
        """The user's device, with its id settled for good though nobody may know it yet."""
        own = await self._devices.get(user)
        if own is None:
            # Not a new one at each attempt: each would be a device that others encrypt for.
            own = OwnDevice(user, f"SIP{secrets.token_hex(5).upper()}")
            await self._devices.put(own)
        return own

    async def device_of(self, user: UserId) -> str | None:
        """The id of the user's device, if it has one."""
        own = await self._devices.get(user)
        return None if own is None else own.device

    async def make_device(self, own: OwnDevice) -> None:
        """The device, without keys. Raises `Refused` where the homeserver cannot do that."""
        await self._client(own.user, own.device).make_device(DEVICE_NAME)

    async def _make(self, own: OwnDevice) -> None:
        await self.make_device(own)
        seeds, own = await self._seeds(own)
        async with self._vault.open(own.user) as machine:
            if not machine.account.shared:
                await machine.publish_keys(NONE_LEFT)
            await machine.cross_sign(seeds)
        await self._devices.put(replace(own, ready=True))
        log.info("device made and signed", user=own.user, device=own.device)

    async def _seeds(self, own: OwnDevice) -> tuple[CrossSigningSeeds, OwnDevice]:
        """What the cross-signing keys are made from: kept sealed, before they are published."""
        if own.sealed_seeds is None:
            seeds = CrossSigningSeeds.generate()
            texts = [base64.b64encode(each).decode() for each in seeds]
            own = replace(own, sealed_seeds=self._sealer.seal(json.dumps(texts), _place(own.user)))
            await self._devices.put(own)
            return seeds, own
        texts = json.loads(self._sealer.unseal(own.sealed_seeds, _place(own.user)))
        return CrossSigningSeeds(*map(base64.b64decode, texts)), own


def _place(user: UserId) -> str:
    return f"cross-signing of {user}"
