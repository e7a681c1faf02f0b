# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call remembers of a transfer that the person asked for.

Most clients leave a call that they have transferred at once and without a word. So until it is
known what became of it, nothing ends because the person is gone.
"""

from bridge.call.causes import Cause
from bridge.call.leg import HandedOver, NotTransferred, Over

_THEIRS = ("matrix", "media")
"""Who says that the person is gone: their client, or the audio that ceased."""


class Handover:
    """The person hands the far end over to somebody else, or wanted to."""

    def __init__(self) -> None:
        self._wanted: HandedOver | None = None
        self._referred: HandedOver | None = None
        self._unreferred: tuple[HandedOver, NotTransferred] | None = None
        self._came_to_nothing = False
        self._left: Over | None = None

    def ask(self, wanted: HandedOver) -> None:
        """The person wants it."""
        self._wanted = wanted

    def take(self) -> HandedOver | None:
        """What the person wants, if that was not dealt with yet."""
        wanted, self._wanted = self._wanted, None
        return wanted

    def refer(self, wanted: HandedOver) -> None:
        """The far end was asked to do it."""
        self._referred = wanted

    def unrefer(self, why: NotTransferred) -> None:
        """The far end did not do it."""
        assert self._referred is not None
        self._unreferred = self._referred, why

    def take_unreferred(self) -> tuple[HandedOver, NotTransferred] | None:
        """What the far end did not do, and why, if that was not dealt with yet."""
        unreferred, self._unreferred = self._unreferred, None
        return unreferred

    def leave(self) -> None:
        """The person is out of it."""
        self._left = Over(cause=Cause.TRANSFERRED, by="matrix")

    def fail(self) -> Over | None:
        """It came to nothing; why the call is over, if the person has left it."""
        self._came_to_nothing = True
        return None if self._left is None else Over(cause=Cause.NOT_TRANSFERRED, by=self._left.by)

    def judge(self, over: Over, *, under_way: bool) -> Over | None:
        """Why a call that is about to end ends, if it does. `under_way`: it is handed over."""
        if under_way and over.by in _THEIRS and over.cause is not Cause.TRANSFERRED:
            self._left = over
            return None
        if self._came_to_nothing and over.by == "media":
            return Over(cause=Cause.NOT_TRANSFERRED, by=over.by)
        return over
