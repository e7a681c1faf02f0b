# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of a call an event is for, and what follows from what that part says of it."""

from typing import TYPE_CHECKING

from bridge.call.causes import Cause
from bridge.call.commands import RecordStatistics
from bridge.call.course import Course
from bridge.call.events import (
    CallFaulted,
    Event,
    HangupRequested,
    MatrixCallEvent,
    MatrixMuteChanged,
    MediaClosed,
    MediaEvent,
    MediaFault,
    MediaKeyPressed,
    MediaLost,
    MediaPictureWanted,
    MediaSilent,
    SipEvent,
    SipHeard,
    SipKeyPressed,
    SipPictureWanted,
    SipProgressed,
)
from bridge.call.ids import Side
from bridge.call.leg import (
    EarlyMedia,
    HandedOver,
    Moved,
    NotCarried,
    NotMoved,
    NotSwitched,
    NotTransferred,
    Over,
    OwnOfferAnswered,
    Redirected,
    Referred,
    Reoffer,
    ReofferAnswered,
    ReofferRefused,
    Signal,
    Switched,
)
from bridge.call.machine import Effects
from bridge.call.silence import Heard, Listener
from bridge.call.states import MatrixState, MediaState, RenegotiationState

if TYPE_CHECKING:
    from bridge.call.call import Call

_PENDING = 491
_RINGS_FROM = 180
"""Statuses from here on tell of whom is called: ringing, forwarding, queued, early media."""


class Dispatch:
    """Hands out what concerns `call`."""

    def __init__(self, effects: Effects, call: "Call", course: Course, listener: Listener) -> None:
        self._effects = effects
        self._call = call
        self._course = course
        self._listener = listener

    # --- events ---------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Take an event that concerns the call."""
        match event:
            case CallFaulted():
                self._call.end(Cause.ERROR, "bridge")
            case HangupRequested():
                self._call.end(Cause.ENDED_BY_ADMIN, "bridge", detail=event.words)
            case SipKeyPressed() | SipPictureWanted():
                self._for_the_client(event)
            case SipHeard():
                self._heard(event)
            case SipProgressed():
                self._progressed(event)
            case SipEvent():
                self.act(self._call.far.handle(event))
            case MediaEvent():
                self._media_event(event)
            case _:
                self._matrix_event(event)

    def _matrix_event(self, event: Event) -> None:
        call = self._call
        if isinstance(event, MatrixCallEvent) and event.key not in call.matrix.keys:
            return  # Of a call that lost a glare.
        if isinstance(event, MatrixMuteChanged):
            self._listener.mute(muted=event.muted)
        was = call.matrix.state
        signal = call.matrix.handle(event)
        if was is MatrixState.PREPARING:
            call.ring_while_joining()
        if isinstance(signal, Over):
            self.act(signal)
        elif isinstance(signal, HandedOver):
            call.leaving.ask(signal)
        elif signal is not None and call.over is None:
            assert isinstance(signal, Reoffer | ReofferAnswered | ReofferRefused)
            call.renegotiation.matrix_said(signal)

    def _progressed(self, event: SipProgressed) -> None:
        if event.status >= _RINGS_FROM and event.leg == self._call.sip.leg:
            self._course.rings_there()
        self.act(self._call.far.handle(event))

    def _heard(self, event: SipHeard) -> None:
        if event.leg == self._call.sip.leg:
            self._listener.sign()

    def _for_the_client(self, event: SipKeyPressed | SipPictureWanted) -> None:
        """The far end says something that only means anything to the client."""
        call = self._call
        mine = call.over is None and event.leg == call.sip.leg
        if not mine or not call.sip.hears(type(event)):
            return
        if not isinstance(event, SipKeyPressed):
            call.media.refresh_picture()
        elif not call.voicemail.pressed(event.key):
            call.media.play(event.key, event.duration)

    def _for_the_far_end(self, event: MediaKeyPressed | MediaPictureWanted) -> None:
        """The client says something that only means anything to the far end."""
        call = self._call
        if call.over is not None:
            return
        if not isinstance(event, MediaKeyPressed):
            call.sip.ask_for_picture()
        elif not call.voicemail.pressed(event.key):
            call.sip.press(event.key, event.duration)

    def _media_event(self, event: MediaEvent) -> None:
        call = self._call
        if isinstance(event, MediaKeyPressed | MediaPictureWanted):
            self._for_the_far_end(event)
            return
        if self._is_about_who_left(event):
            return  # It has left, as it may; what stands in its place is watched elsewhere.
        if isinstance(event, Heard):
            if call.over is None:
                self._listener.handle(event)
            return
        was = call.media.state
        self.act(call.media.handle(event))
        self.act(call.renegotiation.handle(event))
        self.act(call.far.media_said(event))
        self.act(call.voicemail.handle(event))
        if isinstance(event, MediaClosed) and was is MediaState.CLOSING:
            statistics = {**event.statistics, **self._listener.statistics()}
            self._effects.emit(RecordStatistics(call=call.id, statistics=statistics))

    def _is_about_who_left(self, event: MediaEvent) -> bool:
        """Whether a client is missed that has no part in the call any more."""
        match event:
            case MediaSilent(side=Side.MATRIX) if self._call.is_put_through:
                return True
            case MediaLost(side=Side.MATRIX, fault=fault) if self._call.is_put_through:
                return fault is not MediaFault.INTERNAL  # Then it is the engine that failed.
        return False

    # --- signals --------------------------------------------------------------------------

    def act(self, signal: Signal | None) -> None:
        """Do what the SIP leg, the media session or a deadline calls for."""
        call = self._call
        if signal is None or call.over is not None:
            return
        match signal:
            case Over():
                self._judge(signal)
            case Redirected():
                call.rerouting.note(signal)
            case NotCarried():
                self.act(call.rerouting.try_again(signal))
            case NotTransferred():
                call.leaving.unrefer(signal)
            case Referred(event=event):
                call.far.note_referral(event)
            case Switched():
                call.far.switched(signal)
            case NotSwitched(cause=cause):
                self.act(call.far.not_switched(cause))
            case Moved() | NotMoved():
                call.leaving.note(signal)
            case EarlyMedia(sdp=sdp):
                call.media.answer_early(sdp)
            case _:
                self._reoffered(signal)

    def _judge(self, over: Over) -> None:
        """Something is over; so is the call, unless the person has handed it over."""
        call = self._call
        judged = call.leaving.judge(over)
        if judged is None or call.voicemail.takes(judged):
            return
        if judged.cause is Cause.NOT_TRANSFERRED:
            call.leaving.forsake(judged)
        else:
            call.end(judged.cause, judged.by, judged.status)

    def _reoffered(self, signal: Signal) -> None:
        assert isinstance(signal, Reoffer | ReofferAnswered | ReofferRefused | OwnOfferAnswered)
        call = self._call
        if call.renegotiation.state is not RenegotiationState.CLOSED:
            self.act(call.renegotiation.sip_said(signal))
        elif isinstance(signal, Reoffer) and signal.op is not None:
            call.sip.refuse(signal.op, _PENDING)  # What it would change is not agreed yet.
