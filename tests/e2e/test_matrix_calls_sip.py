# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody in Matrix calls a telephone."""

import pytest

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.waiting import until

VERSIONS = pytest.mark.parametrize("version", [1, 0])


@VERSIONS
async def test_is_answered_and_the_caller_hangs_up(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, version: int
) -> None:
    person, caller = await new_matrix_phone(version=version)
    async with stage.phone(PCMU) as phone:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert (record.direction, record.address) == ("to_sip", f"tel:{PCMU.number}")
    assert (record.cause, record.ended_by) == ("normal", "matrix")
    assert record.answered_at is not None


@VERSIONS
async def test_is_answered_and_the_telephone_hangs_up(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, version: int
) -> None:
    person, caller = await new_matrix_phone(version=version)
    async with stage.phone(PCMU) as phone:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)
        await phone.hang_up()
        assert (await call.ended()).startswith("m.call.hangup")
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "sip")


@pytest.mark.parametrize(
    ("scenario", "cause", "status", "reason", "sentence"),
    [
        ("phone_busy", "busy", 486, "user_busy", "The line is busy."),
        ("phone_declines", "declined", 603, "user_hangup", "The call was declined."),
        ("phone_does_not_answer", "no_answer", 480, "invite_timeout", "Nobody answered."),
        ("number_unknown", "not_in_service", 404, "unknown_error", "not in service"),
    ],
)
@VERSIONS
async def test_is_refused_and_told_why(
    stage: GatedStage,
    new_matrix_phone: NewMatrixPhone,
    version: int,
    scenario: str,
    cause: str,
    status: int,
    reason: str,
    sentence: str,
) -> None:
    person, caller = await new_matrix_phone(version=version)
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.scripted_phone(PCMU, scenario) as phone:
        call = await caller.call(room)
        # VoIP v0 has no reject, and fewer reasons.
        event = f"m.call.reject {reason}" if version == 1 else "m.call.hangup"
        assert (await call.ended()).startswith(event)
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.status, record.ended_by) == (cause, status, "sip")
    assert record.answered_at is None
    await until(
        lambda: [
            event
            for event in caller.client.seen("m.room.message", room=room)
            if sentence in event.content["body"]
        ],
        what=f"the person was told {sentence!r}",
    )


@VERSIONS
async def test_is_cancelled_by_the_caller_before_the_answer(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, version: int
) -> None:
    person, caller = await new_matrix_phone(version=version)
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_rings_until_cancelled") as phone:
        call = await caller.call(room)
        await until(lambda: "SIP/2.0 180" in phone.messages(), what="the telephone rang")
        await call.hang_up()
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("cancelled", "matrix")


async def test_rings_only_so_long(stage: GatedStage, new_matrix_phone: NewMatrixPhone) -> None:
    person, caller = await new_matrix_phone()
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_rings_until_cancelled") as phone:
        call = await caller.call(room)
        assert await call.ended() == "m.call.reject invite_timeout"
        await phone.succeeds()
    assert (await stage.bridge.ended(person.user_id)).cause == "no_answer"


async def test_leaving_the_room_ends_the_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        call = await caller.call(room)
        await call.connected()
        await phone.hears(440)
        await caller.client.leave(room)
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).ended_by == "matrix"


async def test_numbers_without_a_route_are_refused(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    nowhere = PCMU.ghost.replace("1202555", "1404555")
    call = await caller.call(await caller.client.direct_room(nowhere))
    assert await call.ended() == "m.call.reject unknown_error"
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("no_route", "bridge")


async def test_a_telephone_that_sends_nothing_is_told_of_after_the_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    room = await caller.client.direct_room(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_answers", echo=False) as phone:
        call = await caller.call(room)
        await call.connected()
        (active,) = stage.bridge.calls(person.user_id)
        told = "nothing is heard from sip: never sent"
        await until(
            lambda: told in [rung.summary for rung in stage.bridge.ladder(active.call)],
            what="the ladder says that the telephone is not heard",
        )
        await call.hang_up()
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert record.statistics["sip_silence"] == "never_sent"
    await until(lambda: caller.client.seen("m.room.message"), what="the person reads about it")
    (notice,) = caller.client.seen("m.room.message")
    assert notice.content["body"] == "The other side could not be heard: it sent no audio."
