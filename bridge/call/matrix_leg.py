# SPDX-License-Identifier: GPL-3.0-or-later
"""The Matrix leg for `m.call.*` events: VoIP versions 0 and 1.

The rules are those of the Matrix specification, "Voice over IP", with what clients really do. Only
this module knows of parties: a party is one device of a person in one call, and a call that rings
at several devices is fixed to the first that answers.
"""

from typing import Any

from bridge.call.cause_mapping import from_hangup, from_reject
from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import (
    PreparePortal,
    RecordLegs,
    Ringing,
    SendCallEvent,
    SendMatrixAnswer,
    SendMatrixAssertedIdentity,
    SendMatrixHangup,
    SendMatrixInvite,
    SendMatrixNegotiate,
    SendMatrixReject,
    SendMatrixSelectAnswer,
    SendNotice,
)
from bridge.call.events import (
    Event,
    MatrixAnswerReceived,
    MatrixCallEvent,
    MatrixCandidatesReceived,
    MatrixHangupReceived,
    MatrixInviteReceived,
    MatrixMemberLeft,
    MatrixNegotiateReceived,
    MatrixRejectReceived,
    MatrixReplacesReceived,
    MatrixSelectAnswerReceived,
    MatrixSendFailed,
    PersonInvited,
    PortalFailed,
    PortalReady,
    SdpType,
)
from bridge.call.ids import (
    Address,
    CallId,
    MatrixCallId,
    MatrixCallKey,
    OpId,
    Party,
    PartyId,
    RoomId,
    UserId,
)
from bridge.call.leg import HandedOver, Over, Reoffer, ReofferAnswered, ReofferRefused, Signal
from bridge.call.machine import Effects, Machine
from bridge.call.states import (
    ANOTHER_PARTY,
    MATRIX_ENDS,
    NOBODY_HERE,
    OF_A_REJECT,
    V0,
    MatrixState,
    State,
)
from bridge.call.tables import MATRIX

_UP = (MatrixState.ANSWERED, MatrixState.ACTIVE)
_UNANSWERED: dict[State, Cause] = {
    MatrixState.INVITING: Cause.DECLINED,
    MatrixState.INVITED: Cause.CANCELLED,
}
"""What an ordinary hangup means before the answer."""


class MatrixLeg(Machine):
    """One `m.call` call between a person and a ghost."""

    def __init__(
        self,
        effects: Effects,
        state: MatrixState,
        *,
        call: CallId,
        us: PartyId,
        person: UserId,
        address: Address,
        call_id: MatrixCallId,
        version: int = 1,
    ) -> None:
        super().__init__(MATRIX, state, effects)
        self.call_id = call_id
        self.version = version
        self.person = person
        self.room: RoomId | None = None
        self.description = ""
        self.polite = state is MatrixState.INVITED
        """Whether we give way when both sides offer at once: the callee does."""
        self._call = call
        self._us = us
        self._address = address
        self._identity: tuple[Address, str] | None = None
        """Who is at the other end, if that is not who was called; told as soon as we talk."""
        self._party: PartyId | None = None
        self._negotiates = False
        self._candidates: dict[PartyId, list[tuple[str, ...]]] = {}
        self._portal_op: OpId | None = None
        self._untold: list[tuple[str, float]] = []
        self._vital_op: OpId | None = None
        self._reoffer_op: OpId | None = None

    @classmethod
    def called(
        cls, effects: Effects, call: CallId, us: PartyId, invite: MatrixInviteReceived
    ) -> "MatrixLeg":
        """The leg of a call that the person placed; it rings no longer than its lifetime."""
        leg = cls(
            effects,
            MatrixState.INVITED,
            call=call,
            us=us,
            person=invite.sender.user,
            address=invite.address,
            call_id=invite.call_id,
            version=invite.version,
        )
        leg.room = invite.room
        leg.description = invite.sdp
        leg._fix(invite.sender.party, negotiates=invite.capabilities.negotiate)
        assert leg.deadline is not None
        leg.deadline = min(leg.deadline, effects.now + invite.lifetime - invite.age)
        return leg

    # --- what the call wants --------------------------------------------------------------

    @property
    def people(self) -> tuple[UserId]:
        """The one whose leg this is."""
        return (self.person,)

    @property
    def rooms(self) -> tuple[RoomId, ...]:
        """The portal, if it is known."""
        return () if self.room is None else (self.room,)

    @property
    def keys(self) -> tuple[MatrixCallKey, ...]:
        """What events of this leg carry, once the room is known."""
        return tuple(MatrixCallKey(room, self.call_id) for room in self.rooms)

    @property
    def can_renegotiate(self) -> bool:
        """Whether the client answers an `m.call.negotiate`. One that cannot hangs up instead."""
        return self._negotiates and self.state in _UP

    def yields_to(self, event: MatrixInviteReceived) -> bool:
        """Until our invite is sent, to any call; then, the lesser call id survives."""
        return self.state is not MatrixState.INVITING or event.call_id < self.call_id

    def is_stale(self, event: MatrixInviteReceived) -> bool:
        """Whether the device that this call is with calls anew: it was restarted, or reloaded.

        A device has one call in a room; one of v0, which has no name, is taken for the only one.
        """
        return (event.sender.user, event.sender.party) == (self.person, self._party)

    def prepare(self, display_name: str) -> None:
        """Have the portal made ready."""
        self._portal_op = self._effects.op()
        self.says(
            PreparePortal(
                call=self._call,
                op=self._portal_op,
                person=self.person,
                address=self._address,
                display_name=display_name,
            )
        )

    def invite(self, sdp: str) -> None:
        """Ring at the person's devices."""
        self._vital_op = self._effects.op()
        self.says(
            SendMatrixInvite(
                **self._about(self._vital_op),
                sdp=sdp,
                lifetime=self._limits.ring_time,
                invitee=self.person,
            )
        )

    def answer(self, sdp: str) -> None:
        """Accept the person's call."""
        self._vital_op = self._effects.op()
        about = self._about(self._vital_op)
        answer = SendMatrixAnswer(**about, sdp=sdp)
        self.says(answer, "" if self.version else V0)
        self._identify()

    def end(self, cause: Cause, *, telling: bool = False) -> None:
        """End the leg with the event that its state and version call for."""
        how = MATRIX_ENDS.get(self.state)
        reason = MEANINGS[cause].reason
        about = self._about
        if isinstance(how, MatrixState):
            awaited = self._portal_op is not None and (telling or self._untold)
            self.enter(how if awaited else MatrixState.ENDED)
        elif how is SendMatrixReject and self.version:
            self.says(SendMatrixReject(**about(self._effects.op()), reason=reason))
        elif how is not None:
            if cause is Cause.ANSWERED_ELSEWHERE and self.state is MatrixState.INVITING:
                # What a client hears when another device was chosen: it has not missed the call.
                # A client of v0 only understands the hangup.
                self.says(self._select(self._us), NOBODY_HERE)
            self.says(SendMatrixHangup(**about(self._effects.op()), reason=reason))

    def tell(self, text: str, since: float) -> None:
        """A notice in the portal, now or when it is ready."""
        self._untold.append((text, since))
        self._tell()

    def identify(self, address: Address, name: str) -> None:
        """Tell who is at the other end now, if the client is to be told (v1)."""
        known = self._identity or (self._address, "")
        if address == known[0]:
            return
        self._identity = (address, name)
        self._identify()

    def reoffer(self, op: OpId, sdp: str) -> SendCallEvent:
        """The command that offers a change of what was agreed."""
        self._reoffer_op = op
        return self._negotiate(op, SdpType.OFFER, sdp)

    def reanswer(self, sdp: str) -> SendCallEvent:
        """The command that answers the client's offer."""
        return self._negotiate(self._effects.op(), SdpType.ANSWER, sdp)

    def take_candidates(self) -> list[tuple[str, ...]]:
        """Candidates of the client we talk to that were not taken yet."""
        return [] if self._party is None else self._candidates.pop(self._party, [])

    def ringing(self) -> tuple[Ringing, ...]:
        """Our invite, about to be sent, or not answered."""
        if self.room is None or self.state not in (MatrixState.READY, MatrixState.INVITING):
            return ()
        return (
            Ringing(
                person=self.person, room=self.room, matrix_call_id=self.call_id, party=self._us
            ),
        )

    def record(self) -> None:
        """Record what it takes to end the leg after a crash, as far as it is known."""
        if self.room is not None:
            self._effects.emit(
                RecordLegs(
                    call=self._call,
                    room=self.room,
                    matrix_call_id=self.call_id,
                    matrix_version=self.version,
                    party=self._us,
                )
            )

    # --- what comes in --------------------------------------------------------------------

    def handle(self, event: Event) -> Signal | None:
        """Take an event of this leg's Matrix call; others are ignored."""
        if isinstance(event, MatrixCallEvent):
            return self._said(event) if self._may_say(event.sender) else None
        match event:
            case PersonInvited(op=op, room=room) if op == self._portal_op:
                self.room = room if self.hears(PersonInvited) else self.room
                self._tell()
            case PortalReady(op=op, room=room) if op == self._portal_op:
                self.room = room if self.hears(PortalReady) else self.room
                self._tell()
            case PortalFailed(op=op, unknown=unknown) if op == self._portal_op:
                cause = Cause.NOT_IN_SERVICE if unknown else Cause.UNREACHABLE
                return self._over(PortalFailed, cause)
            case MatrixSendFailed(op=op) if op == self._vital_op:
                return Over(cause=Cause.UNDELIVERABLE, by="matrix")
            case MatrixSendFailed(op=op) if op == self._reoffer_op:
                return ReofferRefused(0, op)
            case MatrixMemberLeft(room=self.room, user=self.person):
                declined = self.state is MatrixState.JOINING
                return self._over(MatrixMemberLeft, Cause.DECLINED if declined else Cause.NORMAL)
        return None

    def expire(self) -> Over | None:
        """Nobody answered, or the portal is not to be had."""
        if self.state is MatrixState.TELLING:
            self.enter(MatrixState.ENDED)
            return None
        prepared = self.state is not MatrixState.PREPARING
        return Over(cause=Cause.NO_ANSWER if prepared else Cause.UNREACHABLE, by="bridge")

    def _may_say(self, sender: Party) -> bool:
        return sender.user == self.person and self._party in (None, sender.party)

    def _said(self, event: MatrixCallEvent) -> Signal | None:
        match event:
            case MatrixAnswerReceived():
                self._answered(event)
            case MatrixCandidatesReceived():
                self._candidates.setdefault(event.sender.party, []).append(event.candidates)
            case MatrixSelectAnswerReceived():
                return self._selected(event)
            case MatrixRejectReceived():
                return self._rejected(event)
            case MatrixHangupReceived():
                return self._hung_up(event)
            case MatrixNegotiateReceived() if self.version and self.state in _UP:
                self._negotiates = True
                offered = event.type is SdpType.OFFER
                return Reoffer(event.sdp) if offered else ReofferAnswered(event.sdp)
            case MatrixReplacesReceived() if self.version and self.state in _UP:
                return HandedOver(event.target, event.waits, event.person)
        return None

    def _answered(self, event: MatrixAnswerReceived) -> None:
        """The first answer fixes the party; the other devices learn of it and stop ringing."""
        if not self.hears(MatrixAnswerReceived):
            return
        self.version = event.version
        self.description = event.sdp
        self.record()
        self._fix(event.sender.party, negotiates=event.capabilities.negotiate)
        if self.version:
            self.says(self._select(event.sender.party))
        self._identify()

    def _rejected(self, event: MatrixRejectReceived) -> Over | None:
        """One device's reject ends the call at all of them, unless one has answered."""
        if self.state is MatrixState.INVITING:
            self.says(self._select(event.sender.party), OF_A_REJECT)
        return self._over(MatrixRejectReceived, from_reject(event.reason))

    def _selected(self, event: MatrixSelectAnswerReceived) -> Over | None:
        """The caller chose among those who answered: us, or another, and then we are done."""
        if event.selected == self._us:
            self.hears(MatrixSelectAnswerReceived)
            return None
        if self.hears((MatrixSelectAnswerReceived, ANOTHER_PARTY)):
            return Over(cause=Cause.ANSWERED_ELSEWHERE, by="matrix")
        return None

    def _hung_up(self, event: MatrixHangupReceived) -> Over | None:
        """Before an answer, a hangup is the caller's cancel or a v0 callee's reject."""
        cause = from_hangup(event.reason)
        if cause is Cause.NORMAL:
            cause = _UNANSWERED.get(self.state, cause)
        return self._over(MatrixHangupReceived, cause)

    # --- inside ---------------------------------------------------------------------------

    def _over(self, event: type, cause: Cause) -> Over | None:
        return Over(cause=cause, by="matrix") if self.hears(event) else None

    def _tell(self) -> None:
        while self._untold and self.room is not None:
            text, since = self._untold.pop(0)
            self._effects.emit(
                SendNotice(
                    call=self._call,
                    room=self.room,
                    address=self._address,
                    text=text,
                    ago=self._effects.now - since,
                )
            )

    def _identify(self) -> None:
        if self._identity is None or not self.version or self.state not in _UP:
            return
        address, name = self._identity
        about = self._about(self._effects.op())
        self.says(SendMatrixAssertedIdentity(**about, identity=address, name=name))

    def _fix(self, party: PartyId, *, negotiates: bool) -> None:
        self._party = party
        self._negotiates = negotiates and self.version > 0

    def _select(self, party: PartyId) -> SendMatrixSelectAnswer:
        return SendMatrixSelectAnswer(**self._about(self._effects.op()), selected=party)

    def _negotiate(self, op: OpId, kind: SdpType, sdp: str) -> SendMatrixNegotiate:
        lifetime = self._effects.timeouts.negotiate
        return SendMatrixNegotiate(**self._about(op), type=kind, sdp=sdp, lifetime=lifetime)

    def _about(self, op: OpId) -> dict[str, Any]:
        """The fields that every `m.call.*` event of this leg has."""
        assert self.room is not None
        return {
            "call": self._call,
            "op": op,
            "room": self.room,
            "address": self._address,
            "call_id": self.call_id,
            "party": self._us,
            "version": self.version,
        }
