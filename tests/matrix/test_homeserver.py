# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes over the wire to a homeserver, and what its answers mean."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from bridge import config
from bridge.call.ids import RoomId, UserId
from bridge.matrix import homeserver as module
from bridge.matrix.homeserver import Homeserver, Patience, Refused, Unavailable
from bridge.matrix.transactions import Transactions
from bridge.records import IceServer
from tests.matrix.fakes import FakeClock

ROOM = RoomId("!r/1")
GHOST = UserId("@sip_12025550123:example.org")


class Bench:
    """A server that answers every request with `reply`, and notes the request."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        self.reply = web.json_response({})
        self.hang = False
        self.token = "as"

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        assert request.headers["Authorization"] == f"Bearer {self.token}"
        self.seen.append((request.method, request.raw_path, dict(request.query), body))
        if self.hang:
            await asyncio.Event().wait()
        return self.reply

    def will(self, status: int, body: object) -> None:
        self.reply = web.json_response(body, status=status)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


@pytest.fixture
async def homeserver(bench: Bench) -> AsyncIterator[Homeserver]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", bench.answer)

    async def nothing(_: object) -> None:
        return None

    async with TestServer(app) as server:
        appservice = Transactions(
            config.Homeserver(address=str(server.make_url("/")), domain="example.org"),
            config.AppService(as_token=SecretStr("as"), hs_token=SecretStr("hs")),
            nothing,
            nothing,
        )
        await appservice.start("127.0.0.1", 0)
        yield Homeserver(appservice)
        await appservice.stop()


async def test_a_ghost_speaks_with_its_own_name(bench: Bench, homeserver: Homeserver) -> None:
    await homeserver.send(ROOM, GHOST, "m.call.hangup", {"reason": "user_hangup"}, "c1.7")
    [(method, path, query, body)] = bench.seen
    assert method == "PUT"
    assert path.partition("?")[0] == ("/_matrix/client/v3/rooms/%21r%2F1/send/m.call.hangup/c1.7")
    assert query == {"user_id": GHOST}
    assert body == {"reason": "user_hangup"}


async def test_a_ghost_has_read_as_far_as_an_event(bench: Bench, homeserver: Homeserver) -> None:
    await homeserver.mark_read(ROOM, GHOST, "$e/1")
    [(method, path, query, body)] = bench.seen
    assert (method, query, body) == ("POST", {"user_id": GHOST}, {})
    assert path.partition("?")[0] == "/_matrix/client/v3/rooms/%21r%2F1/receipt/m.read/%24e%2F1"


async def test_messages_come_oldest_first(bench: Bench, homeserver: Homeserver) -> None:
    bench.will(200, {"chunk": [{"n": 2}, {"n": 1}]})
    assert await homeserver.latest_events(ROOM, GHOST, 5) == [{"n": 1}, {"n": 2}]
    [(_, _, query, _)] = bench.seen
    assert query == {"user_id": GHOST, "dir": "b", "limit": "5"}


async def test_registering_twice_is_harmless(bench: Bench, homeserver: Homeserver) -> None:
    bench.will(400, {"errcode": "M_USER_IN_USE", "error": "taken"})
    await homeserver.register(GHOST)
    [(_, _, _, body)] = bench.seen
    assert body == {
        "type": "m.login.application_service",
        "username": "sip_12025550123",
        "inhibit_login": True,
    }
    bench.will(400, {"errcode": "M_EXCLUSIVE", "error": "not yours"})
    with pytest.raises(Refused, match="not yours"):
        await homeserver.register(GHOST)


async def test_state_that_is_not_there_is_empty(bench: Bench, homeserver: Homeserver) -> None:
    bench.will(404, {"errcode": "M_NOT_FOUND", "error": "no"})
    assert await homeserver.state(ROOM, GHOST, "m.room.join_rules") == {}
    bench.will(403, {"errcode": "M_FORBIDDEN", "error": "no"})
    with pytest.raises(Refused):
        await homeserver.state(ROOM, GHOST, "m.room.join_rules")


@pytest.mark.parametrize(
    ("status", "errcode"),
    [(429, "M_LIMIT_EXCEEDED"), (500, "M_UNKNOWN"), (502, ""), (503, ""), (504, "")],
)
async def test_worth_another_attempt(
    bench: Bench, homeserver: Homeserver, status: int, errcode: str
) -> None:
    bench.will(status, {"errcode": errcode, "error": "later"})
    with pytest.raises(Unavailable, match=str(status)):
        await homeserver.whoami()


@pytest.mark.parametrize(
    ("status", "errcode"),
    [
        (401, "M_UNKNOWN_TOKEN"),
        (403, "M_FORBIDDEN"),
        (404, "M_UNRECOGNIZED"),
        (413, "M_TOO_LARGE"),
        (502, "M_BAD_STATUS"),
        (502, "M_CONNECTION_FAILED"),
        (504, "M_CONNECTION_TIMEOUT"),
    ],
)
async def test_not_worth_another_attempt(
    bench: Bench, homeserver: Homeserver, status: int, errcode: str
) -> None:
    bench.will(status, {"errcode": errcode, "error": "never"})
    with pytest.raises(Refused, match="never") as caught:
        await homeserver.ping("matrix-sip")
    assert (caught.value.status, caught.value.errcode) == (status, errcode)


@pytest.mark.parametrize(
    ("status", "headers", "body", "wanted"),
    [
        (429, {}, {"retry_after_ms": 2500}, 2.5),
        (429, {"Retry-After": "7"}, {}, 7.0),
        (429, {"Retry-After": "7"}, {"retry_after_ms": 6200}, 6.2),
        (429, {"Retry-After": "soon"}, {"retry_after_ms": True}, None),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:10 GMT"}, {}, 0.0),
        (503, {"Retry-After": "120"}, {"retry_after_ms": 1}, 120.0),
        (500, {"Retry-After": "120"}, {}, None),
    ],
)
async def test_when_it_wants_to_be_asked_again(
    bench: Bench,
    homeserver: Homeserver,
    status: int,
    headers: dict[str, str],
    body: dict[str, Any],
    wanted: float | None,
) -> None:
    bench.reply = web.json_response(
        {"errcode": "M_LIMIT_EXCEEDED", "error": "slowly", **body}, status=status, headers=headers
    )
    with pytest.raises(Unavailable) as caught:
        await homeserver.whoami()
    assert caught.value.retry_after == wanted
    bench.reply = web.Response(status=502)
    with pytest.raises(Unavailable) as caught:
        await homeserver.whoami()
    assert caught.value.retry_after is None


async def test_a_limit_without_a_body_is_one_all_the_same(
    bench: Bench, homeserver: Homeserver
) -> None:
    bench.reply = web.Response(status=429, text="slowly", headers={"Retry-After": "3"})
    with pytest.raises(Unavailable) as caught:
        await homeserver.whoami()
    assert caught.value.retry_after == 3


async def test_turn_servers_are_those_of_every_user(bench: Bench, homeserver: Homeserver) -> None:
    reply = {"username": "1:u", "password": "p", "uris": ["turn:a?transport=udp", 5], "ttl": 300}
    bench.will(200, reply)
    server = IceServer(url="turn:a?transport=udp", username="1:u", password="p")
    assert await homeserver.turn_servers() == ((server,), 300.0)
    assert bench.seen[-1][1].startswith("/_matrix/client/v3/voip/turnServer?")
    bench.will(200, {})
    assert await homeserver.turn_servers() == ((), 0.0)


async def test_people_are_played_by_another_token(bench: Bench, homeserver: Homeserver) -> None:
    people = Homeserver(homeserver._appservice, "people")
    bench.token = "people"
    bench.will(200, {"@sip_1:example.org": ["!a"]})
    person = UserId("@alice:example.org")
    assert await people.account_data(person, "m.direct") == {"@sip_1:example.org": ["!a"]}
    bench.will(200, {})
    await people.set_account_data(person, "m.direct", {"x": ["!b"]})
    [(_, read, query, _), (method, written, _, body)] = bench.seen
    assert query == {"user_id": person}
    assert method == "PUT"
    assert read.partition("?")[0] == written.partition("?")[0]
    assert read.startswith("/_matrix/client/v3/user/%40alice%3Aexample.org/account_data/m.direct")
    assert body == {"x": ["!b"]}


async def test_rooms_of_a_user(bench: Bench, homeserver: Homeserver) -> None:
    bench.will(200, {"joined_rooms": ["!a", "!b"]})
    assert await homeserver.joined_rooms(GHOST) == ["!a", "!b"]
    bench.will(200, {})
    assert await homeserver.joined_rooms(GHOST) == []


# --- patience -------------------------------------------------------------------------------


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def failing(*errors: Exception) -> Callable[[], Awaitable[str]]:
    left = list(errors)

    async def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


async def test_the_homeservers_wish_is_waited_for(clock: FakeClock) -> None:
    limited = failing(Unavailable("slowly", retry_after=9.0))
    assert await Patience(clock, clock.sleep).persist(limited, lambda: 1060) == "done"
    assert clock.now == 1009


async def test_a_short_wish_does_not_make_us_impatient(clock: FakeClock) -> None:
    limited = failing(*[Unavailable("slowly", retry_after=0.0)] * 4)
    assert await Patience(clock, clock.sleep).persist(limited, lambda: 1060) == "done"
    assert clock.now == 1000 + 0.25 + 0.5 + 1 + 2


async def test_a_wish_beyond_the_deadline_is_an_answer(clock: FakeClock) -> None:
    limited = failing(Unavailable("slowly", retry_after=61.0))
    with pytest.raises(Unavailable, match="slowly"):
        await Patience(clock, clock.sleep).persist(limited, lambda: 1060)
    assert clock.now == 1000


async def test_a_proxys_error_page_is_not_an_answer(bench: Bench, homeserver: Homeserver) -> None:
    bench.reply = web.Response(text="<html>", content_type="text/html")
    with pytest.raises(Unavailable):
        await homeserver.whoami()
    bench.reply = web.Response(text="{", content_type="application/json")
    with pytest.raises(Unavailable, match="not JSON"):
        await homeserver.whoami()


async def test_an_answer_that_lacks_what_was_asked_for(
    bench: Bench, homeserver: Homeserver
) -> None:
    bodies: list[object] = [{}, {"user_id": 7}, []]
    for body in bodies:
        bench.will(200, body)
        with pytest.raises(Refused, match="lacks user_id"):
            await homeserver.whoami()


async def test_no_answer_at_all(
    bench: Bench, homeserver: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REQUEST_TIME", 0.0)
    monkeypatch.setattr(module, "_SEND_TIME", 0.0)
    bench.hang = True
    with pytest.raises(Unavailable, match="no reply"):
        await homeserver.whoami()
    with pytest.raises(Unavailable, match="no reply"):
        await homeserver.send(ROOM, GHOST, "m.call.hangup", {}, "c1.7")
