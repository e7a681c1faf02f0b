# SPDX-License-Identifier: GPL-3.0-or-later
"""One later exchange of offer and answer (RFC 3264) between the two legs, through the engine.

Whoever starts it, the shape is the same: one side offers, the engine says what the other side has
to be asked (often nothing), that side answers, the engine says what to answer the first. Which
exchange comes next, and what happens where two meet, is up to renegotiation.py.
"""

from abc import abstractmethod

from bridge.call.causes import Cause
from bridge.call.commands import AnswerMedia, OfferMedia, RollbackMedia
from bridge.call.events import MediaAnswerReady, MediaOfferReady
from bridge.call.ids import CallId, OpId, Side
from bridge.call.leg import Over, PersonLeg
from bridge.call.machine import Effects, Machine
from bridge.call.sip_leg import SipLeg
from bridge.call.states import (
    FROM_MATRIX,
    FROM_SIP,
    WITH_OUR_OFFER,
    RenegotiationState,
    SipState,
)
from bridge.call.tables import RENEGOTIATION

_NOT_ACCEPTABLE = 488
_PENDING = 491
_FROM = {Side.MATRIX: FROM_MATRIX, Side.SIP: FROM_SIP}

_R = RenegotiationState


class OfferAnswer(Machine):
    """The exchange that is under way, if one is. There are legs once `_meet` was called."""

    def __init__(self, effects: Effects, call: CallId) -> None:
        super().__init__(RENEGOTIATION, _R.CLOSED, effects)
        self._call = call
        self._waiting: str | None = None
        """An offer of the client that waits for its turn: it has to be answered."""
        self._offer = ""
        """The offer that is being dealt with."""
        self._answer = ""
        """What the other side answered."""
        self._op: OpId | None = None
        """What the engine was asked last."""
        self._asked: OpId | None = None
        """What the other side was asked last."""
        self._reinvite: OpId | None = None
        """The far end's re-INVITE that waits for our answer."""
        self._offerless = False
        """Whether that has no offer, so that we make one."""
        self._alone = False
        """Whether there is no client any more."""

    def _meet(self, matrix: PersonLeg, sip: SipLeg) -> None:
        self._matrix, self._sip = matrix, sip

    @abstractmethod
    def _next(self) -> None:
        """Turn to what waits, if something does and nothing is going on."""

    # --- a side offers ----------------------------------------------------------------------

    def _ask_for_offer(self, side: Side, sdp: str | None) -> None:
        self._op = self._effects.op()
        self.says(OfferMedia(call=self._call, op=self._op, side=side, sdp=sdp), _FROM[side])

    def _offer_for_sip(self, event: MediaOfferReady) -> None:
        if self._waiting is not None:  # A newer offer took its place, and expects the answer.
            self._roll_back()
        elif event.needed and self._sip.state is SipState.ENDED:
            self._stays(Side.SIP)
        elif event.needed:
            self._asked = self._effects.op()
            self.says(self._sip.reoffer(self._asked, event.sdp))
        elif self._alone:
            self._roll_back()
        else:
            self._answer_matrix(event.answer)

    def _offer_for_matrix(self, event: MediaOfferReady) -> None:
        if not event.needed:
            self._answer_sip(event.answer)
        elif self._waiting is not None:  # The client offered first: we must not offer now.
            self._send_back(_PENDING)
        else:
            self._ask_matrix(event.sdp)

    def _ask_matrix(self, sdp: str) -> None:
        """Offer the client something, if it can be asked."""
        if not self._matrix.can_renegotiate:
            self._stays(Side.MATRIX)
            return
        self._asked = self._effects.op()
        self.says(self._matrix.reoffer(self._asked, sdp))

    # --- the other answers ------------------------------------------------------------------

    def _answered(self, side: Side, sdp: str, *, refused: bool = False) -> None:
        """`side` answered."""
        self._answer = sdp
        self._op = self._effects.op()
        answer = AnswerMedia(call=self._call, op=self._op, side=side, sdp=sdp, refused=refused)
        self.says(answer, _FROM[side])

    def _stays(self, side: Side) -> None:
        """`side` refused, or cannot be asked: what it said before goes on."""
        leg = self._matrix if side is Side.MATRIX else self._sip
        self._answered(side, leg.description, refused=True)

    def _answer_ready(self, sdp: str) -> None:
        match self.state:
            case _R.ANSWERING_MATRIX:
                self._sip.description = self._answer
                self._answer_matrix(sdp)
            case _R.ANSWERING_SIP:
                self._matrix.description = self._answer
                self._answer_sip(sdp)
            case _R.FINISHING:
                self._sip.description = self._answer
                self.hears(MediaAnswerReady)
                self._next()
            case _R.TOLD:
                self._matrix.description = self._answer
                self.hears(MediaAnswerReady)
                self._next()

    def _answer_matrix(self, sdp: str) -> None:
        self._matrix.description = self._offer
        if self._waiting is None and not self._alone:
            self.says(self._matrix.reanswer(sdp))
        else:  # A newer offer took its place, and expects the answer; or nobody does.
            self.hears(MediaAnswerReady)
        self._settled()

    def _answer_sip(self, sdp: str) -> None:
        assert self._reinvite is not None
        answer = self._sip.reanswer(self._reinvite, sdp)
        self._reinvite = None
        if self._offerless:
            self.says(answer, WITH_OUR_OFFER)
            return
        self._sip.description = self._offer
        self.says(answer)
        self._settled()

    # --- or it comes to nothing -------------------------------------------------------------

    def _media_failed(self, cause: Cause) -> Over | None:
        """The engine cannot: refuse if nothing has changed yet, else the sides are at odds."""
        match self.state:
            case _R.MATRIX_OFFERED | _R.CATCHING_UP:  # There is no way to refuse a negotiate.
                self._roll_back()
            case _R.SIP_OFFERED | _R.ANSWERING_SIP:
                self._send_back(_NOT_ACCEPTABLE)
            case _:
                return Over(cause=cause, by="media")
        return None

    def _send_back(self, status: int) -> None:
        """Refuse the re-INVITE that waits."""
        assert self._reinvite is not None
        self._sip.refuse(self._reinvite, status)
        self._roll_back()

    def _roll_back(self) -> None:
        self.says(RollbackMedia(call=self._call))
        self._settled()

    def _settled(self) -> None:
        self._op = None
        self._reinvite = None
        self._offer = ""
        self._next()
