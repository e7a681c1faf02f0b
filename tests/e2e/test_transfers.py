# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody in Matrix transfers a call; and somebody else comes to the phone."""

from functools import partial

import pytest

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.matrix_phone import MatrixCall, MatrixPhone
from tests.simulators.waiting import until

_COLLEAGUE = 1700
"""What the person says to whom a call is transferred, in hertz."""


async def transfer(call: MatrixCall, target: str) -> None:
    """Ask for it as matrix-js-sdk does, which says no more about the call."""
    await call.send(
        "m.call.replaces",
        {
            "replacement_id": "one",
            "create_call": "two",
            "target_user": {"id": target, "display_name": "Somebody", "avatar_url": None},
        },
    )


async def reads(phone: MatrixPhone, room: str, sentence: str) -> None:
    """Wait until the ghost has said it."""
    await until(
        lambda: (
            sentence
            in [event.content["body"] for event in phone.client.seen("m.room.message", room=room)]
        ),
        what=f"the person read {sentence!r}",
    )


async def test_a_call_is_transferred(stage: GatedStage, new_matrix_phone: NewMatrixPhone) -> None:
    person, caller = await new_matrix_phone()
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_is_transferred") as phone:
        call = await caller.call(room)
        await call.connected()
        [answer] = [step for step in call.steps if step.type == "m.call.answer"]
        assert answer.content["capabilities"] == {"m.call.dtmf": True, "m.call.transferee": True}
        for name in ("m.call.asserted_identity", "org.matrix.call.asserted_identity"):
            seen = partial(caller.client.seen, name, room=room)
            [told] = await until(seen, what=f"{name} came")
            assert told.content["asserted_identity"] == {
                "id": PCMU.ghost.replace("550110", "550142"),
                "display_name": "Front Desk (+1 202-555-0142)",
            }
        await transfer(call, PCMU.ghost)
        await call.voice.close()
        await phone.succeeds()
        assert "REFER sip:" in phone.messages()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("transferred", "matrix")


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_call_is_transferred_to_another_person(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, leaves: bool
) -> None:
    """They are rung in a portal of their own; the telephone gets no more than a re-INVITE."""
    person, caller = await new_matrix_phone()
    colleague, other = await new_matrix_phone(says=_COLLEAGUE)
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        call = await caller.call(room)
        await call.connected()
        await phone.hears(440)
        await transfer(call, colleague.user_id)
        taken = await other.rings()
        assert taken.room != room
        if leaves:
            await call.voice.close()
        else:
            await call.voice.hears(1000)
        await taken.answer()
        await taken.connected()
        await phone.hears(_COLLEAGUE)
        await taken.voice.hears(1000)
        record = await stage.bridge.ended(person.user_id)
        assert (record.cause, record.ended_by) == ("transferred", "matrix")
        assert len(phone.seen("CALL_ESTABLISHED")) == 1
        await phone.hang_up()
        assert (await taken.ended()).startswith("m.call.hangup")
    record = await stage.bridge.ended(colleague.user_id)
    assert (record.cause, record.ended_by) == ("normal", "sip")


async def test_a_crash_after_that_ends_the_call_on_both_sides(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, caller = await new_matrix_phone()
    colleague, other = await new_matrix_phone()
    async with stage.phone(PCMU) as phone:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await transfer(call, colleague.user_id)
        taken = await other.rings()
        await taken.answer()
        await taken.connected()
        await call.ended()
        await stage.bridge.kill()
        await stage.bridge.start()
        await phone.sees("CALL_CLOSED")
        assert (await taken.ended()).startswith("m.call.hangup")
    record = await stage.bridge.ended(colleague.user_id)
    assert record.cause == "shutdown"


async def test_a_person_who_does_not_want_the_call_leaves_it_where_it_is(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, caller = await new_matrix_phone()
    colleague, other = await new_matrix_phone()
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        call = await caller.call(room)
        await call.connected()
        await transfer(call, colleague.user_id)
        await (await other.rings()).reject()
        await reads(caller, room, "The call could not be transferred: it was declined.")
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")


async def test_a_transfer_that_may_not_be_leaves_the_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_answers") as phone:
        call = await caller.call(room)
        await call.connected()
        await transfer(call, PCMU.ghost.replace("120255501", "131055501"))
        await reads(caller, room, "There is no way to reach this number from here.")
        await transfer(call, "@somebody:elsewhere.test")
        await reads(
            caller, room, "The call could not be transferred: this person cannot be called."
        )
        await call.hang_up()
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "matrix")
