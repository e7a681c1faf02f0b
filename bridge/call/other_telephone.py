# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a person would be in a call: the telephone of another call of theirs, which they have left.

Whoever transfers a call to a number has the bridge place the second call as if they did it
themselves, up to what the far end is offered. Nothing of it is seen in Matrix.
"""

from bridge.call.causes import Cause
from bridge.call.matrix_leg import MatrixLeg
from bridge.call.states import MatrixState, TalksBeside


class OtherTelephone(MatrixLeg):
    """A leg in no room, that neither says nor hears anything; its person is who pays."""

    def answer(self, sdp: str) -> None:
        """The two telephones hear each other."""
        self.hears(TalksBeside)

    def end(self, cause: Cause, *, telling: bool = False) -> None:
        """What becomes of that telephone is decided elsewhere: see `junctions`."""
        self.enter(MatrixState.ENDED)
