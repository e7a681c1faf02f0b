# SPDX-License-Identifier: GPL-3.0-or-later
"""A person and a telephone call each other at once; one call survives, and connects by itself.

Client-Server API, "Voice over IP", "Glare": *preparing* to invite, one takes the other's invite;
once both are *sent*, the lesser call id wins. The bridge's ids are greater than any other.
"""

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.waiting import until


async def test_invites_that_crossed_become_one_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """*Sent*: the telephone's call rings; our invite goes out as if that had not been seen."""
    person, phone_in_matrix = await new_matrix_phone()
    room = await phone_in_matrix.client.direct_room(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        ringing = await phone_in_matrix.rings()
        assert ringing.room == room
        assert ringing.call_id.startswith("~")
        ours = await phone_in_matrix.call(room)
        await ours.connected()
        await phone.sees("CALL_ESTABLISHED")
        await phone.hears(440)
        await ours.voice.hears(1000)
        assert await ringing.ended() == "answered elsewhere"
        assert len(phone.seen("CALL_INCOMING")) == 0
        await ours.hang_up()
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert record.cause == "normal"
    assert len(stage.bridge.calls(person.user_id)) == 1


async def test_an_invite_that_comes_while_the_bridge_prepares_its_own_is_taken(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """*Preparing*: the homeserver has not yet taken the caller's new name from the bridge."""
    person, phone_in_matrix = await new_matrix_phone()
    room = await phone_in_matrix.client.direct_room(PCMU.ghost)
    async with stage.phone(PCMU, name=f"Workshop {person.number[-2:]}") as phone:
        with stage.gate.closed("/displayname$"):
            await phone.dial(stage.uri(person))
            await until(lambda: stage.gate.waiting, what="the bridge prepares")
            ours = await phone_in_matrix.call(room)
            await _hears_of(stage, ours.call_id)
        await ours.connected()
        await phone.sees("CALL_ESTABLISHED")
        await phone.hears(440)
        await ours.voice.hears(1000)
        assert not phone.seen("CALL_INCOMING")
        assert not phone_in_matrix.client.seen("m.call.invite")
        await ours.hang_up()
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert record.cause == "normal"
    assert len(stage.bridge.calls(person.user_id)) == 1


async def test_a_telephone_that_calls_back_while_it_rings_is_answered(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """The person called first: the bridge cancels its own INVITE and takes the telephone's."""
    person, phone_in_matrix = await new_matrix_phone()
    room = await phone_in_matrix.client.direct_room(PCMU.ghost)
    async with stage.phone(PCMU, answers=False) as phone:
        ours = await phone_in_matrix.call(room)
        await phone.sees("CALL_INCOMING")
        await phone.dial(stage.uri(person))
        await ours.connected()
        await phone.sees("CALL_ESTABLISHED")
        await phone.sees("CALL_CLOSED")
        await phone.hears(440)
        await ours.voice.hears(1000)
        assert not phone_in_matrix.client.seen("m.call.invite")
        await ours.hang_up()
        await phone.sees("CALL_CLOSED", count=2)
    record = await stage.bridge.ended(person.user_id)
    assert record.cause == "normal"


async def _hears_of(stage: GatedStage, call_id: str) -> None:
    await until(
        lambda: call_id in stage.bridge.output(),
        what="the bridge heard of the person's invite",
    )
