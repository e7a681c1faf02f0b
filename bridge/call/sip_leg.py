# SPDX-License-Identifier: GPL-3.0-or-later
"""The SIP leg: one INVITE dialog (RFC 3261), seen from above the transactions.

Retransmission, ACK and authentication are the stack's. What is left are the crossings: a 200 that
meets our CANCEL is followed by BYE (section 9.1), and BYE waits for the ACK to our 200 (section
15).
"""

from bridge.call.cause_mapping import from_sip
from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import (
    AnswerSip,
    AnswerSipReinvite,
    AskSipForPicture,
    AskSipIfThere,
    ByeSip,
    CancelSip,
    NotifySip,
    ReferSip,
    RejectSip,
    RejectSipReinvite,
    SendSipKey,
    SendSipProgress,
    SendSipReinvite,
)
from bridge.call.deadlines import Deadline
from bridge.call.dialplan import OutboundRoute
from bridge.call.events import (
    SipAnswered,
    SipCancelled,
    SipConfirmed,
    SipEnded,
    SipEvent,
    SipInviteReceived,
    SipProgressed,
    SipReferProgressed,
    SipReferReceived,
    SipReinviteAnswered,
    SipReinviteFailed,
    SipReinviteReceived,
)
from bridge.call.ids import Address, CallId, LegId, OpId, TrunkName
from bridge.call.leg import (
    EarlyMedia,
    NotCarried,
    NotTransferred,
    Over,
    OwnOfferAnswered,
    Redirected,
    Referred,
    Reoffer,
    ReofferAnswered,
    ReofferRefused,
    Signal,
)
from bridge.call.machine import Effects, Machine
from bridge.call.placing import Placing
from bridge.call.states import REFUSED, SIP_ENDS, HandOver, PassOn, Promise, Settled, SipState
from bridge.call.tables import SIP
from bridge.call.terms import NO_TERMS

_RINGING = 180
_OUT = (SipState.CALLING, SipState.PROCEEDING)
_TALKS = (SipState.CONFIRMED, SipState.PASSING)
_LEFT = (SipState.REFERRING, SipState.AWAITING)
_UP = (SipState.ANSWERED, *_TALKS, *_LEFT)
_ELSEWHERE = (26, 200)
"""Reasons of a CANCEL that mean "answered elsewhere": Q.850 and SIP (RFC 3326)."""


class SipLeg(Machine):
    """One dialog with a SIP peer."""

    def __init__(
        self,
        effects: Effects,
        state: SipState,
        *,
        call: CallId,
        leg: LegId,
        trunk: TrunkName,
        longest: float,
    ) -> None:
        """`longest`: seconds that the call may last."""
        super().__init__(SIP, state, effects)
        self.leg = leg
        self.trunk = trunk
        self._longest = longest
        self.terms = NO_TERMS
        """The trunk's, of a call that we place."""
        self.description = ""
        self.sip_call_id = ""
        """Names the dialog, where the far end has named it."""
        self.dialog = ""
        """How to end it after a crash, as it was told last."""
        self.stands_in = False
        """Whether there is no dialog yet: that of another call is to come."""
        self.owns_call_id = state is SipState.IDLE
        """Whether the dialog's Call-ID is ours, which decides how long we wait after a 491."""
        self._call = call
        self._offerless = state is SipState.INVITED_OFFERLESS
        """Whether a call came in without an offer."""
        self._placing: Placing | None = None
        """How, if it is a call that we place."""
        self._cause: Cause | None = None
        self._contact = ""
        self._refer: OpId | None = None
        self._refer_taken = False
        """Whether the far end has agreed to what our REFER asks for."""
        self._until: float | None = None
        """When a call that goes on after all has lasted long enough."""
        self.diverted_by: Address | None = None
        """Who forwarded the call that came in, if somebody did."""
        self.refers = False
        """Whether the far end lets itself be transferred."""
        self._asked: set[OpId] = set()
        """What the far end has asked for so far, which may be heard twice."""
        self._ring_until: float | None = None
        """When a call that we place has rung for long enough, by whichever trunk."""

    @classmethod
    def calling(
        cls, effects: Effects, call: CallId, placing: Placing, *, longest: float
    ) -> "SipLeg":
        """The leg of a call that we are going to place."""
        trunk = placing.route.trunk
        made = cls(effects, SipState.IDLE, call=call, leg=placing.leg, trunk=trunk, longest=longest)
        made._placing, made.terms = placing, placing.route.terms
        return made

    @classmethod
    def promised(cls, effects: Effects, call: CallId, leg: LegId, another: "SipLeg") -> "SipLeg":
        """The leg of a call that waits for the dialog of `another`."""
        longest = another._longest
        made = cls(effects, SipState.IDLE, call=call, leg=leg, trunk=another.trunk, longest=longest)
        made.stands_in = True
        made.terms, made.refers = another.terms, another.refers
        return made

    @classmethod
    def called(
        cls, effects: Effects, call: CallId, invite: SipInviteReceived, *, longest: float
    ) -> "SipLeg":
        """The leg of a call that came in."""
        state = SipState.INVITED_OFFERLESS if invite.sdp is None else SipState.INVITED
        made = cls(effects, state, call=call, leg=invite.leg, trunk=invite.trunk, longest=longest)
        made.description = invite.sdp or ""
        made.refers, made.diverted_by = invite.refers, invite.diverted_by
        made.sip_call_id = invite.sip_call_id
        return made

    # --- another way of placing the call ---------------------------------------------------

    def elsewhere(self, leg: LegId, route: OutboundRoute, longest: float) -> "SipLeg":
        """The leg that places the same call by another route."""
        assert self._placing is not None
        placing = self._placing.elsewhere(route, leg)
        return SipLeg.calling(self._effects, self._call, placing, longest=longest)

    def successor(self) -> "SipLeg | None":
        """The leg that tries the next trunk, if there is one, and time left to ring."""
        return self._again(self._placing.by_next_trunk() if self._placing else None)

    def without_video(self) -> "SipLeg | None":
        """The leg that calls the same far end without video, if there is time left to ring."""
        return self._again(self._placing.without_video() if self._placing else None)

    def _again(self, placing: Placing | None) -> "SipLeg | None":
        late = self._ring_until is None or self._ring_until <= self._effects.now
        if placing is None or late:
            return None
        made = SipLeg.calling(self._effects, self._call, placing, longest=self._longest)
        made.deadline = made._ring_until = self._ring_until
        return made

    # --- what the call wants --------------------------------------------------------------

    @property
    def we_offer(self) -> bool:
        """Whether nothing was offered to us, so that we offer: in our INVITE, or our 200."""
        placing = self._placing
        return self.stands_in or self._offerless or (placing is not None and placing.we_offer)

    @property
    def replaces(self) -> bool:
        """Whether it is to take the place of a dialog, which is at one place only."""
        return self._placing is not None and bool(self._placing.replaces)

    @property
    def audio_alone(self) -> bool:
        """Whether it is called once more, because it has refused video."""
        return self._placing is not None and self._placing.audio_alone

    def invite(self, sdp: str, *, video: bool = False) -> None:
        """Call the far end. `video`: there is some in the offer."""
        if self.stands_in:
            self.hears(Promise)
            return
        assert self._placing is not None
        self.says(self._placing.invite(self._call, sdp, video=video))
        self._ring_until = self.deadline = self._ring_until or self.deadline

    def ring(self) -> None:
        """Tell the caller that it rings here."""
        self.says(SendSipProgress(call=self._call, leg=self.leg, status=_RINGING))

    def answer(self, sdp: str) -> None:
        """Accept the call."""
        self.says(AnswerSip(call=self._call, leg=self.leg, sdp=sdp))

    def redirect(self, contact: str) -> None:
        """Tell the caller where to call instead."""
        self._contact = contact

    def end(self, cause: Cause) -> None:
        """End the leg; what has to wait for the far end is done when that has come."""
        self._cause = self._cause or cause
        self._go_on_ending()

    def reoffer(self, op: OpId, sdp: str) -> SendSipReinvite:
        """The command that offers a change of what was agreed."""
        return SendSipReinvite(call=self._call, leg=self.leg, op=op, sdp=sdp)

    def reanswer(self, op: OpId, sdp: str) -> AnswerSipReinvite:
        """The command that answers the far end's re-INVITE."""
        return AnswerSipReinvite(call=self._call, leg=self.leg, op=op, sdp=sdp)

    @property
    def is_handed_over(self) -> bool:
        """Whether the person has left the far end to somebody else."""
        return self.state in (*_LEFT, SipState.PASSING)

    def refer(self, target: str, replaces: LegId | None) -> None:
        """Transfer the far end, which is connected, to `target`, or into the call of `replaces`."""
        self._refer, self._until = self._effects.op(), self.deadline
        self._refer_taken = False
        self.says(
            ReferSip(
                call=self._call, leg=self.leg, op=self._refer, target=target, replaces=replaces
            )
        )

    def await_replacement(self) -> None:
        """Wait for a call that replaces this one, which is connected."""
        self._until = self.deadline
        self.hears(HandOver)

    def pass_on(self) -> None:
        """Stay connected while somebody is called who is to talk here."""
        self.hears(PassOn)

    def settle(self) -> None:
        """It is known by now who talks here."""
        waited = self.state is SipState.AWAITING
        self.hears(Settled)
        if waited:
            self.deadline = self._until

    def belong_to(self, call: CallId, sdp: str) -> None:
        """Another call goes on here, which the far end has answered with `sdp`."""
        self._call, self.description = call, sdp

    def press(self, key: str, duration: float) -> None:
        """Tell the far end of a key, if there is a call yet."""
        if self.state in _TALKS:
            self.says(SendSipKey(call=self._call, leg=self.leg, key=key, duration=duration))

    def ask_for_picture(self) -> None:
        """Tell the far end that the client wants a whole picture, if it can be told."""
        if self.state in _TALKS:
            self.says(AskSipForPicture(call=self._call, leg=self.leg))

    def ask_if_there(self) -> bool:
        """Have the far end say anything; False where it cannot be asked now."""
        asked = self.state in _TALKS
        if asked:
            self.says(AskSipIfThere(call=self._call, leg=self.leg))
        return asked

    def notify(self, op: OpId, status: int) -> None:
        """Tell the far end what became of its REFER, if there is anybody to be told."""
        if NotifySip in SIP[self.state]:
            self.says(NotifySip(call=self._call, leg=self.leg, op=op, status=status))

    def last_until(self, deadline: float | None) -> None:
        """Last no longer than the leg whose place this one takes."""
        self.deadline = min(filter(None, (self.deadline, deadline)))

    def refuse(self, op: OpId, status: int) -> None:
        """Refuse a re-INVITE; the call goes on as it was."""
        self._effects.emit(RejectSipReinvite(call=self._call, leg=self.leg, op=op, status=status))

    # --- what comes in --------------------------------------------------------------------

    def handle(self, event: SipEvent) -> Signal | None:
        """Take an event of this leg."""
        signal = self._heard(event)
        self._go_on_ending()
        return signal

    def expire(self) -> Over | None:
        """A state has lasted too long."""
        match self.state:
            case SipState.CANCELLING | SipState.ENDING:
                self.enter(SipState.ENDED)
                return None
            case SipState.CLOSING:
                self._bye()
                return None
            case SipState.ANSWERED:
                return Over(cause=Cause.CONNECTION_LOST, by="bridge")
            case SipState.CONFIRMED | SipState.PASSING:
                return Over(cause=Cause.MAX_DURATION, by="bridge")
            case SipState.REFERRING | SipState.AWAITING:  # Nobody objected.
                return Over(cause=Cause.TRANSFERRED, by="bridge")
        return Over(cause=Cause.NO_ANSWER, by="bridge")

    def _heard(self, event: SipEvent) -> Signal | None:
        match event:
            case SipProgressed(status=status, sdp=sdp):
                return self._progressed(status, sdp)
            case SipAnswered():
                self._answered(event)
            case SipConfirmed(sdp=sdp):
                return self._confirmed(sdp)
            case SipCancelled(cause=cause):
                return self._cancelled(cause)
            case SipReferProgressed(op=op, status=status) if op == self._refer:
                return self._referred(status)
            case SipReferReceived(op=op) if op not in self._asked:
                self._asked.add(op)
                return Referred(event)
            case SipEnded():
                return self._ended(event)
        return self._renegotiated(event)

    def _progressed(self, status: int, sdp: str | None) -> EarlyMedia | None:
        placing = self._placing
        if placing is not None:
            placing.progressed(status)
        early = placing is not None and placing.route.early_media
        return EarlyMedia(sdp) if self.hears(SipProgressed) and early and sdp else None

    def _answered(self, event: SipAnswered) -> None:
        if self.hears(SipAnswered):
            self.description, self.refers = event.sdp, event.refers

    def _cancelled(self, cause: int) -> Over | None:
        if not self.hears(SipCancelled):
            return None
        elsewhere = cause in _ELSEWHERE
        return Over(cause=Cause.ANSWERED_ELSEWHERE if elsewhere else Cause.CANCELLED, by="sip")

    def _confirmed(self, sdp: str | None) -> Signal | None:
        if not self.hears(SipConfirmed):
            return OwnOfferAnswered(sdp) if sdp else None
        if not self.we_offer:
            return None
        if not sdp:  # RFC 3261 13.2.1: the ACK has to carry the answer.
            return Over(cause=Cause.MEDIA_FAILED, by="sip")
        self.description = sdp
        return None

    def _referred(self, status: int) -> Signal | None:
        """What became of our REFER: with a 2xx, the far end talks to the target (RFC 5589 6)."""
        if status < 200 or self.state is not SipState.REFERRING:
            self._refer_taken = True
            return None
        if status < 300:
            return Over(cause=Cause.TRANSFERRED, by="matrix")
        self.hears((SipReferProgressed, REFUSED))
        self.deadline = self._until
        return NotTransferred(status, self._refer_taken)

    def _ended(self, event: SipEnded) -> Over | NotCarried | Redirected | None:
        handed_over, silent = self.state in _LEFT, self.state is SipState.CALLING
        placing = self._placing if self.state in _OUT else None
        if not self.hears(SipEnded):
            return None
        cause = from_sip(event.status, event.q850, remote=event.remote)
        if handed_over and cause is Cause.NORMAL:
            cause = Cause.TRANSFERRED
        over = Over(cause=cause, by="sip", status=event.status)
        if placing is None:
            return over
        if event.contacts:
            return Redirected(event.contacts, over)
        unseen = placing.blames_video(event)
        uncarried = placing.blames_trunk(event, silent=silent)
        return NotCarried(over, video=unseen) if uncarried or unseen else over

    def _renegotiated(self, event: SipEvent) -> Signal | None:
        if self._cause is not None or self.state not in _UP:
            return None
        match event:
            case SipReinviteReceived(op=op, sdp=sdp) if op not in self._asked:
                self._asked.add(op)
                return Reoffer(sdp, op)
            case SipReinviteAnswered(op=op, sdp=sdp):
                return ReofferAnswered(sdp, op)
            case SipReinviteFailed(op=op, status=status):
                return ReofferRefused(status, op)
        return None

    # --- inside ---------------------------------------------------------------------------

    def _seconds(self, kind: Deadline) -> float:
        return self._longest if kind is Deadline.DURATION else super()._seconds(kind)

    def _go_on_ending(self) -> None:
        """Do what the state calls for, once the leg has to end."""
        if self._cause is None:
            return
        how = SIP_ENDS.get(self.state)
        if isinstance(how, SipState):
            self.enter(how)
        elif how is CancelSip:
            self.says(CancelSip(call=self._call, leg=self.leg, q850=MEANINGS[self._cause].q850))
        elif how is RejectSip:
            self._reject(self._cause)
        elif how is ByeSip:
            self._bye()

    def _reject(self, cause: Cause) -> None:
        meaning = MEANINGS[cause]
        self.says(
            RejectSip(
                call=self._call,
                leg=self.leg,
                status=meaning.status,
                contact=self._contact,
                q850=meaning.q850,
                retry_after=self._effects.retry_after(cause),
            )
        )

    def _bye(self) -> None:
        assert self._cause is not None
        self.says(ByeSip(call=self._call, leg=self.leg, q850=MEANINGS[self._cause].q850))
