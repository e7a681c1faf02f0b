# SPDX-License-Identifier: GPL-3.0-or-later
"""Admins are told of a trunk that stays lost, and of its return; not of a hiccup."""

from collections.abc import Callable

import pytest

from bridge.app.alerts import PATIENCE, Alerts
from bridge.call.ids import TrunkName
from bridge.sip.trunks import Registration, RegistrationState

PROVIDER, OTHER = TrunkName("provider"), TrunkName("other")
LOST = Registration(RegistrationState.FAILED, 403, "Forbidden")
BACK = Registration(RegistrationState.REGISTERED, 200, "OK")
TRYING = Registration(RegistrationState.TRYING)


class Timer:
    def __init__(self, seconds: float, callback: Callable[[], None]) -> None:
        self.seconds = seconds
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Bench:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.watched = {PROVIDER}
        self.timers: list[Timer] = []
        self.alerts = Alerts(lambda trunk: trunk in self.watched, self.told.append, self.later)

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]

    def wait(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            assert timer.seconds == PATIENCE
            if not timer.cancelled:
                timer.callback()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_loss_that_lasts_is_told_once_and_so_is_the_return(bench: Bench) -> None:
    bench.alerts.registration(PROVIDER, LOST)
    assert bench.told == []
    bench.wait()
    assert bench.told == [
        "The trunk `provider` is not registered: 403 Forbidden. It is tried again."
    ]
    bench.alerts.registration(PROVIDER, TRYING)
    bench.alerts.registration(PROVIDER, LOST)
    bench.wait()
    assert len(bench.told) == 1
    bench.alerts.registration(PROVIDER, BACK)
    assert bench.told[1:] == ["The trunk `provider` is registered again."]


def test_a_hiccup_is_not_told(bench: Bench) -> None:
    bench.alerts.registration(PROVIDER, LOST)
    bench.alerts.registration(PROVIDER, LOST)
    bench.alerts.registration(PROVIDER, BACK)
    bench.wait()
    assert bench.told == []


def test_it_can_be_lost_again(bench: Bench) -> None:
    for _ in range(2):
        bench.alerts.registration(PROVIDER, LOST)
        bench.wait()
        bench.alerts.registration(PROVIDER, BACK)
    assert len(bench.told) == 4


def test_accounts_of_people_are_their_own_business(bench: Bench) -> None:
    bench.alerts.registration(OTHER, LOST)
    bench.wait()
    assert bench.told == []


def test_nobody_is_told_of_a_trunk_that_was_taken_out(bench: Bench) -> None:
    bench.alerts.registration(PROVIDER, LOST)
    bench.watched.clear()
    bench.wait()
    assert bench.told == []


def test_nobody_is_told_after_the_end(bench: Bench) -> None:
    bench.alerts.registration(PROVIDER, LOST)
    bench.alerts.close()
    bench.wait()
    assert bench.told == []


def test_a_trunk_that_does_not_answer_is_told_as_such(bench: Bench) -> None:
    silent = Registration(RegistrationState.SILENT, 408, "No answer")
    bench.alerts.registration(PROVIDER, silent)
    bench.wait()
    bench.alerts.registration(PROVIDER, Registration(RegistrationState.ANSWERS, 200, "OK"))
    assert bench.told == [
        "The trunk `provider` does not answer: 408 No answer. It is tried again.",
        "The trunk `provider` answers again.",
    ]
