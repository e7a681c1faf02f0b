# SPDX-License-Identifier: GPL-3.0-or-later
"""So many within a minute, for each by themselves, and nothing kept of who is quiet."""

from bridge.app.pace import Pace


def test_so_many_within_a_minute() -> None:
    now = 0.0
    pace = Pace(lambda: 2, lambda: now)
    assert [pace.allows("ann") for _ in range(3)] == [True, True, False]
    assert pace.allows("bob")
    now = 59.9
    assert not pace.allows("ann")
    now = 60.1
    assert pace.allows("ann")


def test_the_pace_forgets_who_has_been_quiet() -> None:
    now = 0.0
    pace = Pace(lambda: 1, lambda: now)
    for number in range(20_000):
        now += 0.01
        assert pace.allows(number)
    assert len(pace._times) <= 10_001
