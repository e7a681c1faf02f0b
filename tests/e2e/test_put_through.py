# SPDX-License-Identifier: GPL-3.0-or-later
"""A person transfers a call where no telephone does it: the bridge lets the two talk.

The first telephone speaks PCMU, the second G.722, each in another tone.
"""

from tests.e2e.conftest import NewBrowserClient, NewMatrixPhone
from tests.e2e.stage import GUEST, LOBBY, PCMU, REFERRED, GatedStage
from tests.e2e.test_transfers import reads, transfer
from tests.simulators.baresip import Phone
from tests.simulators.stage import Person
from tests.simulators.waiting import until_async

_LOBBY, _GUEST = 1000, 1700
"""What the telephones say, in hertz."""


async def talk_until_one_hangs_up(
    stage: GatedStage, person: Person, lobby: Phone, guest: Phone
) -> None:
    """Both hear each other, and end together; both calls are on the record."""
    await lobby.hears(_GUEST)
    await guest.hears(_LOBBY)
    await guest.hang_up()
    await lobby.sees("CALL_CLOSED")
    await stage.bridge.ended(person.user_id, count=2)
    records = stage.bridge.calls(person.user_id)
    assert {record.address for record in records} == {
        f"tel:{LOBBY.number}",
        f"tel:{GUEST.number}",
    }
    for record in records:
        assert (record.cause, record.ended_by) == ("normal", "sip")
        assert record.statistics["mode"] == "transcode"
        # A quarter of a second was heard at least.
        assert record.statistics["sip_packets_received"] > 10


async def test_two_telephones_talk_and_the_person_is_out_of_it(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    async with stage.phone(LOBBY, says=_LOBBY) as lobby, stage.phone(GUEST, says=_GUEST) as guest:
        call = await caller.call(await caller.client.direct_room(LOBBY.ghost))
        await call.connected()
        await call.voice.hears(_LOBBY)
        await transfer(call, GUEST.ghost)
        assert (await call.ended()).startswith("m.call.hangup")
        await talk_until_one_hangs_up(stage, person, lobby, guest)


async def test_a_telephone_that_refuses_to_go_is_put_through(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """It echoes what it hears, so that the other one hears itself."""
    person, caller = await new_matrix_phone()
    room = await caller.client.direct_room(PCMU.ghost)
    async with (
        stage.scripted_phone(PCMU, "phone_refuses_transfer") as phone,
        stage.phone(GUEST, says=_GUEST) as guest,
    ):
        call = await caller.call(room)
        await call.connected()
        await transfer(call, PCMU.ghost.replace(PCMU.number[1:], REFERRED[1:]))
        assert (await call.ended()).startswith("m.call.hangup")
        await guest.hears(_GUEST)
        await guest.hang_up()
        await phone.succeeds()
    await stage.bridge.ended(person.user_id, count=2)
    records = stage.bridge.calls(person.user_id)
    assert {record.address for record in records} == {f"tel:{PCMU.number}", f"tel:{REFERRED}"}


async def test_two_calls_of_a_person_become_one(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """One of them came in."""
    person, caller = await new_matrix_phone()
    async with stage.phone(LOBBY, says=_LOBBY) as lobby, stage.phone(GUEST, says=_GUEST) as guest:
        await lobby.dial(stage.uri(person))
        first = await caller.rings()
        await first.answer()
        await first.connected()
        second = await caller.call(await caller.client.direct_room(GUEST.ghost))
        await second.connected()
        await transfer(first, GUEST.ghost)
        for call in (first, second):
            assert (await call.ended()).startswith("m.call.hangup")
        await talk_until_one_hangs_up(stage, person, lobby, guest)


async def test_a_call_that_nobody_takes_comes_back(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, caller = await new_matrix_phone()
    room = await caller.client.direct_room(LOBBY.ghost)
    async with stage.phone(LOBBY, says=_LOBBY) as lobby:
        call = await caller.call(room)
        await call.connected()
        async with stage.scripted_phone(GUEST, "phone_busy") as guest:
            await transfer(call, GUEST.ghost)
            await guest.succeeds()
        await reads(caller, room, "The call could not be transferred: the line was busy.")
        again = await caller.rings()
        assert again.room == room
        await again.answer()
        await again.connected()
        await again.voice.hears(_LOBBY)
        await again.hang_up()
        await lobby.sees("CALL_CLOSED")


async def test_the_menu_of_a_real_client(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(LOBBY.ghost)
    await client.room_with(GUEST.ghost)  # The client looks the target's profile up.
    async with stage.phone(LOBBY, says=_LOBBY) as lobby, stage.phone(GUEST, says=_GUEST) as guest:
        await client.do("place", room)
        await client.reaches("connected")
        await client.hears(_LOBBY)
        assert await client.do("canTransfer")
        await client.do("transfer", GUEST.ghost)
        await client.reaches("ended")
        await talk_until_one_hangs_up(stage, person, lobby, guest)


async def test_a_real_client_joins_two_calls(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    first_room = await client.room_with(LOBBY.ghost)
    second_room = await client.room_with(GUEST.ghost)
    async with stage.phone(LOBBY, says=_LOBBY) as lobby, stage.phone(GUEST, says=_GUEST) as guest:
        await client.do("place", first_room)
        await client.reaches("connected")
        await client.do("place", second_room)

        async def both_connected() -> bool:
            return {state for _, state, _ in await client.do("callStates")} == {"connected"}

        await until_async(both_connected, what="both calls were connected")
        await client.do("transferToCall", 0, 1)
        await talk_until_one_hangs_up(stage, person, lobby, guest)
