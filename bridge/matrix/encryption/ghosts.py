# SPDX-License-Identifier: GPL-3.0-or-later
"""The `Encryption` of a homeserver that lets our users have devices."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from mautrix.api import HTTPAPI
from mautrix.types import DeviceID, DeviceIdentity, IdentityKey, RoomID, SessionID, UserID
from mautrix.util.async_db import Database

from bridge.call.ids import RoomId, UserId
from bridge.config import EncryptionMode
from bridge.errors import ConfigurationError, StoreUnavailable
from bridge.matrix.encryption import tables
from bridge.matrix.encryption.client import DeviceClient
from bridge.matrix.encryption.identity import Identity
from bridge.matrix.encryption.incoming import DATABASE_FAILURES, Incoming
from bridge.matrix.encryption.machine import MEGOLM, Machine
from bridge.matrix.encryption.people import People
from bridge.matrix.encryption.probe import NO_MESSAGES, WAIT, Probe
from bridge.matrix.encryption.rooms import Rooms
from bridge.matrix.encryption.seam import (
    ENCRYPTED,
    ENCRYPTION,
    KeyTraffic,
    MissingKey,
    Unreadable,
    Withheld,
)
from bridge.matrix.encryption.tables import AccountStore, OwnDevices
from bridge.matrix.encryption.vault import Vault
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.homeserver import Homeserver, HomeserverError
from bridge.ports import Sealer

log = structlog.get_logger(__name__)

_PLAIN: Final = "Calls work only in encrypted rooms here. Please turn encryption on in this room."
_REMEDY: Final = "Set that up as the how-to on encryption says, or set encryption.mode to off."
_SWEEP: Final = 60.0
_MOST_ASKED: Final = 1000


@dataclass(frozen=True, slots=True)
class Keys:
    """Where keys are kept, and what they are for."""

    mode: EncryptionMode
    database: Database
    sealer: Sealer


class GhostEncryption:
    """Keys of ghosts. `api` makes requests as one of them and its device; `arrived` is told the
    session of each key that comes.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        api: Callable[[UserId, str], HTTPAPI],
        homeserver: Homeserver,
        arrived: Callable[[str], None],
    ) -> None:
        self._mode = keys.mode
        self._api = api
        self._homeserver = homeserver
        self._database = keys.database
        self._pickle_key = keys.sealer.derive("olm pickles")
        self._arrived = arrived
        self._asked: dict[str, UserId] = {}
        self._withheld: dict[str, tuple[UserId, str]] = {}
        self._mending: set[asyncio.Task[None]] = set()
        self._active = False
        self._settled = asyncio.Event()
        self._probe = Probe()
        self.vault = Vault(self._load)
        self._rooms = Rooms(homeserver)
        self._people = People()
        self._identity = Identity(OwnDevices(keys.database), self.vault, keys.sealer, self._client)
        self._incoming = Incoming(self.vault, self._identity, self._people, self._is_withheld)
        self._sweeping: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        """Whether the homeserver can do what is needed."""
        return self._active

    async def open(self) -> None:
        """Make ready for what the homeserver brings."""
        await tables.upgrade(self._database)

    async def find_out(self, bot: UserId, wait: float = WAIT) -> None:
        """Whether the homeserver can do what is needed; takes `wait` seconds if not.

        Raises `HomeserverError`, or `ConfigurationError` where encryption is required.
        """
        own = await self._identity.begun(bot)
        lacking = await self._probe.run(self._client(bot, own.device), bot, wait)
        if lacking is None:
            self._active = True
            log.info("encryption works", mode=self._mode.value)
        elif self._mode is EncryptionMode.REQUIRE:
            raise ConfigurationError(f"encryption.mode is require, but {lacking}", remedy=_REMEDY)
        else:
            log.warning("no calls in encrypted rooms", reason=lacking, remedy=_REMEDY)
        self._settled.set()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        if lacking == NO_MESSAGES:
            self._asking = asyncio.get_running_loop().create_task(self._ask_again(bot, own.device))

    async def stop(self) -> None:
        """Stop what goes on in the background."""
        await self._incoming.close()
        for task in self._mending:
            task.cancel()
        await asyncio.gather(*self._mending, return_exceptions=True)
        for background in filter(None, (self._sweeping, self._asking)):
            background.cancel()
            with suppress(asyncio.CancelledError):
                await background

    @property
    def requires(self) -> bool:
        """See `Encryption`."""
        return self._mode is EncryptionMode.REQUIRE

    async def settled(self) -> bool:
        """See `Encryption`."""
        await self._settled.wait()
        return self._active

    async def ready(self, user: UserId) -> None:
        """See `Encryption`."""
        if await self.settled():
            with _database():
                await self._identity.ready(user)

    async def forget(self, user: UserId) -> None:
        """See `Encryption`."""
        with _database():
            await self._identity.forget(user)

    def initial_state(self) -> list[dict[str, Any]]:
        """See `Encryption`."""
        wanted = self._mode in (EncryptionMode.DEFAULT, EncryptionMode.REQUIRE)
        if not self._active or not wanted:
            return []
        return [{"type": ENCRYPTION, "state_key": "", "content": {"algorithm": MEGOLM}}]

    async def unfit(self, room: RoomId, user: UserId) -> str | None:
        """See `Encryption`."""
        if self._mode is not EncryptionMode.REQUIRE or await self._rooms.encrypted(room, user):
            return None
        return _PLAIN

    async def covers(self, room: RoomId, user: UserId) -> bool:
        """See `Encryption`."""
        return await self.settled() and await self._rooms.encrypted(room, user)

    async def prepare(self, room: RoomId, user: UserId, person: UserId) -> None:
        """See `Encryption`."""
        if not await self.covers(room, user):
            return
        with _database():
            await self._identity.ready(user)
            async with self.vault.open(user) as machine:
                devices = await self._people.devices(person, machine)
                await machine.share(room, devices, complete=True)

    async def encrypt(
        self,
        room: RoomId,
        user: UserId,
        person: UserId | None,
        event_type: str,
        content: Mapping[str, Any],
    ) -> tuple[str, Mapping[str, Any]]:
        """See `Encryption`."""
        if not await self.covers(room, user):
            return event_type, content
        with _database():
            await self._identity.ready(user)
            async with self.vault.open(user) as machine:
                devices: list[DeviceIdentity] = []
                for reader in await self._readers(room, user, person):
                    devices += await self._people.devices(reader, machine)
                await machine.share(room, devices)
                return ENCRYPTED, await machine.write(room, event_type, content)

    async def decrypt(self, event: RoomEvent, user: UserId) -> RoomEvent:
        """See `Encryption`."""
        if not await self.settled():
            raise Unreadable("the homeserver gives us no keys")
        self._rooms.saw_encrypted(event.room)
        with _database():
            try:
                return await self._decrypt(event, user)
            except MissingKey as missing:
                withholder, code = self._withheld.get(missing.session, ("", ""))
                if withholder == event.sender:
                    raise Withheld(code) from missing
                raise

    async def _decrypt(self, event: RoomEvent, user: UserId) -> RoomEvent:
        async with self.vault.open(user) as machine:
            session = await machine.session_of(event)
            sender = await self._people.device_with(event.sender, session.sender_key, machine)
            if sender is None or sender.signing_key != session.signing_key:
                raise Unreadable(f"not encrypted by a device of {event.sender}")
            kind, content = await machine.read(event, session)
        return replace(event, type=kind, content=content)

    async def ask(self, event: RoomEvent, user: UserId) -> None:
        """See `Encryption`."""
        await self.ready(user)
        session = str(event.content.get("session_id"))
        self._asked[session] = event.sender
        if len(self._asked) > _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        named = event.content.get("device_id")
        # Events need not say which device they are from any more (Matrix 1.3).
        devices = [DeviceID(named if isinstance(named, str) and named else "*")]
        sender_key = event.content.get("sender_key")
        with _database():
            async with self.vault.open(user) as machine:
                await machine.request_room_key(
                    RoomID(event.room),
                    IdentityKey(sender_key if isinstance(sender_key, str) else ""),
                    SessionID(session),
                    {UserID(event.sender): devices},
                    timeout=0,
                )
        log.info("asked for the key of an event", room=event.room, person=event.sender)

    async def receive(self, traffic: KeyTraffic) -> None:
        """See `Encryption`."""
        if self._probe.look(traffic) and self._settled.is_set() and not self._active:
            self._active = True
            log.info("encryption works after all: the homeserver was slow")
        with _database():
            await self._incoming.receive(traffic)

    def changed(self, room: RoomId) -> None:
        """See `Encryption`."""
        self._rooms.changed(room)

    def _client(self, user: UserId, device: str) -> DeviceClient:
        return DeviceClient(self._api(user, device), user, device)

    async def _load(self, user: UserId) -> Machine:
        own = await self._identity.begun(user)
        store = AccountStore(user, self._pickle_key, self._database)
        machine = Machine(
            self._client(user, own.device),
            store,
            self._rooms,
            arrived=self._came,
            asked=self._asked.get,
            broken=self._broken,
        )
        await machine.load()
        await store.put_device_id(DeviceID(own.device))
        return machine

    def _is_withheld(self, session: str, sender: UserId, code: str) -> None:
        self._withheld[session] = (sender, code)
        if len(self._withheld) > _MOST_ASKED:
            del self._withheld[next(iter(self._withheld))]
        self._arrived(session)

    def _broken(self, user: UserId, sender: UserId, identity_key: str) -> None:
        async def mend() -> None:
            try:
                async with self.vault.open(user) as machine:
                    await machine.mend(sender, identity_key)
            except Exception:
                log.exception("channel to a device could not be mended", person=sender)

        task = asyncio.get_running_loop().create_task(mend())
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)

    def _came(self, session: str) -> None:
        self._asked.pop(session, None)
        self._withheld.pop(session, None)
        self._arrived(session)

    async def _readers(self, room: RoomId, user: UserId, person: UserId | None) -> set[UserId]:
        if person is not None:
            return {person}
        return set(await self._homeserver.joined_members(room, user)) - {user}

    async def _ask_again(self, bot: UserId, device: str) -> None:
        """The homeserver may only have been slow: try again, ever more rarely."""
        pause = _SWEEP
        while not self._active:
            await asyncio.sleep(pause)
            pause *= 2
            with suppress(HomeserverError):
                await self._probe.send(self._client(bot, device), bot)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self.vault.sweep()


@contextmanager
def _database() -> Iterator[None]:
    """What the database raises is worth another attempt."""
    try:
        yield
    except DATABASE_FAILURES as error:
        raise StoreUnavailable(f"the keys cannot be read or written: {error!r}") from error
