# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin page, asked over HTTP: what it shows, and what it does for whom."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from bridge.call.ids import Address, Direction, Side, UserId
from bridge.call.outcomes import Outcome
from bridge.call.silence import Silence
from bridge.web.metrics import Metrics
from bridge.web.pages import COOKIE, RUNGS, STREAMS, Pages
from bridge.web.server import Health, WebServer
from tests.simulators.waiting import until, until_async
from tests.web.office import FAILED, LIVE, START, PaperOffice, record, rung

TOKEN = "a token of twenty-five signs"
EVIL = '"><script>alert(1)</script><b onclick="x">'
CALL = "/calls/5f3c9a12-7"
Client: TypeAlias = TestClient[web.Request, web.Application]


class Bench:
    """The page over made-up calls, and a clock that stands still."""

    def __init__(self, client: Client, office: PaperOffice) -> None:
        self.client = client
        self.office = office
        self.now = START + 2000

    async def log_in(self, token: str = TOKEN, after: str = "/") -> ClientResponse:
        form = {"token": token, "next": after}
        return await self.client.post("/login", data=form, allow_redirects=False)

    async def page(self, path: str, status: int = 200) -> str:
        reply = await self.client.get(path, allow_redirects=False)
        assert reply.status == status, await reply.text()
        return await reply.text()

    async def stamp(self) -> str:
        found = re.search(r'name="stamp" value="(\w+)"', await self.page("/"))
        assert found
        return found[1]


@asynccontextmanager
async def serving(
    office: PaperOffice | None = None, *, actions: bool = False, idle: float = 5.0
) -> AsyncIterator[Bench]:
    async def health() -> Health:
        return Health(True)

    made = office or PaperOffice()
    bench: Bench
    pages = Pages(TOKEN, actions=actions, wall=lambda: bench.now, pace=0.01, idle=idle)
    server = WebServer(health, Metrics(), pages.serve)
    async with TestClient(TestServer(server.application())) as client:
        bench = Bench(client, made)
        pages.open(made)
        yield bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Somebody who has logged in."""
    async with serving() as made:
        assert (await made.log_in()).status == 303
        yield made


# --- who may ---------------------------------------------------------------------------------

PRIVATE = [
    "/",
    "/calls",
    "/calls?person=x",
    "/calls.csv",
    "/calls.json",
    CALL,
    f"{CALL}.json",
    f"{CALL}.txt",
    f"{CALL}.svg",
]


@pytest.mark.parametrize("path", PRIVATE)
async def test_without_the_token_there_is_nothing_to_see(path: str) -> None:
    async with serving() as bench:
        for cookie in ("", "1.2.3", "9999999999.x.", f"{START + 9999:.0f}.x.0123", "nan.x.y", "é"):
            headers = {"Cookie": f"{COOKIE}={cookie}"}
            reply = await bench.client.get(path, headers=headers, allow_redirects=False)
            assert reply.status == 303, cookie
            assert reply.headers["Location"].startswith("/login?next=/")
            assert "5550123" not in await reply.text()


@pytest.mark.parametrize("path", ["/live", f"{CALL}/live"])
async def test_nothing_is_followed_without_the_token(path: str) -> None:
    async with serving() as bench:
        reply = await bench.client.get(path)
        assert reply.status == 401


async def test_who_logs_in_comes_to_what_they_wanted_and_no_further() -> None:
    async with serving() as bench:
        login = await bench.page("/login?next=/calls/x")
        assert 'name="next" value="/calls/x"' in login
        reply = await bench.log_in(after=CALL)
        assert reply.headers["Location"] == CALL
        cookie = reply.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Secure" not in cookie
        assert TOKEN not in cookie
        for elsewhere in ("https://example.org/", "//example.org/", "/\\example.org", "/\nx", ""):
            assert (await bench.log_in(after=elsewhere)).headers["Location"] == "/"


async def test_behind_tls_the_cookie_stays_there() -> None:
    async with serving() as bench:
        reply = await bench.client.post(
            "/login",
            data={"token": TOKEN},
            headers={"X-Forwarded-Proto": "https"},
            allow_redirects=False,
        )
        assert "Secure" in reply.headers["Set-Cookie"]


async def test_a_wrong_token_is_logged_and_soon_not_even_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serving() as bench:
        for _ in range(5):
            reply = await bench.log_in("a guess")
            assert reply.status == 403
            assert "Set-Cookie" not in reply.headers
        logged = capsys.readouterr()
        assert (logged.out + logged.err).count("a wrong token") == 5
        assert "a guess" not in logged.out + logged.err
        late = await bench.log_in()
        assert late.status == 429
        assert int(late.headers["Retry-After"]) > 0
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await bench.client.get("/calls.json", headers=bearer)).status == 401
        bench.now += 61
        assert (await bench.log_in()).status == 303


async def test_who_is_logged_in_stays_so_whoever_guesses(bench: Bench) -> None:
    for _ in range(8):
        assert (await bench.log_in("a guess")).status == 403
    await bench.page("/")
    assert (await bench.log_in()).status == 303
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert (await bench.client.get("/calls.json", headers=bearer)).status == 200


async def test_a_session_ends_by_itself_and_by_logging_out(bench: Bench) -> None:
    stamp = await bench.stamp()
    assert (await bench.client.post("/logout", data={"stamp": "other"})).status == 403
    await bench.page("/")
    reply = await bench.client.post("/logout", data={"stamp": stamp}, allow_redirects=False)
    assert reply.status == 303
    await bench.page("/", 303)
    await bench.log_in()
    bench.now += 12 * 3600 + 1
    await bench.page("/", 303)


async def test_a_program_sends_the_token_itself() -> None:
    async with serving() as bench:
        for header, status in (
            (f"Bearer {TOKEN}", 200),
            (f"bearer {TOKEN}", 200),
            ("Bearer other", 401),
            (f"Basic {TOKEN}", 401),
            ("Bearer \xff", 401),
        ):
            reply = await bench.client.get("/calls.json", headers={"Authorization": header})
            assert reply.status == status, header


async def test_health_and_metrics_need_no_token() -> None:
    async with serving() as bench:
        for path in ("/health", "/health/live", "/health/ready", "/ready", "/metrics"):
            assert (await bench.client.get(path)).status == 200


async def test_while_the_bridge_starts_there_is_nothing_to_show() -> None:
    async def health() -> Health:
        return Health(False)

    pages = Pages(TOKEN)
    server = WebServer(health, Metrics(), pages.serve)
    async with TestClient(TestServer(server.application())) as client:
        reply = await client.get("/", headers={"Authorization": f"Bearer {TOKEN}"})
        assert reply.status == 503


# --- safely ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/login", "/calls", CALL, "/static/page.js", "/calls/none"])
async def test_browsers_are_told_to_load_nothing_from_elsewhere(bench: Bench, path: str) -> None:
    reply = await bench.client.get(path)
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    html = await reply.text()
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html)
    assert not re.search(r"<[^>]+ (?:style|on\w+)=", html)
    assert "<script>" not in html


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/%2e%2e/pages.py",
        "/static//etc/passwd",
        "/static/page.css/../../pages.py",
        "/static/templates",
    ],
)
async def test_no_other_file_is_given_away(bench: Bench, path: str) -> None:
    reply = await bench.client.get(path)
    assert reply.status == 404
    assert "import" not in await reply.text()


async def test_what_others_wrote_is_text_everywhere() -> None:
    evil = record(
        person=UserId(f"@{EVIL}:example.org"),
        address=Address(f"sip:{EVIL}@example.org"),
        rule=EVIL,
        cause="busy",
        detail=EVIL,
        trunk=EVIL,
        statistics={"mode": EVIL, "matrix_codec": EVIL, "sip_codec": EVIL},
    )
    entries = [
        rung(0, "sip", "in", f"INVITE sip:{EVIL}", f"INVITE\r\n\r\nv=0\r\ns={EVIL}\r\n"),
        rung(1, "matrix", "in", EVIL, EVIL),
        rung(2, EVIL, "in", EVIL),
    ]
    office = PaperOffice(records=[evil], entries=entries)
    async with serving(office) as bench:
        await bench.log_in()
        for path in ("/", "/calls", f"/calls?person={EVIL}&number={EVIL}", CALL, f"{CALL}.svg"):
            text = await bench.page(path)
            assert "<script>alert" not in text, path
            assert "<b onclick" not in text, path
        bad = await bench.page(f"/calls?outcome={EVIL}", 400)
        assert "<script>alert" not in bad
        assert "<script>alert" not in await bench.page(f"/login?next=/{EVIL}")


# --- what is shown ---------------------------------------------------------------------------


async def test_the_overview(bench: Bench) -> None:
    page = await bench.page("/")
    for words in (
        "Calls can be made",
        "does not work: 403 Forbidden",
        "trunk down (408)",
        "a side is not heard",
        f"/calls/{LIVE.call}",
        ">112<",
    ):
        assert words in page, words


async def test_the_overview_of_a_bridge_that_is_about_to_stop(bench: Bench) -> None:
    bench.office.closes_in = 42
    page = await bench.page("/")
    assert "No new calls: the bridge stops in 42 s at most" in page
    assert "Calls can be made" not in page


async def test_the_list_is_searched_as_the_form_says(bench: Bench) -> None:
    page = await bench.page(
        "/calls?person=pat&number=%2B1+(202)+555-0123&outcome=media&direction=to_matrix"
        "&since=2026-03-01T10:00&until=2026-03-02&nonsense=1"
    )
    query = bench.office.asked[-1]
    assert (query.person, query.number) == ("pat", "+12025550123")
    assert (query.outcomes, query.direction) == ((Outcome.MEDIA,), Direction.TO_MATRIX)
    assert query.since is not None
    assert query.until is not None
    assert query.until - query.since == 14 * 3600
    assert 'value="pat"' in page
    assert 'value="media" selected' in page
    assert "in progress" in page


@pytest.mark.parametrize("asked", ["since=yesterday", "outcome=x", "direction=up", "until=9999999"])
async def test_what_cannot_be_asked_is_explained(bench: Bench, asked: str) -> None:
    page = await bench.page(f"/calls?{asked}", 400)
    assert 'role="alert"' in page
    assert (await bench.client.get(f"/calls.csv?{asked}")).status == 400


async def test_older_calls_follow() -> None:
    office = PaperOffice(records=[record(f"c{number}") for number in range(60)])
    async with serving(office) as bench:
        await bench.log_in()
        page = await bench.page("/calls?person=pat")
        assert "/calls?person=pat&amp;after=c49" in page
        await bench.page("/calls?person=pat&after=c49")
        assert office.asked[-1].after == "c49"


async def test_a_call_and_what_was_said_in_it(bench: Bench) -> None:
    page = await bench.page(CALL)
    for words in (
        "@pat:example.org called +12025550123 by trunk provider. It rang after 0.9 s.",
        "outbound[0]",
        "bridge to SIP peer: ",
        "407 Proxy Authentication Required",
        "Proxy-Authorization: [hidden]",
        "Both sides use PCMA",
        "<mark>a=rtpmap:8 PCMA/8000</mark>",
        "Jitter over time. from the client: 2.00 to 4.00",
    ):
        assert words in page, words
    assert "data-live" not in page
    assert "End this call" not in page
    assert 'data-live="/calls/5f3c9a12-11/live"' in await bench.page(f"/calls/{LIVE.call}")


async def test_a_peer_that_says_very_much_does_not_keep_everybody_waiting(bench: Bench) -> None:
    said = [rung(number, "sip", "in", f"INFO {number}.") for number in range(RUNGS + 50)]
    bench.office.entries = said
    page = await bench.page(CALL)
    assert "50 messages from the middle are not shown" in page
    assert page.count('<li class="sip-in') == RUNGS
    for number, shown in ((0, True), (199, True), (200, False), (249, False), (250, True)):
        assert (f"INFO {number}." in page) is shown, number
    assert "INFO 225." in await bench.page(f"{CALL}.txt")


async def test_who_was_not_heard_is_told_with_the_likely_cause(bench: Bench) -> None:
    page = await bench.page(f"/calls/{FAILED.call}")
    assert "Nothing was heard from the person&#39;s client for 15 s: no way was found" in page
    assert "What usually helps:" in page
    assert "from the telephone for" not in page
    bench.office.records = [record(statistics={"sip_silence": "muted", "mode": "relay"})]
    page = await bench.page(CALL)
    assert "No audio came from the person&#39;s client." in page
    assert "Nothing was heard from the telephone for 0 s" in page


async def test_active_calls_say_who_is_heard(bench: Bench) -> None:
    page = await bench.page("/")
    assert 'telephone <span class="figure">4.1<' in page
    bench.office.unheard = {Side.SIP: Silence.UNEXPECTED_ADDRESS}
    assert "nothing from the telephone: unexpected address" in await bench.page("/")


async def test_no_such_call(bench: Bench) -> None:
    for path in ("/calls/none", "/calls/none.json", "/calls/none/live"):
        assert (await bench.client.get(path)).status == 404


# --- to take along ---------------------------------------------------------------------------


async def test_calls_as_a_table(bench: Bench) -> None:
    reply = await bench.client.get("/calls.csv?person=pat")
    assert reply.content_type == "text/csv"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="calls.csv"'
    rows = list(csv.DictReader(io.StringIO(await reply.text())))
    assert len(rows) == 6
    last = rows[-1]
    assert (last["call"], last["person"]) == ("5f3c9a12-7", "'@pat:example.org")
    assert (last["number"], last["talked_s"]) == ("+12025550123", "65.3")
    assert (last["outcome"], last["sip_status"]) == ("success", "200")
    assert last["started"] == "2026-03-01T10:12:40.000Z"
    assert rows[2]["other_trunks"] == "backup"


async def test_no_table_computes_what_callers_wrote() -> None:
    office = PaperOffice(records=[record(address=Address("sip:=1+1@example.org"), detail="=1+1")])
    async with serving(office) as bench:
        await bench.log_in()
        rows = list(csv.DictReader(io.StringIO(await bench.page("/calls.csv"))))
        assert rows[0]["detail"] == "'=1+1"


async def test_calls_for_programs(bench: Bench) -> None:
    calls: list[dict[str, Any]] = json.loads(await bench.page("/calls.json"))
    assert calls[2]["other_trunks"] == [
        {"trunk": "backup", "cause": "congestion", "status": 503, "video": False}
    ]
    assert calls[-1]["statistics"]["sip_codec"] == "PCMA/8000"
    call = json.loads(await bench.page(f"{CALL}.json"))
    assert call["ladder"][0]["summary"] == "m.call.invite"
    assert call["heard"][0]["side"] == "matrix"
    assert call["matrix_reason"] == "user_hangup"


async def test_messages_as_text_and_as_a_drawing(bench: Bench) -> None:
    text = await bench.page(f"{CALL}.txt")
    assert "2026-03-01T10:12:40.010000Z      +0.010 s  bridge -> SIP peer  INVITE sip:" in text
    assert "      CSeq: 2 INVITE" in text
    reply = await bench.client.get(f"{CALL}.svg")
    assert reply.content_type == "image/svg+xml"
    drawing = await reply.text()
    assert drawing.startswith("<svg")
    assert "@pat:example.org calls +12025550123" in drawing
    assert drawing.count("<path d=") == 3 + 13


# --- live ------------------------------------------------------------------------------------


async def next_event(reply: ClientResponse) -> tuple[str, str]:
    """The next event's name, and what it carries."""
    name = ""
    async for line in reply.content:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            return name, json.loads(text.removeprefix("data: "))
    raise AssertionError("the stream ended")


async def test_a_call_is_followed_to_its_end() -> None:
    office = PaperOffice(records=[LIVE], entries=[rung(900, "matrix", "in", "m.call.invite")])
    async with serving(office, idle=60) as bench:
        await bench.log_in()
        async with bench.client.get(f"/calls/{LIVE.call}/live") as reply:
            assert reply.content_type == "text/event-stream"
            name, part = await next_event(reply)
            assert (name, "in progress" in part) == ("part", True)
            office.entries.append(rung(905, "sip", "in", "200 OK (INVITE)"))
            office.changed()
            name, part = await next_event(reply)
            assert "200 OK (INVITE)" in part
            over = replace(LIVE, ended_at=START + 950, cause="normal", ended_by="sip")
            office.records = [replace(over, statistics={"mode": "relay"})]
            office.changed()
            name, part = await next_event(reply)
            assert "They talked for 0:45." in part
            assert await next_event(reply) == ("over", "")
        await until(lambda: not office.watching, what="nobody looks any more")


async def test_who_logs_out_is_told_nothing_more() -> None:
    async with serving(idle=0.01) as bench:
        await bench.log_in()
        async with bench.client.get("/live") as reply:
            assert (await next_event(reply))[0] == "part"
            bench.now += 13 * 3600
            bench.office.changed()
            await reply.read()
        await until(lambda: not bench.office.watching, what="nobody looks any more")


async def test_so_many_look_at_the_same_time_and_no_more() -> None:
    async with serving() as bench:
        await bench.log_in()
        replies = [await bench.client.get("/live") for _ in range(STREAMS)]
        assert (await bench.client.get("/live")).status == 503
        for reply in replies:
            reply.close()
        bench.office.changed()

        async def let_in() -> bool:
            bench.office.changed()
            async with bench.client.get("/live") as reply:
                return reply.status == 200

        await until_async(let_in, what="somebody may look again")


# --- to do -----------------------------------------------------------------------------------


async def test_a_call_is_ended_by_a_form_of_the_page_alone() -> None:
    async with serving(actions=True) as bench:
        await bench.log_in()
        path = f"/calls/{LIVE.call}/end"
        assert "End this call" in await bench.page(f"/calls/{LIVE.call}")
        assert "End this call" not in await bench.page(CALL)
        assert (await bench.client.post(path)).status == 403
        assert (await bench.client.post(path, data={"stamp": "x"})).status == 403
        assert bench.office.ended == []
        stamp = {"stamp": await bench.stamp()}
        reply = await bench.client.post(path, data=stamp, allow_redirects=False)
        assert (reply.status, bench.office.ended) == (303, [LIVE.call])
        gone = await bench.client.post(f"{CALL}/end", data=stamp)
        assert gone.status == 409
        assert "There is no such call" in await gone.text()


async def test_a_page_that_only_shows_ends_nothing(bench: Bench) -> None:
    stamp = {"stamp": await bench.stamp()}
    reply = await bench.client.post(f"/calls/{LIVE.call}/end", data=stamp)
    assert reply.status == 403
    assert bench.office.ended == []
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert (await bench.client.post(f"/calls/{LIVE.call}/end", headers=bearer)).status == 403
