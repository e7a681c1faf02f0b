# SPDX-License-Identifier: GPL-3.0-or-later
"""One call: a Matrix leg and a SIP leg, coupled.

The legs and the media session each follow their own table; after every event the call looks at
where they have come to together (`states.STEPS`) and does what is due, in whatever order they came
there. As soon as anything ends, everything ends.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import (
    AddRemoteCandidates,
    RecordAnswer,
    RecordEnd,
    RecordLegs,
    RecordStart,
    RecordStatistics,
)
from bridge.call.dialplan import OutboundRoute
from bridge.call.events import (
    CallFaulted,
    Event,
    HangupRequested,
    MatrixCallEvent,
    MediaClosed,
    MediaEvent,
    MediaKeyPressed,
    SipDialogChanged,
    SipEvent,
    SipIdentityChanged,
    SipKeyPressed,
)
from bridge.call.handover import Handover
from bridge.call.ids import Address, CallId, Direction, LegId, Side, TrunkName, UserId
from bridge.call.leg import (
    EarlyMedia,
    HandedOver,
    NotTransferred,
    Over,
    OwnOfferAnswered,
    PersonLeg,
    Redirected,
    Reoffer,
    Signal,
)
from bridge.call.machine import Effects
from bridge.call.media_session import MediaSession
from bridge.call.notices import NOT_TRANSFERRED, Notices, Past, last_words
from bridge.call.renegotiation import Renegotiation
from bridge.call.sip_leg import SipLeg
from bridge.call.states import (
    STEPS,
    UP,
    MatrixState,
    MediaState,
    RenegotiationState,
    SipState,
    Step,
)
from bridge.call.terms import Terms

_PENDING = 491
_HOPS = 3
"""Times that a call is placed elsewhere because it was pointed there."""
_UNSENT = (MatrixState.PREPARING, MatrixState.JOINING, MatrixState.READY)
_CALLED = (*_UNSENT, MatrixState.INVITING)
_RINGING_HERE = (SipState.INVITED, SipState.INVITED_BARE)
_RINGING_THERE = (SipState.IDLE, SipState.CALLING, SipState.PROCEEDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A call as an admin sees it. Times are those of the events that the core was told."""

    call: CallId
    direction: Direction
    state: str
    """`preparing`, `ringing`, `connected` or `ending`."""
    person: UserId
    address: Address
    trunk: TrunkName
    since: float
    answered_at: float | None


class Call:
    """Couples two legs and a media session."""

    def __init__(
        self,
        effects: Effects,
        call: CallId,
        direction: Direction,
        *,
        address: Address,
        matrix: PersonLeg,
        sip: SipLeg,
        terms: Terms,
    ) -> None:
        self.id = call
        self.address = address
        self.matrix = matrix
        self.sip = sip
        self.over: Over | None = None
        self._effects = effects
        self._direction = direction
        self._terms = terms
        self._media = MediaSession(effects, call)
        self._renegotiation = Renegotiation(effects, call)
        self._departing: list[SipLeg] = []
        self._since = effects.now
        self._rang_at: float | None = None
        """Since when it rings at the person's devices."""
        self._recorded = False
        self._abandoned = False
        self._answered_at: float | None = None
        self._handover = Handover()
        self._redirected: Redirected | None = None
        self._hops = 0
        effects.emit(
            RecordStart(
                call=call,
                direction=direction,
                person=self.person,
                address=address,
                trunk=sip.trunk,
            )
        )
        self.matrix.record()

    @property
    def person(self) -> UserId:
        """Whose call it is; of several who ring, the first, until one has answered."""
        return self.matrix.people[0]

    # --- what the switchboard wants -------------------------------------------------------

    def start(self, display_name: str = "") -> None:
        """Set out: ask for what the first step needs."""
        if self.matrix.state is MatrixState.PREPARING:
            self.matrix.prepare(display_name)
        self._advance()

    def refuse(self, cause: Cause, display_name: str) -> None:
        """Do not let the call ring; the person learns that they missed it."""
        self.matrix.prepare(display_name)
        self.end(cause, "bridge")

    def redirect(self, contact: str) -> None:
        """Send the caller elsewhere."""
        self.sip.redirect(contact)
        self.end(Cause.FORWARDED, "bridge")

    def end(self, cause: Cause, by: str, status: int = 0, detail: str = "") -> None:
        """End both legs and the media session, and say why. Only the first reason counts."""
        if self.over is not None:
            return
        self.over = Over(cause=cause, by=by, status=status)
        if not status and self.sip.state in _RINGING_HERE:
            status = MEANINGS[cause].status
        text = last_words(self._effects.notices, self.over, self._past())
        self._renegotiation.close()
        self.matrix.end(cause, telling=bool(text))
        self.sip.end(cause)
        self._media.close()
        if text:
            self.matrix.tell(text, self._since)
        self._record_end(status, detail)

    def give_up(self) -> None:
        """Something went wrong in here: end the call in order, or else let go of everything."""
        if self.over is None:
            with suppress(Exception):
                self.end(Cause.ERROR, "bridge")
                return
        self._abandon()

    def handle(self, event: Event) -> None:
        """Take an event that concerns this call."""
        match event:
            case CallFaulted():
                self.end(Cause.ERROR, "bridge")
            case HangupRequested():
                self.end(Cause.ENDED_BY_ADMIN, "bridge")
            case SipEvent():
                self._sip_event(event)
            case MediaEvent():
                self._media_event(event)
            case _:
                self._matrix_event(event)
        self._advance()

    def handle_timer(self) -> None:
        """Go on from every state that has lasted too long."""
        for machine in self._machines():
            if machine.is_due():
                self._act(machine.expire())
        self._advance()

    @property
    def deadline(self) -> float:
        """When `handle_timer` has something to do: there is always something until the end."""
        return min(m.deadline for m in self._machines() if m.deadline is not None)

    @property
    def is_finished(self) -> bool:
        """Whether nothing can happen any more."""
        return self._abandoned or (
            self.matrix.state is MatrixState.ENDED
            and self._media.state is MediaState.CLOSED
            and all(leg.state is SipState.ENDED for leg in (self.sip, *self._departing))
        )

    def view(self) -> CallView:
        """What to show of it."""
        return CallView(
            call=self.id,
            direction=self._direction,
            state=self._phase(),
            person=self.person,
            address=self.address,
            trunk=self.sip.trunk,
            since=self._since,
            answered_at=self._answered_at,
        )

    # --- transfer -------------------------------------------------------------------------

    def take_transfer(self) -> HandedOver | None:
        """To whom the person wants to transfer the call, if that was not dealt with yet."""
        wanted = self._handover.take()
        return wanted if self.over is None else None

    def transfer(self, target: str, replaces: LegId | None = None) -> None:
        """Have the far end call `target`, or take the place of the one that `replaces` is with."""
        if not self.sip.refer(target, replaces):
            self.refuse_transfer(NOT_TRANSFERRED)

    def await_transfer(self) -> None:
        """Let the far end wait for the call that replaces this one."""
        if not self.sip.await_replacement():
            self.refuse_transfer(NOT_TRANSFERRED)

    def refuse_transfer(self, why: str) -> None:
        """Go on, as far as the person is still there."""
        self.notify(why)
        over = self._handover.fail()
        if over is not None:
            self.end(over.cause, over.by)

    # --- redirection ----------------------------------------------------------------------

    def take_redirection(self) -> Redirected | None:
        """Where the call was pointed to, if that was not dealt with yet."""
        redirected, self._redirected = self._redirected, None
        return redirected if self.over is None else None

    def place_elsewhere(self, route: OutboundRoute) -> LegId | None:
        """Place the call by another route; gives its leg, or None if it is too late for that.

        So it is once the person hears what was there before, and where it goes on for ever.
        """
        anew = route.terms != self._terms
        if not self._media.offer_stands or self._hops == _HOPS or (anew and self.sip.bare):
            return None
        self._hops += 1
        leg = self.sip.elsewhere(LegId(f"{self.id}-to-{self._hops}"), route)
        self._departing.append(self.sip)
        self.sip = leg
        if anew:
            self._terms = route.terms
            self._media.restart()
        self._advance()
        return leg.leg

    # --- setup glare ----------------------------------------------------------------------

    @property
    def can_take_matrix(self) -> bool:
        """Whether the person's own call can take the place of the one that we make to them."""
        return self.over is None and self.matrix.state in _CALLED

    def take_matrix(self, leg: PersonLeg) -> None:
        """The person called the caller: their call goes on, ours to them does not."""
        self.matrix.end(Cause.ANSWERED_ELSEWHERE)
        self.matrix = leg
        self._effects.emit(RecordLegs(call=self.id, person=self.person, ringing=()))
        self.matrix.record()
        self._media.restart()
        self._advance()

    @property
    def can_take_sip(self) -> bool:
        """Whether an incoming INVITE can take the place of the one that we send.

        It cannot where the person rings already, or has answered: what they were offered stands.
        """
        pending = self.sip.state in _RINGING_THERE and self._media.can_restart
        unsaid = self.matrix.state in (MatrixState.INVITED, *_UNSENT)
        return self.over is None and pending and unsaid

    def take_sip(self, leg: SipLeg, sip_call_id: str, terms: Terms) -> None:
        """The number that the person called calls them: that call goes on, ours is cancelled."""
        self.sip.end(Cause.ANSWERED_ELSEWHERE)
        self._departing.append(self.sip)
        self.sip = leg
        self._terms = terms
        self.record_sip_call_id(sip_call_id)
        self._media.restart()
        self._ring_while_joining()
        self._advance()

    def record_sip_call_id(self, sip_call_id: str) -> None:
        """Keep what names the SIP leg."""
        self._effects.emit(RecordLegs(call=self.id, sip_call_id=sip_call_id))

    def _record_end(self, status: int = 0, detail: str = "") -> None:
        assert self.over is not None
        cause, by = self.over.cause.value, self.over.by
        self._effects.emit(
            RecordEnd(call=self.id, cause=cause, status=status, ended_by=by, detail=detail)
        )
        self._recorded = True

    def _abandon(self) -> None:
        """Try once more to end each part, and wait for none of them."""
        parts = (
            partial(self.matrix.end, Cause.ERROR),
            partial(self.sip.end, Cause.ERROR),
            self._media.close,
        )
        for end in parts:
            with suppress(Exception):
                end()
        if not self._recorded:
            self._record_end()
        self._abandoned = True

    # --- events ---------------------------------------------------------------------------

    def _matrix_event(self, event: Event) -> None:
        if isinstance(event, MatrixCallEvent) and event.key not in self.matrix.keys:
            return  # Of a call that lost a glare.
        was = self.matrix.state
        signal = self.matrix.handle(event)
        if was is MatrixState.PREPARING:
            self._ring_while_joining()
        if isinstance(signal, Over):
            self._act(signal)
        elif isinstance(signal, HandedOver):
            self._handover.ask(signal)
        elif signal is not None and self.over is None:
            assert not isinstance(
                signal, EarlyMedia | OwnOfferAnswered | NotTransferred | Redirected
            )
            self._renegotiation.matrix_said(signal)

    def _sip_event(self, event: SipEvent) -> None:
        for leg in self._departing:
            if event.leg == leg.leg:
                leg.handle(event)
                return
        if isinstance(event, SipDialogChanged):
            if self.over is None:
                self._effects.emit(RecordLegs(call=self.id, sip_dialog=event.state))
            return
        if isinstance(event, SipIdentityChanged):
            if self.over is None:
                self.matrix.identify(event.address, event.name)
            return
        if isinstance(event, SipKeyPressed):
            if self.over is None and self.sip.hears(SipKeyPressed):
                self._media.play(event.key, event.duration)
            return
        self._act(self.sip.handle(event))

    def _media_event(self, event: MediaEvent) -> None:
        if isinstance(event, MediaKeyPressed):
            if self.over is None:
                self.sip.press(event.key, event.duration)
            return
        was = self._media.state
        self._act(self._media.handle(event))
        self._act(self._renegotiation.handle(event))
        if isinstance(event, MediaClosed) and was is MediaState.CLOSING:
            self._effects.emit(RecordStatistics(call=self.id, statistics=event.statistics))

    def _act(self, signal: Signal | None) -> None:
        """Do what the SIP leg, the media session or a deadline calls for."""
        if signal is None or self.over is not None:
            return
        if isinstance(signal, Over):
            over = self._handover.judge(signal, under_way=self.sip.is_handed_over)
            if over is not None:
                self.end(over.cause, over.by, over.status)
        elif isinstance(signal, Redirected):
            self._redirected = signal
        elif isinstance(signal, NotTransferred):
            self.refuse_transfer(NOT_TRANSFERRED)
        elif isinstance(signal, EarlyMedia):
            self._media.answer_early(signal.sdp)
        elif self._renegotiation.state is not RenegotiationState.CLOSED:
            assert not isinstance(signal, HandedOver)
            self._act(self._renegotiation.sip_said(signal))
        elif isinstance(signal, Reoffer) and signal.op is not None:
            self.sip.refuse(signal.op, _PENDING)  # What it would change is not agreed yet.

    # --- steps ----------------------------------------------------------------------------

    def _advance(self) -> None:
        """Do what is due, until nothing is."""
        while self.over is None:
            step = STEPS.get((self.matrix.state, self._media.state, self.sip.state))
            if step is None:
                break
            self._take(step)
        if self.over is not None:
            return
        for candidates in self.matrix.take_candidates():
            self._effects.emit(AddRemoteCandidates(call=self.id, candidates=candidates))
        up = (self.matrix.state, self._media.state, self.sip.state) in UP
        if up and self._renegotiation.state is RenegotiationState.CLOSED:
            self._answered_at = self._effects.now
            self._effects.emit(RecordAnswer(call=self.id))
            self._renegotiation.open(self.matrix, self.sip)

    def _take(self, step: Step) -> None:
        matrix, media, sip = self.matrix, self._media, self.sip
        match step:
            case Step.OFFER_FROM_MATRIX:
                media.offer(Side.MATRIX, matrix.description, self._terms)
            case Step.INVITE_SIP:
                sip.invite(media.to_sip)
            case Step.TAKE_SIP_ANSWER:
                media.answer(Side.SIP, sip.description)
            case Step.ANSWER_MATRIX:
                matrix.answer(media.to_matrix, transferable=sip.refers)
            case Step.OFFER_FROM_SIP:
                media.offer(Side.SIP, sip.description or None, self._terms)
            case Step.INVITE_MATRIX:
                self._ring()
                sip.ring()
            case Step.INVITE_PERSON:
                self._ring()
            case Step.TAKE_MATRIX_ANSWER if sip.bare:
                media.answer_bare(matrix.description)
            case Step.TAKE_MATRIX_ANSWER:
                media.answer(Side.MATRIX, matrix.description)
            case Step.ANSWER_SIP:
                sip.answer(media.to_sip)
            case _:
                assert step is Step.JOIN
                media.join(matrix.description, sip.description, self._terms)

    # --- inside ---------------------------------------------------------------------------

    def _machines(self) -> list[PersonLeg | SipLeg | MediaSession | Renegotiation]:
        return [self.matrix, self.sip, *self._departing, self._media, self._renegotiation]

    def _ring(self) -> None:
        self._rang_at = self._effects.now
        self.matrix.record()
        self.matrix.invite(self._media.to_matrix, transferable=self.sip.refers)

    def _ring_while_joining(self) -> None:
        """Joining may take a while: the caller is not left in silence."""
        if self.matrix.state is MatrixState.JOINING and self.sip.state in _RINGING_HERE:
            self.sip.ring()

    def _phase(self) -> str:
        if self.over is not None:
            return "ending"
        if self._answered_at is not None:
            return "connected"
        if self.matrix.state in _UNSENT or self.sip.state is SipState.IDLE:
            return "preparing"
        return "ringing"

    def notify(self, text: str) -> None:
        """Tell the person something that has just happened, if they want to be told."""
        if self._effects.notices is not Notices.NONE:
            self.matrix.tell(text, self._effects.now)

    def _past(self) -> Past:
        """How far the call has come."""
        now = self._effects.now
        return Past(
            inbound=self._direction is Direction.TO_MATRIX,
            called=not self.matrix.polite and not self.matrix.description,
            rang=0.0 if self._rang_at is None else now - self._rang_at,
            talked=None if self._answered_at is None else now - self._answered_at,
        )
