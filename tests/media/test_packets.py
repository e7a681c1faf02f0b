# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop for packets: they are handled at once, and nothing else waits for them."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest
import uvloop

from bridge.media.embedded.engine import EmbeddedEngine
from bridge.media.embedded.sockets import bound_socket
from bridge.media.packets import ROUND, PacketLoop, until_round, unwatch, watch
from tests.media.conftest import SETTINGS
from tests.media.desk import Desk
from tests.simulators.rtp import RtpPeer, Sender
from tests.simulators.waiting import PATIENCE
from tests.simulators.webrtc import WebRtcPeer

HOST = "127.0.0.1"
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [
    PacketLoop,
    asyncio.new_event_loop,
    uvloop.new_event_loop,
]
Work = Callable[[ExitStack], Coroutine[Any, Any, None]]


def run(make: Callable[[], asyncio.AbstractEventLoop], work: Work) -> None:
    with ExitStack() as stack, asyncio.Runner(loop_factory=make) as runner:
        runner.run(asyncio.wait_for(work(stack), PATIENCE))


def pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = (stack.enter_context(bound_socket(HOST, 0)) for _ in range(2))
    ours.connect(theirs.getsockname())
    theirs.connect(ours.getsockname())
    return ours, theirs


@pytest.mark.parametrize("make", LOOPS)
def test_a_packet_is_told_of_with_the_time(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work(stack: ExitStack) -> None:
        ours, theirs = pair(stack)
        got: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue()
        watch(ours, lambda now: got.put_nowait((ours.recv(10), now)))
        before = monotonic()
        theirs.send(b"one")
        packet, now = await got.get()
        assert packet == b"one"
        assert before <= now <= monotonic()
        unwatch(ours)
        theirs.send(b"two")
        await asyncio.sleep(0.01)
        assert got.empty()
        assert ours.recv(10) == b"two"

    run(make, work)


def test_timers_and_tasks_come_between_packets_without_end() -> None:
    async def work(stack: ExitStack) -> None:
        ours, theirs = pair(stack)

        def echo(_: float) -> None:
            ours.send(ours.recv(10))

        def back(_: float) -> None:
            theirs.send(theirs.recv(10))

        watch(ours, echo)
        watch(theirs, back)
        theirs.send(b"round")
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(0.05)
        assert loop.time() - start >= 0.05
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(10)))
        await asyncio.to_thread(lambda: None)
        reader, writer = await asyncio.open_unix_connection(sock=stack.enter_context(socket_of()))
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()

    def socket_of() -> socket.socket:
        """One end of a pair whose other end says back what it hears."""
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        loop.add_reader(theirs.fileno(), lambda: theirs.send(theirs.recv(100)))
        stack_of_others.enter_context(theirs)
        return ours

    with ExitStack() as stack_of_others:
        run(PacketLoop, work)


def test_what_a_packet_asks_for_is_done_without_another_one() -> None:
    """A wait without a deadline must notice that there is something to do now."""

    async def work(stack: ExitStack) -> None:
        ours, theirs = pair(stack)
        loop = asyncio.get_running_loop()
        soon, later = loop.create_future(), loop.create_future()

        def on_readable(_: float) -> None:
            ours.recv(10)
            soon.set_result(None)
            loop.call_later(0.01, later.set_result, None)

        watch(ours, on_readable)
        theirs.send(b"x")
        await soon
        await later

    run(PacketLoop, work)


def test_a_packet_that_cannot_be_handled_is_told_of_and_the_next_one_is_handled() -> None:
    async def work(stack: ExitStack) -> None:
        ours, theirs = pair(stack)
        loop = asyncio.get_running_loop()
        told: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: told.append(context))
        done = loop.create_future()

        def on_readable(_: float) -> None:
            if ours.recv(10) == b"bad":
                raise ZeroDivisionError
            done.set_result(None)

        watch(ours, on_readable)
        theirs.send(b"bad")
        theirs.send(b"good")
        await done
        assert [type(each["exception"]) for each in told] == [ZeroDivisionError]

    run(PacketLoop, work)


def test_a_socket_may_go_while_its_packet_is_waiting() -> None:
    async def work(stack: ExitStack) -> None:
        pairs = [pair(stack) for _ in range(2)]
        heard: list[int] = []

        def hear(number: int) -> Callable[[float], None]:
            def on_readable(_: float) -> None:
                heard.append(number)
                for ours, _theirs in pairs:
                    unwatch(ours)

            return on_readable

        for number, (ours, theirs) in enumerate(pairs):
            watch(ours, hear(number))
            theirs.send(b"x")
        await asyncio.sleep(0.01)
        assert len(heard) == 1

    run(PacketLoop, work)


@pytest.mark.parametrize("make", LOOPS)
def test_a_call_is_carried_on_every_loop(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work(_: ExitStack) -> None:
        desk = Desk(lambda emit: EmbeddedEngine(SETTINGS, emit))
        client, phone = WebRtcPeer(), RtpPeer()
        await desk.client_calls(client, phone)
        await client.send(*client.sender("PCMU").packets([b"c" * 160] * 20))
        await phone.received.reaches(20)
        phone.send(*Sender(0).packets([b"p" * 160] * 20))
        await client.received.reaches(20)
        await desk.hang_up()
        await desk.engine.close()
        phone.close()
        await client.close()

    run(make, work)


@pytest.mark.parametrize("now", [100.0, 100.01, 100.024, 100.026, 100.049])
@pytest.mark.parametrize("delay", [0.1, 1.0, 4.987])
def test_what_is_done_in_rounds_is_done_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch, now: float, delay: float
) -> None:
    monkeypatch.setattr("bridge.media.packets.monotonic", lambda: now)
    when = now + until_round(delay)
    assert when / ROUND == pytest.approx(round(when / ROUND))
    assert abs(when - now - delay) <= ROUND / 2 + 1e-9
