# SPDX-License-Identifier: GPL-3.0-or-later
"""Admins are told when a trunk reaches a bound: once a day for each."""

from collections.abc import Sequence

from bridge.app.fraud import FraudAlerts
from bridge.app.refused import RefusedRequests
from bridge.call.causes import Cause
from bridge.call.commands import RecordEnd, RecordStart, StoreCommand
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.call.policy import Refusal

DAY = 86400.0


class Bench:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.now = 0.0
        self.alerts = FraudAlerts(self.told.append, lambda: self.now)

    def call(self, cause: Cause, trunk: str = "provider") -> None:
        call = CallId("c")
        self.alerts.observe(
            RecordStart(
                call=call,
                direction=Direction.TO_SIP,
                person=UserId("@ann:mx.test"),
                address=Address("tel:+12025550123"),
                trunk=TrunkName(trunk),
            )
        )
        self.alerts.observe(RecordEnd(call=call, cause=cause.value, status=0, ended_by="bridge"))


def test_each_trunk_and_bound_is_told_once_a_day() -> None:
    bench = Bench()
    for cause in (Cause.NORMAL, Cause.MINUTES_USED_UP, Cause.TRUNK_BUSY, Cause.TRUNK_BUSY):
        bench.call(cause)
    (told,) = bench.told
    assert "`provider` has had as many calls" in told
    bench.call(Cause.TRUNK_SPENT)
    bench.call(Cause.TRUNK_BUSY, "pbx")
    assert len(bench.told) == 3
    bench.now = DAY - 1
    bench.call(Cause.TRUNK_BUSY)
    assert len(bench.told) == 3
    bench.now = DAY
    bench.call(Cause.TRUNK_BUSY)
    assert len(bench.told) == 4


def test_call_that_was_not_even_begun() -> None:
    bench = Bench()
    records: list[StoreCommand] = []

    def record(commands: Sequence[StoreCommand]) -> None:
        for command in commands:
            records.append(command)
            bench.alerts.observe(command)

    refused = RefusedRequests(record, nonce="n")
    ann, number = UserId("@ann:mx.test"), Address("tel:+12025550123")
    refused.add(ann, number, Refusal(Cause.TRUNK_SPENT, "the limit", TrunkName("provider")))
    refused.add(ann, number, Refusal(Cause.NO_ROUTE))
    (told,) = bench.told
    assert "`provider` has had as many minutes" in told
    start, end, *_ = records
    assert isinstance(start, RecordStart)
    assert isinstance(end, RecordEnd)
    assert (start.person, start.address, start.trunk) == (ann, number, "provider")
    assert (end.cause, end.detail, end.reason) == ("trunk_spent", "the limit", "unknown_error")
    assert [each.call for each in records] == ["n-r1", "n-r1", "n-r2", "n-r2"]
