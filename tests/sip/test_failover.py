# SPDX-License-Identifier: GPL-3.0-or-later
"""A trunk with several servers, one of which is away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.call.commands import ByeSip, CancelSip
from bridge.call.events import SipAnswered, SipEnded, SipProgressed
from bridge.config import Trunk
from bridge.sip import servers
from bridge.sip.trunks import RegistrationState
from tests.simulators.kamailio import Kamailio
from tests.simulators.nameserver import NameServer
from tests.simulators.processes import free_port
from tests.simulators.waiting import until
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, tcp, trunk

pytestmark = pytest.mark.e2e

DOMAIN = "example.com"
SOON = 1.0
"""Seconds that a server gets."""


def several(**settings: object) -> Trunk:
    return trunk(9).model_copy(update={"server": DOMAIN, "answer_within": SOON, **settings})


@asynccontextmanager
async def names(*ports: int, protocol: str = "udp") -> AsyncIterator[NameServer]:
    """Servers at these ports of this machine, best first."""
    async with NameServer() as server:
        server.say("host.example.com", "A", LOCALHOST)
        records = [f"{at} 1 {port} host.example.com." for at, port in enumerate(ports)]
        server.say(f"_sip._{protocol}.{DOMAIN}", "SRV", *records)
        yield server


@asynccontextmanager
async def silent() -> AsyncIterator[socket.socket]:
    """A server that takes everything and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((LOCALHOST, 0))
        taken.setblocking(False)
        yield taken


async def talk_and_hang_up(bridge: Bridge, phone: Sipp) -> None:
    leg = bridge.call()
    await bridge.expect(SipProgressed)
    await bridge.expect(SipAnswered)
    bridge.sip.do(ByeSip(call=CALL, leg=leg))
    await bridge.expect(SipEnded)
    await phone.succeeds()


async def test_call_goes_to_the_server_that_answers(tmp_path: Path) -> None:
    async with silent() as first, Sipp("callee_answers", tmp_path) as second:
        port = first.getsockname()[1]
        async with names(port, second.port) as dns:
            async with Bridge({TRUNK: several()}, nameservers=(dns.address,)) as bridge:
                await talk_and_hang_up(bridge, second)
        assert first.recv(9999).startswith(b"INVITE ")


async def test_a_server_that_was_given_up_is_sent_no_more(tmp_path: Path) -> None:
    """It would ring for nobody, if it came to itself: INVITE is sent again after 0.5 s, 1 s, ..."""
    async with silent() as first, silent() as second, Sipp("callee_answers", tmp_path) as third:
        ports = [each.getsockname()[1] for each in (first, second)]
        async with names(*ports, third.port) as dns:
            settings = several(answer_within=0.4)
            async with Bridge({TRUNK: settings}, nameservers=(dns.address,)) as bridge:
                await talk_and_hang_up(bridge, third)
                invites = [
                    call_id
                    for call_id, direction, text in bridge.ladder
                    if direction == "sent" and text.startswith("INVITE ")
                ]
    assert len(set(invites)) == 3
    assert invites == sorted(invites, key=invites.index), "the first was asked again"


async def test_next_call_goes_there_at_once(tmp_path: Path) -> None:
    async with silent() as first, Sipp("callee_answers", tmp_path, times=2) as second:
        async with names(first.getsockname()[1], second.port) as dns:
            async with Bridge({TRUNK: several()}, nameservers=(dns.address,)) as bridge:
                for name in ("one", "two"):
                    leg = bridge.call(name)
                    await bridge.expect(SipProgressed)
                    await bridge.expect(SipAnswered)
                    bridge.sip.do(ByeSip(call=CALL, leg=leg))
                    await bridge.expect(SipEnded)
                await second.succeeds()
        calls = set()
        while True:
            try:
                text = first.recv(9999).decode()
            except BlockingIOError:
                break
            calls.add(next(line for line in text.splitlines() if line.startswith("Call-ID")))
        assert len(calls) == 1


async def test_call_goes_on_after_503(tmp_path: Path) -> None:
    out, back = tmp_path / "first", tmp_path / "second"
    out.mkdir()
    back.mkdir()
    keys = {"status": "503", "cause": "41"}
    async with (
        Sipp("callee_refuses", out, keys=keys) as first,
        Sipp("callee_answers", back) as second,
        names(first.port, second.port) as dns,
        Bridge({TRUNK: several()}, nameservers=(dns.address,)) as bridge,
    ):
        await talk_and_hang_up(bridge, second)
        await first.succeeds()


async def test_call_goes_on_where_nothing_listens(tmp_path: Path) -> None:
    async with Sipp("callee_answers", tmp_path, tcp=True) as second:
        async with names(free_port(), second.port, protocol="tcp") as dns:
            settings = several(transport="tcp")
            async with Bridge(
                {TRUNK: settings}, transports=(tcp(),), nameservers=(dns.address,)
            ) as bridge:
                await talk_and_hang_up(bridge, second)


async def test_busy_is_an_answer(tmp_path: Path) -> None:
    keys = {"status": "486", "cause": "17"}
    async with (
        Sipp("callee_refuses", tmp_path, keys=keys) as first,
        silent() as second,
        names(first.port, second.getsockname()[1]) as dns,
        Bridge({TRUNK: several()}, nameservers=(dns.address,)) as bridge,
    ):
        bridge.call()
        assert (await bridge.expect(SipEnded)).status == 486
        await first.succeeds()
        with pytest.raises(BlockingIOError):
            second.recv(1)


async def test_call_fails_when_no_server_answers() -> None:
    async with (
        silent() as first,
        silent() as second,
        names(first.getsockname()[1], second.getsockname()[1]) as dns,
        Bridge({TRUNK: several()}, nameservers=(dns.address,)) as bridge,
    ):
        bridge.call()
        ended = await bridge.expect(SipEnded)
        assert (ended.status, ended.reason) == (408, "The server does not answer")
        assert not ended.remote
        assert first.recv(9999).startswith(b"INVITE ")
        assert second.recv(9999).startswith(b"INVITE ")
        assert bridge.nothing_more()


async def test_cancelled_call_is_not_tried_elsewhere() -> None:
    async with (
        silent() as first,
        silent() as second,
        names(first.getsockname()[1], second.getsockname()[1]) as dns,
        Bridge({TRUNK: several()}, nameservers=(dns.address,)) as bridge,
    ):
        leg = bridge.call()
        bridge.sip.do(CancelSip(call=CALL, leg=leg))
        assert (await bridge.expect(SipEnded)).status == 487
        await asyncio.sleep(2 * SOON)  # Another server would have been asked by then.
        with pytest.raises(BlockingIOError):
            second.recv(1)
        assert bridge.nothing_more()


async def test_late_answer_of_the_first_server_is_ended(tmp_path: Path) -> None:
    out, back = tmp_path / "first", tmp_path / "second"
    out.mkdir()
    back.mkdir()
    async with (
        Sipp("callee_is_late", out) as first,
        Sipp("callee_answers", back) as second,
        names(first.port, second.port) as dns,
        Bridge({TRUNK: several()}, nameservers=(dns.address,)) as bridge,
    ):
        leg = bridge.call()
        await bridge.expect(SipProgressed)
        await bridge.expect(SipAnswered)
        # The first one answers meanwhile, and is sent ACK and BYE.
        await first.succeeds()
        assert bridge.nothing_more()
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await second.succeeds()


async def test_registers_with_the_server_that_answers_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "AVOIDED", 1.0)
    settings = several(register=True)
    async with silent() as away, Kamailio(tmp_path) as second:
        port = away.getsockname()[1]
        async with names(port, second.port) as dns:
            async with Bridge({TRUNK: settings}, nameservers=(dns.address,)) as bridge:
                assert (await bridge.registration()).state is RegistrationState.REGISTERED
                assert bridge.registrations.empty()
                before = _drain(away)
                assert before
                await until(lambda: _drain(away), what="the first one is asked again")
                assert bridge.sip.registrations()[TRUNK].state is RegistrationState.REGISTERED


def _drain(taken: socket.socket) -> int:
    """How many packets there are."""
    count = 0
    while True:
        try:
            count += taken.recv(9999).startswith(b"REGISTER ")
        except BlockingIOError:
            return count


async def test_text_goes_to_the_server_that_has_service(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    async with (
        Sipp("text_taker", first, keys={"status": "503"}) as full,
        Sipp("text_taker", second, keys={"status": "202"}) as phone,
        names(full.port, phone.port) as dns,
        Bridge({TRUNK: several()}, nameservers=(dns.address,)) as bridge,
    ):
        assert await bridge.sip.send_message(TRUNK, "+12025550123", "hello") == 202
        await full.succeeds()
        await phone.succeeds()


async def test_text_that_no_server_takes() -> None:
    async with (
        names(free_port(), free_port(), protocol="tcp") as dns,
        Bridge(
            {TRUNK: several(transport="tcp")}, nameservers=(dns.address,), transports=(tcp(),)
        ) as bridge,
    ):
        assert await bridge.sip.send_message(TRUNK, "+12025550123", "hello") == 503


async def test_text_goes_on_where_nobody_takes_the_connection(tmp_path: Path) -> None:
    async with (
        Sipp("text_taker", tmp_path, tcp=True, keys={"status": "200"}) as phone,
        names(free_port(), phone.port, protocol="tcp") as dns,
        Bridge(
            {TRUNK: several(transport="tcp")}, nameservers=(dns.address,), transports=(tcp(),)
        ) as bridge,
    ):
        assert await bridge.sip.send_message(TRUNK, "+12025550123", "hello") == 200
        await phone.succeeds()
