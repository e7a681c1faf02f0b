# SPDX-License-Identifier: GPL-3.0-or-later
"""Strangers' connections: how many, for how long, and that those of trunks are left alone."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from bridge.sip import endpoint, worker
from bridge.sip.connections import Connections
from bridge.sip.strangers import Reason
from bridge.sip.wires import Wires
from tests.simulators.waiting import PATIENCE, until
from tests.sip.certificates import Certificates
from tests.sip.phone import LOCALHOST, TRUNK, Bridge, Protocol, tcp, tls, trunk
from tests.sip.torture import request

PROVIDER = "192.0.2.1"
STRANGER = "203.0.113.9"
STRANGER_HERE = "127.0.0.2"


class Visit:
    """Connections, with a clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.known = {PROVIDER}
        self.refused: list[tuple[str, Reason]] = []
        self.shut: list[int] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self.all = Connections(
            knows=lambda host: host in self.known,
            refused=lambda host, reason: self.refused.append((host, reason)),
            close=self._close,
            call_later=self._later,
            clock=lambda: self.now,
        )

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + delay, len(self._timers), action))

    def _close(self, number: int) -> None:
        self.shut.append(number)
        self.all.closed(number)

    def at(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            self.now, _, action = heapq.heappop(self._timers)
            action()
        self.now = now


def test_connection_that_brings_nothing_is_closed() -> None:
    visit = Visit()
    visit.all.opened(1, STRANGER)
    visit.all.opened(2, PROVIDER)
    visit.at(9.9)
    assert visit.shut == []
    visit.at(10)
    assert visit.shut == [1]
    assert visit.refused == [(STRANGER, Reason.IDLE)]
    visit.at(10_000)
    assert visit.shut == [1]
    assert len(visit.all) == 0


def test_one_that_says_something_now_and_then_stays() -> None:
    visit = Visit()
    visit.all.opened(1, STRANGER)
    for second in (9, 38, 67):
        visit.at(second)
        visit.all.heard(1)
    visit.at(96)
    assert visit.shut == []
    visit.at(97)
    assert visit.shut == [1]
    assert visit.refused == []  # what it said was


def test_one_that_proves_to_be_a_trunks_stays() -> None:
    visit = Visit()
    visit.all.opened(1, STRANGER)
    visit.all.closed(1)  # by what came, or because it is over
    visit.all.opened(2, STRANGER)
    visit.at(5)
    visit.known.add(STRANGER)  # a name was looked up
    visit.at(100)
    assert visit.shut == []
    assert len(visit.all) == 0


def test_number_that_is_given_away_again_is_another_connection() -> None:
    visit = Visit()
    visit.all.opened(1, STRANGER)
    visit.at(5)
    visit.all.opened(1, STRANGER)
    visit.at(14.9)
    assert visit.shut == []
    visit.at(15)
    assert visit.shut == [1]


def test_each_stranger_has_so_many_and_all_together() -> None:
    visit = Visit()
    for number in range(12):
        visit.all.opened(number, STRANGER)
    assert visit.shut == [10, 11]
    assert visit.refused == [(STRANGER, Reason.CONNECTIONS)] * 2
    visit.all.closed(3)
    visit.all.opened(12, STRANGER)
    for number in range(20):
        visit.all.opened(20 + number, f"2001:db8::{number:x}")
    assert len(visit.shut) == 12
    for number in range(300):
        visit.all.opened(100 + number, f"198.51.100.{number // 2}")
    assert len(visit.all) == 200
    for number in range(300):
        visit.all.opened(1000 + number, PROVIDER)
    assert len(visit.all) == 200


Connect = Callable[..., Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects to a port from an address, and is through with all of them in the end."""
    opened = []

    async def connect(
        port: int, host: str = STRANGER_HERE, **secure: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        pair = await asyncio.open_connection(LOCALHOST, port, local_addr=(host, 0), **secure)
        opened.append(pair[1])
        return pair

    yield connect
    for writer in opened:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


async def test_the_stack_closes_what_is_too_much(connect: Connect) -> None:
    listener = tcp()
    async with Bridge({TRUNK: trunk(9)}, transports=(listener,)) as bridge:
        for _ in range(12):
            await connect(listener.port, LOCALHOST)
        strangers = [await connect(listener.port) for _ in range(11)]
        assert await is_closed(strangers[-1][0])
        assert bridge.sip.refused["connections"] == 1
        assert not any(reader.at_eof() for reader, _ in strangers[:-1])


async def test_the_stack_closes_what_strangers_leave_open(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "Connections", partial(Connections, first=0.5))
    listener = tcp()
    whole = request("whole").replace(b"/UDP", b"/TCP")
    with capture_logs() as lines:
        async with Bridge({TRUNK: trunk(9)}, transports=(listener,)) as bridge:
            known, ours = await connect(listener.port, LOCALHOST)
            ours.write(whole[:40])
            talks, writer = await connect(listener.port)
            writer.write(whole)
            assert await talks.readline() == b"SIP/2.0 403 Forbidden\r\n"
            idle, _ = await connect(listener.port)
            slow, half = await connect(listener.port)
            half.write(whole[:40])
            assert await is_closed(idle)
            assert await is_closed(slow)
            assert bridge.sip.refused["idle"] == 2
            writer.write(whole)
            assert await talks.readuntil(b"403 Forbidden\r\n")
            ours.write(whole[40:])
            assert await known.readline() == b"SIP/2.0 200 OK\r\n"
    reasons = [line["reason"] for line in lines if line["event"] == "refused a SIP request"]
    assert reasons == ["stranger", "idle", "idle", "stranger"]


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        ({}, 0),
        ({"tcp": (0,)}, 0),
        ({"udp": (3,), "tcp": (30, 0, 20, 25)}, 20),
    ],
)
async def test_connections_are_kept_open_as_often_as_anybody_wants(
    wanted: dict[Protocol, tuple[int, ...]], seconds: int
) -> None:
    before = Wires().kept_alive
    trunks = {
        f"{protocol}-{each}": trunk(9, transport=protocol, register=True).model_copy(
            update={"keep_alive": each}
        )
        for protocol, all_of_it in wanted.items()
        for each in all_of_it
    }
    async with Bridge(trunks, transports=(tcp(),)):
        assert Wires().kept_alive == (seconds, seconds)
    assert Wires().kept_alive == before == (90, 90)


async def test_the_stack_waits_for_no_handshake_for_ever(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    monkeypatch.setattr(endpoint, "FIRST", 0.5)
    monkeypatch.setattr(worker, "Connections", partial(Connections, first=0.5))
    listener = tls(certificates)
    async with Bridge({TRUNK: trunk(9)}, transports=(listener,)) as bridge:
        silent, _ = await connect(listener.port)
        secure = {"ssl": certificates.client_context(), "server_hostname": "localhost"}
        greeting, _ = await connect(listener.port, **secure)
        assert await is_closed(silent)
        assert await is_closed(greeting)
        await until(lambda: bridge.sip.refused["idle"] == 1, what="one is counted")
