# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that know less than matrix-js-sdk: those of VoIP v0, and nheko.

nheko has Opus alone, sends neither capabilities nor metadata, and hangs up when it is asked to
renegotiate. v0 has no renegotiation at all.
"""

import asyncio
from typing import Any

import pytest

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import OPUS, PCMU, GatedStage
from tests.simulators.matrix_phone import MatrixCall
from tests.simulators.waiting import until, until_async

NHEKO: dict[str, Any] = {"codecs": ("opus",), "renegotiates": False}
EACH_CLIENT = pytest.mark.parametrize(
    "manners", [{"version": 0, "renegotiates": False}, NHEKO], ids=["v0", "nheko"]
)


@EACH_CLIENT
@pytest.mark.parametrize("calls", [True, False], ids=["calls", "is called"])
async def test_is_held_and_resumed_without_being_asked_to_renegotiate(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, manners: dict[str, Any], calls: bool
) -> None:
    person, matrix_phone = await new_matrix_phone(**manners)
    async with stage.phone(PCMU) as phone:
        if calls:
            call = await matrix_phone.call(await matrix_phone.client.direct_room(PCMU.ghost))
        else:
            await phone.dial(stage.uri(person))
            call = await matrix_phone.rings()
            await call.answer()
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.command("hold")
        await _hears_nothing(call)
        await phone.command("resume")
        await call.voice.hears(1000)
        assert not matrix_phone.client.seen("m.call.negotiate")
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"


async def test_nheko_is_called_by_a_telephone_with_opus(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """It refuses an offer without Opus; here what the telephone has is passed on as it is."""
    person, callee = await new_matrix_phone(**NHEKO)
    async with stage.phone(OPUS) as phone:
        await phone.dial(stage.uri(person))
        call = await callee.rings()
        await call.answer()
        await call.connected()
        assert call.codec == "opus"
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        assert (await call.ended()).startswith("m.call.hangup")
    assert (await stage.bridge.ended(person.user_id)).statistics["mode"] == "relay"


async def test_a_v0_device_and_a_v1_device_ring_and_v0_answers(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """v0 has no `select_answer`: the other device sees its own user's answer."""
    person, old = await new_matrix_phone(version=0, renegotiates=False)
    _, new = await new_matrix_phone(of=person)
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        call = await old.rings()
        await new.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "matrix")
    await until(lambda: len(stage.bridge.calls(person.user_id)) == 1, what="one call was recorded")


async def _hears_nothing(call: MatrixCall) -> None:
    """0.3 s in which no audio arrives, or nothing but silence."""

    async def silent() -> bool:
        before = (await call.voice.statistics()).received
        await asyncio.sleep(0.3)
        return (await call.voice.statistics()).received == before or call.voice.tone().rms < 0.002

    await until_async(silent, what="the client hears silence")
