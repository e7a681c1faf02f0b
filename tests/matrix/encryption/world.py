# SPDX-License-Identifier: GPL-3.0-or-later
"""Ghosts and a person who write to each other, with real Olm and a real database between."""

import json
from collections.abc import Mapping
from typing import Any, cast

from mautrix.crypto import MemoryCryptoStore, OlmMachine, StateStore
from mautrix.types import (
    ASToDeviceEvent,
    DeviceID,
    EncryptionAlgorithm,
    EventType,
    RoomEncryptionStateEventContent,
    RoomID,
    UserID,
)
from mautrix.util.async_db import Database

from bridge.call.ids import RoomId, UserId
from bridge.config import EncryptionMode
from bridge.matrix.encryption.client import DeviceClient
from bridge.matrix.encryption.ghosts import GhostEncryption, Keys
from bridge.matrix.encryption.seam import KeyTraffic
from bridge.matrix.envelope import RoomEvent
from bridge.store.secrets import Sealer
from tests.matrix.encryption.key_server import KeyServer
from tests.matrix.fakes import FakeHomeserver, FakeRoom

BOT = UserId("@sipbot:example.org")
ALICE = UserId("@alice:example.org")
GHOST = UserId("@sip_12025550123:example.org")
OTHER = UserId("@sip_12025550145:example.org")
ROOM = RoomId("!one:example.org")
ELSEWHERE = RoomId("!two:example.org")
MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2"}
SEALER = Sealer(b"what nobody could ever guess")


class Homeserver(FakeHomeserver):
    """Rooms that are encrypted, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.encryption: dict[str, Mapping[str, Any]] = {ROOM: MEGOLM, ELSEWHERE: MEGOLM}

    async def state(
        self, room: RoomId, user: UserId, event_type: str, state_key: str = ""
    ) -> Mapping[str, Any]:
        if event_type != "m.room.encryption":
            return await super().state(room, user, event_type, state_key)
        self.asked = getattr(self, "asked", 0) + 1
        return self.encryption.get(room, {})

    async def joined_members(self, room: RoomId, user: UserId) -> frozenset[UserId]:
        members = self.rooms.get(room, FakeRoom()).members
        return frozenset(UserId(each) for each in members)


class _Rooms(StateStore):
    async def is_encrypted(self, room_id: RoomID) -> bool:
        return True

    async def get_encryption_info(self, room_id: RoomID) -> RoomEncryptionStateEventContent:
        return RoomEncryptionStateEventContent(algorithm=EncryptionAlgorithm.MEGOLM_V1)

    async def find_shared_rooms(self, user_id: UserID) -> list[RoomID]:
        return []


class Device:
    """One device of a person, by mautrix's own machine."""

    def __init__(self, server: KeyServer, user: UserId, name: str) -> None:
        server.made.add((user, name))
        self.server, self.user, self.name = server, user, name
        client = DeviceClient(server.api(user, name), user, name)
        self.store = MemoryCryptoStore(UserID(user), "pickle")
        self.machine = OlmMachine(cast(Any, client), self.store, _Rooms())
        self._number = 0

    async def start(self) -> "Device":
        await self.store.put_device_id(DeviceID(self.name))
        await self.machine.load()
        await self.machine.share_keys(0)
        return self

    async def hear(self) -> list[str]:
        """Take the messages for this device; returns their types."""
        mine = [m for m in self.server.messages if m["to_device_id"] == self.name]
        self.server.messages = [m for m in self.server.messages if m not in mine]
        for raw in mine:
            event = ASToDeviceEvent.deserialize(cast(Any, raw))
            if event.type == EventType.TO_DEVICE_ENCRYPTED:
                await self.machine.handle_to_device_event(event)
        return [raw["type"] for raw in mine]

    async def read(self, room: RoomId, content: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """What an encrypted event says; raises `LookupError` without its key."""
        session = await self.store.get_group_session(RoomID(room), cast(Any, content["session_id"]))
        if session is None:
            raise LookupError("no key")
        plain, _ = session.decrypt(str(content["ciphertext"]))
        payload = json.loads(plain)
        return payload["type"], payload["content"]

    async def write(
        self,
        room: RoomId,
        to: list[UserId],
        event_type: str = "m.call.invite",
        content: Mapping[str, Any] | None = None,
        *,
        new_key: bool = False,
    ) -> RoomEvent:
        """An encrypted event of this device; its key is on the way to those who may read it."""
        if new_key:
            await self.store.remove_outbound_group_session(RoomID(room))
        if await self.store.get_outbound_group_session(RoomID(room)) is None:
            users = [UserID(each) for each in to]
            await self.machine.share_group_session(RoomID(room), users)
        kind = EventType.find(event_type, EventType.Class.MESSAGE)
        sealed = await self.machine.encrypt_megolm_event(
            RoomID(room), kind, dict(content or {"call_id": "c1"})
        )
        self._number += 1
        return event(room, self.user, cast(Any, sealed.serialize()), f"${self.name}{self._number}")


def event(room: RoomId, sender: UserId, content: dict[str, Any], name: str = "$event") -> RoomEvent:
    """An encrypted event as it came."""
    return RoomEvent(
        room=room, id=name, type="m.room.encrypted", sender=sender, content=content, sent_at=1000.0
    )


class World:
    """The bridge's side. `arrived` lists the sessions whose keys came."""

    def __init__(
        self, database: Database, mode: EncryptionMode = EncryptionMode.ALLOW, sealer: Any = SEALER
    ) -> None:
        self.server = KeyServer()
        self.homeserver = Homeserver()
        self.arrived: list[str] = []
        self.database = database
        self.encryption = self.again(mode, sealer)

    def again(
        self, mode: EncryptionMode = EncryptionMode.ALLOW, sealer: Any = SEALER
    ) -> GhostEncryption:
        """The bridge, started once more on the same database."""
        self.encryption = GhostEncryption(
            Keys(mode, self.database, sealer),
            api=self.server.api,
            homeserver=self.homeserver,
            arrived=self.arrived.append,
        )
        return self.encryption

    async def start(self) -> "World":
        await self.encryption.open()
        finding = self.encryption.find_out(BOT, wait=1)
        await self._answering(finding)
        return self

    async def _answering(self, finding: Any) -> None:
        """Hand the bot's message to itself back, as a homeserver would in a transaction."""
        import asyncio

        task = asyncio.ensure_future(finding)
        while not task.done():
            await asyncio.sleep(0)
            if messages := self.server.take(BOT):
                await self.encryption.receive(KeyTraffic(to_device=messages))
        await task

    async def device(self, name: str = "PHONE", user: UserId = ALICE) -> Device:
        """A device of a person."""
        return await Device(self.server, user, name).start()

    async def deliver(self, *users: UserId) -> None:
        """Bring our users the messages that wait for them, in one transaction."""
        messages = [m for user in users or (GHOST, OTHER) for m in self.server.take(user)]
        await self.encryption.receive(KeyTraffic(to_device=messages))

    async def say(self, room: RoomId = ROOM, user: UserId = GHOST) -> Mapping[str, Any]:
        """The content of an encrypted event of a ghost for Alice."""
        kind, content = await self.encryption.encrypt(
            room, user, ALICE, "m.call.invite", {"call_id": "~1"}
        )
        assert kind == "m.room.encrypted"
        return content
