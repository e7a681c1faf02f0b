# SPDX-License-Identifier: GPL-3.0-or-later
"""What people write in a portal reaches a telephone, and what it writes reaches them."""

from urllib.parse import quote

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMA, PCMU, GatedStage
from tests.simulators.encrypted_client import EncryptedClient
from tests.simulators.matrix_client import MatrixClient, RoomEvent
from tests.simulators.waiting import until, until_async


async def write(client: MatrixClient, room: str, text: str, msgtype: str = "m.text") -> str:
    return await client.send(room, "m.room.message", {"msgtype": msgtype, "body": text})


async def said(client: MatrixClient, words: str, *, room: str | None = None) -> RoomEvent:
    """What the ghost said with these words in it."""
    found = await until(
        lambda: [
            event
            for event in client.seen("m.room.message", room=room)
            if words in event.content["body"]
        ],
        what=f"the ghost said {words!r}",
    )
    return found[0]


async def test_a_text_goes_out(stage: GatedStage, new_matrix_phone: NewMatrixPhone) -> None:
    _, mine = await new_matrix_phone()
    room = await mine.client.direct_room(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_takes_text") as phone:
        event = await write(mine.client, room, "Is anybody there?")
        await phone.succeeds()
        assert f"MESSAGE sip:{PCMU.number}@{PCMU.address}" in phone.messages()
    marker = (event, PCMU.ghost)
    await until(lambda: marker in mine.client.receipts, what="it is marked as read")
    assert mine.client.seen("m.room.message", room=room) == []


async def test_a_text_comes_in_and_makes_a_portal(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, mine = await new_matrix_phone()
    async with stage.scripted_caller(PCMU, "phone_writes", person.number) as phone:
        await phone.succeeds()
    event = await said(mine.client, "Grüße from a telephone")
    assert (event.sender, event.content["msgtype"]) == (PCMU.ghost, "m.text")

    # Asked for: a join and a text at the same moment fork the room, and then /sync shows the state
    # before the text, that is before the join (what MSC4222 is about).
    async def both() -> bool:
        path = f"/rooms/{quote(event.room)}/joined_members"
        found = await mine.client.request("GET", path)
        return set(found["joined"]) == {person.user_id, PCMU.ghost}

    await until_async(both, what="the two were in the room")


async def test_a_telephone_that_takes_no_texts_is_told_of_once(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    room = await mine.client.direct_room(PCMU.ghost)
    for _ in range(2):
        async with stage.scripted_phone(PCMU, "phone_takes_no_text") as phone:
            await write(mine.client, room, "Is anybody there?")
            await phone.succeeds()
    await said(mine.client, "takes no texts", room=room)
    async with stage.scripted_phone(PCMU, "phone_takes_text") as phone:
        await write(mine.client, room, "Is anybody there?")
        await phone.succeeds()
    await said(mine.client, "go through again", room=room)
    assert len(mine.client.seen("m.room.message", room=room)) == 2


async def test_a_trunk_for_calls_only_is_told_of_once(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    room = await mine.client.direct_room(PCMA.ghost)
    await write(mine.client, room, "Is anybody there?")
    notice = await said(mine.client, "can be called, but not texted", room=room)
    assert notice.content["msgtype"] == "m.notice"
    await write(mine.client, room, "Hello?")
    await write(mine.client, room, "cat.jpg", "m.image")
    # Events of a room are handled in order: the call is refused after both.
    await mine.client.send(room, "m.call.invite", {"call_id": "x", "version": "1"})
    await until(lambda: "call event dropped" in stage.bridge.output(), what="all was handled")
    assert len(mine.client.seen("m.room.message", room=room)) == 1


async def test_texts_in_an_encrypted_portal(stage: GatedStage) -> None:
    person = await stage.person()
    async with EncryptedClient(stage.synapse.url, person.credentials) as client:
        room = await client.direct_room(PCMU.ghost)
        async with stage.scripted_phone(PCMU, "phone_takes_text") as phone:
            await write(client, room, "Is anybody there?")
            await phone.succeeds()
        async with stage.scripted_caller(PCMU, "phone_writes", person.number) as phone:
            await phone.succeeds()
        event = await said(client, "Grüße from a telephone", room=room)
        path = f"/rooms/{quote(room)}/event/{quote(event.event_id)}"
        assert (await client.request("GET", path))["type"] == "m.room.encrypted"
        assert not client.unreadable
