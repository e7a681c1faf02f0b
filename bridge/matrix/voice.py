# SPDX-License-Identifier: GPL-3.0-or-later
"""Voice messages in portals (MSC3245), with what clients draw of them (MSC1767)."""

from typing import Any, Final

from bridge.call.ids import Address, UserId
from bridge.matrix.attachments import attach
from bridge.matrix.encryption.seam import Encryption
from bridge.matrix.portals import Portals
from bridge.matrix.post import Post
from bridge.matrix.repository import Repository
from bridge.voicemail import Voice

KIND: Final = "audio/ogg"
_FILE: Final = "voice-message.ogg"


class VoiceRooms:
    """Where the messages of callers are posted. Methods raise `BridgeError`."""

    def __init__(
        self, portals: Portals, repository: Repository, post: Post, encryption: Encryption
    ) -> None:
        self._portals = portals
        self._repository = repository
        self._post = post
        self._encryption = encryption

    async def most(self) -> int | None:
        """Octets that the homeserver takes at once; None if it does not say."""
        return await self._repository.limit()

    async def deliver(
        self,
        person: UserId,
        address: Address,
        caller_name: str,
        voice: Voice,
        body: str,
        key: str,
    ) -> None:
        """The ghost of `address` posts a voice message; `key` makes repetitions harmless."""
        room = await self._portals.room_for(person, address, caller_name)
        ghost = self._portals.ghosts.user_id(address)
        encrypted = await self._encryption.covers(room, ghost)
        named = await attach(self._repository, ghost, voice.data, KIND, encrypted=encrypted)
        content = {**_content(voice, body), **named}
        await self._post.send(room, ghost, "m.room.message", content, key, person)


def _content(voice: Voice, body: str) -> dict[str, Any]:
    milliseconds = round(voice.seconds * 1000)
    return {
        "msgtype": "m.audio",
        "body": body,
        "filename": _FILE,
        "info": {"duration": milliseconds, "mimetype": KIND, "size": len(voice.data)},
        "org.matrix.msc1767.text": body,
        "org.matrix.msc1767.audio": {"duration": milliseconds, "waveform": list(voice.waveform)},
        "org.matrix.msc3245.voice": {},
    }
