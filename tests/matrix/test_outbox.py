# SPDX-License-Identifier: GPL-3.0-or-later
"""Events are sent in order, for as long as they matter, and once."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.call.commands import (
    SendCallEvent,
    SendMatrixAnswer,
    SendMatrixHangup,
    SendMatrixInvite,
    SendMatrixNegotiate,
    SendMatrixReject,
    SendMatrixSelectAnswer,
    SendNotice,
)
from bridge.call.events import SdpType
from bridge.call.ids import Address, CallId, MatrixCallId, OpId, PartyId, RoomId, UserId
from bridge.matrix.homeserver import HomeserverError, Patience, Unavailable
from bridge.matrix.lanes import LANE_LENGTH
from bridge.matrix.outbox import LAST_WORDS, Outbox, call_event, is_last, notice
from tests.matrix.fakes import ROOM, FakeClock, refused

GHOST = UserId("@sip_12025550123:example.org")


@dataclass
class Bench:
    """An outbox whose homeserver is away for as long as `away` has something to raise."""

    clock: FakeClock = field(default_factory=FakeClock)
    away: list[HomeserverError] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    back_at: float = 0.0

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.send, Patience(self.clock, self.clock.sleep))

    async def send(
        self, room: RoomId, ghost: UserId, event_type: str, content: dict[str, Any], txn: str
    ) -> None:
        assert ghost == GHOST
        self.attempts.append(txn)
        if self.clock.now < self.back_at:
            raise Unavailable("away")
        if self.away:
            raise self.away.pop(0)
        self.sent.append(event_type)

    def do(self, command: SendCallEvent) -> None:
        event = call_event(command, GHOST, self.clock(), self.failures.append)
        (self.outbox.end if is_last(command) else self.outbox.put)(event)


def about(op: int = 1, call: str = "call") -> dict[str, Any]:
    return {
        "call": CallId(call),
        "op": OpId(op),
        "room": ROOM,
        "address": Address("tel:+12025550123"),
        "call_id": MatrixCallId("~c"),
        "party": PartyId("sip"),
        "version": 1,
    }


def invite(lifetime: float = 60) -> SendMatrixInvite:
    return SendMatrixInvite(**about(1), sdp="v=0", lifetime=lifetime, invitee=UserId("@a:x"))


def answer() -> SendMatrixAnswer:
    return SendMatrixAnswer(**about(2), sdp="v=0")


def negotiate() -> SendMatrixNegotiate:
    return SendMatrixNegotiate(**about(3), type=SdpType.OFFER, sdp="v=0", lifetime=60)


def hangup() -> SendMatrixHangup:
    return SendMatrixHangup(**about(4), reason="user_hangup")


async def test_a_homeserver_that_comes_back_gets_everything_in_order_and_once() -> None:
    bench = Bench()
    bench.back_at = bench.clock.now + 20
    bench.do(invite())
    bench.do(SendMatrixSelectAnswer(**about(2), selected=PartyId("D")))
    await bench.outbox.drained()
    assert bench.sent == ["m.call.invite", "m.call.select_answer"]
    assert len(set(bench.attempts)) == 2
    assert not bench.failures


async def test_an_invite_is_worth_its_lifetime() -> None:
    bench = Bench()
    bench.back_at = bench.clock.now + 100
    bench.do(invite(lifetime=30))
    await bench.outbox.drained()
    assert bench.clock.now == 1030
    assert bench.failures == ["away"]


async def test_what_finds_no_place_in_the_queue_has_failed() -> None:
    bench = Bench()
    for op in range(LANE_LENGTH + 1):
        bench.do(SendMatrixSelectAnswer(**about(op), selected=PartyId("D")))
    assert bench.failures == ["too much waits to be sent into this room"]
    await bench.outbox.drained()
    assert len(bench.sent) == LANE_LENGTH


async def test_a_homeserver_that_limits_us_gets_everything_in_order_when_it_wants() -> None:
    limited = [Unavailable("slowly", retry_after=7.0), Unavailable("slowly", retry_after=2.0)]
    bench = Bench(away=[*limited])
    bench.do(invite())
    bench.do(SendMatrixSelectAnswer(**about(2), selected=PartyId("D")))
    await bench.outbox.drained()
    assert bench.sent == ["m.call.invite", "m.call.select_answer"]
    assert bench.clock.now == 1009
    assert not bench.failures


async def test_the_hangup_waits_for_the_limit_of_the_invite_that_it_makes_pointless() -> None:
    bench = Bench(away=[Unavailable("slowly", retry_after=7.0)])
    bench.do(invite())
    bench.clock.on_sleep = lambda _: bench.do(hangup())
    await bench.outbox.drained()
    assert bench.sent == ["m.call.hangup"]
    assert bench.clock.now == 1007


async def test_an_invite_whose_time_a_limit_outlasts_fails_at_once() -> None:
    bench = Bench(away=[Unavailable("slowly", retry_after=61.0)])
    bench.do(invite(lifetime=60))
    await bench.outbox.drained()
    assert bench.failures == ["slowly"]
    assert bench.clock.now == 1000


async def test_a_refusal_is_final() -> None:
    bench = Bench(away=[refused("M_FORBIDDEN", "not in the room")])
    bench.do(invite())
    bench.do(SendMatrixSelectAnswer(**about(2), selected=PartyId("D")))
    await bench.outbox.drained()
    assert bench.failures == ["not in the room"]
    assert bench.sent == ["m.call.select_answer"]
    assert bench.clock.now == 1000


async def test_a_call_that_nobody_heard_of_ends_in_silence() -> None:
    bench = Bench()
    bench.do(invite())
    bench.do(hangup())
    await bench.outbox.drained()
    assert bench.attempts == []
    assert bench.failures == []


async def test_an_invite_that_may_have_arrived_is_followed_by_the_hangup() -> None:
    bench = Bench()
    bench.back_at = bench.clock.now + 10
    bench.do(invite())
    bench.clock.on_sleep = lambda _: bench.do(hangup()) if len(bench.attempts) == 1 else None
    await bench.outbox.drained()
    assert bench.sent == ["m.call.hangup"]
    assert bench.failures == []


async def test_the_end_makes_what_waits_pointless_but_not_the_answer() -> None:
    """matrix-js-sdk ignores the hangup of a party that it never saw answer."""
    bench = Bench()
    bench.do(answer())
    bench.do(negotiate())
    bench.do(hangup())
    await bench.outbox.drained()
    assert bench.sent == ["m.call.answer", "m.call.hangup"]
    assert bench.failures == []


async def test_the_end_is_told_for_a_minute() -> None:
    bench = Bench()
    bench.back_at = bench.clock.now + LAST_WORDS + 1
    bench.do(SendMatrixReject(**about(), reason="user_busy"))
    await bench.outbox.drained()
    assert bench.clock.now == 1000 + LAST_WORDS
    assert bench.failures == ["away"]


async def test_a_notice_outlives_its_call() -> None:
    bench = Bench()
    command = SendNotice(
        call=CallId("call"), room=ROOM, address=Address("tel:+12025550123"), text="Busy."
    )
    bench.outbox.put(notice(command, GHOST, bench.clock(), 7))
    bench.do(hangup())
    await bench.outbox.drained()
    assert bench.sent == ["m.room.message", "m.call.hangup"]
    assert bench.attempts[0] == "call.notice.7"


async def test_transaction_ids_tell_commands_apart_and_repetitions_not() -> None:
    first = call_event(answer(), GHOST, 0, None)
    again = call_event(answer(), GHOST, 99, None)
    other = call_event(negotiate(), GHOST, 0, None)
    assert first.transaction == again.transaction != other.transaction


@pytest.mark.parametrize("pauses", [[0.25, 0.5, 1, 2, 4, 4, 4]])
async def test_attempts_become_rarer(pauses: list[float]) -> None:
    clock = FakeClock()
    seen: list[float] = []
    clock.on_sleep = seen.append

    async def attempt() -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable, match="away"):
        await Patience(clock, clock.sleep).persist(attempt, lambda: 1000 + sum(pauses))
    assert seen == pauses


async def test_without_time_nothing_is_attempted() -> None:
    async def attempt() -> None:
        raise AssertionError("attempted")

    clock = FakeClock()
    with pytest.raises(Unavailable, match="no time left"):
        await Patience(clock, clock.sleep).persist(attempt, lambda: 1000)


async def test_a_call_that_rings_at_several_people_ends_in_each_of_their_rooms() -> None:
    bench = Bench()
    rooms = [RoomId(f"!{n}:example.org") for n in range(3)]
    for op, room in enumerate(rooms):
        bench.do(
            SendMatrixInvite(
                **(about(op) | {"room": room}), sdp="v=0", lifetime=60, invitee=UserId("@a:x")
            )
        )
    await bench.outbox.drained()
    for op, room in enumerate(rooms, 10):
        bench.do(SendMatrixHangup(**(about(op) | {"room": room}), reason="user_hangup"))
    await bench.outbox.drained()
    assert bench.sent == ["m.call.invite"] * 3 + ["m.call.hangup"] * 3
