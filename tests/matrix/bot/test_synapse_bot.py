# SPDX-License-Identifier: GPL-3.0-or-later
"""The bot in rooms of a real Synapse."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
import yaml
from pydantic import SecretStr

from bridge import config
from bridge.call.ids import Address, UserId
from bridge.call.policy import Access
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.registration import registration
from tests.matrix.bot.desk import FakeDesk
from tests.matrix.bot.test_conversation import MemoryRooms
from tests.matrix.portal_store import MemoryPortalStore
from tests.simulators.bot_chat import BOT, BotChat
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.processes import free_port
from tests.simulators.synapse import SERVER_NAME, Synapse
from tests.simulators.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

World = tuple[Synapse, config.Homeserver, config.AppService]
people = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directory = tmp_path_factory.mktemp("synapse")
    port = free_port()
    appservice = config.AppService(
        address=f"http://127.0.0.1:{port}",
        port=port,
        as_token=SecretStr("as-token-of-one-run"),
        hs_token=SecretStr("hs-token-of-one-run"),
    )
    registered = directory / "registration.yaml"
    document = registration(config.Homeserver(domain=SERVER_NAME), appservice, config.Encryption())
    registered.write_text(yaml.safe_dump(document))
    server = Synapse(directory / "synapse", [registered])
    await server.start()
    yield server, config.Homeserver(address=server.url, domain=SERVER_NAME), appservice
    await server.stop()


class Bridge:
    """The adapter with a bot, on a database that outlasts it."""

    def __init__(self, world: World) -> None:
        self.server, self._homeserver, self._appservice = world
        self.desk = FakeDesk()
        self.rooms = MemoryRooms()
        self.store = MemoryPortalStore()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MatrixAdapter]:
        adapter = MatrixAdapter(
            self._homeserver,
            self._appservice,
            store=self.store,
            emit=lambda _: None,
            may_use=lambda _: True,
            is_address=lambda _: True,
            dial=lambda text: Address(text),
        )
        adapter.serve(self.desk, self.rooms, lambda _: None)
        await adapter.start()
        try:
            yield adapter
        finally:
            await adapter.stop()

    @asynccontextmanager
    async def person(self, access: Access = Access.CALL) -> AsyncIterator[MatrixClient]:
        credentials = await self.server.register(f"friend{next(people)}")
        self.desk.permissions[UserId(credentials.user_id)] = access
        async with MatrixClient(self.server.url, credentials) as client:
            yield client


@pytest.fixture
def bridge(world: World) -> Bridge:
    return Bridge(world)


async def gone(client: MatrixClient, room: str) -> str:
    """The reason for which the bot has left."""
    left = await until(
        lambda: [
            event
            for event in client.seen("m.room.member", room=room)
            if event.state_key == BOT and event.content["membership"] == "leave"
        ],
        what="the bot left",
    )
    return str(left[0].content["reason"])


async def make_room(client: MatrixClient, *others: str, preset: str = "private_chat") -> str:
    body = {"preset": preset, "invite": others}
    return str((await client.request("POST", "/createRoom", body))["room_id"])


async def test_it_leaves_rooms_that_are_not_for_it(bridge: Bridge) -> None:
    async with bridge.running(), bridge.person() as ann, bridge.person() as bob:
        room = await make_room(ann, bob.user_id)
        await until(lambda: bob.user_id in ann.members(room), what="Bob came")
        await ann.request("POST", f"/rooms/{room}/invite", {"user_id": BOT})
        assert "chat of the two of us" in await gone(ann, room)
        public = await make_room(ann, BOT, preset="public_chat")
        assert "public" in await gone(ann, public)
    assert bridge.rooms.people == {}


async def test_it_takes_no_commands_when_somebody_came_in(bridge: Bridge) -> None:
    async with bridge.running(), bridge.person() as ann, bridge.person() as bob:
        chat = await BotChat.open(ann)
        await ann.request("POST", f"/rooms/{chat.room}/invite", {"user_id": bob.user_id})
        await until(lambda: bob.user_id in ann.members(chat.room), what="Bob came")
        assert "chat of the two of us" in await chat.say("dnd on")
        await bob.leave(chat.room)
        await until(lambda: bob.user_id not in ann.members(chat.room), what="Bob left")
        assert "is off" in await chat.say("dnd")


async def test_it_goes_when_the_person_goes_and_comes_again(bridge: Bridge) -> None:
    async with bridge.running(), bridge.person() as ann:
        chat = await BotChat.open(ann)
        await ann.leave(chat.room)
        await until(lambda: not bridge.rooms.people, what="the room was forgotten")
        assert "is off" in await (await BotChat.open(ann)).say("dnd")


async def test_what_was_said_while_the_bridge_was_away_is_done_once(bridge: Bridge) -> None:
    async with bridge.person() as ann:
        async with bridge.running():
            chat = await BotChat.open(ann)
        await chat.write("call +1 202 555 0123")
        async with bridge.running():
            assert "Your client rings" in await chat.hears(2)
            assert "is off" in await chat.say("dnd")
    assert len(bridge.desk.called) == 1


async def test_admins_are_told_and_nobody_else(bridge: Bridge) -> None:
    async with (
        bridge.running() as adapter,
        bridge.person() as ann,
        bridge.person(Access.ADMIN) as chief,
    ):
        hers, theirs = await BotChat.open(ann), await BotChat.open(chief)
        adapter.notify_admins("The trunk `provider` is not registered.")
        assert "is not registered" in await theirs.hears(2)
        assert "is off" in await hers.say("dnd")
        assert len(hers.notices) == 2
