# SPDX-License-Identifier: GPL-3.0-or-later
"""Order within a room, independence between rooms."""

import asyncio

from bridge.matrix.lanes import LANE_LENGTH, Lanes


async def test_a_lane_keeps_its_order_and_lanes_do_not_wait_for_another() -> None:
    gate, other_done = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def handle(item: str) -> None:
        if item == "slow":
            await gate.wait()
        if item == "other":
            other_done.set()
        done.append(item)

    lanes: Lanes[str, str] = Lanes(handle)
    lanes.put("a", "slow")
    lanes.put("a", "after")
    lanes.put("b", "other")
    await other_done.wait()
    assert done == ["other"]
    gate.set()
    await lanes.drained()
    assert done == ["other", "slow", "after"]
    lanes.put("a", "new life")
    await lanes.drained()
    assert done[-1] == "new life"


async def test_what_fails_does_not_hold_up_the_rest() -> None:
    done: list[int] = []

    async def handle(item: int) -> None:
        done.append(1 // item)

    lanes: Lanes[str, int] = Lanes(handle)
    lanes.put("a", 0)
    lanes.put("a", 1)
    await lanes.drained()
    assert done == [1]


async def test_a_flood_is_bounded() -> None:
    done: list[int] = []

    async def handle(item: int) -> None:
        done.append(item)

    lanes: Lanes[str, int] = Lanes(handle)
    taken = [lanes.put("a", number) for number in range(LANE_LENGTH + 5)]
    assert taken == [True] * LANE_LENGTH + [False] * 5
    await lanes.drained()
    assert done == list(range(LANE_LENGTH))


async def test_closing_stops_what_is_under_way() -> None:
    async def handle(_: int) -> None:
        await asyncio.Event().wait()

    lanes: Lanes[str, int] = Lanes(handle)
    lanes.put("a", 1)
    lanes.put("a", 2)
    await asyncio.sleep(0)
    await lanes.close()
    await lanes.drained()
