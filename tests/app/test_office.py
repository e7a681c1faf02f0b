# SPDX-License-Identifier: GPL-3.0-or-later
"""What the admin page is told about the running bridge."""

import logging
import sys
from collections.abc import Mapping, Sequence

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from bridge import logs
from bridge.app.load import Load
from bridge.app.office import BY_PAGE, Changes, ServiceOffice
from bridge.app.page import AdminPage
from bridge.call.ids import CallId, UserId
from bridge.call.outcomes import Outcome
from bridge.call.view import CallView
from bridge.config import Web
from bridge.records import LineView
from bridge.web.server import Health
from tests.web.office import PaperOffice

TOKEN = "a token of twenty-five signs"


class Archive(PaperOffice):
    """Made-up calls that can be counted."""

    async def causes(self, since: float) -> Mapping[str, int]:
        assert since == 1000.0
        return {"busy": 2, "declined": 1, "normal": 5}


class Desk:
    """Has a trunk and no calls."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, UserId]] = []

    def trunks(self) -> Sequence[LineView]:
        return [LineView(name="provider", works=True, state="registered")]

    def active(self) -> Sequence[tuple[CallView, float]]:
        return []

    def hang_up(self, call: str, by: UserId) -> CallView:
        self.ended.append((call, by))
        raise NotImplementedError


async def health() -> tuple[bool, Mapping[str, object]]:
    return False, {"state": "running", "homeserver": False, "database": True, "sip": True}


def office(archive: Archive, desk: Desk, changes: Changes) -> ServiceOffice:
    return ServiceOffice(
        archive=archive,
        desk=desk,
        changes=changes,
        health=health,
        load=lambda: [("calls", "3")],
        wall=lambda: 1000.0 + 86400,
    )


async def test_the_overview_tells_when_the_bridge_stops() -> None:
    async def closing() -> tuple[bool, Mapping[str, object]]:
        return False, {"state": "draining", "closes_in": 42}

    one = office(Archive(), Desk(), Changes())
    assert (await one.overview()).closes_in is None
    one.health = closing
    assert (await one.overview()).closes_in == 42


async def test_the_overview_is_put_together() -> None:
    archive = Archive()
    overview = await office(archive, Desk(), Changes()).overview()
    assert not overview.ready
    states = {part.name: (part.works, part.state) for part in overview.parts}
    assert states["homeserver"] == (False, "does not answer")
    assert states["database"] == (True, "answers")
    assert states["encrypted rooms"] == (False, "no calls there")
    assert overview.outcomes == {Outcome.CALLEE: 3, Outcome.SUCCESS: 5}
    assert set(archive.asked[-1].outcomes) == {
        Outcome.TRUNK,
        Outcome.HOMESERVER,
        Outcome.MEDIA,
        Outcome.BRIDGE,
    }
    assert [line.name for line in overview.trunks] == ["provider"]
    assert overview.load == [("calls", "3")]


async def test_the_log_names_the_page_where_it_ends_calls() -> None:
    desk = Desk()
    with pytest.raises(NotImplementedError):
        office(Archive(), desk, Changes()).hang_up(CallId("c1"))
    assert desk.ended == [("c1", BY_PAGE)]


async def test_whoever_watches_is_told_and_nobody_else() -> None:
    changes = Changes()
    changes.note()
    with changes.watch() as one, changes.watch() as other:
        assert not one.is_set()
        changes.note()
        assert one.is_set()
        assert other.is_set()
    one.clear()
    changes.note()
    assert not one.is_set()


async def test_what_is_busy() -> None:
    now, used, audio = 100.0, 10.0, 5.0
    told: list[float] = []

    class Enough(Exception):
        pass

    async def sleep(seconds: float) -> None:
        nonlocal now, used, audio
        if len(told) == 20:
            raise Enough
        now += seconds + (0.5 if len(told) == 3 else 0.0)
        used += 0.1
        audio += 0.2

    load = Load(told.append, lambda: audio, clock=lambda: now, used=lambda: used, sleep=sleep)
    with pytest.raises(Enough):
        await load.run()
    assert load.lag == pytest.approx(0.5)
    assert sum(told) == pytest.approx(0.5)
    assert load.share == pytest.approx(2.0 / 5.5)
    assert load.audio_share == pytest.approx(4.0 / 5.5)


# --- the page --------------------------------------------------------------------------------


async def ready() -> Health:
    return Health(True, {"homeserver": True})


async def answer(page: AdminPage, path: str) -> tuple[int, str]:
    """What the page answers to whom has the token."""
    application = web.Application()
    page.serve(application)
    async with TestClient(TestServer(application)) as client:
        reply = await client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
        return reply.status, await reply.text()


async def test_the_page_is_there_where_there_is_a_token() -> None:
    class Yesterday(Archive):
        async def causes(self, since: float) -> Mapping[str, int]:
            return {}

    page = AdminPage(Web(token=SecretStr(TOKEN)), ready)
    page.open(Yesterday(), Desk(), lambda: [])
    status, text = await answer(page, "/")
    assert status == 200
    assert "provider" in text
    nowhere = AdminPage(Web(), ready)
    nowhere.open(Yesterday(), Desk(), lambda: [])
    assert (await answer(nowhere, "/"))[0] == 404


async def test_calls_go_on_without_what_the_page_needs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delitem(sys.modules, "bridge.web.pages", raising=False)
    monkeypatch.delitem(sys.modules, "bridge.web.templating", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    page = AdminPage(Web(token=SecretStr(TOKEN)), ready)
    assert (await answer(page, "/"))[0] == 404
    logged = capsys.readouterr()
    # Which of them it is depends on whether logging was set up before.
    assert "jinja2" in logged.out + logged.err + caplog.text


# --- the log ---------------------------------------------------------------------------------


def test_the_latest_troubles_are_remembered_as_the_log_has_them() -> None:
    logs.configure("info", secrets=["hunter22"])
    log = structlog.get_logger("bridge.test")
    log.info("nothing to see")
    log.warning("something odd", call="c1-7", number="+12025550123", why="hunter22")
    logging.getLogger("other").error("it broke: %s", "badly")
    last, before = logs.troubles()[:2]
    assert (last.level, last.text) == ("error", "it broke: badly")
    assert (before.level, before.call) == ("warning", "c1-7")
    assert before.text == "something odd number=\N{HORIZONTAL ELLIPSIS}23 why=[hidden]"
