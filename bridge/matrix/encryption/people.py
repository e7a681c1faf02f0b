# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of people: fetched in this one place, for all of our users.

mautrix keeps one list of a person's devices for all accounts in a database.
"""

import asyncio
from weakref import WeakValueDictionary

from mautrix.types import DeviceIdentity, IdentityKey, UserID

from bridge.call.ids import UserId
from bridge.matrix.encryption.machine import Devices, Machine


class People:
    """Who has which devices. A list counts until the homeserver says that it changed.

    What changed while the bridge was down, it may not say: after a start every list is old.
    """

    def __init__(self) -> None:
        self._current: set[UserId] = set()
        self._locks: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()

    def changed(self, person: UserId) -> None:
        """Fetch the person's devices again before they are next used."""
        self._current.discard(person)

    async def devices(self, person: UserId, machine: Machine) -> Devices:
        """All devices of a person, asked for by `machine` if need be."""
        if person in self._current:
            return await _kept(person, machine)
        async with self._locks.setdefault(person, asyncio.Lock()):
            if person not in self._current:
                # First: a change that is announced meanwhile must not be forgotten.
                self._current.add(person)
                try:
                    await machine.fetch_devices(person)
                except BaseException:
                    self._current.discard(person)
                    raise
            return await _kept(person, machine)

    async def device_with(
        self, person: UserId, identity_key: str, machine: Machine
    ) -> DeviceIdentity | None:
        """The person's device that has this key, looked up anew if it is not known."""
        wanted = UserID(person), IdentityKey(identity_key)
        found = await machine.store.find_device_by_key(*wanted)
        if found is None:
            self.changed(person)
            await self.devices(person, machine)
            found = await machine.store.find_device_by_key(*wanted)
        return found


async def _kept(person: UserId, machine: Machine) -> Devices:
    kept = await machine.store.get_devices(UserID(person)) or {}
    return [device for device in kept.values() if not device.deleted]
