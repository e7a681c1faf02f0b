# SPDX-License-Identifier: GPL-3.0-or-later
"""A trunk cannot carry a call, and the next one is tried."""

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMA, PCMU, SPARED, GatedStage
from tests.simulators.synapse import SERVER_NAME

GHOST = f"@sip_{SPARED.removeprefix('+')}:{SERVER_NAME}"


async def test_the_second_trunk_carries_the_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """The trunks have different codecs, so that the second is offered something else."""
    person, caller = await new_matrix_phone()
    async with stage.scripted_phone(PCMU, "trunk_fails") as failing, stage.phone(PCMA) as phone:
        call = await caller.call(await caller.client.direct_room(GHOST))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
        await failing.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.trunk, record.cause, record.ended_by) == (PCMA.name, "normal", "matrix")
    ladder = [rung.summary for rung in stage.bridge.ladder(record.call)]
    invites = [line for line in ladder if line.startswith("INVITE ")]
    assert [PCMU.address in invites[0], PCMA.address in invites[1]] == [True, True]
    assert f"{PCMU.name} could not: congestion (503); trying {PCMA.name}" in ladder


async def test_who_is_busy_is_not_called_by_the_second_trunk(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    async with stage.scripted_phone(PCMU, "phone_busy") as busy, stage.phone(PCMA):
        call = await caller.call(await caller.client.direct_room(GHOST))
        assert (await call.ended()).startswith("m.call.reject user_busy")
        await busy.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.trunk, record.cause, record.status) == (PCMU.name, "busy", 486)


async def test_both_trunks_fail(stage: GatedStage, new_matrix_phone: NewMatrixPhone) -> None:
    person, caller = await new_matrix_phone()
    first, second = (stage.scripted_phone(line, "trunk_fails") for line in (PCMU, PCMA))
    async with first, second:
        call = await caller.call(await caller.client.direct_room(GHOST))
        assert (await call.ended()).startswith("m.call.reject")
        await first.succeeds()
        await second.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.trunk, record.cause, record.status) == (PCMA.name, "congestion", 503)
