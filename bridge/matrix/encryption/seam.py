# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rest of the adapter asks of encryption, and the answers of a bridge that has none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bridge.call.ids import RoomId, UserId
from bridge.errors import RemoteError
from bridge.matrix.envelope import RoomEvent

ENCRYPTED: Final = "m.room.encrypted"
ENCRYPTION: Final = "m.room.encryption"


class MissingKey(RemoteError):
    """The key of an event has not arrived (yet). `session` is the id of its Megolm session."""

    def __init__(self, session: str) -> None:
        super().__init__("the key of the event has not arrived")
        self.session = session


class Unreadable(RemoteError):
    """An encrypted event that no key will make readable or believable."""


class Withheld(Unreadable):
    """The sender's client will not give us the key of an event. `code` is its reason."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the key of the event is withheld: {code}")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTraffic:
    """What a transaction brings besides room events (MSC2409, MSC3202), as it came."""

    to_device: Sequence[Mapping[str, Any]] = ()
    changed: Sequence[UserId] = ()
    """People whose devices changed."""
    one_time_keys: Mapping[UserId, Mapping[str, int]] = field(default_factory=dict)
    """How many one-time keys the homeserver has left, by user and device."""


class Encryption(Protocol):
    """End-to-end encryption of our users.

    Methods raise `HomeserverError` and `StoreUnavailable` unless they say.
    """

    @property
    def active(self) -> bool:
        """Whether encrypted rooms can be read and written at all."""

    @property
    def requires(self) -> bool:
        """Whether what is not encrypted does not count."""

    async def settled(self) -> bool:
        """Whether it is active; waits while that is being found out, right after the start."""

    async def ready(self, user: UserId) -> None:
        """Give one of our users a device with keys, cross-signed; at once where it has them."""

    async def forget(self, user: UserId) -> None:
        """The homeserver did not know this user: nor can it know its device, or keys."""

    def initial_state(self) -> list[dict[str, Any]]:
        """State that rooms which the bridge makes start with."""

    async def unfit(self, room: RoomId, user: UserId) -> str | None:
        """Why the settings want no calls in this room, as a sentence; None if they do."""

    async def covers(self, room: RoomId, user: UserId) -> bool:
        """Whether what `user` sends there is encrypted."""

    async def prepare(self, room: RoomId, user: UserId, person: UserId) -> None:
        """Let every device of the person have the key of what `user` will send next."""

    async def encrypt(
        self,
        room: RoomId,
        user: UserId,
        person: UserId | None,
        event_type: str,
        content: Mapping[str, Any],
    ) -> tuple[str, Mapping[str, Any]]:
        """The type and content to send; unchanged where the room is not encrypted.

        `person` may read it; None: whoever has joined the room.
        """

    async def decrypt(self, event: RoomEvent, user: UserId) -> RoomEvent:
        """What an encrypted event says to `user`. Raises `MissingKey`, or `Unreadable`."""

    async def ask(self, event: RoomEvent, user: UserId) -> None:
        """Ask the devices of an event's sender for its key."""

    async def receive(self, traffic: KeyTraffic) -> None:
        """Take what came with a transaction; once this returns, nothing of it can be lost.

        Raises `StoreUnavailable`: then the transaction must come again.
        """

    def changed(self, room: RoomId) -> None:
        """The room's encryption may have changed."""


class NoEncryption:
    """An `Encryption` that does nothing."""

    active = False
    requires = False

    async def settled(self) -> bool:
        """No."""
        return False

    async def ready(self, user: UserId) -> None:
        """Nothing is needed."""

    async def forget(self, user: UserId) -> None:
        """Nothing is known."""

    def initial_state(self) -> list[dict[str, Any]]:
        """Plain rooms."""
        return []

    async def unfit(self, room: RoomId, user: UserId) -> str | None:
        """Every room will do; encrypted events are answered when they come."""
        return None

    async def covers(self, room: RoomId, user: UserId) -> bool:
        """No."""
        return False

    async def prepare(self, room: RoomId, user: UserId, person: UserId) -> None:
        """No keys."""

    async def encrypt(
        self,
        room: RoomId,
        user: UserId,
        person: UserId | None,
        event_type: str,
        content: Mapping[str, Any],
    ) -> tuple[str, Mapping[str, Any]]:
        """As it is."""
        return event_type, content

    async def decrypt(self, event: RoomEvent, user: UserId) -> RoomEvent:
        """Never possible."""
        raise Unreadable("the bridge reads no encrypted events")

    async def ask(self, event: RoomEvent, user: UserId) -> None:
        """Nobody is asked."""

    async def receive(self, traffic: KeyTraffic) -> None:
        """Nobody has sent us keys."""

    def changed(self, room: RoomId) -> None:
        """It does not matter."""


NONE: Final = NoEncryption()
