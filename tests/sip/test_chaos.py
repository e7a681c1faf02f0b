# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything at once, in any order, right or wrong: no crash, and one end for every leg."""

import asyncio
import itertools
import random
import socket
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bridge.call.commands import (
    AnswerSip,
    AnswerSipReinvite,
    ByeSip,
    CancelSip,
    NotifySip,
    RejectSip,
    RejectSipReinvite,
    SendSipInvite,
    SendSipProgress,
    SendSipReinvite,
    SipCommand,
)
from bridge.call.events import (
    Event,
    SipAnswered,
    SipEnded,
    SipEvent,
    SipInviteReceived,
    SipReferReceived,
    SipReinviteReceived,
)
from bridge.call.ids import LegId, OpId, TrunkName
from bridge.config import Sip, SipTransport
from bridge.numbers import from_sip
from bridge.sip.adapter import SipAdapter
from tests.simulators.processes import free_port
from tests.sip.phone import CALL, LOCALHOST, Sipp, description, trunk

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CALLEES = (
    *("callee_answers", "callee_crosses_offers", "callee_forks", "callee_hangs_up"),
    *("callee_holds", "callee_is_cancelled", "callee_leaves_instead", "callee_offers_and_leaves"),
    *("callee_asks_for_an_offer", "callee_transfers"),
)
CALLERS = ("caller_cancels", "caller_hangs_up", "caller_offers_nothing", "caller_waits_for_bye")
CALLS = 300
PAUSE = 0.025
"""Seconds between two calls; with what dies later, more than pjsua's ids go round in the test."""


class Chaos:
    """A core that does what it likes."""

    def __init__(self, seed: int, port: int, phones: dict[str, int]) -> None:
        self.random = random.Random(seed)
        self.begun: set[LegId] = set()
        self.ends: Counter[LegId] = Counter()
        self.late: list[SipEvent] = []
        self.history: defaultdict[LegId, list[SipCommand | SipEvent]] = defaultdict(list)
        self._messages: list[str] = []
        self._ops = map(OpId, itertools.count(1))
        self._phones = phones
        self._loop = asyncio.get_running_loop()
        self.sip = SipAdapter(
            Sip(transports=(SipTransport(listen=IPv4Address(LOCALHOST), port=port),)),
            {name: trunk(phone) for name, phone in phones.items()},
            emit=self._emit,
            tap=lambda call_id, direction, text: self._remember(text),
            normalise=lambda user, host: from_sip(user, host, "US"),
        )

    def call(self, number: int) -> None:
        """Place a call, and perhaps do something about it at once."""
        leg = LegId(f"out-{number}")
        self.begun.add(leg)
        self.sip.do(
            SendSipInvite(
                call=CALL,
                leg=leg,
                trunk=TrunkName(self.random.choice(list(self._phones))),
                target="+12025550123",
                caller=self.random.choice(["", "+12025550111"]),
                caller_name="",
                sdp=self.random.choice([description(), description(), "nonsense"]),
            )
        )
        if self.random.random() < 0.4:
            self._later(leg)

    def mutated(self) -> bytes:
        """A message that was sent before, with some bytes changed."""
        message = bytearray(self.random.choice(self._messages or ["INVITE"]).encode())
        for _ in range(self.random.randrange(6)):
            message[self.random.randrange(len(message))] = self.random.randrange(256)
        return bytes(message)

    def _emit(self, event: Event) -> None:
        assert isinstance(event, SipEvent)
        self.history[event.leg].append(event)
        if self.ends[event.leg]:
            self.late.append(event)
        match event:
            case SipEnded():
                self.ends[event.leg] += 1
            case SipInviteReceived() | SipAnswered():
                self.begun.add(event.leg)
                self._later(event.leg)
            case SipReinviteReceived():
                self.sip.do(self._reply(event))
            case SipReferReceived(leg=leg, op=op):
                for status in (100, self.random.choice([180, 200, 603])):
                    self.sip.do(NotifySip(call=CALL, leg=leg, op=op, status=status))

    def _later(self, leg: LegId) -> None:
        self._loop.call_later(self.random.random() * 0.3, self._act, leg)

    def _act(self, leg: LegId) -> None:
        command = self._command(leg)
        self.history[leg].append(command)
        self.sip.do(command)
        if not self.ends[leg]:
            self._later(leg)

    def _command(self, leg: LegId) -> SipCommand:
        sdp = description(self.random.choice(["sendrecv", "sendonly"]), version=next(self._ops))
        wrong = self.random.choice([sdp, sdp, "nonsense", sdp.replace(" 8 ", " 99 ")])
        early = self.random.choice([None, sdp])
        return self.random.choice(
            (
                AnswerSip(call=CALL, leg=leg, sdp=sdp),
                AnswerSip(call=CALL, leg=leg, sdp=wrong),
                SendSipProgress(call=CALL, leg=leg, status=180, sdp=early),
                SendSipProgress(call=CALL, leg=leg, status=183, sdp=early),
                SendSipReinvite(call=CALL, leg=leg, op=next(self._ops), sdp=sdp),
                RejectSip(call=CALL, leg=leg, status=486),
                CancelSip(call=CALL, leg=leg),
                ByeSip(call=CALL, leg=leg, q850=16),
            )
        )

    def _reply(self, event: SipReinviteReceived) -> SipCommand:
        if self.random.random() < 0.5:
            return RejectSipReinvite(call=CALL, leg=event.leg, op=event.op, status=488)
        return AnswerSipReinvite(call=CALL, leg=event.leg, op=event.op, sdp=description())

    def _remember(self, text: str) -> None:
        if len(self._messages) < 200:
            self._messages.append(text)
        else:
            self._messages[self.random.randrange(200)] = text


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_leg_ends_once(tmp_path: Path, seed: int) -> None:
    port = free_port(socket.SOCK_DGRAM)
    async with AsyncExitStack() as stack:
        phones = {}
        for name in CALLEES:
            (tmp_path / name).mkdir()
            phone = await stack.enter_async_context(Sipp(name, tmp_path / name, times=CALLS))
            phones[name] = phone.port
        chaos = Chaos(seed, port, phones)
        # Also when this fails: else no test after it could have an endpoint.
        stack.push_async_callback(chaos.sip.stop)
        await chaos.sip.start()
        stack.push_async_callback(chaos.sip.stop)
        for name in CALLERS:
            (tmp_path / name).mkdir()
            caller = Sipp(name, tmp_path / name, calls=port, times=CALLS)
            await stack.enter_async_context(caller)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rogue:
            for number in range(CALLS):
                chaos.call(number)
                rogue.sendto(chaos.mutated(), (LOCALHOST, port))
                await asyncio.sleep(PAUSE)
        assert chaos.sip.responsive
        await chaos.sip.stop()
    await asyncio.sleep(0)
    assert len(chaos.begun) > CALLS
    wrong = {leg: chaos.history[leg] for leg in chaos.begun if chaos.ends[leg] != 1}
    assert wrong == {}
    assert chaos.late == []
