# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream of events: as they happen, after an absence, and when too much was missed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import TestClient

from bridge.call.ids import Direction
from bridge.web.api.events import CallEvent
from tests.simulators.waiting import until
from tests.web.office import START
from tests.web.programs import PAT, READ, Bench, PaperBridge, serving


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bridge = PaperBridge()
    async with serving(bridge) as server, TestClient(server) as client:
        yield Bench(client, bridge)


def step(call: str) -> CallEvent:
    return CallEvent(
        type="call.started",
        at=datetime.fromtimestamp(START, UTC),
        call=call,
        direction=Direction.TO_SIP,
        person=PAT,
        number="+12025550123",
        trunk="provider",
    )


async def followed(bench: Bench, query: str, **headers: str) -> list[str]:
    """What the stream says until it ends."""
    asked = {"Authorization": f"Bearer {READ}", **headers}
    reply = await bench.client.get(f"/api/v1/events?{query}", headers=asked)
    assert reply.status == 200
    assert reply.content_type == "text/event-stream"
    return [part for part in (await reply.text()).split("\n\n") if part and part[0] != ":"]


async def test_events_come_as_they_happen_and_comments_while_nothing_does(bench: Bench) -> None:
    headers = {"Authorization": f"Bearer {READ}"}
    bench.bridge.events.publish(step("before"))
    async with bench.client.get("/api/v1/events", headers=headers) as reply:
        assert await reply.content.readuntil(b"\n\n") == b": here\n\n"
        assert await reply.content.readuntil(b"\n\n") == b": still here\n\n"
        bench.bridge.events.publish(step("now"))
        while (part := await reply.content.readuntil(b"\n\n")).startswith(b":"):
            pass
        assert part.startswith(b"id: run1-2\nevent: call.started\ndata: {")
        assert b'"call":"now"' in part


async def test_who_comes_back_gets_what_they_missed(bench: Bench) -> None:
    for number in range(4):
        bench.bridge.events.publish(step(f"call-{number}"))
    parts = await followed(bench, "seconds=0&after=run1-2")
    assert [part.split("\n")[0] for part in parts] == ["id: run1-3", "id: run1-4"]
    again = await followed(bench, "seconds=0", **{"Last-Event-ID": "run1-2"})
    assert again == parts
    assert await followed(bench, "seconds=0") == []
    assert await followed(bench, "seconds=0&after=run1-4") == []


@pytest.mark.parametrize("after", ["run1-1", "run0-7", "run1-99", "nonsense", "run1-" + "9" * 200])
async def test_who_missed_too_much_is_told(bench: Bench, after: str) -> None:
    for number in range(7):
        bench.bridge.events.publish(step(f"call-{number}"))
    gap, *rest = await followed(bench, f"seconds=0&after={after}")
    assert gap.split("\n") == ["id: run1-7", "event: gap", 'data: {"type":"gap"}']
    assert rest == []


async def test_who_is_too_slow_is_told_and_goes_on(bench: Bench) -> None:
    headers = {"Authorization": f"Bearer {READ}"}
    async with bench.client.get("/api/v1/events?after=", headers=headers) as reply:
        await reply.content.readuntil(b"\n\n")
        for number in range(7):
            bench.bridge.events.publish(step(f"call-{number}"))
        said = b""
        while b"run1-7" not in said:
            said += await reply.content.readuntil(b"\n\n")
    names = [line for line in said.decode().split("\n") if line.startswith("id: ")]
    assert names == [f"id: run1-{number}" for number in range(2, 8)]
    assert said.count(b"event: gap") == 1


async def test_streams_are_few_and_end_with_the_bridge() -> None:
    bridge = PaperBridge()
    headers = {"Authorization": f"Bearer {READ}"}
    async with serving(bridge) as server, TestClient(server) as client:
        replies = [await client.get("/api/v1/events", headers=headers) for _ in range(20)]
        assert (await client.get("/api/v1/events", headers=headers)).status == 503
        replies[0].close()
        await until(lambda: bridge.api.streams == 19, what="one has gone")
        await server.close()
        for reply in replies[1:]:
            assert (await reply.read()).startswith(b": here")
        assert bridge.api.streams == 0
