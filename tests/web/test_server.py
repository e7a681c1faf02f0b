# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin listener, asked over HTTP."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from bridge.errors import LocalError
from bridge.web.metrics import Metrics
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
