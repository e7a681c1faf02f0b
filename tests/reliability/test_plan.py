# SPDX-License-Identifier: GPL-3.0-or-later
"""Which calls are planned."""

import random
from itertools import islice

from reliability.plan import ANSWERED, Act, Ending, Planner, Way, waits


def test_the_same_seed_plans_the_same_calls() -> None:
    def planned(seed: int) -> list[object]:
        return list(islice(Planner(random.Random(seed)).calls(), 50))

    assert planned(7) == planned(7)
    assert planned(7) != planned(8)


def test_everything_that_there_is_happens() -> None:
    calls = list(islice(Planner(random.Random(1)).calls(), 500))
    assert {(call.way, call.ending) for call in calls} == {
        (way, ending) for way in Way for ending in Ending
    } - {(Way.IN, Ending.BUSY)}
    assert {act for call in calls for act in call.acts} == set(Act)
    assert {call.codec for call in calls} == {"opus", "PCMU"}
    assert [call.number for call in calls] == list(range(1, 501))


def test_nothing_happens_in_calls_that_nobody_answers() -> None:
    calls = list(islice(Planner(random.Random(2)).calls(), 200))
    assert not [call for call in calls if call.acts and call.ending not in ANSWERED]


def test_calls_come_as_often_as_asked() -> None:
    total = sum(islice(waits(random.Random(3), rate=4.0), 2000))
    assert 400 < total < 600
