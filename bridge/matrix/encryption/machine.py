# SPDX-License-Identifier: GPL-3.0-or-later
"""One user's Olm and Megolm: mautrix's machine, told what to do and never left to itself."""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import olm
import structlog
from mautrix.crypto import OlmMachine, StateStore
from mautrix.crypto.cross_signing_key import CrossSigningSeeds
from mautrix.crypto.sessions import InboundGroupSession, OutboundGroupSession
from mautrix.crypto.signature import sign_olm
from mautrix.errors import GroupSessionWithheldError
from mautrix.types import (
    DecryptedOlmEvent,
    DeviceIdentity,
    EncryptionAlgorithm,
    EncryptionKeyAlgorithm,
    EventID,
    EventType,
    ForwardedRoomKeyEventContent,
    IdentityKey,
    KeyID,
    RoomID,
    SessionID,
    TrustState,
    UserID,
)

from bridge.call.ids import RoomId, UserId
from bridge.matrix.encryption.client import DeviceClient
from bridge.matrix.encryption.seam import MissingKey, Unreadable
from bridge.matrix.encryption.tables import AccountStore
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.homeserver import HomeserverError, Unavailable

log = structlog.get_logger(__name__)

_BAD_SESSION: Final[type[Exception]] = cast(Any, olm).OlmGroupSessionError
LOGGER: Final = "mau.crypto"
MEGOLM: Final = "m.megolm.v1.aes-sha2"
Devices = Sequence[DeviceIdentity]


class Machine(OlmMachine):
    """The keys of one of our users. Only one task may use it at a time: see `Vault`.

    `arrived` is told the id of each Megolm session that came. `asked` is whom this user has asked
    for a session: nobody else may hand in the key of somebody else's session. `broken` is told of
    channels that have to be mended: our user, the other one, and the key of that one's device.
    """

    account: Any  # mautrix: None before `load`

    def __init__(
        self,
        client: DeviceClient,
        store: AccountStore,
        rooms: StateStore,
        arrived: Callable[[str], None],
        asked: Callable[[str], UserId | None],
        broken: Callable[[UserId, UserId, str], None],
    ) -> None:
        super().__init__(cast(Any, client), store, rooms, log=cast(Any, logging.getLogger(LOGGER)))
        self._arrived = arrived
        self._asked = asked
        self._broken = broken
        # Nobody reads what we wrote ourselves, and nobody else asks us for it.
        self.dont_store_outbound_keys = True

    @property
    def store(self) -> AccountStore:
        """The user's keys in the database."""
        return cast(AccountStore, self.crypto_store)

    @property
    def device(self) -> str:
        """Our device's id."""
        return str(self.client.device_id)

    # --- our own keys -------------------------------------------------------------------------

    async def publish_keys(self, left: int) -> None:
        """Upload the device's keys if that was never done, and one-time keys to replace used ones.

        `left` is how many the homeserver has.
        """
        user, device = self.client.mxid, self.client.device_id
        keys = None if self.account.shared else self.account.get_device_keys(user, device)
        one_time = self.account.get_one_time_keys(user, device, left)
        if keys is None and not one_time:
            return
        # First of all: what others may soon use must be there after a crash.
        await self.store.put_account(self.account)
        await self.client.upload_keys(one_time_keys=one_time, device_keys=keys)
        self.account.shared = True
        self.account.mark_keys_as_published()
        await self.store.put_account(self.account)

    async def forget_published(self) -> None:
        """The homeserver has none of our keys any more."""
        self.account.shared = False
        await self.store.put_account(self.account)

    async def keys_left(self) -> int:
        """How many one-time keys the homeserver has."""
        counts = await self.client.upload_keys()
        return int(counts.get(EncryptionKeyAlgorithm.SIGNED_CURVE25519, 0))

    async def cross_sign(self, seeds: CrossSigningSeeds) -> None:
        """Publish the user's cross-signing keys, and sign the device with them.

        Homeservers ask application services for no password here. Clients that exclude insecure
        devices share nothing with a device that its own user has not signed.
        """
        private = seeds.to_keys()
        await self._publish_cross_signing_keys(private)
        user, device = self.client.mxid, self.client.device_id
        keys = self.account.get_device_keys(user, device)
        signer = private.self_signing_key
        keys.signatures = {user: {KeyID.ed25519(signer.public_key): sign_olm(keys, signer)}}
        await self.client.upload_one_signature(user, device, keys)

    # --- keys of what we send -----------------------------------------------------------------

    async def share(self, room: RoomId, devices: Devices, *, complete: bool = False) -> None:
        """See to it that exactly these devices can read what is sent to the room next.

        With `complete`, devices that could not be given the current key are given a new one.
        """
        if await self.store.shared_session(room, devices, complete=complete) is not None:
            return
        session = await self._new_outbound_group_session(cast(Any, room))
        await self._open_channels(devices)
        reached = await self._hand_out(session, devices)
        session.shared = True
        missed = len(devices) - reached
        await self.store.save_share(session, devices, missed=missed > 0)
        log.info("room key shared", room=room, devices=reached, missed=missed)

    async def write(
        self, room: RoomId, event_type: str, content: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The content of an encrypted event; only after `share`."""
        kind = EventType.find(event_type, EventType.Class.MESSAGE)
        sealed = await self.encrypt_megolm_event(cast(Any, room), kind, dict(content))
        return cast(dict[str, Any], sealed.serialize())

    async def _open_channels(self, devices: Devices) -> None:
        """Olm sessions with devices that we have never written to."""
        new: defaultdict[Any, dict[Any, DeviceIdentity]] = defaultdict(dict)
        for device in devices:
            if not await self.store.has_session(device.identity_key):
                new[device.user_id][device.device_id] = device
        if not new:
            return
        try:
            await self._create_outbound_sessions(new)
        except HomeserverError:
            raise
        except Exception as error:  # mautrix's way to say that a single device has no keys left
            log.info("device without one-time keys", reason=str(error))

    async def _hand_out(self, session: OutboundGroupSession, devices: Devices) -> int:
        """Send the session's key to each device; returns to how many it could be sent."""
        sealed: defaultdict[Any, dict[Any, Any]] = defaultdict(dict)
        for device in devices:
            channel = await self.store.get_latest_session(device.identity_key)
            if channel is None:
                continue
            sealed[device.user_id][device.device_id] = await self._encrypt_olm_event(
                channel, device, EventType.ROOM_KEY, session.share_content
            )
        if sealed:
            await self.client.send_to_device(EventType.TO_DEVICE_ENCRYPTED, sealed)
        return sum(map(len, sealed.values()))

    # --- what others send ---------------------------------------------------------------------

    async def fetch_devices(self, person: UserId) -> None:
        """Ask the homeserver for a person's devices, and keep them for every account."""
        found = await self._fetch_keys([cast(Any, person)], include_untracked=True)
        if person not in map(str, found):
            raise Unavailable(f"the devices of {person} cannot be had")

    async def session_of(self, event: RoomEvent) -> InboundGroupSession:
        """The session that an event was encrypted with. Raises `MissingKey` or `Unreadable`."""
        content = event.content
        session_id = content.get("session_id")
        if content.get("algorithm") != MEGOLM or not isinstance(session_id, str):
            raise Unreadable(f"unknown algorithm {content.get('algorithm')!r}")
        try:
            session = await self.store.get_group_session(RoomID(event.room), SessionID(session_id))
        except GroupSessionWithheldError as error:
            raise Unreadable("the key was withheld") from error
        if session is None:
            raise MissingKey(session_id)
        return session

    async def read(self, event: RoomEvent, session: InboundGroupSession) -> tuple[str, Any]:
        """Type and content of what an event says. Raises `Unreadable`."""
        ciphertext = event.content.get("ciphertext")
        if not isinstance(ciphertext, str):
            raise Unreadable("there is no ciphertext")
        try:
            plaintext, index = session.decrypt(ciphertext)
        except (_BAD_SESSION, ValueError) as error:
            raise Unreadable(f"not decrypted: {error}") from error
        # The same index in another event is a replay. `0`: the same event may come twice, from a
        # transaction and from the room's history, and the times that we know of it differ.
        if not await self.store.validate_message_index(
            session.sender_key, SessionID(session.id), EventID(event.id), index, 0
        ):
            raise Unreadable("a replay of another event")
        return _payload(plaintext, event.room)

    async def mend(self, sender: UserId, identity_key: str) -> None:
        """Make a new channel to a device whose messages cannot be decrypted; not too often."""
        await super()._unwedge_session(UserID(sender), IdentityKey(identity_key))

    async def _unwedge_session(self, sender: Any, sender_key: Any) -> None:
        """mautrix would do it at once, beside whatever else this machine is used for."""
        self._broken(UserId(str(self.client.mxid)), UserId(str(sender)), str(sender_key))

    async def resolve_trust(self, device: DeviceIdentity, allow_fetch: bool = True) -> TrustState:
        """Nobody is blacklisted; a person may call from every device of theirs."""
        return device.trust

    async def on_devices_changed(self, user_id: Any) -> None:
        """Nothing: whether a key was shared with all devices is asked when it is used."""

    def _mark_session_received(self, session_id: Any) -> None:
        super()._mark_session_received(session_id)
        self._arrived(str(session_id))

    async def _receive_forwarded_room_key(self, evt: DecryptedOlmEvent) -> None:
        """A session's key from somebody who did not make it: only from whom we asked."""
        content = cast(ForwardedRoomKeyEventContent, evt.content)
        if content.algorithm != EncryptionAlgorithm.MEGOLM_V1:
            return
        if self._asked(str(content.session_id)) != str(evt.sender):
            log.warning("room key that nobody asked for", sender=evt.sender)
            return
        await super()._receive_forwarded_room_key(evt)


def _payload(plaintext: str, room: RoomId) -> tuple[str, dict[str, Any]]:
    try:
        payload = json.loads(plaintext)
    except ValueError as error:
        raise Unreadable("what was encrypted is not JSON") from error
    if not isinstance(payload, dict) or payload.get("room_id") != room:
        raise Unreadable("encrypted for another room")
    kind, content = payload.get("type"), payload.get("content")
    if not isinstance(kind, str) or not isinstance(content, dict):
        raise Unreadable("what was encrypted is no event")
    return kind, content
