# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls by a SIP account of one's own: no rule of the configuration knows its numbers."""

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import GatedStage
from tests.simulators.bot_chat import BotChat
from tests.simulators.stage import Line
from tests.simulators.waiting import until_async


def account_with(registrar: Line) -> str:
    return f"alice@{registrar.address}:{registrar.port}"


async def log_in(chat: BotChat, registrar: Line) -> None:
    await chat.say(f"login {account_with(registrar)}")
    assert "registered" in await chat.say("correct-horse-battery")


async def test_calls_leave_by_it_and_come_in_by_it(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    line = stage.registrar()
    async with stage.scripted_phone(line, "registrar_of_an_account"):
        await log_in(chat, line)
    async with stage.phone(line) as phone:
        call = await mine.call(await mine.client.direct_room(line.ghost))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
        record = await stage.bridge.ended(person.user_id)
        assert (record.direction, record.trunk) == ("to_sip", f"account:{person.user_id}")
        assert record.cause == "normal"
        # Not to what was registered, but to the user: what a PBX does that forgets parameters.
        await phone.dial(f"sip:alice@127.0.0.1:{stage.sip_port}")
        call = await mine.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await phone.hang_up()
        await call.ended()
        assert "logged out" in await chat.say("logout")


async def test_registrar_calls_what_was_registered(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    line = stage.registrar()
    async with stage.scripted_phone(line, "registrar_that_calls") as registrar:
        await log_in(chat, line)
        call = await mine.rings()
        await call.answer()
        await call.connected()
        await call.hang_up()
        assert "logged out" in await chat.say("logout")
        await registrar.succeeds()


async def test_account_is_registered_again_when_the_bridge_was_stopped(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    line = stage.registrar()
    async with stage.scripted_phone(line, "registrar_of_an_account") as registrar:
        await log_in(chat, line)
        await stage.bridge.stop()
        await registrar.succeeds()
    async with stage.scripted_phone(line, "registrar_of_an_account") as registrar:
        await stage.bridge.start()

        async def registered() -> bool:
            return f"account: `{account_with(line)}`, registered" in await chat.say("status")

        await until_async(registered, what="it is registered again")
        assert "logged out" in await chat.say("logout")
        await registrar.succeeds()
