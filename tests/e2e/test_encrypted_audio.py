# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio encrypted on both legs (SDES), with baresip, whose SRTP is its own."""

import asyncio
from functools import partial

import pytest

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import KEYED, SECURE, GatedStage
from tests.simulators.baresip import Phone
from tests.simulators.matrix_phone import MatrixCall
from tests.simulators.stage import Line
from tests.simulators.waiting import until_async

KINDS = pytest.mark.parametrize("encrypts", ["srtp", "srtp-mand", ""])
FEW = 2
"""baresip's first RTCP packet leaves before it has a key."""
SUITES = {"AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"}


@KINDS
async def test_a_telephone_calls(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, encrypts: str
) -> None:
    person, callee = await new_matrix_phone()
    async with stage.phone(KEYED, encrypts=encrypts) as phone:
        await phone.dial(stage.uri(person))
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        await call.ended()
    statistics = (await stage.bridge.ended(person.user_id)).statistics
    assert (statistics.get("sip_srtp") in SUITES) == bool(encrypts)
    assert statistics["matrix_srtp"]
    assert statistics["sip_undecipherable"] <= FEW


@pytest.mark.parametrize("encrypts", ["srtp", ""])
async def test_a_telephone_is_called_held_and_resumed(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, encrypts: str
) -> None:
    person, caller = await new_matrix_phone()
    async with stage.phone(KEYED, encrypts=encrypts) as phone:
        call = await caller.call(await caller.client.direct_room(KEYED.ghost))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.command("hold")
        await until_async(partial(is_silent, call), within=10, what="the client hears silence")
        await phone.command("resume")
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    statistics = (await stage.bridge.ended(person.user_id)).statistics
    assert (statistics.get("sip_srtp") in SUITES) == bool(encrypts)
    assert statistics["sip_undecipherable"] <= FEW
    assert "inline:" not in stage.bridge.output().replace("inline:…", "")


async def test_by_tls_a_telephone_is_called(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    async with secure_phone(stage, SECURE) as phone:
        call = await caller.call(await caller.client.direct_room(SECURE.ghost))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).statistics["sip_srtp"] in SUITES


async def test_by_tls_a_telephone_calls(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone()
    async with secure_phone(stage, SECURE) as phone:
        await phone.dial(f"sip:{person.number}@127.0.0.1:{stage.sips_port};transport=tls")
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        await call.ended()
    assert (await stage.bridge.ended(person.user_id)).statistics["sip_srtp"] in SUITES


async def is_silent(call: MatrixCall) -> bool:
    """Whether nothing comes for a while, or nothing but silence."""
    before = (await call.voice.statistics()).received
    await asyncio.sleep(0.3)
    return (await call.voice.statistics()).received == before or call.voice.tone().rms < 0.002


def secure_phone(stage: GatedStage, line: Line) -> Phone:
    """A telephone that speaks TLS and encrypts."""
    return stage.phone(line, encrypts="srtp-mand", certificate=stage.certificate)
