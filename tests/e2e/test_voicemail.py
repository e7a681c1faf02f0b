# SPDX-License-Identifier: GPL-3.0-or-later
"""A telephone calls, nobody answers, and what it says is in the room: as clients can play it."""

from array import array
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from mautrix.crypto.attachments import decrypt_attachment, encrypt_attachment

from bridge.media.embedded.files import read_samples
from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import G722, PCMU, GatedStage
from tests.simulators.audio import find_tone, sine, write_wav
from tests.simulators.bot_chat import BOT, BotChat
from tests.simulators.bridge_process import Record
from tests.simulators.encrypted_client import ENCRYPTION, EncryptedClient
from tests.simulators.matrix_client import MatrixClient, RoomEvent
from tests.simulators.stage import Line, Person
from tests.simulators.waiting import until

_SPOKEN = 7000
"""Octets of a recording that are more than two seconds."""


def _rooms_tone(data: bytes) -> float:
    samples = array("h", read_samples(BytesIO(data), 16000))
    return find_tone(samples, 16000).hertz


async def _recorded(stage: GatedStage) -> None:
    """Wait until the caller has said enough."""
    folder = stage.directory / "bridge" / "voicemail"
    await until(
        lambda: sum(file.stat().st_size for file in folder.glob("*.ogg")) > _SPOKEN,
        what="something is recorded",
    )


async def _message(client: MatrixClient, ghost: str) -> RoomEvent:
    def found() -> list[RoomEvent]:
        seen = client.seen("m.room.message")
        return [each for each in seen if each.sender == ghost and _is_voice(each)]

    [event] = await until(found, what="the message is in the room")
    return event


def _is_voice(event: RoomEvent) -> bool:
    return bool(event.content["msgtype"] == "m.audio")


def _is_well_described(content: Mapping[str, Any], size: int) -> None:
    assert content["org.matrix.msc3245.voice"] == {}
    audio, info = content["org.matrix.msc1767.audio"], content["info"]
    assert len(audio["waveform"]) > 90
    assert max(audio["waveform"]) == 1024
    assert 2000 < audio["duration"] == info["duration"] < 30_000
    assert (info["mimetype"], info["size"]) == ("audio/ogg", size)


async def _is_told_as_such(stage: GatedStage, person: Person, chat: BotChat) -> None:
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("voicemail", "sip")

    def measured() -> list[Record]:
        return [one for one in stage.bridge.calls(person.user_id) if one.message_s is not None]

    [record] = await until(measured, what="the message's length is on record")
    assert 2 < (record.message_s or 0) < 30
    assert "voicemail, message of 0:" in await chat.say("calls")


async def test_nobody_answers(stage: GatedStage, new_matrix_phone: NewMatrixPhone) -> None:
    person, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    assert "Voicemail is on" in await chat.say("voicemail on")
    async with stage.phone(PCMU, says=500, name="Pat") as phone:
        await phone.dial(stage.uri(person))
        call = await mine.rings()
        assert await call.ended() == "m.call.hangup invite_timeout"
        await phone.hears(784)  # The last of the tones.
        await phone.hears(1000)
        await _recorded(stage)
        await phone.hang_up()
    event = await _message(mine.client, PCMU.ghost)
    content = event.content
    assert content["body"].startswith("Voice message from Pat (+1 202-555-0110), ")
    data = await mine.client.download(content["url"])
    _is_well_described(content, len(data))
    assert abs(_rooms_tone(data) - 500) < 10
    await _is_told_as_such(stage, person, chat)
    assert not list((stage.directory / "bridge" / "voicemail").glob("*.ogg"))


async def test_an_encrypted_room_and_a_greeting(stage: GatedStage, tmp_path: Path) -> None:
    """Do not disturb is on; the greeting comes through an encrypted chat with the bot."""
    person = await stage.person()
    async with EncryptedClient(stage.synapse.url, person.credentials) as client:
        chat = BotChat(client, await _encrypted_room(client, BOT))
        await chat.hears(1)
        await chat.say("voicemail on")
        await chat.say("dnd on")
        await _speak_greeting(client, chat, tmp_path)
        await _encrypted_room(client, G722.ghost)
        await _leave_a_message(stage, person, G722)
        event = await _message(client, G722.ghost)
        file = event.content["file"]
        data = decrypt_attachment(
            await client.download(file["url"]),
            file["key"]["k"],
            file["hashes"]["sha256"],
            file["iv"],
        )
        _is_well_described(event.content, len(data))
        assert abs(_rooms_tone(data) - 500) < 10
        await _is_told_as_such(stage, person, chat)


async def _encrypted_room(client: MatrixClient, other: str) -> str:
    state = {"type": "m.room.encryption", "state_key": "", "content": ENCRYPTION}
    body = {
        "is_direct": True,
        "preset": "trusted_private_chat",
        "invite": [other],
        "initial_state": [state],
    }
    room = str((await client.request("POST", "/createRoom", body))["room_id"])
    await until(lambda: len(client.members(room)) == 2, what=f"{other} joined")
    return room


async def _speak_greeting(client: MatrixClient, chat: BotChat, folder: Path) -> None:
    write_wav(folder / "greeting.wav", sine(650, 1.5, 8000), 8000)
    sealed, named = encrypt_attachment((folder / "greeting.wav").read_bytes())
    address = await client.upload(sealed, "application/octet-stream")
    await chat.say("voicemail greeting")
    before = len(chat.notices)
    content = {
        "msgtype": "m.audio",
        "body": "greeting.wav",
        "file": {**named.serialize(), "url": address},
    }
    await client.send(chat.room, "m.room.message", content)
    assert "callers hear now" in await chat.hears(before + 1)


async def _leave_a_message(stage: GatedStage, person: Person, line: Line) -> None:
    async with stage.phone(line, says=500) as phone:
        await phone.dial(stage.uri(person))
        await phone.hears(650)
        await phone.hears(1000)
        await _recorded(stage)
        await phone.hang_up()
