# SPDX-License-Identifier: GPL-3.0-or-later
"""The API, asked over HTTP: who may, what is answered, and what is said of what cannot be."""

import inspect
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, get_type_hints

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bridge.call.ids import Direction
from bridge.call.outcomes import Outcome
from bridge.config import Permission
from bridge.config.provisioned import Provisioned, ProvisionedInbound, ProvisionedOutbound
from bridge.sip.trunks import Registration, RegistrationState
from bridge.web.api.access import Scope
from bridge.web.api.document import document
from bridge.web.api.events import Events
from bridge.web.api.server import Api
from bridge.web.api.table import ENDPOINTS, Endpoint
from tests.web.office import START, record
from tests.web.programs import PAT, READ, SAM, WRITE, Bench, PaperBridge, serving

ACCOUNT = {"server": "sip.example.com", "username": "pat", "password": "correct-horse-battery"}
BODIES: dict[str, dict[str, Any]] = {
    "put_account": ACCOUNT,
    "put_outbound": {"trunk": "pbx"},
    "put_inbound": {"person": PAT},
    "put_permission": {"level": "call"},
    "start_call": {"person": PAT, "number": "+12025550123"},
    "hang_up": {},
}
"""Something that each of these takes."""
QUERIES = {"explain_route": "?who=@pat:example.org&number=100", "follow_events": "?seconds=0"}


def url_of(endpoint: Endpoint) -> str:
    """Its address, for something that may not be there."""
    path = endpoint.path
    for name, value in {"person": PAT, "name": "sales", "who": "*", "call": "none"}.items():
        path = path.replace(f"{{{name}}}", value)
    return f"/api/v1{path}{QUERIES.get(endpoint.name, '')}"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bridge = PaperBridge()
    async with serving(bridge) as server, TestClient(server) as client:
        yield Bench(client, bridge)


# --- who may ---------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.name)
async def test_each_endpoint_wants_a_token_that_is_good_for_it(
    bench: Bench, endpoint: Endpoint
) -> None:
    asked: dict[str, Any] = {"json": BODIES[endpoint.name]} if endpoint.body else {}
    for header in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer "}):
        reply = await bench.client.request(
            endpoint.method, url_of(endpoint), headers=header, **asked
        )
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        problem = await reply.json(content_type=None)
        assert problem["type"] == "urn:matrix-sip:problem:unauthorized"
    headers = {"Authorization": f"bearer {READ}"}
    reply = await bench.client.request(endpoint.method, url_of(endpoint), headers=headers, **asked)
    assert (reply.status == 403) is (endpoint.scope is Scope.WRITE)
    assert bench.bridge.store.said == []
    assert bench.bridge.desk.ended == []


async def test_wrong_tokens_are_logged_and_soon_not_even_compared(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    for guess in ("a guess", READ[:-1], WRITE + "!", "é", "another guess"):
        problem = await bench.ask("GET", "/calls", 401, token=guess)
        assert problem["detail"] == "That is not the token."
    logged = capsys.readouterr().out
    assert logged.count("a wrong token") == 5
    assert "guess" not in logged
    assert (await bench.ask("GET", "/calls", 429))["detail"] == "Wait 61 seconds."
    bench.bridge.now += 61
    await bench.get("/calls")
    for _ in range(8):
        await bench.ask("GET", "/calls", 401, token="a guess")
    await bench.get("/calls")  # Who has shown it is not kept waiting for that.


@pytest.mark.parametrize(("read", "write"), [(READ, ""), ("", WRITE)])
async def test_a_token_that_is_not_set_opens_nothing(read: str, write: str) -> None:
    application = web.Application()
    Api(read, write, Events("run1")).serve(application)
    async with TestClient(TestServer(application)) as client:
        for token, status in ((read or write, 503), ("", 401), ("x", 401)):
            headers = {"Authorization": f"Bearer {token}"}
            reply = await client.get("/api/v1/calls", headers=headers)
            assert reply.status == status
        assert (await client.get("/api/v1/openapi.json")).status == 200


# --- what is asked for -----------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.name)
def test_handlers_take_what_the_table_says(endpoint: Endpoint) -> None:
    if endpoint.handler is None:
        return
    hints = get_type_hints(endpoint.handler)
    given = {"path": endpoint.parameters, "query": endpoint.query, "body": endpoint.body}
    wanted = {name: hints[name] for name in inspect.signature(endpoint.handler).parameters}
    del wanted["backend"]
    assert wanted == {name: model for name, model in given.items() if model}


def test_the_document_tells_every_endpoint_once() -> None:
    operations = [
        operation
        for methods in document(ENDPOINTS)["paths"].values()
        for operation in methods.values()
    ]
    assert [each["operationId"] for each in operations] != []
    assert {each["operationId"] for each in operations} == {each.name for each in ENDPOINTS}
    assert len(operations) == len(ENDPOINTS)


async def test_other_addresses_and_methods_are_problems_too(bench: Bench) -> None:
    problem = await bench.ask("GET", "/nothing", 404)
    assert problem["title"] == "There is no such thing"
    reply = await bench.client.patch("/api/v1/calls")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET,POST")
    assert reply.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "kind", "status", "detail"),
    [
        (b"{", "application/json", 400, "cannot be read"),
        (b"[" * 100_000, "application/json", 413, "at most 65536 bytes"),
        (b"[" * 60_000, "application/json", 400, "cannot be read"),
        (b"NaN", "application/json", 422, "body"),
        (b'{"level": "\\ud800"}', "application/json", 400, ""),
        (b"level=call", "application/x-www-form-urlencoded", 415, "application/json"),
        (b"[]", "application/json", 422, "body not accepted; wanted: a section of keys"),
    ],
)
async def test_bodies_that_are_none(
    bench: Bench, body: bytes, kind: str, status: int, detail: str
) -> None:
    headers = {"Authorization": f"Bearer {WRITE}", "Content-Type": kind}
    reply = await bench.client.put("/api/v1/permissions/*", data=body, headers=headers)
    problem = await reply.json(content_type=None)
    assert reply.status == status, problem
    assert detail in problem["detail"]


async def test_each_field_is_named_with_what_it_wants(bench: Bench) -> None:
    problem = await bench.ask(
        "PUT",
        "/accounts/@pat:example.org",
        422,
        {"server": "x" * 256, "username": "pat\n", "passwort": "oh no", "transport": "pigeon"},
    )
    assert {each["field"]: each["detail"] for each in problem["errors"]} == {
        "server": "wanted: at most 255 characters, like sip.example.com",
        "username": r"'pat\n' is not accepted; wanted: text matching ^[^\u0000-\u001f\u007f]+$"
        ", like alice",
        "transport": "'pigeon' is not accepted; wanted: udp, tcp or tls, or empty",
        "password": "is missing; wanted: text that is not empty",
        "passwort": "is not known here; did you mean 'password'?",
    }
    assert "oh no" not in str(problem)
    problem = await bench.ask("PUT", "/routes/outbound/Sales", 422, {"priority": -1, "people": [1]})
    assert [each["field"] for each in problem["errors"]] == ["name"]
    problem = await bench.ask("PUT", "/routes/outbound/sales", 422, {"priority": -1, "people": [1]})
    assert [each["field"] for each in problem["errors"]] == ["people[0]", "priority"]


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ("limit=0", "limit", "'0' is not accepted; wanted: whole number, 1 to 1000"),
        ("since=yesterday", "since", "wanted: time with its zone, or empty, like 2026-03-01T14"),
        ("since=1772359960", "since", "wanted: time with its zone"),
        ("outcome=luck", "outcome", "wanted: success, "),
        ("person=%00", "person", "is not accepted"),
        ("colour=red", "colour", "is not known here"),
        ("limit=1&limit=2", "limit", "is there twice; wanted: once"),
    ],
)
async def test_queries_are_read_strictly(bench: Bench, query: str, field: str, detail: str) -> None:
    problem = await bench.ask("GET", f"/records?{query}", 422)
    assert problem["errors"][0]["field"] == field
    assert detail in problem["errors"][0]["detail"]


async def test_what_takes_no_query_says_so(bench: Bench) -> None:
    problem = await bench.ask("GET", "/calls?person=@pat:example.org", 422)
    assert problem["errors"] == [{"field": "person", "detail": "is not known here"}]


async def test_a_fault_is_logged_and_told_without_details(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.bridge.archive.fails = RuntimeError("something inside")
    problem = await bench.ask("GET", "/calls/none", 500)
    assert "something inside" not in str(problem)
    assert "something inside" in capsys.readouterr().out
    bench.bridge.archive.fails = sqlite3.OperationalError("database is locked")
    assert (await bench.ask("GET", "/calls/none", 503))["detail"] == "The database does not answer."


# --- accounts --------------------------------------------------------------------------------


async def test_an_account_from_its_login_to_its_logout(bench: Bench) -> None:
    path = "/accounts/@pat:example.org"
    assert await bench.get("/accounts") == {"accounts": []}
    await bench.ask("GET", path, 404)
    sent = ACCOUNT | {"transport": "tls", "domain": "example.com", "auth_username": "p1"}
    made = await bench.ask("PUT", path, 201, sent)
    assert made == {
        "person": PAT,
        "server": "sip.example.com",
        "transport": "tls",
        "username": "pat",
        "domain": "example.com",
        "auth_username": "p1",
        "state": "registered",
        "status": 200,
        "reason": "OK",
    }
    assert bench.bridge.accounts.logged_in == [
        (PAT, "sip.example.com;transport=tls", "pat@example.com", ACCOUNT["password"], "p1")
    ]
    assert await bench.get(path) == made
    bench.bridge.accounts.registration = Registration(RegistrationState.FAILED, 403, "Forbidden")
    await bench.ask("PUT", path, 200, ACCOUNT)
    (listed,) = (await bench.get("/accounts"))["accounts"]
    assert (listed["state"], listed["status"], listed["reason"]) == ("failed", 403, "Forbidden")
    await bench.ask("DELETE", path, 204)
    await bench.ask("DELETE", path, 404)


async def test_a_login_that_fails_says_why(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/accounts/@pat:example.org"
    problem = await bench.ask("PUT", path, 409, ACCOUNT | {"password": "wrong"})
    assert "403 Forbidden" in problem["detail"]
    problem = await bench.ask("PUT", path, 409, ACCOUNT | {"server": "not/one"})
    assert problem["errors"] == [{"field": "server", "detail": "That is not a server."}]
    assert ACCOUNT["password"] not in capsys.readouterr().out


# --- routes ----------------------------------------------------------------------------------


async def test_rules_come_before_the_configurations_and_tell_where_they_are_from(
    bench: Bench,
) -> None:
    await bench.ask("PUT", "/routes/outbound/later", 201, {"trunk": "pbx", "priority": 200.0})
    await bench.ask("PUT", "/routes/outbound/sales", 201, {"trunk": "pbx", "prefix": "+1202"})
    made = await bench.ask(
        "PUT", "/routes/outbound/sales", 200, {"trunks": ["pbx", "provider"], "prefix": "+1202"}
    )
    assert await bench.get("/routes/outbound/sales") == made
    assert made["settings"]["trunks"] == ["pbx", "provider"]
    routes = (await bench.get("/routes/outbound"))["routes"]
    assert [(each["rule"], each["name"], each["source"]) for each in routes] == [
        ("outbound:sales", "sales", "api"),
        ("outbound:later", "later", "api"),
        ("outbound[0]", "config.0", "config"),
        ("outbound[1]", "config.1", "config"),
    ]
    assert [each["priority"] for each in routes] == [100, 200, None, None]
    assert all(each["in_force"] for each in routes)
    assert (await bench.get("/routes/outbound/config.1"))["settings"]["pattern"] == "_1XX"
    explained = await bench.get("/routes/explain?who=@pat:example.org&number=%2B12025550123")
    assert explained["trunks"] == ["pbx", "provider"]
    assert explained["possible"]
    assert "outbound:sales, numbers from +1202: this one" in explained["steps"]
    await bench.ask("DELETE", "/routes/outbound/sales", 204)
    await bench.ask("GET", "/routes/outbound/sales", 404)
    await bench.ask("DELETE", "/routes/outbound/sales", 404)
    assert bench.bridge.store.said[-1] == ("no rule", "outbound", "sales")


async def test_whom_calls_ring(bench: Bench) -> None:
    await bench.ask("PUT", "/routes/inbound/desk", 201, {"people": [SAM, PAT], "number": "_7XX"})
    await bench.ask("PUT", "/routes/inbound/desk", 200, {"people": [PAT, SAM], "number": "_7XX"})
    explained = await bench.get("/routes/explain?who=%2B12025550199&number=701&trunk=pbx")
    assert explained["people"] == [PAT, SAM]
    assert explained["verdict"] == f"rings {PAT}, {SAM}"
    assert explained["steps"][0] == "the caller: `+12025550199`"
    (ours, theirs) = (await bench.get("/routes/inbound"))["routes"]
    assert (ours["rule"], theirs["rule"]) == ("inbound:desk", "inbound[0]")
    assert await bench.get("/routes/inbound/desk") == ours
    await bench.ask("DELETE", "/routes/inbound/desk", 204)
    explained = await bench.get("/routes/explain?who=%2B12025550199&number=701&trunk=pbx")
    assert (explained["possible"], explained["cause"]) == (False, "not_in_service")


@pytest.mark.parametrize(
    ("path", "body", "field", "detail"),
    [
        ("outbound/sales", {"trunk": "nowhere"}, "trunk", "no trunk is named 'nowhere'"),
        ("outbound/sales", {}, "body", "leads nowhere; wanted: trunk, or trunks"),
        ("outbound/sales", {"trunk": "pbx", "people": ["?"]}, "people[0]", "names nobody"),
        ("outbound/sales", {"trunk": "pbx", "caller_id": "1\n"}, "caller_id", "wanted: a number"),
        ("outbound/config.0", {"trunk": "pbx"}, "name", "those of the configuration"),
        ("inbound/desk", {"person": "@eve:other.example"}, "person", "do not let"),
        ("inbound/config.9", {"person": PAT}, "name", "those of the configuration"),
    ],
)
async def test_rules_that_contradict_the_settings(
    bench: Bench, path: str, body: Any, field: str, detail: str
) -> None:
    problem = await bench.ask("PUT", f"/routes/{path}", 409, body)
    assert problem["errors"][0]["field"] == field
    assert detail in problem["errors"][0]["detail"]
    assert bench.bridge.store.said == []


async def test_the_configurations_rules_are_to_read_only(bench: Bench) -> None:
    for kind in ("outbound", "inbound"):
        await bench.ask("DELETE", f"/routes/{kind}/config.0", 409)


async def test_a_rule_that_does_not_fit_any_more_is_shown_with_the_reason() -> None:
    bridge = PaperBridge()
    bridge.store.kept = Provisioned(
        outbound=[ProvisionedOutbound(name="old", priority=1, trunk="gone")],
        inbound=[ProvisionedInbound(name="old", priority=1, person="@eve:other.example")],
    )
    await bridge.provisioning.load()
    async with serving(bridge) as server, TestClient(server) as client:
        bench = Bench(client, bridge)
        *rest, old = (await bench.get("/routes/outbound"))["routes"]
        assert [each["rule"] for each in rest] == ["outbound[0]", "outbound[1]"]
        assert (old["rule"], old["in_force"]) == ("outbound:old", False)
        assert old["problems"] == ["trunk no trunk is named 'gone'; known: pbx, provider"]
        eve = await bench.get("/routes/inbound/old")
        assert "do not let @eve:other.example receive calls" in eve["problems"][0]
        await bench.ask("PUT", "/permissions/other.example", 201, {"level": "receive"})
        assert (await bench.get("/routes/inbound/old"))["in_force"]


async def test_explanations_of_what_is_none(bench: Bench) -> None:
    problem = await bench.ask("GET", "/routes/explain?who=pat&number=100", 409)
    assert problem["errors"][0]["field"] == "who"
    await bench.ask("GET", "/routes/explain?who=@pat:example.org&number=-", 409)
    problem = await bench.ask("GET", "/routes/explain?who=100&number=100&trunk=gone", 409)
    assert problem["detail"] == "There is no such trunk; there are: provider, pbx."
    refused = await bench.get("/routes/explain?who=@eve:other.example&number=100")
    assert (refused["possible"], refused["cause"]) == (False, "not_permitted")


# --- permissions -----------------------------------------------------------------------------


async def test_permissions_count_instead_of_the_configurations(bench: Bench) -> None:
    sam = "/permissions/@sam:example.org"
    assert (await bench.get(sam))["level"] == "receive"
    await bench.ask("DELETE", sam, 404)
    made = await bench.ask("PUT", sam, 201, {"level": "blocked"})
    assert made == {"who": SAM, "level": "blocked", "source": "api", "in_force": True}
    assert await bench.ask("PUT", sam, 200, {"level": "blocked"}) == made == await bench.get(sam)
    await bench.ask("PUT", "/permissions/*", 201, {"level": "receive"})
    listed = (await bench.get("/permissions"))["permissions"]
    assert [tuple(each.values()) for each in listed] == [
        ("*", "receive", "api", True),
        (SAM, "blocked", "api", True),
        (SAM, "receive", "config", False),
        ("example.org", "call", "config", True),
    ]
    assert bench.bridge.in_force.config.permissions[SAM] is Permission.BLOCKED
    await bench.ask("DELETE", sam, 204)
    assert bench.bridge.in_force.config.permissions[SAM] is Permission.RECEIVE
    await bench.ask("GET", "/permissions/other.example", 404)


async def test_somebody_whom_the_configuration_rings_can_be_blocked(bench: Bench) -> None:
    await bench.ask("PUT", "/permissions/@pat:example.org", 201, {"level": "blocked"})
    explained = await bench.get("/routes/explain?who=100&number=%2B12025550101&trunk=pbx")
    assert explained["cause"] == "not_permitted"


async def test_nothing_changes_while_the_database_is_away(bench: Bench) -> None:
    bench.bridge.store.fails = ConnectionError()
    before = bench.bridge.in_force.config
    await bench.ask("PUT", "/permissions/*", 503, {"level": "admin"})
    await bench.ask("PUT", "/routes/outbound/sales", 503, {"trunk": "pbx"})
    assert bench.bridge.in_force.config is before


# --- calls -----------------------------------------------------------------------------------


async def test_a_call_from_its_start_to_its_record(bench: Bench) -> None:
    body = {"person": PAT, "number": "(202) 555-0123"}
    made = await bench.ask("POST", "/calls", 201, body)
    assert (made["state"], made["number"], made["direction"]) == (
        "preparing",
        "+12025550123",
        "to_sip",
    )
    path = f"/calls/{made['call']}"
    problem = await bench.ask("POST", "/calls", 409, body)
    assert problem["cause"] == "in_call"
    (listed,) = (await bench.get("/calls"))["calls"]
    assert listed["call"] == made["call"] == (await bench.get(path))["call"]
    why = {"by": "helpdesk", "why": "the line is needed"}
    ending = await bench.ask("POST", f"{path}/hangup", 202, why)
    assert ending["state"] == "ending"
    assert bench.bridge.desk.ended == [(made["call"], "helpdesk", "the line is needed")]
    ended = await bench.get(path)
    assert (ended["state"], ended["cause"], ended["outcome"]) == (
        "ended",
        "ended_by_admin",
        "policy",
    )
    assert ended["detail"] == "ended by helpdesk"
    await bench.ask("POST", f"{path}/hangup", 409, {})
    await bench.ask("POST", "/calls/none/hangup", 404, {})
    await bench.ask("GET", "/calls/none", 404)
    assert await bench.get("/calls") == {"calls": []}


async def test_where_a_new_call_is(bench: Bench) -> None:
    headers = {"Authorization": f"Bearer {WRITE}"}
    reply = await bench.client.post("/api/v1/calls", json=BODIES["start_call"], headers=headers)
    call = (await reply.json())["call"]
    assert reply.headers["Location"] == f"/api/v1/calls/{call}"


async def test_calls_that_cannot_be_say_why(bench: Bench) -> None:
    body = {"person": SAM, "number": "+12025550123"}
    assert (await bench.ask("POST", "/calls", 409, body))["cause"] == "not_permitted"
    problem = await bench.ask("POST", "/calls", 409, {"person": PAT, "number": "grandma, please"})
    assert problem["errors"][0]["field"] == "number"
    for nobody in ("@sipbot:example.org", "@sip_12025550123:example.org"):
        body = {"person": nobody, "number": "+12025550123"}
        problem = await bench.ask("POST", "/calls", 409, body)
        assert problem["errors"][0]["field"] == "person"
        await bench.ask("PUT", f"/accounts/{nobody}", 409, ACCOUNT)
    bench.bridge.desk.loses_calls = True
    problem = await bench.ask("POST", "/calls", 409, {"person": PAT, "number": "100"})
    assert problem["detail"].startswith("The call has ended at once")


async def test_how_far_a_call_has_come(bench: Bench) -> None:
    view = bench.bridge.in_call(state="connected", answered_at=102.5)
    (call,) = (await bench.get("/calls"))["calls"]
    assert call["state"] == "connected"
    assert call["answered"] > call["started"]
    bench.bridge.desk.records.append(record(view.call, ended_at=None, rule="outbound[1]"))
    (written,) = (await bench.get("/calls"))["calls"]
    assert (written["state"], written["rule"]) == ("connected", "outbound[1]")
    records = bench.bridge.desk.records
    records[:] = [
        replace(records[0], ended_at=None, cause=None, rang_at=rang, answered_at=answered)
        for rang, answered in ((None, None), (START, None), (START, START))
    ]
    listed = (await bench.get("/records"))["calls"]
    assert [each["state"] for each in listed] == ["preparing", "ringing", "connected"]
    assert view.call == call["call"]


async def test_records_are_looked_for_and_paged(bench: Bench) -> None:
    first = await bench.get("/records?limit=2&person=pat&direction=to_sip&outcome=callee")
    assert [each["call"] for each in first["calls"]] == ["5f3c9a12-9", "5f3c9a12-8"]
    rest = await bench.get(f"/records?limit=2&after={first['next']}")
    assert [each["call"] for each in rest["calls"]] == ["5f3c9a12-7"]
    assert rest["next"] is None
    asked = bench.bridge.archive.asked[0]
    assert (asked.person, asked.direction, asked.outcomes, asked.limit) == (
        "pat",
        Direction.TO_SIP,
        (Outcome.CALLEE,),
        3,
    )
    await bench.get("/records?since=2026-03-01T10:12:40Z&until=2026-03-01T11:12:40%2B01:00")
    asked = bench.bridge.archive.asked[-1]
    assert asked.since == asked.until == START
    (talked,) = rest["calls"]
    assert (talked["started"], talked["talked_s"]) == ("2026-03-01T10:12:40Z", 65.3)
    assert talked["statistics"]["mode"] == "relay"
