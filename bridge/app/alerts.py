# SPDX-License-Identifier: GPL-3.0-or-later
"""What admins are told without having asked: a trunk is lost, a trunk is back."""

from collections.abc import Callable
from typing import Final, Protocol

from bridge.call.ids import TrunkName
from bridge.sip.trunks import Registration, RegistrationState

PATIENCE: Final = 30.0
"""Seconds that a trunk may be lost before anybody is told: most come back by themselves."""
_LOST: Final = {
    RegistrationState.FAILED: "is not registered",
    RegistrationState.SILENT: "does not answer",
}
_BACK: Final = {
    RegistrationState.REGISTERED: "is registered",
    RegistrationState.ANSWERS: "answers",
}


class Handle(Protocol):
    """A timer that can be stopped."""

    def cancel(self) -> None:
        """It will not fire."""


class Alerts:
    """Watches the registrations of those trunks that are `watched`.

    `later` calls back after so many seconds; `tell` tells the admins.
    """

    def __init__(
        self,
        watched: Callable[[TrunkName], bool],
        tell: Callable[[str], None],
        later: Callable[[float, Callable[[], None]], Handle],
    ) -> None:
        self._watched = watched
        self._tell = tell
        self._later = later
        self._lost: dict[TrunkName, Registration] = {}
        self._timers: dict[TrunkName, Handle] = {}
        self._told: set[TrunkName] = set()

    def registration(self, trunk: TrunkName, registration: Registration) -> None:
        """A trunk's registration stands otherwise now."""
        if not self._watched(trunk):
            return
        if registration.state in _LOST:
            self._lost[trunk] = registration
            if trunk not in self._timers and trunk not in self._told:
                self._timers[trunk] = self._later(PATIENCE, lambda: self._is_lost(trunk))
        elif registration.state in _BACK:
            self._is_back(trunk, _BACK[registration.state])

    def close(self) -> None:
        """Tell nobody any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _is_lost(self, trunk: TrunkName) -> None:
        del self._timers[trunk]
        if not self._watched(trunk):
            return  # It was taken out of the settings meanwhile.
        self._told.add(trunk)
        lost = self._lost[trunk]
        why = f"{lost.status} {lost.reason}".strip()
        how = _LOST[lost.state]
        self._tell(f"The trunk `{trunk}` {how}: {why}. It is tried again.")

    def _is_back(self, trunk: TrunkName, how: str) -> None:
        if (timer := self._timers.pop(trunk, None)) is not None:
            timer.cancel()
        if trunk in self._told:
            self._told.remove(trunk)
            self._tell(f"The trunk `{trunk}` {how} again.")
