# SPDX-License-Identifier: GPL-3.0-or-later
"""The room in which a telephone and somebody in Matrix meet, from before there is one."""

from urllib.parse import quote

from bridge.call.ids import ANONYMOUS
from bridge.matrix.ghosts import Ghosts
from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMA, PCMU, GatedStage
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.synapse import SERVER_NAME
from tests.simulators.waiting import until

NAMELESS = str(Ghosts("sip_", SERVER_NAME).user_id(ANONYMOUS))


async def _invitation(client: MatrixClient) -> str:
    found = await until(client.invitations, what="the person was invited")
    return found[0]


async def _notices(client: MatrixClient, count: int = 1) -> list[str]:
    await until(lambda: len(client.seen("m.room.message")) >= count, what="a notice came")
    return [str(event.content["body"]) for event in client.seen("m.room.message")]


async def test_who_joins_while_the_caller_waits_is_rung(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone(joins=False)
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        room = await _invitation(callee.client)
        await phone.sees("CALL_RINGING")
        assert not callee.calls
        await callee.client.request("POST", f"/rooms/{quote(room)}/join", {})
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        await call.ended()


async def test_who_joins_too_late_reads_of_the_missed_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone(joins=False)
    async with stage.scripted_caller(PCMU, "caller_hears_not_answered", person.number) as phone:
        room = await _invitation(callee.client)
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.status) == ("no_answer", 480)
    await callee.client.request("POST", f"/rooms/{quote(room)}/join", {})
    [notice] = await _notices(callee.client)
    assert notice.startswith("You missed a call")


async def test_who_declines_the_room_declines_the_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone(joins=False)
    async with stage.scripted_caller(PCMU, "caller_hears_declined", person.number) as phone:
        await callee.client.leave(await _invitation(callee.client))
        await phone.succeeds()
    assert (await stage.bridge.ended(person.user_id)).cause == "declined"


async def test_a_second_call_from_the_same_number_finds_the_line_busy(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone()
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        async with stage.scripted_caller(
            PCMA, "caller_hears_busy", person.number, caller=PCMU.number
        ) as second:
            await second.succeeds()
        assert len(callee.calls) == 1
        await phone.hears(440)
        await phone.hang_up()
        await call.ended()


async def test_callers_without_a_number_share_a_room_and_cannot_be_called_back(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone()
    room = await callee.client.direct_room(NAMELESS)
    for count in (1, 2):
        caller = stage.scripted_caller(PCMU, "caller_cancels", person.number, caller="anonymous")
        async with caller as phone:
            call = await callee.rings(count=count)
            await call.ended()
            await phone.succeeds()
    assert [call.room for call in callee.calls] == [room, room]
    profile = await callee.client.request("GET", f"/profile/{quote(NAMELESS)}/displayname")
    assert profile == {"displayname": "Anonymous"}
    assert all("missed a call" in notice for notice in await _notices(callee.client, 2))
    back = await callee.call(room)
    assert (await back.ended()).startswith("m.call.reject")
    assert "withheld" in (await _notices(callee.client, 3))[-1]
    assert (await stage.bridge.ended(person.user_id, count=3)).cause == "number_withheld"


async def test_a_room_with_a_third_member_says_why_calls_do_not_work(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, caller = await new_matrix_phone()
    _, third = await new_matrix_phone()
    room = await caller.client.direct_room(PCMU.ghost)
    path = f"/rooms/{quote(room)}/invite"
    await caller.client.request("POST", path, {"user_id": third.user_id})
    await until(third.client.rooms, what="a third has joined")
    await caller.call(room)
    [notice] = await _notices(caller.client)
    assert "other members" in notice
