# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Synapse that limits the bridge, takes its time, or is away: what was to be said is said.

In order, and for as long as the call lives.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import yaml
from pydantic import SecretStr

from bridge import config
from bridge.call.commands import (
    PreparePortal,
    SendCallEvent,
    SendMatrixAnswer,
    SendMatrixHangup,
    SendMatrixInvite,
    SendMatrixReject,
    SendMatrixSelectAnswer,
    SendNotice,
)
from bridge.call.events import MatrixAnswerReceived, MatrixSendFailed, PortalReady
from bridge.call.ids import CallId, MatrixCallId, OpId, PartyId, RoomId, UserId
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.registration import registration
from tests.matrix.test_synapse import GHOST, NUMBER, Bridge, recorded
from tests.simulators.gate import Gate
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.processes import free_port
from tests.simulators.synapse import SERVER_NAME, Synapse
from tests.simulators.waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.patient,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

SLOW = 12.0
AWAY = 30.0
LIMITED = {"rc_message": {"per_second": 1, "burst_count": 1}}
SDP = "v=0\r\na=msid:stream track\r\n"
people = iter(range(1000))


@dataclass
class Stand:
    """A homeserver, the gate before it, and how a bridge behind that is set up."""

    server: Synapse
    gate: Gate
    appservice: config.AppService

    def bridge(self) -> Bridge:
        homeserver = config.Homeserver(address=self.gate.url, domain=SERVER_NAME)
        return Bridge(homeserver, self.appservice)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """Synapse lets each ghost send an event a second, as long as the gate passes it on."""
    directory, port = tmp_path_factory.mktemp("moods"), free_port()
    appservice = config.AppService(
        address=f"http://127.0.0.1:{port}",
        port=port,
        as_token=SecretStr("as-token-of-one-run"),
        hs_token=SecretStr("hs-token-of-one-run"),
    )
    document = registration(config.Homeserver(domain=SERVER_NAME), appservice, config.Encryption())
    file = directory / "registration.yaml"
    file.write_text(yaml.safe_dump({**document, "rate_limited": True}))
    server = Synapse(directory / "synapse", [file], settings=LIMITED)
    await server.start()
    gate = Gate(server.port)
    await gate.start()
    yield Stand(server, gate, appservice)
    await gate.stop()
    await server.stop()


@dataclass
class Scene:
    """A portal, and both who are in it."""

    bridge: Bridge
    adapter: MatrixAdapter
    client: MatrixClient
    room: RoomId
    ops: int = 10

    def about(self, call: str) -> dict[str, Any]:
        self.ops += 1
        return {
            "call": CallId(call),
            "op": OpId(self.ops),
            "room": self.room,
            "address": NUMBER,
            "call_id": MatrixCallId(f"~{call}"),
            "party": PartyId("sip"),
            "version": 1,
        }

    def say(self, *commands: SendCallEvent | SendNotice) -> None:
        for command in commands:
            self.adapter.do(command)

    def invite(self, call: str) -> SendMatrixInvite:
        person = UserId(self.client.user_id)
        return SendMatrixInvite(**self.about(call), sdp=SDP, lifetime=60, invitee=person)

    def answer(self, call: str) -> SendMatrixAnswer:
        return SendMatrixAnswer(**self.about(call), sdp=SDP)

    def select(self, call: str) -> SendMatrixSelectAnswer:
        return SendMatrixSelectAnswer(**self.about(call), selected=PartyId("D"))

    def hangup(self, call: str) -> SendMatrixHangup:
        return SendMatrixHangup(**self.about(call), reason="user_hangup")

    def reject(self, call: str) -> SendMatrixReject:
        return SendMatrixReject(**self.about(call), reason="user_busy")

    def notice(self, call: str) -> SendNotice:
        return SendNotice(call=CallId(call), room=self.room, address=NUMBER, text="Hello.")

    def heard(self, call: str) -> list[str]:
        """What the client heard of a call, and notices."""
        return [
            event.type
            for event in self.client.events
            if event.sender == GHOST
            and (
                event.content.get("call_id") == f"~{call}"
                or event.content.get("msgtype") == "m.notice"
            )
        ]

    async def hears(self, call: str, *types: str, within: float = 40.0) -> None:
        """Wait for the last of these, and check that it was these."""
        what = f"{types[-1]} came (heard: {self.heard(call)})"
        await until(lambda: types[-1] in self.heard(call), within=within, what=what)
        assert self.heard(call) == list(types)
        assert not self.bridge.all(MatrixSendFailed)


@asynccontextmanager
async def scene(stand: Stand) -> AsyncIterator[Scene]:
    bridge = stand.bridge()
    credentials = await stand.server.register(f"person{next(people)}")
    async with bridge.running() as adapter, MatrixClient(stand.server.url, credentials) as client:
        adapter.do(prepare(client, 1))
        ready = await bridge.told_of(PortalReady)
        yield Scene(bridge, adapter, client, ready.room)


def prepare(client: MatrixClient, op: int) -> PreparePortal:
    return PreparePortal(
        call=CallId("prepare"),
        op=OpId(op),
        person=UserId(client.user_id),
        address=NUMBER,
        display_name="",
    )


async def test_synapses_own_limit_costs_time_and_nothing_else(stand: Stand) -> None:
    async with scene(stand) as call:
        call.say(call.invite("c"), call.select("c"), call.notice("c"))
        await call.hears("c", "m.call.invite", "m.call.select_answer", "m.room.message")
        call.say(call.notice("c"), call.hangup("c"))
        await until(lambda: "m.call.hangup" in call.heard("c"), within=40, what="the hangup came")
        assert call.heard("c")[-2:] == ["m.room.message", "m.call.hangup"]
    limited = [each for each in stand.gate.asked("/send/") if each.status == 429]
    assert limited, "Synapse did not limit anything"
    # Synapse said how long; who heeds that is refused about once for each event.
    assert len(limited) <= 8


@pytest.mark.parametrize("refused", ["invite", "answer", "hangup", "reject"])
async def test_a_limit_in_the_middle_of(stand: Stand, refused: str) -> None:
    async with scene(stand) as call:
        stand.gate.refuse(rf"/send/m\.call\.{refused}/", times=2, retry_after=1.5)
        match refused:
            case "invite":
                call.say(call.invite("c"), call.select("c"))
                await call.hears("c", "m.call.invite", "m.call.select_answer")
            case "answer":
                call.say(call.answer("c"), call.hangup("c"))
                await call.hears("c", "m.call.answer", "m.call.hangup")
            case "hangup":
                call.say(call.answer("c"), call.hangup("c"), call.invite("d"))
                await call.hears("c", "m.call.answer", "m.call.hangup")
                await call.hears("d", "m.call.invite")
            case _:
                call.say(call.reject("c"))
                await call.hears("c", "m.call.reject")
    attempts = stand.gate.asked(rf"/send/m\.call\.{refused}/")[-3:]
    assert attempts[1].at - attempts[0].at >= 1.5
    assert attempts[2].at - attempts[1].at >= 1.5
    assert len({each.what for each in attempts}) == 1, "another transaction id"


async def test_answers_that_take_long_are_waited_for(stand: Stand) -> None:
    async with scene(stand) as call:
        with stand.gate.slow(SLOW):
            call.say(call.answer("c"), call.hangup("c"))
            await call.hears("c", "m.call.answer", "m.call.hangup", within=60)
            asked = [each.what for each in stand.gate.asked("/send/")[-2:]]
            assert len(set(asked)) == 2, "something was asked twice"


async def test_a_known_number_rings_in_time_although_answers_take_long(stand: Stand) -> None:
    """Even when the bridge has just been restarted, and has to look at the room first."""
    async with scene(stand) as call:
        pass
    call.bridge.join_time = 60
    async with call.bridge.running() as adapter:
        with stand.gate.slow(SLOW):
            adapter.do(prepare(call.client, 2))
            ready = await until(
                lambda: call.bridge.all(PortalReady, lambda event: event.op == 2),
                within=45,
                what="the portal was ready",
            )
    assert ready[0].room == call.room


async def test_a_homeserver_that_is_away_for_long_while_one_call_rings_and_another_ends(
    stand: Stand,
) -> None:
    async with scene(stand) as call:
        call.say(call.invite("rings"), call.answer("ends"))
        await call.hears("ends", "m.call.answer")
        await stand.server.stop()
        call.say(call.hangup("ends"), call.invite("over"), call.hangup("over"))
        call.say(call.invite("later"))
        await asyncio.sleep(AWAY)
        await stand.server.start()
        await call.hears("later", "m.call.invite")
        await call.hears("ends", "m.call.answer", "m.call.hangup")
        assert call.heard("over") == [], "a call that was over before anybody heard of it"
        answer = {**recorded("plain-03_m.call.answer_bob"), "call_id": "~rings"}
        await call.client.send(call.room, "m.call.answer", answer)
        told = await call.bridge.told_of(MatrixAnswerReceived)
        assert told.call_id == "~rings"
        call.say(call.select("rings"))
        await call.hears("rings", "m.call.invite", "m.call.select_answer")
