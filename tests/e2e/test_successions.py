# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody at a telephone transfers a person in Matrix: the call goes on, and nothing rings anew.

The telephones are baresip's: each is a trunk of its own, and they speak in different tones.
"""

import asyncio
from functools import partial

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.sounding import Sounding
from tests.e2e.stage import DESK, G722, PCMA, PCMU, GatedStage
from tests.simulators.baresip import Phone
from tests.simulators.matrix_phone import MatrixCall, MatrixPhone
from tests.simulators.sip_party import SipParty
from tests.simulators.waiting import PATIENCE, until

_DESK, _COLLEAGUE = 1000, 1700
"""What the telephones say, in hertz."""


async def hears_the_colleague(
    caller: MatrixPhone, call: MatrixCall, colleague: Phone, ghost: str
) -> None:
    """The person talks with the colleague, in the same call, and was told who that is."""
    await colleague.hears(440)
    await call.voice.hears(_COLLEAGUE)
    seen = partial(caller.client.seen, "m.call.asserted_identity", room=call.room)
    [told] = await until(seen, what="the person was told who it is")
    assert told.content["asserted_identity"]["id"] == ghost


async def test_the_called_one_transfers_the_person(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """To another trunk, where another codec is spoken."""
    person, caller = await new_matrix_phone()
    async with (
        stage.phone(PCMU, says=_DESK) as desk,
        stage.phone(G722, says=_COLLEAGUE) as colleague,
    ):
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await call.voice.hears(_DESK)
        await desk.command("transfer", f"sip:{G722.number}@127.0.0.1")
        await colleague.sees("CALL_ESTABLISHED")
        await desk.sees("CALL_CLOSED")
        await hears_the_colleague(caller, call, colleague, G722.ghost)
        assert not caller.client.seen("m.call.invite", room=call.room)
        await colleague.hang_up()
        assert (await call.ended()).startswith("m.call.hangup")
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "sip")


async def test_the_caller_transfers_the_person(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """Within the same codec; the person hangs up."""
    person, callee = await new_matrix_phone()
    async with (
        stage.phone(PCMU, says=_DESK) as desk,
        stage.phone(PCMA, says=_COLLEAGUE) as colleague,
    ):
        await desk.dial(stage.uri(person))
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await call.voice.hears(_DESK)
        await desk.command("transfer", f"sip:{PCMA.number}@127.0.0.1")
        await colleague.sees("CALL_ESTABLISHED")
        await hears_the_colleague(callee, call, colleague, PCMA.ghost)
        assert len(callee.client.seen("m.call.invite", room=call.room)) == 1
        await call.hang_up()
        await colleague.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "matrix")


async def test_somebody_calls_in_the_telephones_place(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """An INVITE with Replaces: nothing rings, and the telephone is let go."""
    person, caller = await new_matrix_phone()
    async with (
        Sounding("PCMU", _DESK, 0x1111) as phone,
        Sounding("PCMU", _COLLEAGUE, 0x2222) as other_phone,
        SipParty(DESK.address, DESK.port) as desk,
        SipParty(DESK.address, DESK.port + 10) as colleague,
    ):
        call = await caller.call(await caller.client.direct_room(DESK.ghost))
        offer = await desk.rings()
        await desk.answers(phone.rtp.sdp(("PCMU",)))
        phone.speak_to(offer)
        await call.connected()
        await call.voice.hears(_DESK)
        reply = await colleague.takes_over(
            desk, ("127.0.0.1", stage.sip_port), other_phone.rtp.sdp(("PCMU",))
        )
        assert reply.status == 200
        other_phone.speak_to(reply.sdp)
        await asyncio.wait_for(desk.hung_up.wait(), PATIENCE)
        await call.voice.hears(_COLLEAGUE)
        await other_phone.hears(440)
        assert not caller.client.seen("m.call.invite", room=call.room)
        await call.hang_up()
        await asyncio.wait_for(colleague.hung_up.wait(), PATIENCE)
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "matrix")
