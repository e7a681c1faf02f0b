# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers to people in Matrix: another call rings there, and gets the far end of the first.

The far end notices nothing but a re-INVITE, which offers it the other call once the person has
answered that (as RFC 3725 does it). Until it has taken the offer, the first call goes on as it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bridge.call.call import Call
from bridge.call.causes import Cause
from bridge.call.ids import CallId
from bridge.call.leg import Moved, NotMoved
from bridge.call.notices import NOT_TRANSFERRED, not_taken

Actions = Sequence[tuple[Call, Callable[[], None]]]
"""What is to be done to which calls, in order."""


@dataclass(slots=True)
class _Relief:
    giving: Call
    taking: Call
    offered: bool = False
    """Whether the far end was told what to go on with."""


class Reliefs:
    """The transfers that are under way, by either call."""

    def __init__(self) -> None:
        self._of: dict[CallId, _Relief] = {}

    def begin(self, giving: Call, taking: Call) -> None:
        """`taking` rings, and is to have the far end of `giving`."""
        self._of[giving.id] = self._of[taking.id] = _Relief(giving, taking)

    def follow(self, call: Call) -> Actions:
        """Something has happened to a call."""
        relief = self._of.get(call.id)
        if relief is None:
            return ()
        giving, taking = relief.giving, relief.taking
        if giving.over is not None:
            self._forget(relief)
            gone = giving.over.cause
            cause = Cause.CANCELLED if gone is Cause.NORMAL else gone
            return [(taking, partial(taking.end, cause, giving.over.by))]
        if taking.over is not None:
            self._forget(relief)
            return [(giving, partial(giving.leaving.stay, not_taken(taking.over.cause)))]
        if not relief.offered and taking.leaving.promised:
            relief.offered = True
            return [(giving, partial(giving.leaving.offer, taking.leaving.promised))]
        return self._moved(relief, giving.leaving.take_moved())

    def _moved(self, relief: _Relief, moved: Moved | NotMoved | None) -> Actions:
        giving, taking = relief.giving, relief.taking
        if moved is None:
            return ()
        self._forget(relief)
        if isinstance(moved, NotMoved):
            refuse = partial(taking.end, Cause.NOT_TRANSFERRED, "sip")
            return [(giving, partial(giving.leaving.stay, NOT_TRANSFERRED)), (taking, refuse)]
        leave = partial(giving.end, Cause.TRANSFERRED, "matrix")
        return [(taking, partial(taking.leaving.inherit, giving.far, moved.sdp)), (giving, leave)]

    def _forget(self, relief: _Relief) -> None:
        del self._of[relief.giving.id], self._of[relief.taking.id]
