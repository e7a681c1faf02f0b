# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a call while a server goes away."""

import itertools
import signal
from contextlib import AsyncExitStack

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import G722, OPUS, PCMA, PCMU, GatedStage
from tests.simulators.baresip import Phone
from tests.simulators.bridge_process import BridgeProcess
from tests.simulators.matrix_phone import MatrixCall, MatrixPhone, State
from tests.simulators.stage import Line, Person
from tests.simulators.waiting import until

LINES = (PCMU, PCMA, G722, OPUS)
KINDS = [*itertools.product(("matrix", "sip"), (1, 0))]
"""Who has placed a call, and the version of its events."""


async def test_a_call_outlives_a_restart_of_the_homeserver(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    async with stage.phone(PCMU) as phone:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)
        await stage.synapse.stop()
        before = (await call.voice.statistics()).received
        await phone.hears(440)
        await call.voice.hears(1000)
        await stage.synapse.start()
        assert (await call.voice.statistics()).received > before
        assert call.state is State.ANSWERED
        await phone.hang_up()
        assert await call.ended() == "m.call.hangup user_hangup"
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "sip")


async def test_a_hangup_while_the_homeserver_is_away_arrives_when_it_is_back(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, caller = await new_matrix_phone()
    async with stage.phone(PCMU) as phone:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)
        await stage.synapse.stop()
        await phone.hang_up()
        await phone.sees("CALL_CLOSED")
        await stage.synapse.start()
        assert await call.ended() == "m.call.hangup user_hangup"


async def test_a_killed_bridge_ends_its_calls_on_both_sides_when_it_is_back(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    calls = []
    async with AsyncExitStack() as stack:
        for line, (placed_by, version) in zip(LINES, KINDS, strict=True):
            person, in_matrix = await new_matrix_phone(version=version)
            phone = await stack.enter_async_context(stage.phone(line))
            call = await _connect(stage, person, in_matrix, line, phone, placed_by)
            calls.append((person, in_matrix, phone, call, placed_by))
        await stage.bridge.kill()
        await stage.bridge.start()
        for person, in_matrix, phone, call, placed_by in calls:
            assert (await call.ended()).startswith("m.call.hangup")
            await phone.sees("CALL_CLOSED")
            record = await stage.bridge.ended(person.user_id)
            assert (record.cause, record.ended_by) == ("shutdown", "bridge")
            await phone.dial(stage.uri(person))
            again = await in_matrix.rings(count=1 if placed_by == "matrix" else 2)
            await again.answer()
            await again.connected()
            await phone.hears(440)
            await phone.hang_up()
            await again.ended()


async def test_a_killed_bridge_ends_what_only_rang_or_was_held(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    caller, calls = await new_matrix_phone()
    called, is_called = await new_matrix_phone()
    holder, holds = await new_matrix_phone()
    async with (
        stage.phone(PCMU, answers=False) as rings,
        stage.phone(PCMA) as dials,
        stage.phone(G722) as held,
    ):
        written = await _ring_longer(stage.bridge)
        on_hold = await holds.call(await holds.client.direct_room(G722.ghost))
        await on_hold.connected()
        await held.hears(440)
        await held.command("hold")
        await held.hears_nothing()
        await dials.dial(stage.uri(called))
        ringing = await is_called.rings()
        await dials.sees("CALL_RINGING")
        calling = await calls.call(await calls.client.direct_room(PCMU.ghost))
        await rings.sees("CALL_INCOMING")
        await until(lambda: _rings_on_the_record(stage.bridge, caller), what="it is on the record")
        await stage.bridge.kill()
        stage.bridge.config.write_text(written)
        await stage.bridge.start()
        for call in (calling, ringing, on_hold):
            assert (await call.ended()).startswith(("m.call.hangup", "m.call.reject"))
        for phone in (rings, dials, held):
            await phone.sees("CALL_CLOSED")
    for person in (caller, called, holder):
        record = await stage.bridge.ended(person.user_id)
        assert (record.cause, record.ended_by) == ("shutdown", "bridge")


def _rings_on_the_record(bridge: BridgeProcess, person: Person) -> bool:
    """Whether what ends the call of a person that rings is in the database by now."""
    calls = bridge.calls(person.user_id)
    return any(rung.summary == "ringing" for call in calls for rung in bridge.ladder(call.call))


async def _ring_longer(bridge: BridgeProcess) -> str:
    """Let calls ring for as long as a busy machine may take; gives the settings of before."""
    written = bridge.config.read_text()
    bridge.change(lambda settings: settings["limits"].update(ring_time=60))
    before = bridge.output().count("settings applied")
    bridge.tell(signal.SIGHUP)
    await until(
        lambda: bridge.output().count("settings applied") > before, what="settings were read anew"
    )
    return written


async def _connect(
    stage: GatedStage,
    person: Person,
    in_matrix: MatrixPhone,
    line: Line,
    phone: Phone,
    placed_by: str,
) -> MatrixCall:
    if placed_by == "matrix":
        call = await in_matrix.call(await in_matrix.client.direct_room(line.ghost))
    else:
        await phone.dial(stage.uri(person))
        call = await in_matrix.rings()
        await call.answer()
    await call.connected()
    await phone.hears(440)
    return call


async def test_a_stopped_bridge_ends_its_calls_on_both_sides_first(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    async with stage.phone(PCMU) as phone:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)
        await stage.bridge.stop()
        await phone.sees("CALL_CLOSED")
        assert (await call.ended()).startswith("m.call.hangup")
        record = await stage.bridge.ended(person.user_id)
        assert (record.cause, record.ended_by) == ("shutdown", "bridge")
        await stage.bridge.start()
