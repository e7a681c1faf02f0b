# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a person would be in a call that voicemail takes."""

from bridge.call.causes import Cause
from bridge.call.events import Event
from bridge.call.ids import Address, CallId, MatrixCallId, PartyId, RoomId
from bridge.call.leg import PersonLeg
from bridge.call.machine import Effects
from bridge.call.matrix_leg import MatrixLeg
from bridge.call.states import MatrixState, TalksBeside


class VoicemailLeg(MatrixLeg):
    """A leg that answers as soon as it can. What the person is told, the one that `rang` tells."""

    def __init__(self, effects: Effects, call: CallId, rang: PersonLeg, address: Address) -> None:
        super().__init__(
            effects,
            MatrixState.INVITED,
            call=call,
            us=PartyId(""),
            person=rang.people[0],
            address=address,
            call_id=MatrixCallId(""),
            version=0,
        )
        self._rang = rang

    @property
    def rooms(self) -> tuple[RoomId, ...]:
        """None: whatever happens in the portal does not concern who speaks here."""
        return ()

    def answer(self, sdp: str) -> None:
        """The caller is connected."""
        self.hears(TalksBeside)

    def end(self, cause: Cause, *, telling: bool = False) -> None:
        """It is over, as soon as the person can be told what there is to tell."""
        untold = self._rang.state is MatrixState.TELLING
        self.enter(MatrixState.TELLING if untold else MatrixState.ENDED)

    def tell(self, text: str, since: float) -> None:
        """In the portal where it rang, or would have."""
        self._rang.tell(text, since)

    def handle(self, event: Event) -> None:
        """Take what concerns the portal."""
        self._rang.handle(event)
        if self.state is MatrixState.TELLING and self._rang.state is MatrixState.ENDED:
            self.enter(MatrixState.ENDED)
