# SPDX-License-Identifier: GPL-3.0-or-later
"""People talk to the bot of a running bridge: every command once, and what comes of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest_asyncio

from bridge.call.causes import MEANINGS, Cause
from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import BARRED, CHIEF, PCMA, PCMU, GatedStage
from tests.simulators.bot_chat import BOT, BotChat
from tests.simulators.encrypted_client import ENCRYPTION, EncryptedClient
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.waiting import until

_SHOWN = "+1 202-555-0110"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def chief(stage: GatedStage) -> AsyncIterator[MatrixClient]:
    """An admin's client."""
    credentials = await stage.synapse.register(CHIEF[1:].partition(":")[0])
    async with MatrixClient(stage.synapse.url, credentials) as client:
        yield client


async def test_help_shows_what_one_may_do(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, chief: MatrixClient
) -> None:
    _, phone = await new_matrix_phone()
    person, admin = await BotChat.open(phone.client), await BotChat.open(chief)
    assert "`call <number>`" in await person.say("help")
    assert "hangup" not in await person.say("help")
    assert "`hangup <call>`" in await admin.say("help")
    html = admin.notices[-1].content["formatted_body"]
    assert "<li><code>hangup &lt;call&gt;</code>: end a call" in html
    assert "`help` lists" in await person.say("good morning")


async def test_strangers_are_declined_with_a_sentence(stage: GatedStage) -> None:
    credentials = await stage.synapse.register(BARRED[1:].partition(":")[0])
    async with MatrixClient(stage.synapse.url, credentials) as client:
        made = await client.request("POST", "/createRoom", {"is_direct": True, "invite": [BOT]})
        room = made["room_id"]
        left = await until(
            lambda: [
                event
                for event in client.seen("m.room.member", room=room)
                if event.state_key == BOT and event.content["membership"] == "leave"
            ],
            what="the bot declined",
        )
        assert "not allowed" in left[0].content["reason"]


async def test_a_call_that_the_bot_is_asked_for(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    async with stage.phone(PCMU) as phone:
        assert _SHOWN in await chat.say("call (202) 555-0110")
        call = await mine.rings()
        await call.answer()
        await call.connected()
        await phone.sees("CALL_ESTABLISHED")
        await phone.hears(440)
        await call.voice.hears(1000)
        status = await chat.say("status")
        assert f"In a call: to {_SHOWN}, connected" in status
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    await stage.bridge.ended(person.user_id)
    history = await chat.say("calls")
    assert f" to {_SHOWN}, talked 0:0" in history
    assert "one" not in await chat.say("calls 1")


async def test_a_call_that_cannot_be_is_refused_with_the_reason(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    assert "Emergency calls cannot" in await chat.say("call 911")
    assert await chat.say("call +44 20 7946 0000") == MEANINGS[Cause.NO_ROUTE].sentence
    assert "neither a telephone number" in await chat.say("call me, please!")


async def test_do_not_disturb_refuses_a_telephone(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    assert "is on" in await chat.say("dnd on")
    assert "Do not disturb: on" in await chat.say("status")
    async with stage.scripted_caller(PCMU, "caller_hears_not_answered", person.number) as phone:
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert record.cause == "do_not_disturb"
    assert not mine.calls
    assert "is off" in await chat.say("dnd off")
    async with stage.phone(PCMU) as telephone:
        await telephone.dial(stage.uri(person))
        await (await mine.rings()).reject()
    await stage.bridge.ended(person.user_id, count=2)


async def test_forwarding_sends_a_telephone_elsewhere(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    assert _SHOWN in await chat.say(f"forward {PCMU.number}")
    async with stage.scripted_caller(
        PCMU, "caller_is_forwarded", person.number, caller="+12025550155"
    ) as phone:
        await phone.succeeds()
    assert (await stage.bridge.ended(person.user_id)).cause == "forwarded"
    assert "not forwarded" in await chat.say("forward off")
    assert "Emergency" in await chat.say("forward 911")


async def test_choices_outlast_a_restart(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    await chat.say("dnd on")
    await stage.bridge.stop()
    await stage.bridge.start()
    async with stage.scripted_caller(PCMU, "caller_hears_not_answered", person.number) as phone:
        await phone.succeeds()
    assert "Do not disturb is on" in await chat.say("dnd")


async def test_an_admin_sees_and_ends_a_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, chief: MatrixClient
) -> None:
    person, mine = await new_matrix_phone()
    chat = await BotChat.open(chief)
    async with stage.phone(PCMU) as phone:
        call = await mine.call(await mine.client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)
        active = await chat.say("active")
        assert f"{person.user_id} to {_SHOWN}, connected" in active
        name = next(line for line in active.splitlines() if person.user_id in line).split("`")[1]
        theirs = await BotChat.open(mine.client)
        assert "not permitted" in await theirs.say(f"hangup {name}")
        assert "being ended" in await chat.say(f"hangup {name}")
        assert (await call.ended()).startswith("m.call.hangup")
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert record.call == name
    assert "no such call" in await chat.say(f"hangup {name}")


async def test_an_admin_sees_trunks_and_routes(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, chief: MatrixClient
) -> None:
    person, _ = await new_matrix_phone()
    chat = await BotChat.open(chief)
    trunks = await chat.say("trunks")
    assert "✓ `pcmu`: known by its address" in trunks
    explained = await chat.say("route +1 202 555 0120")
    assert explained.splitlines() == [
        f"For {CHIEF}: trunk `pcma` dials `+12025550120`",
        f"- permissions: `{CHIEF}` is admin",
        "- the number: `+12025550120`",
        "- outbound[0], numbers from +12025550110: no, the number starts otherwise",
        "- outbound[1], numbers from +12025550120: this one",
        f"- by `pcma`: INVITE sip:+12025550120@{PCMA.address}:5060",
        f"- by `pcma`: From: <sip:matrix-sip@{PCMA.address}>",
    ]
    assert "permissions: `mx.test` is call" in await chat.say(f"route {person.user_id} 2025550120")
    rings = await chat.say(f"route in pcmu {person.number}")
    assert rings.startswith(f"A call by `pcmu` for {person.number} rings {person.user_id}.")
    assert f"- {person.user_id}: permissions say call" in rings
    assert "rings nobody: not in service" in await chat.say("route in pcmu 100")
    assert f"For {BARRED}: refused" in await chat.say(f"route {BARRED} 2025550120")


async def test_a_password_is_deleted_and_kept_nowhere(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    assert "Which SIP account?" in await chat.say("login")
    assert "its password?" in await chat.say("alice@sip.example.org")
    before = len(chat.notices)
    event = await chat.write("correct-horse-battery")
    await chat.hears(before + 1)
    path = f"/rooms/{quote(chat.room)}/event/{quote(event)}"
    found = await mine.client.request("GET", path)
    assert found["content"] == {}
    assert found["unsigned"]["redacted_because"]["sender"] == BOT
    assert "correct-horse" not in stage.bridge.output()
    for file in filter(Path.is_file, stage.bridge.directory.rglob("*")):
        assert b"correct-horse" not in file.read_bytes(), file


async def test_who_may_not_delete_a_password_asks_for_it(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    body = {"is_direct": True, "preset": "private_chat", "invite": [BOT]}
    made = await mine.client.request("POST", "/createRoom", body)
    chat = BotChat(mine.client, made["room_id"])
    await chat.hears(1)
    assert "please delete it yourself" in await chat.say("login alice@sip.example.org battery")


async def test_a_sip_account_of_ones_own(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    line = stage.registrar()
    account = f"alice@{line.address}:{line.port}"
    async with stage.scripted_phone(line, "registrar_of_an_account") as registrar:
        await chat.say(f"login {account}")
        assert await chat.say("correct-horse-battery") == (
            f"You are logged in as `{account}`: registered."
        )
        assert f"account: `{account}`, registered" in await chat.say("status")
        assert "logged out" in await chat.say("logout")
        await registrar.succeeds()
    assert "account: none" in await chat.say("status")
    assert "no SIP account" in await chat.say("logout")


async def test_a_login_that_fails_says_why(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, mine = await new_matrix_phone()
    chat = await BotChat.open(mine.client)
    line = stage.registrar()
    async with stage.scripted_phone(line, "registrar_refuses"):
        await chat.say(f"login alice@{line.address}")
        assert "refuses the user name or the password (403" in await chat.say("wrong")
    assert "account: none" in await chat.say("status")
    await chat.say("login alice@sip.example.org")
    assert "does not allow accounts there" in await chat.say("right")


async def test_an_encrypted_chat(stage: GatedStage) -> None:
    person = await stage.person()
    async with EncryptedClient(stage.synapse.url, person.credentials) as client:
        found = await client.request("POST", "/keys/query", {"device_keys": {BOT: []}})
        assert found["device_keys"][BOT], "clients would start a chat without encryption"
        # As Element starts a chat with somebody who has a device.
        state = {"type": "m.room.encryption", "state_key": "", "content": ENCRYPTION}
        body = {
            "is_direct": True,
            "preset": "trusted_private_chat",
            "invite": [BOT],
            "initial_state": [state],
        }
        made = await client.request("POST", "/createRoom", body)
        chat = BotChat(client, made["room_id"])
        await chat.hears(1)
        assert "is on" in await chat.say("dnd on")
        assert "its password?" in await chat.say("login alice@sip.example.org")
        event = await chat.write("correct-horse-battery")
        await until(lambda: len(chat.notices) == 4, what="the bot answered")
        found = await client.request("GET", f"/rooms/{quote(chat.room)}/event/{quote(event)}")
        assert found["content"] == {}
        history = await client.request("GET", f"/rooms/{quote(chat.room)}/messages?dir=b&limit=20")
        sent = [each["type"] for each in history["chunk"] if each["sender"] == BOT]
        assert sent == [
            "m.room.encrypted",
            "m.room.redaction",
            *["m.room.encrypted"] * 3,
            "m.room.member",
        ]
        assert not client.unreadable
