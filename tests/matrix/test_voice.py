# SPDX-License-Identifier: GPL-3.0-or-later
"""Voice messages as clients get them: in plain rooms and in encrypted ones."""

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.call.ids import Address, RoomId, UserId
from bridge.matrix.attachments import fetch
from bridge.matrix.encryption.seam import NoEncryption
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.homeserver import Patience
from bridge.matrix.portals import Portals
from bridge.matrix.post import Post
from bridge.matrix.voice import VoiceRooms
from bridge.voicemail import Voice
from tests.matrix.fakes import FakeClock, FakeHomeserver, FakeRepository
from tests.matrix.portal_store import MemoryPortalStore

ALICE = UserId("@alice:example.org")
NUMBER = Address("tel:+12025550123")
SAID = Voice(data=b"OggS and so on", seconds=12.3456, waveform=(0, 512, 1024))
BODY = "Voice message from +1 202-555-0123, 14:32 CET, 0:12"


class Sealing(NoEncryption):
    """Every room is encrypted, in a way that can be looked into."""

    active = True

    async def covers(self, room: RoomId, user: UserId) -> bool:
        return True

    async def encrypt(
        self,
        room: RoomId,
        user: UserId,
        person: UserId | None,
        event_type: str,
        content: Mapping[str, Any],
    ) -> tuple[str, Mapping[str, Any]]:
        return "m.room.encrypted", {"for": person, "clear": content}


class Bench:
    """Alice accepts every invitation."""

    def __init__(self, encryption: NoEncryption) -> None:
        self.homeserver = FakeHomeserver()
        self.homeserver.auto_accept.add(ALICE)
        self.repository = FakeRepository()
        store, clock = MemoryPortalStore(), FakeClock()
        portals = Portals(
            ghosts=Ghosts("sip_", "example.org"),
            homeserver=self.homeserver,
            store=store,
            patience=Patience(clock, clock.sleep),
            may_use=lambda _: True,
            is_address=lambda _: True,
            encryption=encryption,
        )
        post = Post(self.homeserver, encryption, store)
        self.rooms = VoiceRooms(portals, self.repository, post, encryption)

    async def deliver(self) -> tuple[str, Mapping[str, Any]]:
        await self.rooms.deliver(ALICE, NUMBER, "Pat", SAID, BODY, "voicemail.ab-1")
        [room] = self.homeserver.rooms
        [sent] = self.homeserver.sent(room)
        paths = [request.path for request in self.homeserver.requests]
        assert paths[-1].endswith("/voicemail.ab-1")
        return sent


@pytest.mark.parametrize("encryption", [NoEncryption(), Sealing()])
async def test_a_message_is_one_for_every_client(encryption: NoEncryption) -> None:
    bench = Bench(encryption)
    kind, content = await bench.deliver()
    if encryption.active:
        assert kind == "m.room.encrypted"
        assert content["for"] == ALICE
        content = content["clear"]
    assert content["msgtype"] == "m.audio"
    assert content["body"] == content["org.matrix.msc1767.text"] == BODY
    assert content["info"] == {"duration": 12346, "mimetype": "audio/ogg", "size": 14}
    assert content["org.matrix.msc1767.audio"] == {"duration": 12346, "waveform": [0, 512, 1024]}
    assert content["org.matrix.msc3245.voice"] == {}
    assert ("file" in content) == encryption.active
    assert ("url" in content) == (not encryption.active)


async def test_a_file_in_an_encrypted_room_can_be_read_by_who_has_the_message() -> None:
    bench = Bench(Sealing())
    _, content = await bench.deliver()
    clear = content["clear"]
    [(address, sealed)] = bench.repository.files.items()
    assert sealed != SAID.data
    assert bench.repository.kinds[address] == (
        "@sip_12025550123:example.org",
        "application/octet-stream",
    )
    assert clear["file"]["url"] == address
    assert clear["file"]["v"] == "v2"
    assert await fetch(bench.repository, clear, 1000) == SAID.data


async def test_in_a_plain_room_it_is_uploaded_as_it_is() -> None:
    bench = Bench(NoEncryption())
    _, content = await bench.deliver()
    [(address, data)] = bench.repository.files.items()
    assert (content["url"], data) == (address, SAID.data)
    assert bench.repository.kinds[address][1] == "audio/ogg"
    assert await bench.rooms.most() == 50_000
