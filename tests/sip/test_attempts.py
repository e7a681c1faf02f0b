# SPDX-License-Identifier: GPL-3.0-or-later
"""Every call that is refused has a record, by itself or in a sum."""

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

import pytest

from bridge.call.causes import Cause
from bridge.call.commands import AnswerSip
from bridge.call.events import SipInviteReceived
from bridge.call.ids import ANONYMOUS, Address, TrunkName
from bridge.config import Trunk
from bridge.numbers import from_sip
from bridge.records import RefusedCalls
from bridge.sip import attempts, calls_in
from bridge.sip.attempts import FIRST, GATHER, LONGEST, SUMS, Attempts, parties_by, refused_in
from bridge.sip.messages import Message
from bridge.sip.tap import Tapped
from bridge.sip.trunks import Peers, Route
from tests.simulators.waiting import until
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, description, trunk

STRANGER = "203.0.113.9"
PROVIDER = TrunkName("provider")


_numbers = count(1)


def invite(caller: str = "100", dialled: str = "123", more: str = "", call: str = "") -> str:
    name = call or next(_numbers)
    return (
        f"INVITE sip:{dialled}@b.test SIP/2.0\r\nFrom: <sip:{caller}@{STRANGER}>;tag=1\r\n"
        f"To: <sip:b@b.test>\r\nCall-ID: {name}\r\nCSeq: 1 INVITE\r\n{more}\r\n"
    )


class Thread:
    """Attempts on a clock of their own."""

    def __init__(self, parties: attempts.Parties | None = None) -> None:
        self.now = 0.0
        self.told: list[RefusedCalls] = []
        self.times = 0
        self.counts: Counter[Cause] = Counter()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        peers = Peers([Route(PROVIDER, Trunk(server="mx.test"))])
        self.attempts = Attempts(
            self._take,
            lambda cause: self.counts.update((cause,)),
            parties or parties_by(peers, lambda user, host: from_sip(user, host, "US")),
            lambda delay, act: heapq.heappush(
                self._timers, (self.now + delay, len(self._timers), act)
            ),
            clock=lambda: self.now,
            wall=lambda: 1000 + self.now,
        )

    def _take(self, calls: object) -> None:
        assert isinstance(calls, list)
        self.told += calls
        self.times += 1

    def passes(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, act = heapq.heappop(self._timers)
            act()
        self.now = end

    def refused(
        self,
        source: str = STRANGER,
        cause: Cause = Cause.STRANGER,
        status: int = 403,
        trunk: TrunkName | None = None,
        text: str = "",
    ) -> None:
        self.attempts.refused(text or invite(), source, cause, status, trunk)

    @property
    def sum(self) -> int:
        return sum(each.times for each in self.told)


def test_a_few_are_told_each_by_itself_and_together() -> None:
    thread = Thread()
    for number, caller in enumerate(("100", "+12025550123"), 1):
        for _ in range(3):  # The answer was lost.
            thread.refused(text=invite(caller, call=str(number)))
    assert thread.told == []
    thread.passes(GATHER)
    assert thread.times == 1
    assert [each.caller for each in thread.told] == ["tel:100", "tel:+12025550123"]
    first = thread.told[0]
    assert (first.since, first.until, first.times) == (1000, 1000, 1)
    assert (first.source, first.trunk, first.dialled) == (STRANGER, "", "123")
    assert (first.cause, first.status, first.sip_call_id) == (Cause.STRANGER, 403, "1")
    thread.passes(100)
    assert thread.times == 1


def test_who_calls_is_believed_as_the_trunk_says() -> None:
    thread = Thread()
    asserted = invite(more="P-Asserted-Identity: <sip:+12025550177@mx.test>\r\n")
    thread.refused(text=asserted, trunk=PROVIDER, cause=Cause.TOO_FREQUENT)
    thread.refused("192.0.2.1", text=asserted)
    thread.refused("192.0.2.2", text=asserted, trunk=TrunkName("gone"))
    thread.passes(GATHER)
    assert [each.caller for each in thread.told] == [
        "tel:+12025550177",
        *["tel:100"] * 2,
    ]


def test_a_flood_is_summed_up_over_longer_and_longer_times() -> None:
    thread = Thread()
    for _ in range(20 * 1000):  # a thousand seconds
        thread.refused()
        thread.passes(0.05)
    own = [each for each in thread.told if each.times == 1]
    sums = [each for each in thread.told if each.times > 1]
    assert len(own) < 20 + 1000 / 60 + 1
    assert {each.sip_call_id for each in sums} == {""}
    # 10, 20, 40, 80, 160, and then 300 seconds each
    lasted = [round(each.until - each.since) for each in sums]
    assert lasted == [10, 20, 40, 80, 160, 300, 300]
    assert all(each.until <= later.since for each, later in pairwise(sums))
    thread.attempts.flush()
    assert thread.sum == thread.counts[Cause.STRANGER] == 20 * 1000
    thread.passes(LONGEST)  # a quiet while
    for _ in range(60):
        thread.refused()
    thread.passes(FIRST)
    assert thread.sum == 20 * 1000 + 60


def test_sums_are_of_one_kind_and_not_of_too_many_sources() -> None:
    thread = Thread()
    networks = [f"198.51.100.{number}" for number in range(200)]
    for source in networks:
        for _ in range(3):
            thread.refused(source)
    for _ in range(250):
        thread.refused("192.0.2.1", Cause.TOO_FREQUENT, 503, PROVIDER)
    for _ in range(2):
        thread.refused("192.0.2.1", Cause.NO_RESOURCES, 503, PROVIDER)
    thread.passes(FIRST)
    sums = {
        (each.source, each.trunk, each.cause): each.times for each in thread.told if each.times > 1
    }
    assert len(sums) <= SUMS + 3
    several = [key for key in sums if not key[0]]
    assert sorted(cause.value for _, _, cause in several) == [
        "no_resources",
        "stranger",
        "too_frequent",
    ]
    assert thread.sum == 600 + 252
    own = Counter(each.trunk for each in thread.told if each.times == 1)
    assert own[PROVIDER] == 200


def test_who_has_a_network_of_ipv6_is_one_stranger() -> None:
    thread = Thread()
    for number in range(40):
        thread.refused(f"2001:db8::{number:x}")
    thread.passes(FIRST)
    assert [(each.source, each.times) for each in thread.told[20:]] == [("2001:db8::/64", 20)]


def test_a_clock_that_is_set_back_ends_nothing_before_it_began() -> None:
    thread = Thread()
    for _ in range(21):
        thread.refused()
    thread.now -= 50
    thread.refused()
    thread.attempts.flush()
    assert (thread.told[-1].times, thread.told[-1].since, thread.told[-1].until) == (2, 1000, 1000)


def test_what_cannot_be_read_has_a_record_all_the_same() -> None:
    def fail(message: Message, trunk: TrunkName | None) -> tuple[Address, str]:
        raise ValueError(message)

    thread = Thread(fail)
    thread.refused()
    thread.passes(GATHER)
    assert (thread.told[0].caller, thread.told[0].dialled) == (ANONYMOUS, "")
    long = Thread()
    long.refused(text=invite("1" * 5000, "2" * 5000))
    long.passes(GATHER)
    assert len(long.told[0].caller) == len(long.told[0].dialled) == 128


def test_what_the_stack_refuses_is_seen_among_the_messages() -> None:
    received = Tapped(False, "udp", "192.0.2.1:5060", invite(call="1"))

    def sent(start: str, cseq: str = "1 INVITE", call: str = "1") -> Tapped:
        text = f"SIP/2.0 {start}\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\n\r\n"
        return Tapped(True, "udp", "192.0.2.1:5060", text)

    assert list(refused_in([received, sent("100 Trying"), sent("420 Bad Extension")])) == [
        (received, 420)
    ]
    assert list(refused_in([received, sent("200 OK")])) == []
    assert list(refused_in([received, sent("481 Gone", "1 BYE")])) == []
    assert list(refused_in([received, sent("503 Away", call="2")])) == []
    within = Tapped(
        False, "udp", "x:1", invite(call="1").replace("<sip:b@b.test>", "<sip:b@b>;tag=x")
    )
    assert list(refused_in([within, sent("481 Gone")])) == []


async def test_a_storm_has_as_many_records_as_invites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sipp's INVITEs, 300 of a trunk that is full and 60 of a stranger."""
    monkeypatch.setattr(calls_in, "_REFUSED_ALOUD", 0)
    full = trunk(9).model_copy(update={"calls_per_second": 1000})
    folders = [tmp_path / name for name in ("one", "many", "strange")]
    for folder in folders:
        folder.mkdir()
    async with Bridge({TRUNK: full}, max_calls=1) as bridge:
        async with Sipp("caller_hangs_up", folders[0], calls=bridge.port) as one:
            leg = (await bridge.expect(SipInviteReceived)).leg
            keys = {"status": "503"}
            async with Sipp(
                *("caller_is_refused", folders[1]),
                calls=bridge.port,
                times=300,
                rate=150,
                keys=keys,
            ) as storm:
                await storm.succeeds()
            bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
            await one.succeeds()
        async with Sipp(
            *("caller_is_dropped", folders[2]),
            calls=bridge.port,
            times=60,
            rate=100,
            address="127.0.0.66",
        ) as stranger:
            await stranger.succeeds()
        await until(lambda: bridge.sip.refused_calls["stranger"] == 60, what="all are refused")
        counts = bridge.sip.refused_calls
    assert (counts["no_resources"], counts["stranger"]) == (300, 60)
    assert sum(counts.values()) == 360
    for cause in (Cause.NO_RESOURCES, Cause.STRANGER):
        of_it = [each for each in bridge.refused if each.cause is cause]
        assert sum(each.times for each in of_it) == counts[cause.value]
    own = [each for each in bridge.refused if each.trunk and each.times == 1]
    assert 200 <= len(own) <= 202 + 300 * 0.2
    assert {(each.caller, each.dialled, each.status, each.source) for each in own} == {
        ("tel:+12025550111", "+12025550123", 503, LOCALHOST)
    }
    sums = [each for each in bridge.refused if each.times > 1]
    assert {(each.source, each.cause) for each in sums} == {
        (LOCALHOST, Cause.NO_RESOURCES),
        ("127.0.0.66", Cause.STRANGER),
    }


async def test_what_the_stack_refuses_by_itself_has_a_record(tmp_path: Path) -> None:
    keys = {"status": "420", "extra": "Require: gruu"}
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        async with Sipp("caller_is_refused", tmp_path, calls=bridge.port, keys=keys) as phone:
            await phone.succeeds()
        await until(lambda: len(bridge.refused) == 1, what="it is told")
    assert [(each.cause, each.status, each.trunk) for each in bridge.refused] == [
        (Cause.BAD_REQUEST, 420, TRUNK)
    ]


async def test_what_we_refuse_has_one_record(tmp_path: Path) -> None:
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        async with Sipp("caller_has_come_far", tmp_path, calls=bridge.port) as phone:
            await phone.succeeds()
    assert [(each.cause, each.status) for each in bridge.refused] == [(Cause.BAD_REQUEST, 483)]
