# SPDX-License-Identifier: GPL-3.0-or-later
"""The person leaves a call, and it goes on without them: to somebody else, whom they chose.

There are three ways. The far end calls that somebody itself (REFER); or the far end of another call
of ours takes the person's place, so that two telephones talk with each other; or the far end goes
on with another person, by another call. What concerns more than this call is in transfers.py.
"""

from typing import TYPE_CHECKING

from bridge.call.causes import Cause
from bridge.call.handover import Handover
from bridge.call.ids import CallId, LegId
from bridge.call.leg import HandedOver, Moved, NotMoved, NotTransferred, Over
from bridge.call.notices import NOT_TRANSFERRED
from bridge.call.states import SipState

if TYPE_CHECKING:
    from bridge.call.call import Call
    from bridge.call.far_end import FarEnd


class Leaving:
    """How the person gets out of `call`. `beside`: whose far end is there instead of them."""

    def __init__(self, call: "Call", beside: CallId | None) -> None:
        self.beside = beside
        self._call = call
        self._handover = Handover()
        self._moved: Moved | NotMoved | None = None
        self._forsaken = False

    # --- what the call is told ------------------------------------------------------------

    def ask(self, wanted: HandedOver) -> None:
        """The person wants to transfer the call."""
        self._handover.ask(wanted)

    def unrefer(self, why: NotTransferred) -> None:
        """The far end did not do what it was asked for."""
        self._handover.unrefer(why)

    def note(self, moved: Moved | NotMoved) -> None:
        """What the far end said to the offer of another call."""
        self._moved = moved

    def judge(self, over: Over) -> Over | None:
        """Why a call that is about to end ends, if it does: one that is handed over goes on."""
        under_way = self._call.sip.is_handed_over and self.beside is None
        return self._handover.judge(over, under_way=under_way)

    # --- what there is to be dealt with -----------------------------------------------------

    def take_wanted(self) -> HandedOver | None:
        """To whom the person wants to transfer the call, if that was not dealt with yet."""
        wanted = self._handover.take()
        return wanted if self._call.over is None else None

    def take_unreferred(self) -> tuple[HandedOver, NotTransferred] | None:
        """What the far end did not do for the person, if that was not dealt with yet."""
        unreferred = self._handover.take_unreferred()
        return unreferred if self._call.over is None else None

    def take_moved(self) -> Moved | NotMoved | None:
        """What the far end said to another call's offer, if it was not dealt with yet."""
        moved, self._moved = self._moved, None
        return moved

    def refuse(self, why: str) -> None:
        """Go on, as far as the person is still there."""
        self._call.notify(why)
        over = self._handover.fail()
        if over is not None:
            self.forsake(over)

    def forsake(self, over: Over) -> None:
        """The person has left a call that was not transferred: they may get it back, but once."""
        if self.can_put_through:
            self._forsaken = True
        else:
            self._call.end(over.cause, over.by)

    def take_forsaken(self) -> bool:
        """Whether the person is to get the call back, if that was not dealt with yet."""
        forsaken, self._forsaken = self._forsaken, False
        return forsaken and self._call.over is None

    # --- the far end calls somebody -----------------------------------------------------------

    def refer(self, wanted: HandedOver, target: str, replaces: LegId | None = None) -> None:
        """Have the far end call `target`, or take the place of the one that `replaces` is with.

        It has to be steady.
        """
        self._handover.refer(wanted)
        self._call.sip.refer(target, replaces)

    def await_replacement(self) -> None:
        """Let the far end wait for the call that replaces this one."""
        if self._call.far.is_steady:
            self._call.sip.await_replacement()
        else:
            self.refuse(NOT_TRANSFERRED)

    # --- to another telephone, which we connect ---------------------------------------------

    @property
    def can_put_through(self) -> bool:
        """Whether the far end can talk with that of another call, at once."""
        call = self._call
        up = call.over is None and call.talks_since is not None
        return up and self.beside is None and call.far.can_be_put_through

    def put_through(self, other: CallId, *, rings: bool) -> None:
        """The person is out of this call, and another takes their place.

        `rings`: that was not answered yet. It is with another far end, or rings at them anew.
        """
        call = self._call
        self.beside = other
        self._handover.leave()
        call.matrix.end(Cause.TRANSFERRED)
        call.sip.settle()
        if rings:
            call.sip.pass_on()
        call.media.bridge(other)
        call.renegotiation.lose_client()

    # --- to another person ----------------------------------------------------------------

    def pass_on(self) -> bool:
        """Keep the far end while somebody is called who is to talk to it; whether that can be."""
        if not self._call.far.is_steady:
            self.refuse(NOT_TRANSFERRED)
            return False
        self._call.sip.pass_on()
        return True

    def stay(self, why: str) -> None:
        """Nobody takes the far end; if it has already been offered another call, it is lost."""
        if not self._call.renegotiation.stay():
            self._call.end(Cause.NOT_TRANSFERRED, "bridge")
            return
        self._call.sip.settle()
        self.refuse(why)

    @property
    def promised(self) -> str:
        """What to offer the far end of another call, once this one waits for that; else empty."""
        call = self._call
        return call.media.to_sip if call.sip.state is SipState.PROMISED else ""

    def offer(self, sdp: str) -> None:
        """Offer the far end another call."""
        self._call.renegotiation.move(sdp)

    def inherit(self, giving: "FarEnd", sdp: str) -> None:
        """Go on with the far end of another call, which has answered with `sdp`."""
        giving.give_to(self._call.far, sdp)
        self._call.advance()
