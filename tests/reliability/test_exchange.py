# SPDX-License-Identifier: GPL-3.0-or-later
"""Two exchanges call each other: the SIP that the suite speaks."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator

import pytest_asyncio

from reliability.dialog import Dialog, direction_of
from reliability.exchange import Exchange
from reliability.faults.peer import Garbage
from tests.simulators.processes import free_port
from tests.simulators.waiting import PATIENCE

HOST = "127.0.0.1"


def describe(direction: str) -> str:
    return f"v=0\r\nc=IN IP4 {HOST}\r\nm=audio 4000 RTP/AVP 0\r\na={direction}\r\n"


@pytest_asyncio.fixture
async def exchanges() -> AsyncIterator[tuple[Exchange, Exchange]]:
    ports = [free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)]
    here = Exchange(HOST, ports[0], f"{HOST}:{ports[1]}")
    there = Exchange(HOST, ports[1], f"{HOST}:{ports[0]}")
    for each in (here, there):
        await each.start()
    yield here, there
    for each in (here, there):
        await each.stop()


async def talking(here: Exchange, there: Exchange) -> tuple[Dialog, Dialog]:
    rings = there.expect("100", describe)
    caller = here.dialog("200", describe)
    placing = asyncio.create_task(caller.place("100"))
    called = await asyncio.wait_for(rings, PATIENCE)
    called.ring()
    await asyncio.wait_for(caller.rang.wait(), 5)
    called.answer()
    assert await asyncio.wait_for(placing, PATIENCE) == 200
    return caller, called


async def test_a_call_is_held_referred_and_ended(exchanges: tuple[Exchange, Exchange]) -> None:
    caller, called = await talking(*exchanges)
    assert await caller.redescribe("sendonly") == 200
    assert direction_of(called.remote_sdp) == "sendonly"
    assert direction_of(caller.remote_sdp) == "recvonly"
    assert await called.refer("sip:300@example.test") == 202
    assert caller.referred == ["sip:300@example.test"]
    await asyncio.sleep(0)
    assert await called.hang_up() == 200
    assert caller.ended_by == "them"
    assert not exchanges[0].live
    assert called.told[-1:] in ([], ["SIP/2.0 100 Trying"], ["SIP/2.0 200 OK"])


async def test_a_call_is_given_up(exchanges: tuple[Exchange, Exchange]) -> None:
    here, there = exchanges
    rings, caller = there.expect("100", describe), here.dialog("200", describe)
    placing = asyncio.create_task(caller.place("100"))
    called = await asyncio.wait_for(rings, PATIENCE)
    called.ring()
    await caller.cancel()
    assert await asyncio.wait_for(placing, PATIENCE) == 487
    assert (called.ended_by, called.status) == ("them", 487)


async def test_a_call_is_refused(exchanges: tuple[Exchange, Exchange]) -> None:
    here, there = exchanges
    rings, caller = there.expect("100", describe), here.dialog("200", describe)
    placing = asyncio.create_task(caller.place("100"))
    (await asyncio.wait_for(rings, PATIENCE)).refuse(486)
    assert await asyncio.wait_for(placing, PATIENCE) == 486
    assert await here.dialog("200", describe).place("nobody") == 404
    assert there.unexpected == ["nobody"]


async def test_what_is_lost_is_said_again(exchanges: tuple[Exchange, Exchange]) -> None:
    here, there = exchanges
    caller, called = await talking(here, there)
    there.silent = True
    leaving = asyncio.create_task(caller.hang_up())
    await asyncio.sleep(0.1)
    there.silent = False
    assert await asyncio.wait_for(leaving, PATIENCE) == 200
    assert called.ended.is_set()


def test_garbage_is_the_same_for_the_same_seed() -> None:
    def made(seed: int) -> list[int]:
        garbage = Garbage(random.Random(seed), 5060)
        return [len(garbage()) for _ in range(50)]

    assert made(1) == made(1)
    assert len(set(made(1))) > 10
