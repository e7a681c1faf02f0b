# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of what was agreed: hold, resume, other codecs or addresses, ICE restart.

One exchange at a time (see offer_answer.py); what arrives meanwhile waits or is told to come back.

Where both sides start at once, each side's own rule decides. SIP: who has a re-INVITE out answers
the other's with 491, and who gets a 491 waits as RFC 3261 14.1 says. Matrix: the callee is polite
and takes its own offer back; the caller ignores the other's, who will make it again.
"""

from binascii import crc32

from bridge.call.cause_mapping import from_fault
from bridge.call.causes import Cause
from bridge.call.commands import OfferMedia, RollbackMedia, SwitchMedia
from bridge.call.events import (
    MediaAnswerReady,
    MediaEvent,
    MediaFailed,
    MediaOfferReady,
    MediaSwitched,
    SipReinviteAnswered,
    SipReinviteFailed,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.call.leg import (
    Moved,
    NotMoved,
    NotSwitched,
    Over,
    OwnOfferAnswered,
    PersonLeg,
    Reoffer,
    ReofferAnswered,
    ReofferRefused,
    Switched,
)
from bridge.call.machine import Effects
from bridge.call.offer_answer import OfferAnswer
from bridge.call.sip_leg import SipLeg
from bridge.call.states import (
    AFTER_491,
    LET_GO,
    OF_ANOTHER,
    BothConnected,
    RenegotiationState,
)
from bridge.call.terms import Terms

_NO_ANSWER = 408
_PENDING = 491
_SERVER_ERROR = 500
_DIALOG_GONE = (408, 481)
_ATTEMPTS = 6
"""Re-INVITEs that may meet 491 in a row, before the far end is taken to refuse."""

_R = RenegotiationState
_ASKING = (_R.NEGOTIATING, _R.TELLING)


def backoff(call: CallId, attempt: int, *, owns_call_id: bool) -> float:
    """Seconds to wait after a 491 (RFC 3261 14.1), in its steps of 10 ms.

    The owner of the Call-ID waits 2.1 to 4 s, the other side up to 2 s. What is random there comes
    from the call's name here, so that the core needs no randomness.
    """
    lot = crc32(f"{call}/{attempt}".encode())
    return (210 + lot % 191) / 100 if owns_call_id else lot % 201 / 100


class Renegotiation(OfferAnswer):
    """The machine of later offers and answers."""

    def __init__(self, effects: Effects, call: CallId) -> None:
        super().__init__(effects, call)
        self._attempts = 0
        """Re-INVITEs that have met 491 in a row."""
        self._successor: tuple[SipLeg, bool, Terms] | None = None
        """Who takes the SIP peer's place; whether it has offered; its trunk's terms."""
        self._moving: str | None = None
        """What another call offers the SIP peer, which is to go on there."""

    # --- what the call wants --------------------------------------------------------------

    def open(self, matrix: PersonLeg, sip: SipLeg) -> None:
        """Both legs are connected: from now on there is something to change."""
        self._meet(matrix, sip)
        self.hears(BothConnected)
        self._next()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being changed, and something may be."""
        return self.state is _R.STABLE

    def switch(self, sip: SipLeg, terms: Terms, *, offered: bool) -> None:
        """Have the media go over to `sip` as soon as it can; what concerns the other is void."""
        self._successor = sip, offered, terms
        match self.state:
            case _R.REINVITING:
                self._waiting = self._waiting or self._offer
                self.says(RollbackMedia(call=self._call), LET_GO)
                self._settled()
            case _R.AWAITING_ANSWER:
                self._roll_back()
            case _:
                self._next()

    def move(self, sdp: str) -> None:
        """Offer the SIP peer another call as soon as it can be."""
        self._moving = sdp
        if self.state is _R.STABLE:
            self._next()

    def stay(self) -> bool:
        """Do not move the SIP peer after all; False if it is too late for that."""
        self._moving = None
        return self.state is not _R.MOVING

    def withdraw(self) -> bool:
        """Do not switch after all; False if it is too late for that."""
        if self.state is _R.SWITCHING:
            return False
        self._successor = None
        return True

    def lose_peer(self) -> None:
        """The SIP peer has gone, and another may come: what the client waits for goes on alone."""
        match self.state:
            case _R.REINVITING:
                self._stays(Side.SIP)
            case _R.SIP_OFFERED | _R.NEGOTIATING | _R.ANSWERING_SIP | _R.AWAITING_ANSWER:
                self._roll_back()

    def go_on(self, *, needed: bool) -> None:
        """The other SIP peer is there. `needed`: the client has to learn what that one wants."""
        if not needed or self._waiting is not None:
            self._next()
            return
        self._op = self._effects.op()
        sdp = self._sip.description
        offer = OfferMedia(call=self._call, op=self._op, side=Side.SIP, sdp=sdp)
        self.says(offer, OF_ANOTHER)

    def lose_client(self) -> None:
        """The client has gone, and the call goes on: what it asked of the SIP peer is void."""
        self._alone, self._waiting = True, ""
        if self.state in _ASKING:
            self._stays(Side.MATRIX)
        elif self.state is _R.STABLE:
            self._next()

    def close(self) -> None:
        """The call is over."""
        self._op = self._successor = self._moving = None
        self.enter(_R.CLOSED)

    # --- Matrix ---------------------------------------------------------------------------

    def matrix_said(self, signal: Reoffer | ReofferAnswered | ReofferRefused) -> None:
        """Take what the client offered or answered."""
        match signal:
            case Reoffer(sdp=str(sdp)):
                self._matrix_offered(sdp)
            case ReofferAnswered(sdp=sdp) if self.state in _ASKING:
                self._answered(Side.MATRIX, sdp)
            case ReofferRefused(op=op) if self.state in _ASKING and op == self._asked:
                self._stays(Side.MATRIX)

    def _matrix_offered(self, sdp: str) -> None:
        if self.state is _R.CLOSED:
            self._waiting = sdp
        elif sdp in (self._offer, self._matrix.description):
            return  # A repetition: nobody offers the same twice.
        elif self.state in _ASKING:
            self._collided(sdp)
        else:
            self._waiting = sdp
            if self.state is _R.STABLE:
                self._next()

    def _collided(self, sdp: str) -> None:
        """Their offer met ours. The impolite side ignores the other's, which is then withdrawn."""
        if not self._matrix.polite:
            return
        self._waiting = sdp
        if self.state is _R.TELLING:
            self._roll_back()
        else:
            self._send_back(_PENDING)

    # --- SIP ------------------------------------------------------------------------------

    def sip_said(
        self, signal: Reoffer | ReofferAnswered | ReofferRefused | OwnOfferAnswered
    ) -> Over | Moved | NotMoved | None:
        """Take what the SIP peer offered, answered or refused."""
        ours = self.state is _R.REINVITING
        moves = self.state is _R.MOVING
        match signal:
            case Reoffer(op=int(op), sdp=sdp):
                self._sip_offered(OpId(op), sdp)
            case ReofferAnswered(op=op, sdp=sdp) if ours and op == self._asked:
                self._answered(Side.SIP, sdp)
            case ReofferRefused(op=op, status=status) if ours and op == self._asked:
                return self._refused(status)
            case ReofferAnswered(op=op, sdp=sdp) if moves and op == self._asked:
                self._moving = None
                self.hears(SipReinviteAnswered)
                return Moved(sdp)
            case ReofferRefused(op=op, status=status) if moves and op == self._asked:
                return self._not_moved(status)
            case OwnOfferAnswered(sdp=sdp) if self.state is _R.AWAITING_ANSWER:
                self._answered(Side.SIP, sdp)
        return None

    def _sip_offered(self, op: OpId, sdp: str | None) -> None:
        if self.state not in (_R.STABLE, _R.BACKOFF):
            # RFC 3261 14.2: 500 to a second one while the first waits, 491 while ours is out.
            self._sip.refuse(op, _SERVER_ERROR if self._reinvite is not None else _PENDING)
            return
        self._reinvite = op
        self._offerless = sdp is None
        self._offer = sdp or ""
        self._ask_for_offer(Side.SIP, sdp)

    def _refused(self, status: int) -> Over | None:
        """Our re-INVITE was refused."""
        if status in _DIALOG_GONE:  # RFC 3261 12.2.1.2
            return Over(cause=Cause.CONNECTION_LOST, by="sip", status=status)
        if status != _PENDING or self._attempts >= _ATTEMPTS:
            self._stays(Side.SIP)
            return None
        self._waiting = self._waiting or self._offer
        self._offer = ""
        self.says(RollbackMedia(call=self._call), AFTER_491)
        self._back_off()
        return None

    def _not_moved(self, status: int) -> Over | NotMoved | None:
        """What another call offers was refused."""
        if status in _DIALOG_GONE:
            return Over(cause=Cause.CONNECTION_LOST, by="sip", status=status)
        if status == _PENDING and self._attempts < _ATTEMPTS:
            self.hears((SipReinviteFailed, AFTER_491))
            self._back_off()
            return None
        self._moving, self._attempts = None, 0
        self.hears(SipReinviteFailed)
        self._next()
        return NotMoved()

    def _back_off(self) -> None:
        self._attempts += 1
        wait = backoff(self._call, self._attempts, owns_call_id=self._sip.owns_call_id)
        self.deadline = self._effects.now + wait

    # --- media ----------------------------------------------------------------------------

    def handle(self, event: MediaEvent) -> Over | Switched | NotSwitched | None:
        """Take a result of the engine; those of what was given up are ignored."""
        if self._op is None or getattr(event, "op", None) != self._op:
            return None
        self._op = None
        match event:
            case MediaFailed(fault=fault) if self.state is _R.SWITCHING:
                return self._not_switched(from_fault(fault))
            case MediaFailed(fault=fault):
                return self._media_failed(from_fault(fault))
            case MediaSwitched() if self.state is _R.SWITCHING:
                return self._switched(event)
            case MediaOfferReady() if self.state is _R.MATRIX_OFFERED:
                self._offer_for_sip(event)
            case MediaOfferReady() if self.state is _R.SIP_OFFERED:
                self._offer_for_matrix(event)
            case MediaOfferReady() if self.state is _R.CATCHING_UP:
                self._catch_up(event)
            case MediaAnswerReady(sdp=sdp):
                self._answer_ready(sdp)
        return None

    def expire(self) -> Over | NotMoved | None:
        """A state has lasted too long."""
        match self.state:
            case _R.MOVING:
                return self._not_moved(_NO_ANSWER)
            case _R.REINVITING:
                return self._refused(_NO_ANSWER)
            case _R.NEGOTIATING | _R.TELLING:
                self._stays(Side.MATRIX)
            case _R.BACKOFF:
                self._next()
            case _R.AWAITING_ANSWER:
                self._roll_back()
            case _:
                self.rest()
                return self._media_failed(Cause.MEDIA_FAILED)
        return None

    def _catch_up(self, event: MediaOfferReady) -> None:
        """Offer the client what another SIP peer wants; nobody waits for its answer but us."""
        if not event.needed or self._waiting is not None:
            self._roll_back()
        else:
            self._ask_matrix(event.sdp)

    def _switched(self, event: MediaSwitched) -> Switched:
        assert self._successor is not None
        self._sip, self._successor = self._successor[0], None
        self.hears(MediaSwitched)
        return Switched(event.sdp, event.needed)

    def _not_switched(self, cause: Cause) -> NotSwitched:
        self._successor = None
        self.hears(MediaFailed)
        self._next()
        return NotSwitched(cause)

    # --- inside ---------------------------------------------------------------------------

    def _next(self) -> None:
        """Turn to what waits, if something does and nothing is going on."""
        if self.state not in (_R.STABLE, _R.BACKOFF):
            return
        if self._successor is not None:
            self._switch(*self._successor)
            return
        if self._moving is not None:
            self._asked = self._effects.op()
            self.says(self._sip.reoffer(self._asked, self._moving), OF_ANOTHER)
            return
        if self._waiting is None:
            return
        self._offer, self._waiting = self._waiting, None
        self._ask_for_offer(Side.MATRIX, self._offer)

    def _switch(self, sip: SipLeg, offered: bool, terms: Terms) -> None:
        self._op = self._effects.op()
        self.says(
            SwitchMedia(
                call=self._call, op=self._op, sdp=sip.description, offered=offered, terms=terms
            )
        )

    def _settled(self) -> None:
        if self._waiting is None:
            self._attempts = 0
        super()._settled()
