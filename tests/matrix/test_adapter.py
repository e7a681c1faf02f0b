# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter as the driver and the homeserver see it."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr
from structlog.testing import capture_logs

from bridge import config
from bridge.call.commands import (
    PreparePortal,
    Ringing,
    SendMatrixAnswer,
    SendMatrixAssertedIdentity,
    SendMatrixHangup,
    SendMatrixInvite,
    SendNotice,
)
from bridge.call.events import (
    Event,
    MatrixInviteReceived,
    MatrixSendFailed,
    PortalFailed,
    PortalReady,
)
from bridge.call.ids import (
    Address,
    CallId,
    Direction,
    MatrixCallId,
    OpId,
    PartyId,
    RoomId,
    TrunkName,
    UserId,
)
from bridge.errors import ConfigurationError, LocalError, RemoteError, StoreUnavailable
from bridge.matrix import adapter as module
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.lookups import Unreachable
from bridge.numbers import is_canonical, read_address
from bridge.ports import MatrixPort
from bridge.records import CallRecord, Portal
from tests.matrix.fakes import ROOM, FakeClock, room_event
from tests.matrix.portal_store import MemoryPortalStore
from tests.simulators.processes import free_port
from tests.simulators.waiting import until

ALICE = UserId("@alice:example.org")
NUMBER = Address("tel:+12025550123")
CALL = CallId("call")


class Bench:
    """A homeserver that says yes, but for the paths in `refuses`; and an adapter beside it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.refuses: dict[str, tuple[int, str]] = {}
        self.bot = "@sipbot:example.org"
        self.store = MemoryPortalStore()
        self.told: list[Event] = []
        self.clock = FakeClock()
        self.appservice = config.AppService(
            port=free_port(), as_token=SecretStr("as"), hs_token=SecretStr("hs")
        )

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        for path, (status, errcode) in self.refuses.items():
            if path in request.path:
                return web.json_response({"errcode": errcode, "error": path}, status=status)
        self.seen.append((request.path.removeprefix("/_matrix/client"), body))
        members: dict[str, object] = {ALICE: {}, "@sip_12025550123:example.org": {}}
        return web.json_response(
            {"user_id": self.bot, "event_id": "$e", "room_id": ROOM, "joined": members}
        )

    def adapter(self, server: TestServer, **more: Any) -> MatrixAdapter:
        return MatrixAdapter(
            config.Homeserver(address=str(server.make_url("/")), domain="example.org"),
            self.appservice,
            store=self.store,
            emit=self.told.append,
            may_use=lambda _: True,
            is_address=partial(is_canonical, region="US"),
            dial=self.dial,
            monotonic=self.clock,
            sleep=self.clock.sleep,
            **more,
        )

    def dial(self, text: str) -> Address | Unreachable:
        """Reads what was typed."""
        return read_address(text, "US") or Unreachable("no number")

    def sent(self) -> list[tuple[str, Any]]:
        """What was sent into rooms: event type and content."""
        return [
            (path.split("/send/")[1].split("/")[0], body)
            for path, body in self.seen
            if "/send/" in path
        ]

    async def push(self, path: str, method: str = "PUT", token: str = "hs", **body: Any) -> int:
        """A request as the homeserver makes them."""
        url = f"http://127.0.0.1:{self.appservice.port}/_matrix/app/v1/{path}"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = io.BytesIO(json.dumps(body).encode())
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, url, data=data) as reply,
        ):
            return reply.status


@pytest.fixture
async def bench() -> Bench:
    return Bench()


@pytest.fixture
async def server(bench: Bench) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", bench.answer)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


@pytest.fixture
async def adapter(bench: Bench, server: TestServer) -> AsyncIterator[MatrixAdapter]:
    adapter = bench.adapter(server, join_time=0)
    await adapter.start()
    bench.seen.clear()
    yield adapter
    await adapter.stop()


def about(op: int = 1) -> dict[str, Any]:
    return {
        "call": CALL,
        "op": OpId(op),
        "room": ROOM,
        "address": NUMBER,
        "call_id": MatrixCallId("c"),
        "party": PartyId("sip"),
        "version": 1,
    }


async def test_it_is_a_matrix_port(adapter: MatrixAdapter) -> None:
    port: MatrixPort = adapter
    assert port is adapter


# --- the start ------------------------------------------------------------------------------


async def test_the_start_introduces_both_to_each_other(bench: Bench, server: TestServer) -> None:
    adapter = bench.adapter(server)
    await adapter.start()
    await adapter.stop()
    assert [path for path, _ in bench.seen] == [
        "/v3/register",
        "/v3/account/whoami",
        "/v3/profile/@sipbot:example.org/displayname",
        "/v1/appservice/matrix-sip/ping",
        "/v3/thirdparty/protocols",
    ]


async def test_the_dial_pad_is_described_from_the_very_start(
    bench: Bench, server: TestServer
) -> None:
    """Synapse keeps a failed description for an hour."""
    adapter = bench.adapter(server)
    await adapter.listen()
    protocol = "thirdparty/protocol/m.protocol.pstn"
    user = "thirdparty/user/m.protocol.pstn?m.id.phone=2025550123"
    assert await bench.push(protocol, "GET") == 200
    assert await bench.push(protocol, "GET", token="wrong") == 401
    assert await bench.push(user, "GET") == 503
    assert await bench.push("transactions/1", events=[]) == 503
    await adapter.start()
    assert await bench.push(user, "GET") == 200
    assert await bench.push(user, "GET", token="wrong") == 401
    assert await bench.push("transactions/1", events=[]) == 200
    await adapter.stop()


async def test_it_can_be_stopped_when_it_could_not_start(bench: Bench, server: TestServer) -> None:
    bench.bot = "@other:example.org"
    adapter = bench.adapter(server)
    with pytest.raises(ConfigurationError):
        await adapter.start()
    await adapter.stop()


async def test_a_homeserver_that_is_not_up_yet_is_waited_for(
    bench: Bench, server: TestServer
) -> None:
    bench.refuses = {"whoami": (503, "")}
    bench.clock.on_sleep = lambda _: bench.refuses.clear() if bench.clock.now > 1060 else None
    adapter = bench.adapter(server)
    await adapter.start()
    await adapter.stop()


async def test_but_not_for_ever(bench: Bench, server: TestServer) -> None:
    bench.refuses = {"register": (503, "")}
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        await bench.adapter(server).start()
    assert "homeserver.address" in caught.value.remedy


async def test_a_homeserver_without_ping_will_do(bench: Bench, server: TestServer) -> None:
    bench.refuses = {"ping": (404, "M_UNRECOGNIZED")}
    adapter = bench.adapter(server)
    await adapter.start()
    await adapter.stop()


async def test_a_homeserver_that_stumbles_over_the_last_run_gets_another_chance(
    bench: Bench, server: TestServer
) -> None:
    bench.refuses = {"ping": (502, "M_CONNECTION_FAILED")}
    bench.clock.on_sleep = lambda _: bench.refuses.clear()
    adapter = bench.adapter(server)
    await adapter.start()
    await adapter.stop()


@pytest.mark.parametrize(
    ("refuses", "bot", "problem", "remedy"),
    [
        ({"register": (401, "M_UNKNOWN_TOKEN")}, None, "does not accept", "registration again"),
        ({"ping": (502, "M_CONNECTION_FAILED")}, None, "cannot call", "appservice.address"),
        ({}, "@other:example.org", "bot as @other", "bot_localpart"),
    ],
)
async def test_what_is_wrong_is_said_with_a_remedy(
    bench: Bench,
    server: TestServer,
    refuses: dict[str, tuple[int, str]],
    bot: str | None,
    problem: str,
    remedy: str,
) -> None:
    bench.refuses = refuses
    bench.bot = bot or bench.bot
    with pytest.raises(ConfigurationError, match=problem) as caught:
        await bench.adapter(server).start()
    assert remedy in caught.value.remedy
    # Nothing is left behind: the port is free again.
    bench.refuses, bench.bot = {}, "@sipbot:example.org"
    adapter = bench.adapter(server)
    await adapter.start()
    await adapter.stop()


@pytest.mark.parametrize("token", ["", "two words"])
async def test_a_token_that_is_none(bench: Bench, server: TestServer, token: str) -> None:
    bench.appservice = bench.appservice.model_copy(update={"hs_token": SecretStr(token)})
    with pytest.raises(ConfigurationError, match=r"appservice\.hs_token"):
        await bench.adapter(server).start()


# --- from the homeserver --------------------------------------------------------------------


async def test_transactions_need_the_token(bench: Bench, adapter: MatrixAdapter) -> None:
    assert await bench.push("transactions/1", token="wrong", events=[]) == 401
    assert await bench.push("transactions/1", token="as", events=[]) == 401
    assert await bench.push("transactions/1", events=[]) == 200


async def test_an_event_that_mautrix_would_not_parse_arrives(
    bench: Bench, adapter: MatrixAdapter
) -> None:
    bench.store.portals[ROOM] = Portal(room=ROOM, person=ALICE, address=NUMBER)
    content = {"call_id": "c", "version": "1", "offer": {"sdp": "v=0"}}
    raw = room_event("m.call.invite", content)
    huge = room_event("m.room.message", {"body": "x" * (2 << 20)}, event_id="$huge")
    assert await bench.push("transactions/1", events=[huge, raw]) == 200
    await until(lambda: bench.told, what="the invite was told")
    assert await bench.push("transactions/2", events=[raw]) == 200
    [invite] = bench.told
    assert isinstance(invite, MatrixInviteReceived)


async def test_a_homeserver_that_counts_its_transactions_anew_is_understood(
    bench: Bench, adapter: MatrixAdapter
) -> None:
    bench.store.portals[ROOM] = Portal(room=ROOM, person=ALICE, address=NUMBER)
    for call in ("before", "after"):
        content = {"call_id": call, "version": "1", "offer": {"sdp": "v=0"}}
        raw = room_event("m.call.invite", content, event_id=f"${call}")
        assert await bench.push("transactions/1", events=[raw]) == 200
    await until(lambda: len(bench.told) == 2, what="both invites were told")


async def test_ghosts_exist_when_asked_for(bench: Bench, adapter: MatrixAdapter) -> None:
    path = "users/@sip_12025550123:example.org"
    assert await bench.push(path, method="GET") == 200
    assert bench.store.ghost_names == {NUMBER: "+1 202-555-0123"}
    assert await bench.push("users/@sip_nobody:example.org", method="GET") == 404
    assert await bench.push(path, method="GET", token="wrong") == 401


# --- from the driver ------------------------------------------------------------------------


async def test_events_go_out_in_order(bench: Bench, adapter: MatrixAdapter) -> None:
    adapter.do(SendMatrixAnswer(**about(1), sdp="v=0"))
    adapter.do(SendNotice(call=CALL, room=ROOM, address=NUMBER, text="Hello."))
    adapter.do(SendMatrixHangup(**about(2), reason="user_hangup"))
    await until(lambda: len(bench.sent()) == 3, what="all was sent")
    assert [event_type for event_type, _ in bench.sent()] == [
        "m.call.answer",
        "m.room.message",
        "m.call.hangup",
    ]


async def test_another_party_is_named_by_its_ghost_under_both_names(
    bench: Bench, adapter: MatrixAdapter
) -> None:
    other = Address("tel:+12025550177")
    adapter.do(SendMatrixAssertedIdentity(**about(3), identity=other, name="Reception"))
    await until(lambda: len(bench.sent()) == 2, what="it was told")
    asserted = {
        "id": "@sip_12025550177:example.org",
        "display_name": "Reception (+1 202-555-0177)",
    }
    common = {"call_id": "c", "party_id": "sip", "version": "1"}
    assert bench.sent() == [
        (name, {**common, "asserted_identity": asserted})
        for name in ("m.call.asserted_identity", "org.matrix.call.asserted_identity")
    ]
    registered = [body["username"] for path, body in bench.seen if path.endswith("/register")]
    assert registered == ["sip_12025550177"]


async def test_another_party_that_gets_no_ghost_is_not_told(
    bench: Bench, adapter: MatrixAdapter
) -> None:
    bench.refuses["/register"] = (403, "M_FORBIDDEN")
    other = Address("tel:+12025550177")
    with capture_logs() as logs:
        adapter.do(SendMatrixAssertedIdentity(**about(3), identity=other, name=""))
        await until(lambda: bool(logs), what="it was tried")
    assert [entry["event"] for entry in logs] == ["identity not told"]
    assert bench.sent() == []


async def test_a_room_that_was_closed_is_not_taken_for_good_again(
    bench: Bench, adapter: MatrixAdapter
) -> None:
    """Synapse's admin API makes the ghost leave by itself, of which nobody tells us."""
    bench.store.portals[ROOM] = Portal(room=ROOM, person=ALICE, address=NUMBER)
    prepare = PreparePortal(call=CALL, op=OpId(3), person=ALICE, address=NUMBER, display_name="")
    adapter.join_time = 60
    adapter.do(prepare)
    await until(lambda: bench.told, what="the portal")
    assert isinstance(bench.told.pop(), PortalReady)
    bench.refuses = {ROOM: (403, "M_FORBIDDEN")}
    adapter.do(SendMatrixInvite(**about(7), sdp="v=0", lifetime=60, invitee=ALICE))
    await until(lambda: bench.told, what="the failure was told")
    assert isinstance(bench.told.pop(), MatrixSendFailed)
    adapter.do(prepare)
    await until(lambda: any("createRoom" in path for path, _ in bench.seen), what="room")


async def test_what_cannot_be_sent_is_told(bench: Bench, adapter: MatrixAdapter) -> None:
    bench.refuses = {"/send/": (403, "M_FORBIDDEN")}
    adapter.do(SendMatrixInvite(**about(7), sdp="v=0", lifetime=60, invitee=ALICE))
    await until(lambda: bench.told, what="the failure was told")
    [failed] = bench.told
    assert isinstance(failed, MatrixSendFailed)
    assert (failed.call, failed.op) == (CALL, 7)
    assert "M_FORBIDDEN" in failed.reason


@pytest.mark.parametrize(
    ("refuses", "address", "reason"),
    [
        ({}, NUMBER, "not accepted the invitation"),
        ({"createRoom": (403, "M_FORBIDDEN")}, NUMBER, "M_FORBIDDEN"),
        ({}, Address(f"sip:{'a' * 300}@example.org"), "255 are allowed"),
        ({}, Address("nonsense"), "failed to prepare"),
        ({"profile/@alice": (404, "M_NOT_FOUND")}, NUMBER, "nobody of this name"),
        ({"profile/@alice": (403, "M_FORBIDDEN")}, NUMBER, "not accepted the invitation"),
    ],
)
async def test_a_portal_that_fails_is_told(
    bench: Bench,
    server: TestServer,
    refuses: dict[str, tuple[int, str]],
    address: Address,
    reason: str,
) -> None:
    adapter = bench.adapter(server, join_time=0 if "accepted" in reason else 60)
    await adapter.start()
    bench.refuses = refuses
    adapter.do(PreparePortal(call=CALL, op=OpId(3), person=ALICE, address=address, display_name=""))
    await until(lambda: bench.told, what="the failure was told")
    await adapter.stop()
    [failed] = bench.told
    assert isinstance(failed, PortalFailed)
    assert failed.op == 3
    assert reason in failed.reason
    assert failed.unknown is ("nobody" in reason)


async def test_a_portal_that_is_ready_is_told(bench: Bench, server: TestServer) -> None:
    bench.store.portals[ROOM] = Portal(room=ROOM, person=ALICE, address=NUMBER)
    adapter = bench.adapter(server)
    await adapter.start()
    adapter.do(PreparePortal(call=CALL, op=OpId(3), person=ALICE, address=NUMBER, display_name=""))
    await until(lambda: bench.told, what="the portal was told")
    await adapter.stop()
    assert bench.told == [PortalReady(call=CALL, op=OpId(3), room=ROOM)]


async def test_a_port_that_is_taken(bench: Bench, server: TestServer) -> None:
    adapter = bench.adapter(server)
    await adapter.start()
    with pytest.raises(LocalError, match=r"cannot listen on 127\.0\.0\.1") as caught:
        await bench.adapter(server).start()
    await adapter.stop()
    assert "appservice.port" in caught.value.remedy


async def test_stopping_does_not_wait_for_ever(
    bench: Bench, server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STOPPING", 0.0)
    adapter = bench.adapter(server)
    await adapter.start()
    bench.refuses = {"/send/": (503, "")}
    adapter.do(SendMatrixHangup(**about(), reason="user_hangup"))
    adapter.do(PreparePortal(call=CALL, op=OpId(3), person=ALICE, address=NUMBER, display_name=""))
    await adapter.stop()
    assert bench.sent() == []
    assert bench.told == []


async def test_what_arrives_while_stopping_is_left_to_the_next_run(
    bench: Bench, server: TestServer
) -> None:
    bench.store.portals[ROOM] = Portal(room=ROOM, person=ALICE, address=NUMBER)
    adapter = bench.adapter(server)
    await adapter.start()
    bench.refuses = {"/send/": (503, "")}
    adapter.do(SendMatrixHangup(**about(), reason="user_hangup"))
    stopping = asyncio.create_task(adapter.stop())
    await asyncio.sleep(0)
    status = await bench.push("transactions/1", events=[])
    bench.refuses = {}
    await stopping
    assert status == 503
    assert [event_type for event_type, _ in bench.sent()] == ["m.call.hangup"]


async def test_what_arrived_before_stopping_is_told(bench: Bench, server: TestServer) -> None:
    bench.store.portals[ROOM] = Portal(room=ROOM, person=ALICE, address=NUMBER)
    adapter = bench.adapter(server)
    await adapter.start()
    content = {"call_id": "c", "version": "1", "offer": {"sdp": "v=0"}}
    await bench.push("transactions/1", events=[room_event("m.call.invite", content)])
    await adapter.stop()
    assert [type(event) for event in bench.told] == [MatrixInviteReceived]


async def test_a_call_that_nobody_heard_of_ends_in_silence(
    bench: Bench, adapter: MatrixAdapter
) -> None:
    adapter.do(SendMatrixInvite(**about(1), sdp="v=0", lifetime=60, invitee=ALICE))
    adapter.do(SendMatrixHangup(**about(2), reason="user_hangup"))
    await adapter.stop()
    assert bench.sent() == []


async def test_stopping_says_the_last_words(bench: Bench, server: TestServer) -> None:
    adapter = bench.adapter(server)
    await adapter.start()
    adapter.do(SendMatrixHangup(**about(), reason="user_hangup"))
    await adapter.stop()
    assert [event_type for event_type, _ in bench.sent()] == ["m.call.hangup"]


# --- what a crash left behind ---------------------------------------------------------------


def record(**more: Any) -> CallRecord:
    known = {
        "room": ROOM,
        "matrix_call_id": MatrixCallId("c"),
        "matrix_version": 1,
        "party": PartyId("sip"),
        **more,
    }
    return CallRecord(
        **{
            "call": CALL,
            "direction": Direction.TO_SIP,
            "person": ALICE,
            "address": NUMBER,
            "trunk": TrunkName("provider"),
            "started_at": 0.0,
            **known,
        }
    )


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (record(), ["m.call.reject", "m.call.hangup"]),
        (record(answered_at=1.0), ["m.call.hangup"]),
        (record(matrix_version=0), ["m.call.hangup"]),
        (record(direction=Direction.TO_MATRIX), ["m.call.hangup"]),
        (record(room=None), []),
        (record(matrix_call_id=None), []),
    ],
)
async def test_an_orphan_is_hung_up(
    bench: Bench, adapter: MatrixAdapter, left: CallRecord, said: list[str]
) -> None:
    await adapter.end_orphan(left)
    assert [event_type for event_type, _ in bench.sent()] == said
    assert all(content["call_id"] == "c" for _, content in bench.sent())


async def test_an_orphan_that_rang_at_several_people_is_hung_up_at_all(
    bench: Bench, adapter: MatrixAdapter
) -> None:
    ringing = tuple(
        Ringing(
            person=UserId(f"@{name}:mx.test"),
            room=RoomId(f"!{name}:mx.test"),
            matrix_call_id=MatrixCallId("c"),
            party=PartyId("ours"),
        )
        for name in ("alice", "bob")
    )
    left = record(direction=Direction.TO_MATRIX, room=None, matrix_call_id=None, ringing=ringing)
    await adapter.end_orphan(left)
    sent = bench.sent()
    assert [event_type for event_type, _ in sent] == ["m.call.hangup"] * 2
    assert all((each["call_id"], each["party_id"]) == ("c", "ours") for _, each in sent)


async def test_an_orphan_whose_room_is_gone_is_let_go(bench: Bench, adapter: MatrixAdapter) -> None:
    bench.refuses = {"/send/": (403, "M_FORBIDDEN")}
    await adapter.end_orphan(record())
    assert bench.told == []


async def test_a_transaction_whose_keys_are_not_kept_has_to_come_again(
    bench: Bench, adapter: MatrixAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = [StoreUnavailable("disk full")]

    async def receive(_: object) -> None:
        if fails:
            raise fails.pop()

    monkeypatch.setattr(adapter._appservice, "_receive_keys", receive)
    assert await bench.push("transactions/1", events=[]) == 503
    assert await bench.push("transactions/1", events=[]) == 200
