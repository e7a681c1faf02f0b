# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as working."""

import asyncio
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bridge.app.health import Homeserver, admin_url, ask, database_answers, trunks_work
from bridge.app.service import Service
from bridge.call.ids import Address
from bridge.call.policy import Policy
from bridge.call.switchboard import Switchboard
from bridge.config import Config, Sip, Web
from bridge.config import Homeserver as HomeserverSection
from bridge.driver import Driver
from bridge.errors import RemoteError
from bridge.sip.adapter import SipAdapter
from bridge.sip.trunks import Registration, RegistrationState
from bridge.store.database import open_database

UP = Registration(RegistrationState.REGISTERED, 200)
KNOWN = Registration(RegistrationState.NOT_USED)
DOWN = Registration(RegistrationState.FAILED, 403)
TRYING = Registration(RegistrationState.TRYING)


@pytest.mark.parametrize(
    ("registrations", "works"),
    [
        ([], True),
        ([UP], True),
        ([KNOWN], True),
        ([DOWN], False),
        ([TRYING], False),
        ([DOWN, UP], True),
    ],
)
def test_one_trunk_is_enough(registrations: list[Registration], works: bool) -> None:
    assert trunks_work(dict(enumerate(registrations))) is works


async def test_the_homeserver_is_asked_but_not_all_the_time() -> None:
    status, now, asked = 200, 100.0, 0

    async def versions(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({}, status=status)

    application = web.Application()
    application.router.add_get("/_matrix/client/versions", versions)
    async with TestServer(application) as server:
        homeserver = Homeserver(str(server.make_url("/")), clock=lambda: now)
        assert await homeserver.answers()
        status = 502
        assert await homeserver.answers()
        assert asked == 1
        now += 6
        assert not await homeserver.answers()
        assert asked == 2
    now += 6
    assert not await homeserver.answers()


async def test_a_database_that_is_closed_does_not_answer(tmp_path: Path) -> None:
    async with open_database(f"sqlite:{tmp_path}/a.db") as database:
        assert await database_answers(database)
    assert not await database_answers(database)


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:7/x"),
        ("0.0.0.0", "http://127.0.0.1:7/x"),
        ("::", "http://[::1]:7/x"),
        ("192.0.2.1", "http://192.0.2.1:7/x"),
    ],
)
def test_where_the_listener_is(listen: str, url: str) -> None:
    assert admin_url(Web(listen=ip_address(listen), port=7), "/x") == url


async def test_without_its_sip_thread_the_bridge_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def versions(request: web.Request) -> web.Response:
        return web.json_response({})

    application = web.Application()
    application.router.add_get("/_matrix/client/versions", versions)
    driver = Driver(Switchboard(Policy(), nonce="n"), asyncio.get_running_loop())
    sip = SipAdapter(
        Sip(),
        {},
        emit=driver.emit,
        tap=driver.sip_message,
        normalise=lambda user, host: Address(""),
    )
    async with (
        TestServer(application) as server,
        open_database(f"sqlite:{tmp_path}/a.db") as database,
    ):
        config = Config(homeserver=HomeserverSection(address=str(server.make_url("/"))))
        service = Service(config, None)
        service._database, service._driver, service._sip = database, driver, sip
        assert not (await service.health()).ready, "it has not started"
        service._state = "running"
        health = await service.health()
        assert not health.ready
        assert health.details["sip"] is False
        monkeypatch.setattr(SipAdapter, "responsive", True)
        assert (await service.health()).ready


async def test_no_bridge_to_ask() -> None:
    with pytest.raises(RemoteError, match="no bridge answers"):
        await ask(Web(port=1))
