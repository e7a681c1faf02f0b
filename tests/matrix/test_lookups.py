# SPDX-License-Identifier: GPL-3.0-or-later
"""The dial pad as homeservers ask for it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from bridge.call.ids import Address, UserId
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.homeserver import Patience, Unavailable
from bridge.matrix.lookups import NEW_GHOSTS, PROTOCOLS, Lookups, Unreachable
from bridge.matrix.portals import Portals
from bridge.numbers import read_address
from tests.matrix.fakes import FakeClock, FakeHomeserver, refused
from tests.matrix.portal_store import MemoryPortalStore

NUMBER = Address("tel:+12025550123")
GHOST = UserId("@sip_12025550123:example.org")
V1 = "/_matrix/app/v1"
Client = TestClient[web.Request, web.Application]


def dial(text: str) -> Address | Unreachable:
    if text == "911":
        return Unreachable("tel:911: emergency_number")
    return read_address(text, "US") or Unreachable("no number")


class Bench:
    """Lookups, and who may ask."""

    def __init__(self) -> None:
        self.homeserver = FakeHomeserver()
        self.store = MemoryPortalStore()
        self.clock = FakeClock()
        self.authorised = True
        patience = Patience(self.clock, self.clock.sleep)
        self.lookups = Lookups(
            dial=dial,
            portals=Portals(
                ghosts=Ghosts("sip_", "example.org"),
                homeserver=self.homeserver,
                store=self.store,
                patience=patience,
                may_use=lambda _: True,
                is_address=lambda _: True,
            ),
            store=self.store,
            authorised=lambda _: self.authorised,
            patience=patience,
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[Client]:
    app = web.Application()
    bench.lookups.add_routes(app.router)
    async with TestClient(TestServer(app)) as client:
        yield client


async def look_up(client: Client, text: str, protocol: str = PROTOCOLS[0]) -> Any:
    path = f"{V1}/thirdparty/user/{protocol}"
    async with client.get(path, params={"m.id.phone": text}) as reply:
        assert reply.status == 200
        return await reply.json()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("prefix", [V1, "/_matrix/app/unstable", ""])
async def test_the_protocol_is_described(client: Client, prefix: str, protocol: str) -> None:
    async with client.get(f"{prefix}/thirdparty/protocol/{protocol}") as reply:
        assert reply.status == 200
        assert await reply.json() == {
            "user_fields": ["m.id.phone"],
            "location_fields": [],
            "icon": "",
            "field_types": {"m.id.phone": {"regexp": ".+", "placeholder": "+12025550123"}},
            "instances": [],
        }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("text", "ghost", "number"),
    [
        ("(202) 555-0123", GHOST, "+12025550123"),
        ("0044 20 7946 0123", "@sip_442079460123:example.org", "+442079460123"),
        ("*43#", "@sip_tel.=2a43=23:example.org", "*43#"),
        ("sip:door@pbx.example.org", "@sip_door=40pbx.example.org:example.org", None),
    ],
)
async def test_a_ghost_is_there_before_the_answer(
    bench: Bench, client: Client, protocol: str, text: str, ghost: str, number: str | None
) -> None:
    fields = {"m.id.phone": number or "door@pbx.example.org"}
    found = await look_up(client, text, protocol)
    assert found == [{"userid": ghost, "protocol": protocol, "fields": fields}]
    assert ghost in bench.homeserver.users
    assert ghost in bench.homeserver.names


@pytest.mark.parametrize("text", ["", "911", "door", "sip:" + "a" * 250 + "@pbx.example.org"])
async def test_what_leads_nowhere_makes_nobody(bench: Bench, client: Client, text: str) -> None:
    with capture_logs() as logs:
        assert await look_up(client, text) == []
    assert not bench.homeserver.users
    assert [line["event"] for line in logs if "dial pad" in line["event"]]


async def test_the_reason_is_in_the_log(client: Client) -> None:
    with capture_logs() as logs:
        await look_up(client, "911")
    assert {"event": "dial pad: leads nowhere", "reason": "tel:911: emergency_number"} in [
        {"event": line["event"], "reason": line.get("reason")} for line in logs
    ]


async def test_a_homeserver_that_is_busy_is_asked_again(bench: Bench, client: Client) -> None:
    bench.homeserver.failures = [Unavailable("busy")]
    [found] = await look_up(client, "2025550123")
    assert found["userid"] == GHOST


@pytest.mark.parametrize("failure", [Unavailable("away"), refused("M_FORBIDDEN", "no")])
async def test_without_a_ghost_there_is_no_answer(
    bench: Bench, client: Client, failure: Exception
) -> None:
    bench.homeserver.failures = [failure] * 100  # type: ignore[list-item]
    with capture_logs() as logs:
        assert await look_up(client, "2025550123") == []
    assert "dial pad: no ghost" in [line["event"] for line in logs]


async def test_nobody_fills_the_homeserver_with_ghosts(bench: Bench, client: Client) -> None:
    for extension in range(100, 100 + NEW_GHOSTS):
        assert await look_up(client, str(extension))
    assert await look_up(client, "99") == []
    assert await look_up(client, "100"), "a known one is answered"
    bench.clock.now += 60
    assert await look_up(client, "99")


async def test_whose_ghost_somebody_is(client: Client) -> None:
    path = f"{V1}/thirdparty/user"
    async with client.get(path, params={"userid": GHOST}) as reply:
        [found] = await reply.json()
    assert found["fields"] == {"m.id.phone": "+12025550123"}
    async with client.get(path, params={"userid": "@alice:example.org"}) as reply:
        assert await reply.json() == []


@pytest.mark.parametrize("path", ["", "/m.protocol.pstn"])
async def test_no_room_is_a_number(client: Client, path: str) -> None:
    async with client.get(f"{V1}/thirdparty/location{path}") as reply:
        assert await reply.json() == []


@pytest.mark.parametrize("kind", ["protocol", "user", "location"])
async def test_another_protocol_is_not_found(client: Client, kind: str) -> None:
    async with client.get(f"{V1}/thirdparty/{kind}/irc") as reply:
        assert reply.status == 404
        assert (await reply.json())["errcode"] == "M_NOT_FOUND"


@pytest.mark.parametrize("kind", ["protocol", "user", "location"])
async def test_strangers_learn_nothing(bench: Bench, client: Client, kind: str) -> None:
    bench.authorised = False
    path = f"{V1}/thirdparty/{kind}/m.protocol.pstn"
    async with client.get(path, params={"m.id.phone": "2025550123"}) as reply:
        assert reply.status == 401
        assert (await reply.json())["errcode"] == "M_UNKNOWN_TOKEN"
    assert not bench.homeserver.users
