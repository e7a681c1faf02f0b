# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers from one telephone to another that no far end does for us: we are between them.

Two calls of a person, who leaves both: each keeps its dialog, its limits and its record, and what
their far ends say goes from one to the other. Either both calls were there before, or the second is
placed for it; then the first far end hears it ring, and gets the person back if nobody answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bridge.call.call import Call
from bridge.call.causes import Cause
from bridge.call.ids import CallId

Actions = Sequence[tuple[Call, Callable[[], None]]]
"""What is to be done to which calls, in order."""


@dataclass(slots=True)
class _Junction:
    first: Call
    second: Call
    joined: bool
    """Whether the two talk."""


class Junctions:
    """The pairs of calls whose far ends talk, or are about to, by either call."""

    def __init__(self, recall: Callable[[Call, Cause], None]) -> None:
        """`recall`: gives a call back to who transferred it, for nobody has taken it."""
        self._recall = recall
        self._of: dict[CallId, _Junction] = {}

    def begin(self, first: Call, second: Call, *, joined: bool) -> None:
        """The far end of `first` is to talk with that of `second`."""
        self._of[first.id] = self._of[second.id] = _Junction(first, second, joined)

    def follow(self, call: Call) -> Actions:
        """Something has happened to a call."""
        junction = self._of.get(call.id)
        if junction is None:
            return ()
        first, second = junction.first, junction.second
        if first.over is not None:
            self._forget(junction)
            gone = first.over.cause
            unanswered = gone is Cause.NORMAL and not junction.joined
            cause = Cause.CANCELLED if unanswered else gone
            return [(second, partial(second.end, cause, first.over.by))]
        if second.over is not None:
            self._forget(junction)
            if junction.joined:
                return [(first, partial(first.end, second.over.cause, second.over.by))]
            return [(first, partial(self._recall, first, second.over.cause))]
        if junction.joined or second.talks_since is None:
            return ()
        junction.joined = True
        return [(first, first.sip.settle)]

    def _forget(self, junction: _Junction) -> None:
        del self._of[junction.first.id], self._of[junction.second.id]
