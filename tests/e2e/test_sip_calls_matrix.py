# SPDX-License-Identifier: GPL-3.0-or-later
"""A telephone calls somebody in Matrix."""

import re
from functools import partial

import pytest

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.matrix_phone import State
from tests.simulators.waiting import until

VERSIONS = pytest.mark.parametrize("version", [1, 0])


@VERSIONS
async def test_is_answered_and_the_caller_hangs_up(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, version: int
) -> None:
    person, callee = await new_matrix_phone(version=version)
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        call = await callee.rings()
        assert call.steps[0].content["invitee"] == person.user_id
        await call.answer()
        await call.connected()
        await phone.sees("CALL_ESTABLISHED")
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        assert (await call.ended()).startswith("m.call.hangup")
    record = await stage.bridge.ended(person.user_id)
    assert (record.direction, record.address) == ("to_matrix", f"tel:{PCMU.number}")
    assert (record.cause, record.ended_by) == ("normal", "sip")


@VERSIONS
async def test_is_answered_and_the_callee_hangs_up(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, version: int
) -> None:
    person, callee = await new_matrix_phone(version=version)
    async with stage.scripted_caller(PCMU, "caller_talks", person.number) as phone:
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await call.voice.hears(440)  # its own voice, echoed
        await call.hang_up()
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "matrix")


async def test_rings_at_every_device_until_one_answers(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, desk = await new_matrix_phone()
    _, pocket = await new_matrix_phone(of=person)
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        at_the_desk, in_the_pocket = await desk.rings(), await pocket.rings()
        await in_the_pocket.answer()
        await in_the_pocket.connected()
        assert await at_the_desk.ended() == "answered elsewhere"
        await phone.hears(440)
        await in_the_pocket.voice.hears(1000)
        await phone.hang_up()
        await in_the_pocket.ended()


@pytest.mark.parametrize(
    ("version", "reason", "scenario", "cause"),
    [
        (1, "", "caller_hears_declined", "declined"),
        (1, "user_busy", "caller_hears_busy", "busy"),
        (0, "", "caller_hears_declined", "declined"),
    ],
)
async def test_is_rejected(
    stage: GatedStage,
    new_matrix_phone: NewMatrixPhone,
    version: int,
    reason: str,
    scenario: str,
    cause: str,
) -> None:
    person, callee = await new_matrix_phone(version=version)
    async with stage.scripted_caller(PCMU, scenario, person.number) as phone:
        call = await callee.rings()
        await call.reject(reason)
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == (cause, "matrix")


async def test_nobody_answers(stage: GatedStage, new_matrix_phone: NewMatrixPhone) -> None:
    person, callee = await new_matrix_phone()
    async with stage.scripted_caller(PCMU, "caller_hears_not_answered", person.number) as phone:
        call = await callee.rings()
        assert (await call.ended()).startswith("m.call.hangup")
        await phone.succeeds()
    assert (await stage.bridge.ended(person.user_id)).cause == "no_answer"


@VERSIONS
async def test_the_caller_gives_up(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, version: int
) -> None:
    person, callee = await new_matrix_phone(version=version)
    # Known already: who has to join first hears nothing of a caller this impatient.
    await callee.client.direct_room(PCMU.ghost)
    async with stage.scripted_caller(PCMU, "caller_cancels", person.number) as phone:
        call = await callee.rings()
        assert (await call.ended()).startswith("m.call.hangup")
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("cancelled", "sip")
    seen = partial(callee.client.seen, "m.room.message", room=call.room)
    [notice] = await until(seen, what="the missed call was told of")
    assert notice.content["msgtype"] == "m.notice"
    missed = r"You missed a call at \d\d:\d\d \S+\.( It rang for \d s\.)?"
    assert re.fullmatch(missed, notice.content["body"])


async def test_numbers_of_nobody_are_unknown(stage: GatedStage) -> None:
    nobody = "+14045550100"
    async with stage.scripted_caller(PCMU, "caller_hears_unknown", nobody) as phone:
        await phone.succeeds()


async def test_an_invite_without_an_offer_is_answered_with_one(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone()
    async with stage.scripted_caller(PCMU, "caller_offers_nothing", person.number) as phone:
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await call.voice.hears(440)  # its own voice, echoed
        await phone.succeeds()
        assert (await call.ended()).startswith("m.call.hangup")


async def test_the_portal_is_used_again(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone()
    async with stage.phone(PCMU) as phone:
        for count in (1, 2):
            await phone.dial(stage.uri(person))
            call = await callee.rings(count=count)
            await call.answer()
            await call.reaches(State.ANSWERED)
            await phone.sees("CALL_ESTABLISHED", count=count)
            await phone.hang_up()
            await call.ended()
    assert len({call.room for call in callee.calls}) == 1
