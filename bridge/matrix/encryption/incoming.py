# SPDX-License-Identifier: GPL-3.0-or-later
"""What the homeserver's transactions bring for our users' devices (MSC2409, MSC3202)."""

import asyncio
import hashlib
import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import asyncpg  # type: ignore[import-untyped]
import structlog
from mautrix.types import JSON, ASToDeviceEvent, EventType

from bridge.call.ids import UserId
from bridge.matrix.encryption.identity import Identity
from bridge.matrix.encryption.people import People
from bridge.matrix.encryption.seam import KeyTraffic
from bridge.matrix.encryption.vault import Vault
from bridge.matrix.homeserver import HomeserverError

log = structlog.get_logger(__name__)

DATABASE_FAILURES: Final = (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
"""What is not the message's fault, so that the message must come again."""
_FEW_KEYS: Final = 25
"""One-time keys left on the homeserver at which new ones are uploaded; it has 50 of a device."""
_REMEMBERED: Final = 1000
_WITHHELD: Final = ("m.room_key.withheld", "org.matrix.room_key.withheld")


class Incoming:
    """Takes messages to devices, changes of people's devices, and counts of one-time keys.

    `withheld` is told the session, the sender and the reason of a key that we shall not get.
    """

    def __init__(
        self,
        vault: Vault,
        identity: Identity,
        people: People,
        withheld: Callable[[str, UserId, str], None],
    ) -> None:
        self._withheld = withheld
        self._vault = vault
        self._identity = identity
        self._people = people
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._refilling: dict[UserId, asyncio.Task[None]] = {}

    async def receive(self, traffic: KeyTraffic) -> None:
        """All of it is in the database when this returns. Raises what the database raises."""
        for person in traffic.changed:
            self._people.changed(person)
        for raw in traffic.to_device:
            await self._take(raw)
        for user, devices in traffic.one_time_keys.items():
            await self._count(user, devices)

    async def close(self) -> None:
        """Stop what goes on in the background."""
        tasks = list(self._refilling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, raw: Mapping[str, Any]) -> None:
        # A transaction may come twice, and an Olm message can be decrypted only once: the second
        # time would look as if the channel had broken.
        print_ = hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).digest()
        if print_ in self._seen:
            return
        try:
            await self._handle(raw)
        except DATABASE_FAILURES:
            raise
        except Exception as error:
            # Anybody may send us anything; what cannot be used must not come again and again.
            log.warning(
                "message to a device dropped",
                sender=raw.get("sender"),
                type=raw.get("type"),
                reason=str(error),
            )
        self._seen[print_] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    async def _handle(self, raw: Mapping[str, Any]) -> None:
        if raw.get("type") in _WITHHELD:
            content = raw["content"]
            session, code = content.get("session_id"), content.get("code")
            if isinstance(session, str):
                self._withheld(session, UserId(str(raw.get("sender"))), str(code))
            return
        event = cast(ASToDeviceEvent, ASToDeviceEvent.deserialize(cast(JSON, raw)))
        user = UserId(str(event.to_user_id))
        if event.type != EventType.TO_DEVICE_ENCRYPTED:
            log.debug("message to a device ignored", type=raw.get("type"), sender=event.sender)
            return
        if await self._identity.device_of(user) != event.to_device_id:
            log.info("message to a device that is not ours", user=user)
            return
        async with self._vault.open(user) as machine:
            await machine.handle_to_device_event(event)

    async def _count(self, user: UserId, devices: Mapping[str, int]) -> None:
        if all(left >= _FEW_KEYS for left in devices.values()) or user in self._refilling:
            return
        own = await self._identity.device_of(user)
        if own is None or devices.get(own, _FEW_KEYS) >= _FEW_KEYS:
            return
        task = asyncio.get_running_loop().create_task(self._refill(user))
        self._refilling[user] = task
        task.add_done_callback(lambda _: self._refilling.pop(user, None))

    async def _refill(self, user: UserId) -> None:
        """Upload one-time keys, by the count of this moment; no transaction waits for it."""
        try:
            async with self._vault.open(user) as machine:
                if machine.account.shared:
                    await machine.publish_keys(await machine.keys_left())
        except HomeserverError as error:
            # The next transaction about this user counts again.
            log.warning("one-time keys not uploaded", user=user, reason=str(error))
        except Exception:
            log.exception("one-time keys could not be uploaded", user=user)
