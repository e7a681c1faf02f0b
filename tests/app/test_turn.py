# SPDX-License-Identifier: GPL-3.0-or-later
"""TURN servers of the homeserver: asked for in time, and not used for longer than they are good."""

import asyncio
from collections.abc import Sequence

import pytest

from bridge.app.turn import follow_homeserver
from bridge.errors import RemoteError
from bridge.records import IceServer

FIRST = IceServer(url="turn:turn.example.org", username="1", password="first")
SECOND = IceServer(url="turn:turn.example.org", username="2", password="second")
Reply = tuple[tuple[IceServer, ...], float] | RemoteError


class World:
    """A homeserver with a list of replies, an engine, and a clock that only sleeping moves."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.now = 0.0
        self.used: list[tuple[float, list[str]]] = []

    async def ask(self) -> tuple[tuple[IceServer, ...], float]:
        if not self.replies:
            raise asyncio.CancelledError
        reply = self.replies.pop(0)
        if isinstance(reply, RemoteError):
            raise reply
        return reply

    def use_servers(self, servers: Sequence[IceServer]) -> None:
        self.used.append((self.now, [each.password for each in servers]))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def run(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            await follow_homeserver(self.ask, self, clock=lambda: self.now, sleep=self.sleep)


async def test_they_are_asked_for_again_when_half_their_time_is_over() -> None:
    world = World(((FIRST,), 86_400.0), ((SECOND,), 10.0), ((FIRST, SECOND), 600.0))
    await world.run()
    assert world.used == [
        (0.0, ["first"]),
        (43_200.0, ["second"]),
        (43_230.0, ["first", "second"]),
    ]


async def test_they_are_used_until_they_expire_while_the_homeserver_is_away() -> None:
    away = RemoteError("away")
    world = World(((FIRST,), 300.0), away, away, away, away, ((SECOND,), 300.0))
    await world.run()
    assert world.used == [(0.0, ["first"]), (330.0, []), (390.0, ["second"])]


async def test_a_homeserver_without_any_is_asked_now_and_then() -> None:
    world = World(RemoteError("not yet"), ((), 0.0), ((FIRST,), 300.0))
    await world.run()
    assert world.used == [(60.0, []), (3660.0, ["first"])]
