# SPDX-License-Identifier: GPL-3.0-or-later
"""What people say in encrypted rooms, and what else comes with transactions."""

import asyncio
import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from bridge.call.ids import RoomId, UserId
from bridge.errors import StoreUnavailable
from bridge.matrix.encryption.machine import Machine
from bridge.matrix.encryption.seam import KeyTraffic, MissingKey, Unreadable, Withheld
from tests.matrix.encryption.world import ALICE, GHOST, ROOM, World
from tests.simulators.waiting import until

MALLORY = UserId("@mallory:example.org")


async def test_what_a_person_says_is_read(world: World) -> None:
    await world.encryption.ready(GHOST)
    phone = await world.device()
    event = await phone.write(ROOM, [GHOST], "m.call.negotiate", {"call_id": "c1", "odd": [1]})
    await world.deliver()
    clear = await world.encryption.decrypt(event, GHOST)
    assert clear == replace(event, type="m.call.negotiate", content={"call_id": "c1", "odd": [1]})
    assert world.arrived == [event.content["session_id"]]
    # The same event may come again, from the room's history.
    assert await world.encryption.decrypt(event, GHOST) == clear


async def test_a_key_that_has_not_come_is_named(world: World) -> None:
    await world.encryption.ready(GHOST)
    event = await (await world.device()).write(ROOM, [GHOST])
    with pytest.raises(MissingKey) as missing:
        await world.encryption.decrypt(event, GHOST)
    assert missing.value.session == event.content["session_id"]


async def test_a_key_that_was_lost_is_asked_for(world: World) -> None:
    await world.encryption.ready(GHOST)
    phone = await world.device()
    event = await phone.write(ROOM, [GHOST])
    key = world.server.take(GHOST)  # lost while the bridge was down
    await world.encryption.ask(event, GHOST)
    [asked] = world.server.take(ALICE, "m.room_key_request")
    assert asked["content"]["body"]["session_id"] == event.content["session_id"]
    assert asked["content"]["body"]["room_id"] == ROOM
    assert asked["to_device_id"] == "PHONE"
    # A client may send the key itself once more, or hand it on as one of somebody's.
    await world.encryption.receive(KeyTraffic(to_device=key))
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


async def test_a_key_handed_on_by_whom_we_asked_is_taken(world: World) -> None:
    event, forwarded = await _forwarded(world, by=ALICE)
    await world.encryption.ask(event, GHOST)
    await world.encryption.receive(KeyTraffic(to_device=forwarded))
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


async def test_a_key_handed_on_by_anybody_else_is_not(world: World) -> None:
    event, forwarded = await _forwarded(world, by=MALLORY)
    await world.encryption.ask(event, GHOST)
    await world.encryption.receive(KeyTraffic(to_device=forwarded))
    with pytest.raises(MissingKey):
        await world.encryption.decrypt(event, GHOST)


async def test_a_key_nobody_asked_for_is_not_taken(world: World) -> None:
    event, forwarded = await _forwarded(world, by=ALICE)
    await world.encryption.receive(KeyTraffic(to_device=forwarded))
    with pytest.raises(MissingKey):
        await world.encryption.decrypt(event, GHOST)


async def _forwarded(world: World, by: UserId) -> tuple[Any, list[Any]]:
    """An event whose key was lost, and that key, sent on by somebody who has it."""
    from mautrix.types import (
        EncryptionAlgorithm,
        EventType,
        ForwardedRoomKeyEventContent,
        RoomID,
        SessionID,
    )

    await world.encryption.ready(GHOST)
    phone = await world.device()
    event = await phone.write(ROOM, [GHOST])
    world.server.take(GHOST)
    session_id = event.content["session_id"]
    key: Any = await phone.store.get_group_session(RoomID(ROOM), SessionID(session_id))
    sender = phone if by == ALICE else await world.device("EVIL", by)
    content = ForwardedRoomKeyEventContent(
        algorithm=EncryptionAlgorithm.MEGOLM_V1,
        room_id=RoomID(ROOM),
        session_id=SessionID(session_id),
        session_key=key.export_session(0),
        sender_key=key.sender_key,
        signing_key=key.signing_key,
        forwarding_key_chain=[],
    )
    device: Any = await sender.machine.get_or_fetch_device(
        GHOST,  # type: ignore[arg-type]
        next(iter(world.server.devices[GHOST])),  # type: ignore[arg-type]
    )
    await sender.machine.send_encrypted_to_device(device, EventType.FORWARDED_ROOM_KEY, content)
    return event, world.server.take(GHOST)


async def test_an_event_of_somebody_else_s_device_is_not_believed(world: World) -> None:
    await world.encryption.ready(GHOST)
    evil = await world.device("EVIL", MALLORY)
    event = await evil.write(ROOM, [GHOST])
    await world.deliver()
    with pytest.raises(Unreadable, match="not encrypted by a device of @alice"):
        await world.encryption.decrypt(replace(event, sender=ALICE), GHOST)


@pytest.mark.parametrize(
    "change",
    [
        {"ciphertext": "AAAA"},
        {"ciphertext": 7},
        {"algorithm": "m.olm.v1"},
        {"session_id": None},
    ],
)
async def test_what_cannot_be_read_is_an_error(world: World, change: dict[str, Any]) -> None:
    await world.encryption.ready(GHOST)
    event = await (await world.device()).write(ROOM, [GHOST])
    await world.deliver()
    with pytest.raises(Unreadable):
        await world.encryption.decrypt(replace(event, content=event.content | change), GHOST)


async def test_a_replay_as_another_event_is_refused(world: World) -> None:
    await world.encryption.ready(GHOST)
    event = await (await world.device()).write(ROOM, [GHOST])
    await world.deliver()
    await world.encryption.decrypt(event, GHOST)
    with pytest.raises(Unreadable, match="replay"):
        await world.encryption.decrypt(replace(event, id="$again"), GHOST)


async def test_what_was_encrypted_for_another_room_is_refused(world: World) -> None:
    await world.encryption.ready(GHOST)
    phone = await world.device()
    event = await phone.write(ROOM, [GHOST])
    await world.deliver()
    await world.database.execute("UPDATE crypto_megolm_inbound_session SET room_id='!x:y'")
    with pytest.raises(Unreadable, match="another room"):
        await world.encryption.decrypt(replace(event, room=RoomId("!x:y")), GHOST)


async def test_a_transaction_that_comes_twice_does_no_harm(world: World) -> None:
    """An Olm message can be decrypted once; twice would look as if the channel were broken."""
    await world.encryption.ready(GHOST)
    event = await (await world.device()).write(ROOM, [GHOST])
    traffic = KeyTraffic(to_device=world.server.take(GHOST))
    await world.encryption.receive(traffic)
    before = len(world.server.requests)
    await world.encryption.receive(traffic)
    await asyncio.sleep(0.01)
    assert world.server.requests[before:] == []
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


@pytest.mark.parametrize(
    "garbage",
    [
        {},
        {"type": "m.room.encrypted"},
        {"type": "m.room.encrypted", "sender": 1, "content": [], "to_user_id": 2},
        {
            "type": "m.room.encrypted",
            "sender": MALLORY,
            "to_user_id": GHOST,
            "to_device_id": "SIP",
            "content": {"algorithm": "m.olm.v1.curve25519-aes-sha2", "ciphertext": {}},
        },
        {"type": "m.dummy", "sender": MALLORY, "content": {}, "to_user_id": GHOST},
    ],
)
async def test_messages_that_make_no_sense_are_dropped(world: World, garbage: Any) -> None:
    await world.encryption.ready(GHOST)
    device = next(iter(world.server.devices[GHOST]))
    if garbage.get("to_device_id"):
        garbage = {**garbage, "to_device_id": device}
    event = await (await world.device()).write(ROOM, [GHOST])
    messages = [garbage, *world.server.take(GHOST)]
    await world.encryption.receive(KeyTraffic(to_device=messages))
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


async def test_a_key_that_cannot_be_kept_has_to_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.encryption.ready(GHOST)
    event = await (await world.device()).write(ROOM, [GHOST])
    traffic = KeyTraffic(to_device=world.server.take(GHOST))
    kept = Machine.handle_to_device_event

    async def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Machine, "handle_to_device_event", full)
    with pytest.raises(StoreUnavailable):
        await world.encryption.receive(traffic)
    monkeypatch.setattr(Machine, "handle_to_device_event", kept)
    await world.encryption.receive(traffic)
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


async def test_one_time_keys_are_replaced_when_few_are_left(world: World) -> None:
    await world.encryption.ready(GHOST)
    [name] = world.server.devices[GHOST]
    for _ in range(40):
        world.server.one_time[GHOST, name].popitem()
    counts = KeyTraffic(one_time_keys={GHOST: {name: world.server.left(GHOST, name)}})
    await world.encryption.receive(counts)
    await world.encryption.receive(counts)  # the homeserver repeats itself meanwhile
    await until(lambda: world.server.left(GHOST, name) == 50, what="keys were uploaded")
    before = len(world.server.requests)
    await world.encryption.receive(KeyTraffic(one_time_keys={GHOST: {name: 50}}))
    await asyncio.sleep(0.01)
    assert world.server.requests[before:] == []


async def test_counts_of_nobodys_devices_are_ignored(world: World) -> None:
    before = len(world.server.requests)
    await world.encryption.receive(KeyTraffic(one_time_keys={GHOST: {"NONE": 0}}))
    await asyncio.sleep(0.01)
    assert world.server.requests[before:] == []


async def test_uploads_that_fail_are_tried_again_at_the_next_count(world: World) -> None:
    from bridge.matrix.homeserver import Unavailable

    await world.encryption.ready(GHOST)
    [name] = world.server.devices[GHOST]
    world.server.one_time[GHOST, name].clear()
    world.server.failures["keys/upload"] = Unavailable("restarting")
    none = KeyTraffic(one_time_keys={GHOST: {name: 0}})
    await world.encryption.receive(none)
    await until(lambda: not world.server.failures, what="the upload failed")
    await asyncio.sleep(0.01)
    await world.encryption.receive(none)
    await until(lambda: world.server.left(GHOST, name) == 50, what="keys were uploaded")


async def test_a_key_that_the_client_withholds_is_not_waited_for(world: World) -> None:
    await world.encryption.ready(GHOST)
    event = await (await world.device()).write(ROOM, [GHOST])
    world.server.take(GHOST)
    session = event.content["session_id"]
    await world.encryption.receive(KeyTraffic(to_device=[_withheld(MALLORY, session)]))
    with pytest.raises(MissingKey):  # it is not hers to withhold
        await world.encryption.decrypt(event, GHOST)
    await world.encryption.receive(KeyTraffic(to_device=[_withheld(ALICE, session)]))
    with pytest.raises(Withheld, match=r"m\.unverified"):
        await world.encryption.decrypt(event, GHOST)
    assert world.arrived == [session, session]


async def test_a_key_that_comes_after_all_counts(world: World) -> None:
    await world.encryption.ready(GHOST)
    event = await (await world.device()).write(ROOM, [GHOST])
    session = event.content["session_id"]
    await world.encryption.receive(KeyTraffic(to_device=[_withheld(ALICE, session)]))
    await world.deliver()
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


def _withheld(sender: UserId, session: str) -> dict[str, Any]:
    return {
        "type": "m.room_key.withheld",
        "sender": sender,
        "to_user_id": GHOST,
        "to_device_id": "SIP",
        "content": {"session_id": session, "room_id": ROOM, "code": "m.unverified"},
    }


async def test_a_channel_that_is_broken_is_mended(world: World) -> None:
    """The other side has forgotten its half of it; ours cannot decrypt what comes."""
    await world.encryption.ready(GHOST)
    phone = await world.device()
    await phone.write(ROOM, [GHOST])
    [message] = world.server.take(GHOST)
    [name] = world.server.devices[GHOST]
    world.server.one_time[GHOST, name].clear()
    broken = message["content"]["ciphertext"]
    for each in broken.values():
        each["type"], each["body"] = 1, "A" * 80
    await world.encryption.receive(KeyTraffic(to_device=[message]))
    await until(lambda: world.server.take(ALICE, "m.room.encrypted"), what="a new channel is made")
