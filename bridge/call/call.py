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
from bridge.call.commands import AddRemoteCandidates, RecordLegs
from bridge.call.course import Course
from bridge.call.dispatch import Dispatch
from bridge.call.events import Event
from bridge.call.far_end import FarEnd
from bridge.call.ids import Address, CallId, Direction, UserId
from bridge.call.leaving import Leaving
from bridge.call.leg import Over, PersonLeg
from bridge.call.machine import Effects
from bridge.call.media_session import MediaSession
from bridge.call.notices import Notices, forwarded_by, last_words
from bridge.call.renegotiation import Renegotiation
from bridge.call.rerouting import Rerouting
from bridge.call.setup import take
from bridge.call.silence import Listener
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

_UNSENT = (MatrixState.PREPARING, MatrixState.JOINING, MatrixState.READY)
_CALLED = (*_UNSENT, MatrixState.INVITING)
_RINGING_HERE = (SipState.INVITED, SipState.INVITED_OFFERLESS)
_RINGING_THERE = (SipState.IDLE, SipState.CALLING, SipState.PROCEEDING)
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
        self.terms = terms
        self.media = MediaSession(effects, call)
        self._listener = Listener(effects, call, lambda: self.sip.ask_if_there())
        self.renegotiation = Renegotiation(effects, call)
        self.far = FarEnd(effects, call, sip, self.renegotiation, self._identify)
        self._abandoned = False
        self._payer = payer
        self.leaving = Leaving(self, beside)
        self.voicemail = Voicemail(effects, self, voicemail, lambda: may_speak(self.person))
        self.direction = direction
        self._course = Course(effects, call, direction)
        self.rerouting = Rerouting(self, self._course)
        self._dispatch = Dispatch(effects, self, self._course, self._listener)
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
        self._dispatch.act(Over(cause=cause, by="bridge"))

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

    def handle(self, event: Event) -> None:
        """Take an event that concerns this call."""
        self._dispatch.handle(event)
        self.advance()

    def handle_timer(self) -> None:
        """Go on from every state that has lasted too long."""
        for machine in (self.matrix, self.media, self.renegotiation, self.voicemail):
            if machine.is_due():
                self._dispatch.act(machine.expire())
        for signal in self.far.expire():
            self._dispatch.act(signal)
        self._dispatch.act(self._listener.expire())
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
            direction=self.direction,
            state=self._phase(),
            person=self.person,
            address=self.address,
            trunk=self.sip.trunk,
            since=self._course.since,
            answered_at=self._course.answered_at,
            flows=self._listener.flows,
            unheard=self._listener.unheard,
        )

    # --- somebody else at the far end -----------------------------------------------------

    def lose_successor(self, over: Over) -> None:
        """Nobody takes the far end's place."""
        self._dispatch.act(self.far.lose_successor(over))

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
        self.terms = terms
        self.media.restart()
        self.ring_while_joining()
        self.advance()

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
            take(step, self.matrix, self.media, self.sip, self.terms)
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

    def ring_while_joining(self) -> None:
        """Joining may take a while: the caller is not left in silence."""
        if self.matrix.state is MatrixState.JOINING and self.sip.state in _RINGING_HERE:
            self.sip.ring()

    # --- inside ---------------------------------------------------------------------------

    def _identify(self, address: Address, name: str) -> None:
        self.matrix.identify(address, name)

    def _tell_who_forwarded(self) -> None:
        if self.sip.diverted_by is not None and self._notices is Notices.ALL:
            self.notify(forwarded_by(self.sip.diverted_by))

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
