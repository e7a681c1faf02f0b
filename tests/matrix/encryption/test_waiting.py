# SPDX-License-Identifier: GPL-3.0-or-later
"""Events without a key: they wait beside their room's queue, for a while."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.call.ids import RoomId, UserId
from bridge.matrix.encryption.waiting import ASK_AFTER, GIVE_UP_AFTER, Waiting
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.homeserver import Unavailable

ROOM, ELSEWHERE = RoomId("!one:example.org"), RoomId("!two:example.org")


def event(name: str, kind: str = "m.room.encrypted", room: RoomId = ROOM) -> RoomEvent:
    return RoomEvent(
        room=room,
        id=name,
        type=kind,
        sender=UserId("@alice:example.org"),
        content={"call_id": "c1"},
        sent_at=1000.0,
    )


class Desk:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.resumed: list[tuple[RoomId, str]] = []
        self.given_up: list[str] = []
        self.slept: list[float] = []
        self.failing = False
        self._go = asyncio.Semaphore(0)
        self.waiting = Waiting(
            self._ask, lambda room, s: self.resumed.append((room, s)), self._give_up, self._sleep
        )

    async def pass_time(self, times: int = 1) -> None:
        """Let the next pauses be over."""
        for _ in range(times):
            self._go.release()
            for _ in range(5):
                await asyncio.sleep(0)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self._go.acquire()

    async def _ask(self, event: RoomEvent) -> None:
        if self.failing:
            raise Unavailable("restarting")
        self.asked.append(event.id)

    async def _give_up(self, event: RoomEvent) -> None:
        self.given_up.append(event.id)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    await made.waiting.close()


async def test_a_key_that_comes_by_itself_is_not_asked_for(desk: Desk) -> None:
    desk.waiting.put(event("a"), "s1")
    desk.waiting.put(event("b"), "s1")
    assert desk.waiting.holds("s1")
    desk.waiting.arrived("s1")
    desk.waiting.arrived("s1")
    assert desk.resumed == [(ROOM, "s1")]
    assert [each.id for each in desk.waiting.take("s1")] == ["a", "b"]
    assert not desk.waiting.holds("s1")
    await desk.pass_time(5)
    assert desk.asked == []


async def test_a_key_that_does_not_come_is_asked_for_more_than_once(desk: Desk) -> None:
    desk.waiting.put(event("a"), "s1")
    await desk.pass_time(len(ASK_AFTER))
    assert desk.asked == ["a"] * len(ASK_AFTER)
    assert desk.waiting.holds("s1")


async def test_nothing_waits_for_ever(desk: Desk) -> None:
    desk.waiting.put(event("a"), "s1")
    desk.waiting.put(event("b"), "s1")
    await desk.pass_time(len(ASK_AFTER) + 1)
    assert desk.given_up == ["a"]
    assert not desk.waiting.holds("s1")
    assert desk.slept == [*ASK_AFTER, GIVE_UP_AFTER]
    assert sum(desk.slept) <= 60  # an invite rings no longer
    desk.waiting.arrived("s1")
    assert desk.resumed == []


async def test_a_homeserver_that_is_away_is_asked_again(desk: Desk) -> None:
    desk.failing = True
    desk.waiting.put(event("a"), "s1")
    await desk.pass_time()
    desk.failing = False
    await desk.pass_time()
    assert desk.asked == ["a"]


async def test_a_key_nobody_waits_for_changes_nothing(desk: Desk) -> None:
    desk.waiting.arrived("s1")
    assert desk.resumed == []
    assert desk.waiting.take("s1") == []


async def test_sessions_wait_for_themselves(desk: Desk) -> None:
    desk.waiting.put(event("a"), "s1")
    desk.waiting.put(event("b"), "s2")
    desk.waiting.arrived("s2")
    assert desk.resumed == [(ROOM, "s2")]
    assert desk.waiting.holds("s1")


async def test_a_call_whose_end_overtook_it_is_over(desk: Desk) -> None:
    desk.waiting.put(event("invite"), "s1")
    desk.waiting.passed(event("hangup", "m.call.hangup"))
    invite = event("invite", "m.call.invite")
    assert desk.waiting.is_over(invite)
    assert not desk.waiting.is_over(event("invite", "m.call.invite", ELSEWHERE))
    desk.waiting.arrived("s1")
    desk.waiting.take("s1")
    desk.waiting.settled(ROOM)
    assert not desk.waiting.is_over(invite)


async def test_ends_of_calls_are_not_noted_where_nothing_waits(desk: Desk) -> None:
    desk.waiting.passed(event("hangup", "m.call.hangup"))
    assert not desk.waiting.is_over(event("invite", "m.call.invite"))


async def test_what_waits_is_bounded(desk: Desk) -> None:
    for number in range(1100):
        desk.waiting.put(event(f"a{number}"), f"s{number}")
    assert desk.waiting.holds("s999")
    assert not desk.waiting.holds("s1000")
    for number in range(300):
        desk.waiting.put(event(f"b{number}"), "s0")
    assert len(desk.waiting.take("s0")) == 200
