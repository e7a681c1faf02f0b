# SPDX-License-Identifier: GPL-3.0-or-later
"""The register of calls remembers no more than it has to."""

from types import SimpleNamespace
from typing import Any, cast

from bridge.call.call import Call
from bridge.call.register import Register


def call(number: int) -> Any:
    matrix = SimpleNamespace(keys=(), rooms=(), people=())
    far = SimpleNamespace(legs=(SimpleNamespace(leg=f"c{number}-out"),))
    return SimpleNamespace(
        id=f"c{number}", is_finished=False, deadline=None, matrix=matrix, far=far
    )


def settle(register: Register, each: Any, now: float) -> None:
    register.settle(cast(Call, each), now)


def test_deadlines_of_calls_that_are_over_do_not_pile_up() -> None:
    register = Register(forget=10.0)
    long = call(0)
    register.add(cast(Call, long))
    long.deadline = 1_000.0
    settle(register, long, 0.0)
    for number in range(1, 2000):
        short = call(number)
        register.add(cast(Call, short))
        for deadline in (number + 60.0, number + 14400.0):
            short.deadline = deadline
            settle(register, short, float(number))
        short.is_finished = True
        settle(register, short, float(number))
        register.forget(float(number))
        assert register.next_deadline() == 1_000.0
        assert len(register._due) < 100
    assert len(register._names) < 2 * 20  # Each call has two.
    assert register.due(999.0) is None
    assert register.due(1_000.0) is long


def test_the_next_deadline_is_that_of_whoever_is_due_first() -> None:
    register = Register(forget=10.0)
    calls = [call(number) for number in range(200)]
    for number, each in enumerate(calls):
        register.add(cast(Call, each))
        each.deadline = 1000.0 - number
        settle(register, each, 0.0)
    for each in calls[150:]:
        each.is_finished = True
        settle(register, each, 0.0)
    assert register.next_deadline() == 1000.0 - 149
    assert register.due(2000.0) is calls[149]


def test_deadlines_that_are_void_do_not_pile_up_behind_one_that_is_not() -> None:
    register = Register(forget=10.0)
    long = call(0)
    register.add(cast(Call, long))
    long.deadline = 50.0
    settle(register, long, 0.0)
    for number in range(1, 300):
        short = call(number)
        register.add(cast(Call, short))
        short.deadline = 1000.0 + number
        settle(register, short, 0.0)
        short.is_finished = True
        settle(register, short, 0.0)
        assert len(register._due) < 100
    assert register.next_deadline() == 50.0
