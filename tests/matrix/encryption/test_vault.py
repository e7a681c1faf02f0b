# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines in memory: as many as are needed, never two of a user, gone when they are idle."""

import asyncio
from typing import Any

import pytest

from bridge.call.ids import UserId
from bridge.errors import RemoteError
from bridge.matrix.encryption.vault import Vault
from tests.matrix.encryption.world import ALICE, GHOST, ROOM, World
from tests.matrix.fakes import FakeClock


class Loader:
    def __init__(self) -> None:
        self.loaded: list[UserId] = []

    async def __call__(self, user: UserId) -> Any:
        await asyncio.sleep(0)
        self.loaded.append(user)
        return object()


def users(count: int) -> list[UserId]:
    return [UserId(f"@sip_{n}:example.org") for n in range(count)]


async def test_memory_stays_bounded() -> None:
    loader = Loader()
    vault = Vault(loader, most=10, clock=FakeClock())
    for user in users(1000):
        async with vault.open(user):
            assert vault.loaded <= 11
    assert vault.loaded == 10
    assert len(loader.loaded) == 1000


async def test_what_was_used_last_stays() -> None:
    loader = Loader()
    vault = Vault(loader, most=2, clock=FakeClock())
    first, second, third = users(3)
    for user in (first, second, first, third, first):
        async with vault.open(user):
            pass
    assert loader.loaded == [first, second, third]


async def test_what_is_in_use_is_never_let_go() -> None:
    loader = Loader()
    vault = Vault(loader, most=1, clock=FakeClock())
    first, *others = users(5)
    async with vault.open(first) as machine:
        for user in others:
            async with vault.open(user):
                pass
        vault.sweep()
        assert loader.loaded.count(first) == 1
    async with vault.open(first) as again:
        assert again is machine


async def test_what_is_idle_is_let_go() -> None:
    clock = FakeClock()
    vault = Vault(Loader(), idle=300, clock=clock)
    one, other = users(2)
    async with vault.open(one):
        pass
    clock.now += 200
    async with vault.open(other):
        pass
    clock.now += 200
    vault.sweep()
    assert vault.loaded == 1
    clock.now += 200
    vault.sweep()
    assert vault.loaded == 0


async def test_one_task_at_a_time_has_a_machine() -> None:
    loader = Loader()
    vault = Vault(loader, clock=FakeClock())
    inside = 0

    async def use() -> None:
        nonlocal inside
        async with vault.open(GHOST):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(use() for _ in range(10)))
    assert loader.loaded == [GHOST]


async def test_after_a_failure_the_database_counts() -> None:
    """What is in memory may be ahead of it."""
    loader = Loader()
    vault = Vault(loader, clock=FakeClock())
    with pytest.raises(OSError, match="disk"):
        async with vault.open(GHOST):
            raise OSError("disk full")
    with pytest.raises(RemoteError):  # which says nothing about the machine
        async with vault.open(GHOST):
            raise RemoteError("refused")
    async with vault.open(GHOST):
        pass
    assert loader.loaded == [GHOST, GHOST]


async def test_a_machine_that_was_let_go_goes_on_where_it_was(world: World) -> None:
    phone = await world.device()
    first = await world.say()
    world.encryption.vault._idle = 0
    world.encryption.vault.sweep()
    assert world.encryption.vault.loaded == 0
    second = await world.say()
    await phone.hear()
    assert first["session_id"] == second["session_id"]
    assert await phone.read(ROOM, first)
    assert await phone.read(ROOM, second)
    event = await phone.write(ROOM, [GHOST])
    await world.deliver()
    world.encryption.vault.sweep()
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


async def test_ten_thousand_ghosts_cost_a_start_nothing(world: World) -> None:
    await world.encryption.prepare(ROOM, GHOST, ALICE)
    await world.database.executemany(
        "INSERT INTO own_device (user_id, device_id, ready) VALUES ($1, $2, true)",
        [(user, "SIP") for user in users(10_000)],
    )
    await world.encryption.stop()
    before = len(world.server.requests)
    again = world.again()
    await world.start()
    assert again.vault.loaded == 0
    assert len(world.server.requests) - before == 2  # the bot's device, its message to itself
    for user in users(10_000)[::100]:
        await again.ready(user)
    assert again.vault.loaded == 0
    assert len(world.server.requests) - before == 2
