# SPDX-License-Identifier: GPL-3.0-or-later
"""A Matrix client with end-to-end encryption: a device with keys, in rooms that are encrypted."""

import logging
import warnings
from typing import Any, Self, cast
from urllib.parse import quote

from mautrix.client import Client
from mautrix.crypto import MemoryCryptoStore, OlmMachine, StateStore
from mautrix.errors import EncryptionError
from mautrix.types import (
    CrossSigningUsage,
    DeviceID,
    DeviceIdentity,
    DeviceLists,
    DeviceOTKCount,
    EncryptedEvent,
    EncryptionAlgorithm,
    Event,
    EventType,
    RequestedKeyInfo,
    RoomEncryptionStateEventContent,
    RoomID,
    SessionID,
    SigningKey,
    ToDeviceEvent,
    UserID,
)

from tests.simulators.matrix_client import Content, MatrixClient
from tests.simulators.synapse import Credentials

ENCRYPTION = {"algorithm": "m.megolm.v1.aes-sha2"}


class _Rooms(StateStore):
    """Every room is encrypted."""

    async def is_encrypted(self, room_id: RoomID) -> bool:
        return True

    async def get_encryption_info(self, room_id: RoomID) -> RoomEncryptionStateEventContent:
        return RoomEncryptionStateEventContent(algorithm=EncryptionAlgorithm.MEGOLM_V1)

    async def find_shared_rooms(self, user_id: UserID) -> list[RoomID]:
        return []


async def _as_matrix_sdk_crypto_does(device: DeviceIdentity, request: RequestedKeyInfo) -> bool:
    """Whoever asks for a key of ours that they were meant to have gets it once more."""
    return True


class _Store(MemoryCryptoStore):
    """mautrix's, which trips over a cross-signing key that it knows already."""

    async def put_cross_signing_key(
        self, user_id: UserID, usage: CrossSigningUsage, key: SigningKey
    ) -> None:
        self._cross_signing_keys.get(user_id, {}).pop(usage, None)
        await super().put_cross_signing_key(user_id, usage, key)


class EncryptedClient(MatrixClient):
    """Reads what is encrypted if it has the key when it sees it, as matrix-js-sdk does calls."""

    def __init__(self, url: str, credentials: Credentials, *, auto_join: bool = True) -> None:
        super().__init__(url, credentials, auto_join=auto_join)
        self.unreadable: list[str] = []
        """Ids of events whose key was missing when they came."""
        user, device = UserID(credentials.user_id), DeviceID(credentials.device_id)
        self._client = Client(user, device, base_url=url, token=credentials.access_token, log=_LOG)
        self._store = _Store(user, "pickle")
        self.machine = OlmMachine(self._client, self._store, _Rooms(), log=cast(Any, _LOG))
        self.machine.allow_key_share = _as_matrix_sdk_crypto_does
        self.keys_asked_for: list[Content] = []

    async def __aenter__(self) -> Self:
        await self._store.open()
        await self._store.put_device_id(self._client.device_id)
        await self.machine.load()
        await self.machine.share_keys()
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__(*_)
        await self._client.api.session.close()

    async def direct_room(self, other: str) -> str:
        """A new encrypted room with `other`, who has joined it when this returns."""
        room = await super().direct_room(other)
        state = f"/rooms/{room}/state/m.room.encryption"
        await self.request("PUT", state, ENCRYPTION)
        return room

    async def cross_sign(self) -> None:
        """Have the device signed by its own user."""
        await self.machine.generate_recovery_key()

    async def send(self, room: str, event_type: str, content: Content) -> str:
        """Send a message event, encrypted."""
        sealed = await self.seal(room, event_type, content)
        return await super().send(room, "m.room.encrypted", sealed)

    async def send_plain(self, room: str, event_type: str, content: Content) -> str:
        """Send a message event as it is."""
        return await super().send(room, event_type, content)

    async def seal(self, room: str, event_type: str, content: Content) -> Content:
        """An event's encrypted content; its key goes to all devices of the room's members."""
        kind = EventType.find(event_type, EventType.Class.MESSAGE)
        try:
            sealed = await self.machine.encrypt_megolm_event(RoomID(room), kind, dict(content))
        except EncryptionError:
            answer = await self.request("GET", f"/rooms/{room}/joined_members")
            users = [UserID(each) for each in answer["joined"]]
            await self.machine.share_group_session(RoomID(room), users)
            sealed = await self.machine.encrypt_megolm_event(RoomID(room), kind, dict(content))
        return cast(Content, sealed.serialize())

    async def send_unreadable(self, room: str) -> None:
        """Send an event whose key nobody is given; what comes after it has another key again."""
        kept = await self._store.get_outbound_group_session(RoomID(room))
        await self._store.remove_outbound_group_session(RoomID(room))
        await self.machine.share_group_session(RoomID(room), [])
        await self.send(room, "m.room.message", {"msgtype": "m.text", "body": "lost"})
        await self._store.remove_outbound_group_session(RoomID(room))
        if kept is not None:
            await self._store.add_outbound_group_session(kept)

    async def session_of_last(self, room: str) -> str:
        """The Megolm session of the newest encrypted event that somebody else sent."""
        path = f"/rooms/{quote(room)}/messages?dir=b&limit=20"
        for raw in (await self.request("GET", path))["chunk"]:
            if raw["type"] == "m.room.encrypted" and raw["sender"] != self.user_id:
                return str(raw["content"]["session_id"])
        raise LookupError("nothing encrypted was sent")

    async def _understand(self, answer: dict[str, Any]) -> None:
        for raw in answer.get("to_device", {}).get("events", []):
            await self._to_device(raw)
        if changed := answer.get("device_lists", {}).get("changed"):
            await self.machine.handle_device_lists(DeviceLists(changed=changed))
        left = answer.get("device_one_time_keys_count", {}).get("signed_curve25519", 0)
        await self.machine.handle_otk_count(DeviceOTKCount(signed_curve25519=left, curve25519=0))
        for room, joined in answer.get("rooms", {}).get("join", {}).items():
            for raw in joined.get("timeline", {}).get("events", []):
                if raw["type"] == "m.room.encrypted" and raw["sender"] != self.user_id:
                    await self._read(room, raw)

    async def _to_device(self, raw: Any) -> None:
        if raw["type"] == "m.room_key_request":
            self.keys_asked_for.append(raw)
        event = ToDeviceEvent.deserialize(raw)
        if event.type == EventType.TO_DEVICE_ENCRYPTED:
            await self.machine.handle_to_device_event(event)
        elif event.type == EventType.ROOM_KEY_REQUEST:
            await self.machine.handle_room_key_request(event)

    async def _read(self, room: str, raw: dict[str, Any]) -> None:
        event = EncryptedEvent.deserialize(cast(Any, {**raw, "room_id": room}))
        if not await self._store.has_group_session(
            RoomID(room), SessionID(raw["content"]["session_id"])
        ):
            self.unreadable.append(raw["event_id"])
            return
        with warnings.catch_warnings():
            # mautrix compares fields that it has deprecated itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            clear: Event = await self.machine.decrypt_megolm_event(event)
        raw["type"] = str(clear.type)
        raw["content"] = clear.content.serialize()


_LOG = logging.getLogger("tests.encrypted_client")
