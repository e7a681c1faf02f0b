# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals beside a real Synapse that accepts invitations for people, or lets the bridge do it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
import yaml
from pydantic import SecretStr

from bridge import config
from bridge.call.commands import PreparePortal
from bridge.call.events import MatrixInviteReceived, MatrixMemberLeft, PersonInvited, PortalReady
from bridge.call.ids import CallId, OpId, RoomId, UserId
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.registration import people_registration, registration
from tests.matrix.portal_store import MemoryPortalStore
from tests.matrix.test_synapse import CALL, GHOST, NUMBER, Bridge, recorded
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.processes import free_port
from tests.simulators.synapse import SERVER_NAME, Synapse
from tests.simulators.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

PEOPLE = config.Portals(
    auto_join=config.AutoJoin.AS_TOKEN, people_token=SecretStr("people-token-of-one-run")
)
HOW_TO = Path(__file__).parents[2] / "docs/how-to/portals.md"
people = iter(range(1000))


@dataclass
class Stand:
    """A homeserver, and how a bridge beside it is set up."""

    server: Synapse
    homeserver: config.Homeserver
    appservice: config.AppService
    portals: config.Portals

    def bridge(self) -> Bridge:
        return Bridge(self.homeserver, self.appservice, self.portals)


@asynccontextmanager
async def _stand(
    directory: Path, portals: config.Portals, settings: dict[str, Any]
) -> AsyncIterator[Stand]:
    port = free_port()
    appservice = config.AppService(
        address=f"http://127.0.0.1:{port}",
        port=port,
        as_token=SecretStr("as-token-of-one-run"),
        hs_token=SecretStr("hs-token-of-one-run"),
    )
    domain = config.Homeserver(domain=SERVER_NAME)
    documents = [registration(domain, appservice, config.Encryption())]
    if portals.auto_join is not config.AutoJoin.OFF:
        documents.append(people_registration(domain, appservice, portals))
    files = [directory / f"{document['id']}.yaml" for document in documents]
    for file, document in zip(files, documents, strict=True):
        file.write_text(yaml.safe_dump(document))
    server = Synapse(directory / "synapse", files, settings=settings)
    await server.start()
    try:
        homeserver = config.Homeserver(address=server.url, domain=SERVER_NAME)
        yield Stand(server, homeserver, appservice, portals)
    finally:
        await server.stop()


def _as_the_how_to_says() -> dict[str, Any]:
    """What the page tells people to put into homeserver.yaml."""
    [snippet] = re.findall(
        r"^```yaml\n(auto_accept_invites:.*?)^```$", HOW_TO.read_text(), re.M | re.S
    )
    found: dict[str, Any] = yaml.safe_load(snippet)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doubles(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """The bridge joins for people."""
    async with _stand(tmp_path_factory.mktemp("doubles"), PEOPLE, {}) as stand:
        yield stand


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def accepts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """Synapse joins for people."""
    async with _stand(
        tmp_path_factory.mktemp("accepts"), config.Portals(), _as_the_how_to_says()
    ) as stand:
        yield stand


@pytest.fixture(params=["doubles", "accepts"])
def stand(request: pytest.FixtureRequest) -> Stand:
    made: Stand = request.getfixturevalue(request.param)
    return made


@asynccontextmanager
async def person(stand: Stand) -> AsyncIterator[MatrixClient]:
    """Somebody whose client accepts no invitation."""
    credentials = await stand.server.register(f"person{next(people)}")
    async with MatrixClient(stand.server.url, credentials, auto_join=False) as client:
        yield client


async def ready(bridge: Bridge, adapter: MatrixAdapter, client: MatrixClient, op: int) -> RoomId:
    """Prepare a portal; returns its room."""
    adapter.do(
        PreparePortal(
            call=CallId(CALL),
            op=OpId(op),
            person=UserId(client.user_id),
            address=NUMBER,
            display_name="",
        )
    )
    return (await bridge.told_of(PortalReady, lambda event: event.op == op)).room


async def direct_chats(client: MatrixClient) -> list[str]:
    data = await client.request("GET", f"/user/{quote(client.user_id)}/account_data/m.direct")
    return list(data[GHOST])


def invite(call_id: str) -> dict[str, Any]:
    return {**recorded("plain-01_m.call.invite_alice"), "call_id": call_id}


async def test_nobody_has_to_accept(stand: Stand) -> None:
    bridge = stand.bridge()
    async with bridge.running() as adapter, person(stand) as client:
        room = await ready(bridge, adapter, client, 1)
        await until(
            lambda: client.members(room) == {client.user_id, GHOST},
            what="both are in the room",
        )
        assert await direct_chats(client) == [room]
        if stand.portals.auto_join is not config.AutoJoin.OFF:
            assert not bridge.all(PersonInvited)


async def test_who_left_is_back_for_the_next_call(stand: Stand) -> None:
    bridge = stand.bridge()
    async with bridge.running() as adapter, person(stand) as client:
        room = await ready(bridge, adapter, client, 1)
        await client.leave(room)
        await bridge.told_of(MatrixMemberLeft)
        assert await ready(bridge, adapter, client, 2) == room
        assert room in await direct_chats(client)


async def test_a_lost_database_costs_no_room(stand: Stand) -> None:
    bridge = stand.bridge()
    async with person(stand) as client:
        async with bridge.running() as adapter:
            room = await ready(bridge, adapter, client, 1)
        bridge.store = MemoryPortalStore()
        async with bridge.running() as adapter:
            assert await ready(bridge, adapter, client, 2) == room
            assert list(bridge.store.portals) == [room]


async def test_a_call_into_a_room_that_the_database_lost_arrives(doubles: Stand) -> None:
    bridge = doubles.bridge()
    async with person(doubles) as client:
        async with bridge.running():
            room = await client.direct_room(GHOST)
        bridge.store = MemoryPortalStore()
        async with bridge.running():
            await client.send(room, "m.call.invite", invite("lost"))
            told = await bridge.told_of(MatrixInviteReceived)
            assert (told.room, told.address) == (room, NUMBER)


async def test_a_room_that_was_upgraded(doubles: Stand) -> None:
    """The old one tells why nothing rings; the new one is a portal once the ghost is invited."""
    bridge = doubles.bridge()
    async with bridge.running() as adapter, person(doubles) as client:
        old = await ready(bridge, adapter, client, 1)
        await until(lambda: client.members(old), what="the person has joined")
        path = f"/rooms/{quote(old)}/upgrade"
        new = (await client.request("POST", path, {"new_version": "11"}))["replacement_room"]
        await bridge.told_of(MatrixMemberLeft, lambda event: event.room == old)
        await client.send(old, "m.call.invite", invite("into the old one"))
        await until(
            lambda: [n for n in client.seen("m.room.message") if "replaced" in n.content["body"]],
            what="the notice came",
        )
        await client.request("POST", f"/rooms/{quote(new)}/invite", {"user_id": GHOST})
        await until(
            lambda: client.members(new) == {client.user_id, GHOST},
            what="the ghost has joined",
        )
        await client.send(new, "m.call.invite", invite("into the new one"))
        told = await bridge.told_of(MatrixInviteReceived)
        assert (told.room, told.call_id) == (new, "into the new one")
        assert await ready(bridge, adapter, client, 2) == new
        await until(lambda: GHOST not in client.members(old), what="the ghost left the old room")
        assert new in await direct_chats(client)


async def test_a_room_that_was_upgraded_without_the_ghost_is_replaced(doubles: Stand) -> None:
    bridge = doubles.bridge()
    async with bridge.running() as adapter, person(doubles) as client:
        old = await ready(bridge, adapter, client, 1)
        await until(lambda: client.members(old), what="the person has joined")
        path = f"/rooms/{quote(old)}/upgrade"
        upgraded = (await client.request("POST", path, {"new_version": "11"}))["replacement_room"]
        await bridge.told_of(MatrixMemberLeft, lambda event: event.room == old)
        made = await ready(bridge, adapter, client, 2)
        assert made not in (old, upgraded)
        assert made in await direct_chats(client)
        await until(lambda: GHOST not in client.members(old), what="the ghost left the old room")


@pytest.mark.parametrize("writes", [False, True])
async def test_the_room_of_an_unanswered_caller_is_left_unless_the_person_wrote(
    doubles: Stand, writes: bool
) -> None:
    bridge = doubles.bridge()
    async with bridge.running() as adapter, person(doubles) as client:
        room = await ready(bridge, adapter, client, 1)
        await until(lambda: client.members(room), what="the person has joined")
        await client.send(room, "m.call.reject", {"call_id": "~c", "version": "1"})
        if writes:
            await client.send(room, "m.room.message", {"msgtype": "m.text", "body": "Who?"})
        bridge.store.unanswered[room] = 1000.0
        await adapter.leave_unanswered(1001.0)
        there = [client.user_id, GHOST] if writes else [client.user_id]
        assert sorted(await _joined(client, room)) == sorted(there)
        if not writes:
            del bridge.store.unanswered[room]
            assert await ready(bridge, adapter, client, 2) != room


async def test_another_registrations_token_is_not_needed_to_ring_in_the_end(
    accepts: Stand,
) -> None:
    """The second registration is configured, but the homeserver has not loaded it."""
    bridge = Bridge(accepts.homeserver, accepts.appservice, PEOPLE)
    async with bridge.running() as adapter, person(accepts) as client:
        room = await ready(bridge, adapter, client, 1)
        assert client.user_id in await _joined(client, room)


async def _joined(client: MatrixClient, room: RoomId) -> list[str]:
    members = await client.request("GET", f"/rooms/{quote(room)}/joined_members")
    return list(members["joined"])
