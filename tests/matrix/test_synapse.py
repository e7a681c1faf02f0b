# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter beside a real Synapse."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
import yaml
from pydantic import SecretStr

from bridge import config
from bridge.call.commands import (
    PreparePortal,
    SendMatrixAnswer,
    SendMatrixHangup,
    SendMatrixInvite,
    SendNotice,
)
from bridge.call.events import (
    Event,
    MatrixCandidatesReceived,
    MatrixHangupReceived,
    MatrixInviteReceived,
    MatrixMemberLeft,
    MatrixSendFailed,
    PortalFailed,
    PortalReady,
)
from bridge.call.ids import Address, CallId, MatrixCallId, OpId, PartyId, RoomId, UserId
from bridge.errors import ConfigurationError, LocalError
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.introduction import BOT_NAME
from bridge.matrix.lookups import Unreachable
from bridge.matrix.registration import registration
from bridge.numbers import read_address
from tests.matrix.portal_store import MemoryPortalStore
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.processes import free_port
from tests.simulators.synapse import SERVER_NAME, Synapse
from tests.simulators.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

FIXTURES = Path(__file__).parent / "fixtures"
CALL = CallId("c1")
NUMBER = Address("tel:+12025550123")
GHOST = f"@sip_12025550123:{SERVER_NAME}"

E = TypeVar("E", bound=Event)


def recorded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())["content"]
    return content


class Bridge:
    """The adapter, and what it told the core."""

    def __init__(
        self,
        homeserver: config.Homeserver,
        appservice: config.AppService,
        portals: config.Portals | None = None,
    ) -> None:
        self.portals = portals
        self.join_time = 10.0
        self.homeserver = homeserver
        self.appservice = appservice
        self.store = MemoryPortalStore()
        self.told: list[Event] = []
        self.barred: set[UserId] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MatrixAdapter]:
        adapter = MatrixAdapter(
            self.homeserver,
            self.appservice,
            store=self.store,
            emit=self.told.append,
            may_use=lambda user: user not in self.barred,
            is_address=lambda _: True,
            dial=self.dial,
            portals=self.portals,
            join_time=self.join_time,
        )
        await adapter.start()
        try:
            yield adapter
        finally:
            await adapter.stop()

    def dial(self, text: str) -> Address | Unreachable:
        return read_address(text, "US") or Unreachable("no number")

    def all(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> list[E]:
        return [event for event in self.told if isinstance(event, kind) and where(event)]

    async def told_of(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> E:
        found = await until(lambda: self.all(kind, where), what=f"{kind.__name__} was told")
        return found[-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def synapse(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Synapse, config.Homeserver, config.AppService]]:
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


@pytest.fixture
def bridge(synapse: tuple[Synapse, config.Homeserver, config.AppService]) -> Bridge:
    _, homeserver, appservice = synapse
    return Bridge(homeserver, appservice)


@pytest.fixture
def server(synapse: tuple[Synapse, config.Homeserver, config.AppService]) -> Synapse:
    return synapse[0]


people = iter(range(1000))


@asynccontextmanager
async def person(server: Synapse, *, auto_join: bool = True) -> AsyncIterator[MatrixClient]:
    credentials = await server.register(f"person{next(people)}")
    async with MatrixClient(server.url, credentials, auto_join=auto_join) as client:
        yield client


def prepare(client: MatrixClient, op: int, name: str = "") -> PreparePortal:
    return PreparePortal(
        call=CALL, op=OpId(op), person=UserId(client.user_id), address=NUMBER, display_name=name
    )


async def profile(server: Synapse, user: str) -> str:
    async with aiohttp.ClientSession() as http:
        url = f"{server.url}/_matrix/client/v3/profile/{quote(user)}"
        async with http.get(url) as reply:
            return str((await reply.json()).get("displayname"))


async def test_a_call_in_from_sip(bridge: Bridge, server: Synapse) -> None:
    async with bridge.running() as adapter, person(server) as client:
        assert await profile(server, f"@sipbot:{SERVER_NAME}") == BOT_NAME
        adapter.do(prepare(client, 1, "Reception"))
        ready = await bridge.told_of(PortalReady, lambda e: e.op == 1)
        await until(
            lambda: client.members(ready.room) == {client.user_id, GHOST},
            what="both are in the room",
        )
        assert await profile(server, GHOST) == "Reception (+1 202-555-0123)"

        adapter.do(prepare(client, 2))
        again = await bridge.told_of(PortalReady, lambda e: e.op == 2)
        assert again.room == ready.room

        adapter.do(
            SendMatrixInvite(
                call=CALL,
                op=OpId(3),
                room=ready.room,
                address=NUMBER,
                call_id=MatrixCallId("~in"),
                party=PartyId("sip"),
                version=1,
                sdp="v=0\r\na=msid:stream track\r\n",
                lifetime=60,
                invitee=UserId(client.user_id),
            )
        )
        adapter.do(
            SendNotice(call=CALL, room=ready.room, address=NUMBER, text="Somebody rang you.")
        )
        await until(lambda: client.seen("m.room.message"), what="the notice came")
        adapter.do(hangup(ready.room, 4))
        await until(lambda: client.seen("m.call.hangup"), what="the hangup came")
        kinds = [event.type for event in client.events if event.sender == GHOST]
        assert kinds[-3:] == ["m.call.invite", "m.room.message", "m.call.hangup"]
        [invite] = client.seen("m.call.invite")
        assert invite.content["version"] == "1"
        assert invite.content["lifetime"] == 60000
        assert list(invite.content["sdp_stream_metadata"]) == ["stream"]

        await client.leave(ready.room)
        left = await bridge.told_of(MatrixMemberLeft)
        assert (left.room, left.user) == (ready.room, client.user_id)
        adapter.do(prepare(client, 5))
        back = await bridge.told_of(PortalReady, lambda e: e.op == 5)
        assert back.room == ready.room
    assert not bridge.all(MatrixSendFailed)
    assert not bridge.all(PortalFailed)


def hangup(room: RoomId, op: int, call_id: str = "~in") -> SendMatrixHangup:
    return SendMatrixHangup(
        call=CALL,
        op=OpId(op),
        room=room,
        address=NUMBER,
        call_id=MatrixCallId(call_id),
        party=PartyId("sip"),
        version=1,
        reason="user_hangup",
    )


async def test_a_call_out_to_sip(bridge: Bridge, server: Synapse) -> None:
    async with bridge.running(), person(server) as client:
        room = await client.direct_room(GHOST)
        for name in (
            "plain-01_m.call.invite_alice",
            "plain-02_m.call.candidates_alice",
            "plain-06_m.call.hangup_alice",
        ):
            event_type = name[len("plain-01_") : -len("_alice")]
            await client.send(room, event_type, recorded(name))
        await bridge.told_of(MatrixHangupReceived)
        assert [type(event) for event in bridge.told] == [
            MatrixInviteReceived,
            MatrixCandidatesReceived,
            MatrixHangupReceived,
        ]
        [invite] = bridge.all(MatrixInviteReceived)
        assert invite.address == NUMBER
        assert invite.room == room
        assert invite.sdp == recorded("plain-01_m.call.invite_alice")["offer"]["sdp"]
        assert 0 <= invite.age < 10
        assert invite.lifetime == 60


async def test_a_call_placed_before_the_ghost_has_joined(bridge: Bridge, server: Synapse) -> None:
    """What Element does after its dial pad made the room; homeservers do not push such events."""
    async with person(server) as client:
        made = await client.request(
            "POST",
            "/createRoom",
            {"is_direct": True, "preset": "trusted_private_chat", "invite": [GHOST]},
        )
        room = made["room_id"]
        old = {**recorded("extras-01_m.call.invite_alice"), "lifetime": 1, "call_id": "expired"}
        await client.send(room, "m.call.invite", old)
        await client.send(room, "m.call.invite", recorded("plain-01_m.call.invite_alice"))
        await client.send(room, "m.call.candidates", recorded("plain-02_m.call.candidates_alice"))
        async with bridge.running():
            await bridge.told_of(MatrixCandidatesReceived)
            await client.send(room, "m.call.hangup", recorded("plain-06_m.call.hangup_alice"))
            await bridge.told_of(MatrixHangupReceived)
    assert [type(event) for event in bridge.told] == [
        MatrixInviteReceived,
        MatrixCandidatesReceived,
        MatrixHangupReceived,
    ]


async def test_the_dial_pad(bridge: Bridge, server: Synapse) -> None:
    async with bridge.running(), person(server) as client:
        protocols = await client.request("GET", "/thirdparty/protocols")
        for name in ("m.protocol.pstn", "im.vector.protocol.pstn"):
            assert protocols[name]["user_fields"] == ["m.id.phone"]
            assert protocols[name]["instances"] == []
            for typed in ("(202) 555-0199", "00 1 202 555 0199", "tel:+12025550199"):
                [found] = await client.request(
                    "GET", f"/thirdparty/user/{name}?m.id.phone={quote(typed)}"
                )
                assert found == {
                    "userid": f"@sip_12025550199:{SERVER_NAME}",
                    "protocol": name,
                    "fields": {"m.id.phone": "+12025550199"},
                }
        assert await profile(server, f"@sip_12025550199:{SERVER_NAME}") == "+1 202-555-0199"
        path = "/thirdparty/user/m.protocol.pstn?m.id.phone=nobody"
        assert await client.request("GET", path) == []


async def test_clients_are_shown_the_dial_pad_while_the_bridge_restarts(
    bridge: Bridge, server: Synapse
) -> None:
    """The bridge has asked, as a client does, so the homeserver knows without asking it."""
    async with bridge.running():
        pass
    async with person(server) as client:
        protocols = await client.request("GET", "/thirdparty/protocols")
    assert {"m.protocol.pstn", "im.vector.protocol.pstn"} <= protocols.keys()


async def test_a_call_from_the_dial_pad_rings_whether_or_not_the_ghost_has_joined(
    bridge: Bridge, server: Synapse
) -> None:
    """The client does not wait for the ghost: its invite comes before, during or after the join."""
    async with bridge.running(), person(server) as client:
        for number in range(10):
            ghost = await client.dial_pad(f"+1202555010{number}")
            made = await client.request(
                "POST",
                "/createRoom",
                {"is_direct": True, "preset": "trusted_private_chat", "invite": [ghost]},
            )
            call = {**recorded("plain-01_m.call.invite_alice"), "call_id": f"call{number}"}
            await client.send(made["room_id"], "m.call.invite", call)
            more = {**recorded("plain-02_m.call.candidates_alice"), "call_id": f"call{number}"}
            await client.send(made["room_id"], "m.call.candidates", more)
        await until(lambda: len(bridge.all(MatrixCandidatesReceived)) == 10, what="all were told")
    kinds = [MatrixInviteReceived, MatrixCandidatesReceived]
    for number in range(10):
        told = [e for e in bridge.told if getattr(e, "call_id", "") == f"call{number}"]
        assert [type(event) for event in told] == kinds


async def test_a_restart_of_the_homeserver_in_mid_call(bridge: Bridge, server: Synapse) -> None:
    async with bridge.running() as adapter, person(server) as client:
        room = RoomId(await client.direct_room(GHOST))
        await client.send(room, "m.call.invite", recorded("plain-01_m.call.invite_alice"))
        invite = await bridge.told_of(MatrixInviteReceived)
        await server.stop()
        adapter.do(
            SendMatrixAnswer(
                call=CALL,
                op=OpId(1),
                room=room,
                address=NUMBER,
                call_id=invite.call_id,
                party=PartyId("sip"),
                version=1,
                sdp="v=0\r\na=msid:stream track\r\n",
            )
        )
        await server.start()
        await until(lambda: client.seen("m.call.answer"), what="the answer came")
        await client.send(room, "m.call.hangup", recorded("plain-06_m.call.hangup_alice"))
        await bridge.told_of(MatrixHangupReceived)
        assert len(bridge.all(MatrixInviteReceived)) == 1
        assert not bridge.all(MatrixSendFailed)


async def test_events_wait_while_the_bridge_is_away_and_come_once(
    bridge: Bridge, server: Synapse
) -> None:
    async with person(server) as client:
        async with bridge.running():
            room = await client.direct_room(GHOST)
        await client.send(room, "m.call.invite", recorded("plain-01_m.call.invite_alice"))
        async with bridge.running():
            invite = await bridge.told_of(MatrixInviteReceived)
            assert invite.age >= 0
        async with bridge.running():
            await client.send(room, "m.call.hangup", recorded("plain-06_m.call.hangup_alice"))
            await bridge.told_of(MatrixHangupReceived)
    assert len(bridge.all(MatrixInviteReceived)) == 1


async def test_a_third_member_and_a_public_room_are_told_why(
    bridge: Bridge, server: Synapse
) -> None:
    async with bridge.running(), person(server) as client, person(server) as third:
        room = await client.direct_room(GHOST)
        await client.request("POST", f"/rooms/{quote(room)}/invite", {"user_id": third.user_id})
        await until(lambda: third.rooms(), what="a third has joined")
        for call_id in ("one", "two"):
            invite = {**recorded("plain-01_m.call.invite_alice"), "call_id": call_id}
            await client.send(room, "m.call.invite", invite)
        await until(lambda: client.seen("m.room.message"), what="the notice came")

        public = await client.request(
            "POST", "/createRoom", {"preset": "public_chat", "invite": [GHOST]}
        )
        await until(
            lambda: [
                event
                for event in client.events
                if event.room == public["room_id"]
                and event.state_key == GHOST
                and event.content["membership"] == "leave"
                and "public" in event.content["reason"]
            ],
            what="the invitation to the public room was refused",
        )
        await third.leave(room)
        await client.send(
            room, "m.call.invite", {**recorded("plain-01_m.call.invite_alice"), "call_id": "three"}
        )
        ringing = await bridge.told_of(MatrixInviteReceived)
        assert ringing.call_id == "three"
        [notice] = client.seen("m.room.message")
        assert notice.content["msgtype"] == "m.notice"
        assert "other members" in notice.content["body"]


async def test_who_may_not_call_is_refused(bridge: Bridge, server: Synapse) -> None:
    async with bridge.running(), person(server) as client:
        bridge.barred.add(UserId(client.user_id))
        made = await client.request("POST", "/createRoom", {"is_direct": True, "invite": [GHOST]})
        await until(
            lambda: [
                event
                for event in client.events
                if event.room == made["room_id"]
                and event.state_key == GHOST
                and event.content["membership"] == "leave"
            ],
            what="the invitation was refused",
        )


async def test_a_newer_room_takes_over(bridge: Bridge, server: Synapse) -> None:
    async with bridge.running() as adapter, person(server, auto_join=False) as client:
        adapter.do(prepare(client, 1))
        await until(lambda: bridge.store.portals, what="the room was made")
        assert not bridge.all(PortalReady)
        room = await client.direct_room(GHOST)
        ready = await bridge.told_of(PortalReady)
        assert ready.room == room
        adapter.do(prepare(client, 2))
        again = await bridge.told_of(PortalReady, lambda e: e.op == 2)
        assert again.room == room


async def test_a_declined_invitation_fails_at_once(bridge: Bridge, server: Synapse) -> None:
    async with bridge.running() as adapter, person(server, auto_join=False) as client:
        adapter.do(prepare(client, 1))
        await until(lambda: bridge.store.portals, what="the room was made")
        [room] = bridge.store.portals
        await client.leave(room)
        failed = await bridge.told_of(PortalFailed)
        assert "declined" in failed.reason


async def test_an_unknown_ghost_is_made_when_asked_for(bridge: Bridge, server: Synapse) -> None:
    unknown = f"@sip_door=40pbx.example.org:{SERVER_NAME}"
    async with bridge.running(), person(server) as client:
        room = await client.direct_room(unknown)
        assert client.members(room) == {client.user_id, unknown}
        assert await profile(server, unknown) == "door@pbx.example.org"


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("appservice", {"as_token": SecretStr("wrong")}, "does not accept the bridge"),
        ("appservice", {"hs_token": SecretStr("wrong")}, "cannot call the bridge"),
        ("appservice", {"hs_token": SecretStr("")}, "hs_token is empty"),
        ("appservice", {"id": "other"}, "cannot call the bridge"),
        ("appservice", {"bot_localpart": "other"}, "does not accept the bridge"),
        ("homeserver", {"domain": "other.test"}, "bot as @sipbot:mx.test|does not accept"),
    ],
)
async def test_a_wrong_setting_is_explained_at_the_start(
    bridge: Bridge, section: str, change: dict[str, Any], message: str
) -> None:
    setattr(bridge, section, getattr(bridge, section).model_copy(update=change))
    with pytest.raises(ConfigurationError, match=message) as caught:
        async with bridge.running():
            pytest.fail("started")
    assert caught.value.remedy


async def test_the_port_is_taken(bridge: Bridge) -> None:
    async with bridge.running():
        other = Bridge(bridge.homeserver, bridge.appservice)
        with pytest.raises(LocalError, match=r"cannot listen on 127\.0\.0\.1"):
            async with other.running():
                pytest.fail("started")
