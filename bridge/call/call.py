# SPDX-License-Identifier: GPL-3.0-or-later
"""One call: a Matrix leg and a SIP leg, coupled.

The legs and the media session each follow their own table; after every event the call looks at
where they have come to together (`states.STEPS`) and does what is due, in whatever order they came
there. As soon as anything ends, everything ends.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import (
    AddRemoteCandidates,
    RecordLegs,
    RecordStatistics,
)
from bridge.call.course import Course
from bridge.call.dialplan import OutboundRoute
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
    SipKeyPressed,
    SipPictureWanted,
    SipProgressed,
    SipReferReceived,
)
from bridge.call.far_end import HOPS, FarEnd
from bridge.call.ids import Address, CallId, Direction, LegId, Side, UserId
from bridge.call.leaving import Leaving
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
    PersonLeg,
    Redirected,
    Referred,
    Reoffer,
    ReofferAnswered,
    ReofferRefused,
    Signal,
    Switched,
)
from bridge.call.machine import Effects
from bridge.call.media_session import MediaSession
from bridge.call.notices import Notices, forwarded_by, last_words
from bridge.call.renegotiation import Renegotiation
from bridge.call.setup import take
from bridge.call.silence import Heard, Listener
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
from bridge.call.view import CallView
from bridge.call.voicemail import Voicemail
from bridge.call.voicemail_terms import VoicemailTerms

_PENDING = 491
_UNSENT = (MatrixState.PREPARING, MatrixState.JOINING, MatrixState.READY)
_CALLED = (*_UNSENT, MatrixState.INVITING)
_RINGING_HERE = (SipState.INVITED, SipState.INVITED_BARE)
_RINGING_THERE = (SipState.IDLE, SipState.CALLING, SipState.PROCEEDING)
_RINGS_FROM = 180
"""Statuses from here on tell of whom is called: ringing, forwarding, queued, early media."""
_RINGS = (Step.INVITE_MATRIX, Step.INVITE_PERSON)


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
        payer: UserId | None = None,
        rule: str = "",
        beside: CallId | None = None,
        voicemail: VoicemailTerms | None = None,
        may_speak: Callable[[UserId], bool] = lambda person: False,
    ) -> None:
        """`payer`: whose time it takes, if not that of the person who calls.

        `rule`: which one of the dial plan led it where it goes. `beside`: the call with whose far
        end its own is to talk, instead of a person. `voicemail`: how that answers, if it does, for
        whom one more caller `may_speak`.
        """
        self.id = call
        self.address = address
        self.matrix = matrix
        self.over: Over | None = None
        self._effects = effects
        self._notices = effects.notices
        self._terms = terms
        self.media = MediaSession(effects, call)
        self._listener = Listener(effects, call)
        self.renegotiation = Renegotiation(effects, call)
        self.far = FarEnd(effects, call, sip, self.renegotiation, self._identify)
        self._referral: SipReferReceived | None = None
        self._abandoned = False
        self._payer = payer
        self.leaving = Leaving(self, beside)
        self.voicemail = Voicemail(effects, self, voicemail, lambda: may_speak(self.person))
        self._redirected: Redirected | None = None
        self._hops = 0
        self.direction = direction
        self._course = Course(effects, call, direction)
        self._course.begins(self.person, address, sip, rule)
        self.matrix.record()
        self.far.record()

    @property
    def person(self) -> UserId:
        """Whose call it is; of several who ring, the first, until one has answered."""
        return self.matrix.people[0]

    @property
    def payer(self) -> UserId | None:
        """Whose time it takes; nobody's, if the telephone called."""
        return self.person if self.direction is Direction.TO_SIP else self._payer

    @property
    def sip(self) -> SipLeg:
        """The leg with the far end, whoever that is by now."""
        return self.far.leg

    @property
    def is_put_through(self) -> bool:
        """Whether the far end of another call is there instead of the person."""
        return self.leaving.beside is not None

    @property
    def attempts(self) -> int:
        """How many trunks could not carry the call, so that others were tried."""
        return self._course.attempts

    @property
    def talks_since(self) -> float | None:
        """When it was answered, if it was."""
        return self._course.answered_at

    # --- what the switchboard wants -------------------------------------------------------

    def stay_near(self, other: CallId) -> None:
        """The person has another call, which this one may be put through to."""
        self.media.near = other

    def start(self, display_name: str = "") -> None:
        """Set out: ask for what the first step needs."""
        self.voicemail.caller_name = display_name
        if self.leaving.beside is not None:
            self.media.bridge(self.leaving.beside)
        if self.matrix.state is MatrixState.PREPARING:
            self.matrix.prepare(display_name)
        self.advance()

    def refuse(self, cause: Cause, display_name: str) -> None:
        """Do not let it ring: voicemail takes it, or the person learns that they missed it."""
        self.voicemail.caller_name = display_name
        self.matrix.prepare(display_name)
        self._act(Over(cause=cause, by="bridge"))

    def redirect(self, contact: str) -> None:
        """Send the caller elsewhere."""
        self.sip.redirect(contact)
        self.end(Cause.FORWARDED, "bridge")

    def end(self, cause: Cause, by: str, status: int = 0, detail: str = "") -> None:
        """End both legs and the media session, and say why. Only the first reason counts."""
        if self.over is not None:
            return
        cause = self.voicemail.named(cause)
        self.over = Over(cause=cause, by=by, status=status)
        if not status and self.sip.state in _RINGING_HERE:
            status = MEANINGS[cause].status
        # Nobody has answered whom we called.
        called = not self.matrix.polite and not self.matrix.description
        unheard = self._listener.close()
        past = self._course.past(called=called, unheard="" if self.is_put_through else unheard)
        text = self.voicemail.close()
        if not self.voicemail.is_on:
            text = last_words(self._notices, self.over, past)
        self.renegotiation.close()
        self.matrix.end(cause, telling=bool(text))
        self.far.end(cause)
        self.media.close()
        if text:
            self.matrix.tell(text, self._course.since)
        self._course.ended(self.over, status, detail)

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
                self.end(Cause.ENDED_BY_ADMIN, "bridge", detail=event.words)
            case SipKeyPressed() | SipPictureWanted():
                self._for_the_client(event)
            case SipProgressed():
                self._progressed(event)
            case SipEvent():
                self._act(self.far.handle(event))
            case MediaEvent():
                self._media_event(event)
            case _:
                self._matrix_event(event)
        self.advance()

    def handle_timer(self) -> None:
        """Go on from every state that has lasted too long."""
        for machine in (self.matrix, self.media, self.renegotiation, self.voicemail):
            if machine.is_due():
                self._act(machine.expire())
        for signal in self.far.expire():
            self._act(signal)
        self._act(self._listener.expire())
        self.advance()

    @property
    def deadline(self) -> float:
        """When `handle_timer` has something to do: there is always something until the end."""
        parts = (
            self.matrix.deadline,
            self.media.deadline,
            self.renegotiation.deadline,
            self._listener.deadline,
            self.voicemail.deadline,
        )
        return min(each for each in (*parts, *self.far.deadlines()) if each is not None)

    @property
    def is_finished(self) -> bool:
        """Whether nothing can happen any more."""
        return self._abandoned or (
            self.matrix.state is MatrixState.ENDED
            and self.media.state is MediaState.CLOSED
            and self.far.is_ended
        )

    def view(self) -> CallView:
        """What to show of it."""
        return CallView(
            call=self.id,
            direction=self._course.direction,
            state=self._phase(),
            person=self.person,
            address=self.address,
            trunk=self.sip.trunk,
            since=self._course.since,
            answered_at=self._course.answered_at,
            flows=self._listener.flows,
            unheard=self._listener.unheard,
        )

    # --- redirection ----------------------------------------------------------------------

    def take_redirection(self) -> Redirected | None:
        """Where the call was pointed to, if that was not dealt with yet."""
        redirected, self._redirected = self._redirected, None
        return redirected if self.over is None else None

    def place_elsewhere(self, route: OutboundRoute, longest: float) -> LegId | None:
        """Place the call by another route; gives its leg, or None if it is too late for that.

        So it is once the person hears what was there before, and where it goes on for ever.
        """
        name = LegId(f"{self.id}-to-{self._hops + 1}")
        leg = self.sip.elsewhere(name, route, longest)
        if self._hops == HOPS or not self._go_by(leg):
            return None
        self._hops += 1
        self.advance()
        return leg.leg

    # --- somebody else at the far end -----------------------------------------------------

    def lose_successor(self, over: Over) -> None:
        """Nobody takes the far end's place."""
        self._act(self.far.lose_successor(over))

    def take_referral(self) -> SipReferReceived | None:
        """Whom the far end wants us to call instead of it, if that was not dealt with yet."""
        wanted, self._referral = self._referral, None
        return wanted if self.over is None else None

    @property
    def can_be_referred(self) -> bool:
        """Whether somebody else may be called into the far end's place."""
        talks = self.talks_since is not None and not self.voicemail.is_on
        return self.over is None and talks and self.far.is_steady

    @property
    def can_be_taken_over(self) -> bool:
        """Whether somebody who calls may take the far end's place, now."""
        return self.can_be_referred and self.renegotiation.is_idle

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
        self.media.restart()
        self.advance()

    @property
    def can_take_sip(self) -> bool:
        """Whether an incoming INVITE can take the place of the one that we send.

        It cannot where the person rings already, or has answered: what they were offered stands.
        """
        pending = self.sip.state in _RINGING_THERE and self.media.can_restart
        unsaid = self.matrix.state in (MatrixState.INVITED, *_UNSENT)
        return self.over is None and pending and unsaid and not self.sip.stands_in

    def take_sip(self, leg: SipLeg, terms: Terms) -> None:
        """The number that the person called calls them: that call goes on, ours is cancelled."""
        self.far.give_way(leg)
        self._terms = terms
        self.media.restart()
        self._ring_while_joining()
        self.advance()

    def _abandon(self) -> None:
        """Try once more to end each part, and wait for none of them."""
        parts = (
            partial(self.matrix.end, Cause.ERROR),
            partial(self.far.end, Cause.ERROR),
            self.media.close,
        )
        for end in parts:
            with suppress(Exception):
                end()
        if not self._course.is_recorded:
            assert self.over is not None
            self._course.ended(self.over)
        self._abandoned = True

    # --- events ---------------------------------------------------------------------------

    def _matrix_event(self, event: Event) -> None:
        if isinstance(event, MatrixCallEvent) and event.key not in self.matrix.keys:
            return  # Of a call that lost a glare.
        if isinstance(event, MatrixMuteChanged):
            self._listener.mute(muted=event.muted)
        was = self.matrix.state
        signal = self.matrix.handle(event)
        if was is MatrixState.PREPARING:
            self._ring_while_joining()
        if isinstance(signal, Over):
            self._act(signal)
        elif isinstance(signal, HandedOver):
            self.leaving.ask(signal)
        elif signal is not None and self.over is None:
            assert isinstance(signal, Reoffer | ReofferAnswered | ReofferRefused)
            self.renegotiation.matrix_said(signal)

    def _progressed(self, event: SipProgressed) -> None:
        if event.status >= _RINGS_FROM and event.leg == self.sip.leg:
            self._course.rings_there()
        self._act(self.far.handle(event))

    def _for_the_client(self, event: SipKeyPressed | SipPictureWanted) -> None:
        """The far end says something that only means anything to the client."""
        mine = self.over is None and event.leg == self.sip.leg
        if not mine or not self.sip.hears(type(event)):
            return
        if not isinstance(event, SipKeyPressed):
            self.media.refresh_picture()
        elif not self.voicemail.pressed(event.key):
            self.media.play(event.key, event.duration)

    def _media_event(self, event: MediaEvent) -> None:
        if isinstance(event, MediaKeyPressed):
            if self.over is None and not self.voicemail.pressed(event.key):
                self.sip.press(event.key, event.duration)
            return
        if isinstance(event, MediaPictureWanted):
            if self.over is None:
                self.sip.ask_for_picture()
            return
        if self._is_about_who_left(event):
            return  # It has left, as it may; what stands in its place is watched elsewhere.
        if isinstance(event, Heard):
            if self.over is None:
                self._listener.handle(event)
            return
        was = self.media.state
        self._act(self.media.handle(event))
        self._act(self.renegotiation.handle(event))
        self._act(self.far.media_said(event))
        self._act(self.voicemail.handle(event))
        if isinstance(event, MediaClosed) and was is MediaState.CLOSING:
            statistics = {**event.statistics, **self._listener.statistics()}
            self._effects.emit(RecordStatistics(call=self.id, statistics=statistics))

    def _is_about_who_left(self, event: MediaEvent) -> bool:
        """Whether a client is missed that has no part in the call any more."""
        match event:
            case MediaSilent(side=Side.MATRIX) if self.is_put_through:
                return True
            case MediaLost(side=Side.MATRIX, fault=fault) if self.is_put_through:
                return fault is not MediaFault.INTERNAL  # Then it is the engine that failed.
        return False

    def _act(self, signal: Signal | None) -> None:
        """Do what the SIP leg, the media session or a deadline calls for."""
        if signal is None or self.over is not None:
            return
        match signal:
            case Over():
                self._judge(signal)
            case Redirected():
                self._redirected = signal
            case NotCarried(over=over):
                self._try_next_trunk(over)
            case NotTransferred():
                self.leaving.unrefer(signal)
            case Referred(event=event):
                self._referral = event
            case Switched():
                self.far.switched(signal)
            case NotSwitched(cause=cause):
                self._act(self.far.not_switched(cause))
            case Moved() | NotMoved():
                self.leaving.note(signal)
            case EarlyMedia(sdp=sdp):
                self.media.answer_early(sdp)
            case _:
                self._reoffered(signal)

    def _judge(self, over: Over) -> None:
        """Something is over; so is the call, unless the person has handed it over."""
        judged = self.leaving.judge(over)
        if judged is None or self.voicemail.takes(judged):
            return
        if judged.cause is Cause.NOT_TRANSFERRED:
            self.leaving.forsake(judged)
        else:
            self.end(judged.cause, judged.by, judged.status)

    def _reoffered(self, signal: Signal) -> None:
        assert isinstance(signal, Reoffer | ReofferAnswered | ReofferRefused | OwnOfferAnswered)
        if self.renegotiation.state is not RenegotiationState.CLOSED:
            self._act(self.renegotiation.sip_said(signal))
        elif isinstance(signal, Reoffer) and signal.op is not None:
            self.sip.refuse(signal.op, _PENDING)  # What it would change is not agreed yet.

    def _try_next_trunk(self, over: Over) -> None:
        """Place the call by the next trunk; it is over if that cannot be."""
        failed, leg = self.sip.trunk, self.sip.successor()
        if leg is not None and self._go_by(leg):
            self._course.goes_on(failed, over, leg.trunk)
        else:
            self._act(over)

    def _go_by(self, leg: SipLeg) -> bool:
        """Let another SIP leg take the place of one that failed; whether it can.

        It cannot once the person hears what was there before, or has answered what it cannot take.
        """
        anew = leg.terms != self._terms
        if not self.media.offer_stands or (anew and self.sip.bare):
            return False
        self.far.follow(leg)
        if anew:
            self._terms = leg.terms
            self.media.restart()
        return True

    # --- steps ----------------------------------------------------------------------------

    def advance(self) -> None:
        """Do what is due, until nothing is."""
        while self.over is None:
            step = STEPS.get((self.matrix.state, self.media.state, self.sip.state))
            if step is None:
                break
            if step in _RINGS:
                self._course.rings()
                self.matrix.record()
            take(step, self.matrix, self.media, self.sip, self._terms)
            if step in _RINGS:
                self._tell_who_forwarded()
        if self.over is not None:
            return
        for candidates in self.matrix.take_candidates():
            self._effects.emit(AddRemoteCandidates(call=self.id, candidates=candidates))
        up = (self.matrix.state, self.media.state, self.sip.state) in UP
        if up and self.renegotiation.state is RenegotiationState.CLOSED:
            self._course.answered()
            self.renegotiation.open(self.matrix, self.sip)
            self.voicemail.begin()

    # --- inside ---------------------------------------------------------------------------

    def _identify(self, address: Address, name: str) -> None:
        self.matrix.identify(address, name)

    def _tell_who_forwarded(self) -> None:
        if self.sip.diverted_by is not None and self._notices is Notices.ALL:
            self.notify(forwarded_by(self.sip.diverted_by))

    def _ring_while_joining(self) -> None:
        """Joining may take a while: the caller is not left in silence."""
        if self.matrix.state is MatrixState.JOINING and self.sip.state in _RINGING_HERE:
            self.sip.ring()

    def _phase(self) -> str:
        if self.over is not None:
            return "ending"
        if self._course.answered_at is not None:
            return "voicemail" if self.voicemail.is_on else "connected"
        if self.matrix.state in _UNSENT or self.sip.state is SipState.IDLE:
            return "preparing"
        return "ringing"

    def missed(self, over: Over) -> str:
        """What to tell the person of a call that nobody talks in, which is over for them."""
        return last_words(self._notices, over, self._course.past(called=True))

    def tell_missed(self, text: str) -> None:
        """Tell the person what is known of the call by now."""
        self.matrix.tell(text, self._course.since)

    def notify(self, text: str) -> None:
        """Tell the person something that has just happened, if they want to be told."""
        if self._notices is not Notices.NONE:
            self.matrix.tell(text, self._effects.now)
