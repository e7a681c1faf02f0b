# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin listener, asked over HTTP."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from bridge.errors import LocalError
from bridge.web.metrics import Metrics
from bridge.web.reloading import Reloaded, ReloadPoint, key_of
from bridge.web.server import Health, WebServer


@asynccontextmanager
async def asking(health: Health) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    async def answer() -> Health:
        return health

    server = WebServer(answer, Metrics())
    async with TestClient(TestServer(server.application())) as client:
        yield client


@pytest.mark.parametrize("path", ["/health", "/ready", "/health/ready"])
@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_health_is_told_by_status_and_in_detail(path: str, ready: bool, status: int) -> None:
    async with asking(Health(ready, {"calls": 2})) as client:
        reply = await client.get(path)
        assert reply.status == status
        assert await reply.json() == {"ready": ready, "calls": 2}


async def test_whoever_answers_lives_whether_calls_can_be_made_or_not() -> None:
    async with asking(Health(False)) as client:
        reply = await client.get("/health/live")
        assert (reply.status, await reply.json()) == (200, {"alive": True})


async def test_metrics_are_text_for_prometheus() -> None:
    async with asking(Health(True)) as client:
        reply = await client.get("/metrics")
        assert reply.status == 200
        assert reply.content_type == "text/plain"
        assert "matrix_sip_build_info" in await reply.text()


async def test_a_port_that_is_taken_is_named() -> None:
    async def answer() -> Health:
        return Health(True)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=f"port {port}: Address already in use") as error:
            await WebServer(answer, Metrics()).start("127.0.0.1", port)
    assert "web.port" in error.value.remedy


async def test_it_listens_and_stops_listening() -> None:
    async def answer() -> Health:
        return Health(True)

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = WebServer(answer, Metrics())
    await server.start("127.0.0.1", port)
    async with (
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/health") as reply,
    ):
        assert reply.status == 200
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


# --- settings read anew ------------------------------------------------------------------------


@asynccontextmanager
async def reloading(done: Reloaded | None) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    async def reload() -> Reloaded | None:
        return done

    async def answer() -> Health:
        return Health(True)

    point = ReloadPoint(key_of("as_token"), reload)
    server = WebServer(answer, Metrics(), point.serve)
    async with TestClient(TestServer(server.application())) as client:
        yield client


@pytest.mark.parametrize(
    ("done", "status"),
    [
        (Reloaded(applied=("permissions",), restart=("media.workers",)), 200),
        (Reloaded(problems=("web.prt: unknown key",)), 422),
        (None, 503),
    ],
)
async def test_what_came_of_the_settings_is_told(done: Reloaded | None, status: int) -> None:
    async with reloading(done) as client:
        reply = await client.post(
            "/reload", headers={"Authorization": f"Bearer {key_of('as_token')}"}
        )
        assert reply.status == status
        told = {key: tuple(each) for key, each in (await reply.json()).items()}
        assert told == (asdict(done) if done else {})


@pytest.mark.parametrize("shown", ["", "Bearer ", f"Bearer {key_of('other')}", "Bearer as_token"])
async def test_nobody_without_the_settings_has_them_read(shown: str) -> None:
    async with reloading(Reloaded()) as client:
        reply = await client.post("/reload", headers={"Authorization": shown} if shown else {})
        assert (reply.status, await reply.json()) == (401, {})
        assert (await client.get("/reload")).status == 405
