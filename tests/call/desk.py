# SPDX-License-Identifier: GPL-3.0-or-later
"""A switchboard on a table: everyone around it is played by the test, and everything is audited."""

from dataclasses import replace
from typing import TypeVar

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.deadlines import Timeouts
from bridge.call.ids import (
    Address,
    CallId,
    LegId,
    MatrixCallId,
    OpId,
    Party,
    PartyId,
    RoomId,
    Side,
    TrunkName,
    UserId,
)
from bridge.call.policy import Access, Limits, Policy
from bridge.call.rules import InboundRule, OutboundRule, TrunkPolicy
from bridge.call.switchboard import PARTY, Switchboard
from bridge.call.terms import Terms
from bridge.call.voicemail_terms import VoicemailTerms
from tests.call.audit import Audit

C = TypeVar("C", bound=c.Command)

PERSON = UserId("@ann:mx.test")
LAPTOP = Party(PERSON, PartyId("LAPTOP"))
MOBILE = Party(PERSON, PartyId("MOBILE"))
OLD_CLIENT = Party(PERSON, PartyId(""))
ROOM = RoomId("!portal:mx.test")
NUMBER = Address("tel:+12025550123")
OURS = "+12025550100"
TRUNK = TrunkName("provider")
THEIR_CALL = MatrixCallId("1795358406721UlELAq7VkvQ1seZH")
OUR_CALL = MatrixCallId("~n1")
CALL = CallId("n-1")
OUT = LegId("n-1-out")
IN = LegId("in-1")
CAPABLE = e.Capabilities(negotiate=True)

LIMITS = Limits(calls_per_person=2, calls_per_minute=3, ring_time=60, max_duration=3600)
COLLEAGUE = UserId("@col:elsewhere.test")
TABLET = Party(COLLEAGUE, PartyId("TABLET"))
"""Somebody to whom calls are transferred, in another call than the first."""
COLLEAGUES_ROOM = RoomId("!col:mx.test")
SECOND = CallId("n-2")
SECOND_CALL = MatrixCallId("~n2")
POLICY = Policy(
    access={"mx.test": Access.CALL, COLLEAGUE: Access.RECEIVE},
    trunks={TRUNK: TrunkPolicy(caller_id=OURS, terms=Terms(codecs=("PCMA",)))},
    outbound=[OutboundRule(trunks=(TRUNK,), prefix="+1")],
    inbound=[InboundRule(people=(PERSON,), number=OURS)],
    limits=LIMITS,
)
EARLY_POLICY = Policy(
    access=POLICY.access,
    trunks={TRUNK: TrunkPolicy(early_media=True)},
    outbound=POLICY.outbound,
    inbound=POLICY.inbound,
    limits=LIMITS,
)
VOICEMAIL = VoicemailTerms(
    greeting="greeting.wav", beep="beep.wav", folder="folder", delay=20, longest=120, silence=8
)
VOICEMAIL_POLICY = replace(POLICY, voicemail=VOICEMAIL)
SPARE, LAST = TrunkName("spare"), TrunkName("last")
SPARE_POLICY = Policy(
    access=POLICY.access,
    trunks={
        TRUNK: TrunkPolicy(terms=Terms(codecs=("PCMA",))),
        SPARE: TrunkPolicy(terms=Terms(codecs=("PCMA",)), early_media=True),
        LAST: TrunkPolicy(terms=Terms(codecs=("opus", "PCMA"))),
    },
    outbound=[OutboundRule(trunks=(TRUNK, SPARE, LAST), prefix="+1")],
    inbound=POLICY.inbound,
    limits=LIMITS,
)
"""Three trunks for every number, each of which wants something else."""


class Desk:
    """Tells the core what happens, and holds what it answers until the test has looked at it."""

    def __init__(self, policy: Policy = POLICY, *, now: float = 1000.0) -> None:
        self.core = Switchboard(policy, Timeouts(), nonce="n")
        self.now = now
        self.audit = Audit()
        self.said: list[c.Command] = []
        """Signalling and media commands that the test has not looked at yet."""
        self.records: list[c.StoreCommand] = []
        self.ended_at: dict[CallId, float] = {}
        self.refers = True
        """Whether telephones take REFER."""

    # --- telling and expecting ------------------------------------------------------------

    def tell(self, event: e.Event) -> None:
        """Something happened."""
        self.audit.now = self.now
        self.audit.hear(event)
        self._take(self.core.handle(event, self.now), forced=False)

    def wait(self, seconds: float) -> None:
        """Time passes; deadlines are met on the way."""
        until = self.now + seconds
        while (due := self.core.next_deadline()) is not None and due <= until:
            self.now = self.audit.now = max(self.now, due)
            self._take(self.core.handle_timer(self.now), forced=True)
        self.now = until

    def expect(self, kind: type[C]) -> C:
        """The core said this, and nothing else."""
        assert [type(command) for command in self.said] == [kind]
        command = self.said.pop()
        assert isinstance(command, kind)
        return command

    def expect_all(self, *kinds: type[c.Command]) -> list[c.Command]:
        """The core said these, in this order, and nothing else."""
        assert [type(command) for command in self.said] == list(kinds)
        said, self.said = self.said, []
        return said

    def recorded(self, kind: type[C]) -> C:
        """The last record of a kind."""
        return [record for record in self.records if isinstance(record, kind)][-1]

    def is_over(self, cause: str, by: str) -> None:
        """The call was recorded as ended for this, and once everyone has let go, is gone."""
        end = self.recorded(c.RecordEnd)
        assert (end.cause, end.ended_by) == (cause, by)
        self.wait(200)
        assert self.core.active() == []
        assert self.core.next_deadline() is None
        self.audit.all_is_over()

    def _take(self, commands: list[c.Command], *, forced: bool) -> None:
        for _, error in self.core.take_faults():
            raise error
        for command in commands:
            self.audit.say(command, forced=forced)
            if isinstance(command, c.StoreCommand):
                self.records.append(command)
                if isinstance(command, c.RecordEnd):
                    self.ended_at[command.call] = self.now
            else:
                self.said.append(command)
        if self.core.active():
            assert self.core.next_deadline() is not None, "a call waits for nothing"

    # --- the person -----------------------------------------------------------------------

    def person_calls(
        self,
        call_id: MatrixCallId = THEIR_CALL,
        *,
        sender: Party = LAPTOP,
        version: int = 1,
        capabilities: e.Capabilities = CAPABLE,
        lifetime: float = 60.0,
        age: float = 0.5,
        address: Address = NUMBER,
        room: RoomId = ROOM,
    ) -> None:
        self.tell(
            e.MatrixInviteReceived(
                room=room,
                call_id=call_id,
                sender=sender,
                address=address,
                version=version,
                sdp="matrix offer",
                lifetime=lifetime,
                age=age,
                capabilities=capabilities,
            )
        )

    def person_answers(
        self,
        sender: Party = LAPTOP,
        *,
        version: int = 1,
        capabilities: e.Capabilities = CAPABLE,
    ) -> None:
        self.tell(
            e.MatrixAnswerReceived(
                room=ROOM,
                call_id=OUR_CALL,
                sender=sender,
                version=version,
                sdp="matrix answer",
                capabilities=capabilities,
            )
        )

    def person_hangs_up(
        self,
        call_id: MatrixCallId = THEIR_CALL,
        sender: Party = LAPTOP,
        reason: str = "user_hangup",
    ) -> None:
        self.tell(e.MatrixHangupReceived(room=ROOM, call_id=call_id, sender=sender, reason=reason))

    def person_rejects(self, sender: Party = LAPTOP, reason: str = "") -> None:
        self.tell(e.MatrixRejectReceived(room=ROOM, call_id=OUR_CALL, sender=sender, reason=reason))

    def person_selects(self, party: PartyId = PARTY) -> None:
        self.tell(
            e.MatrixSelectAnswerReceived(
                room=ROOM, call_id=THEIR_CALL, sender=LAPTOP, selected=party
            )
        )

    def person_trickles(
        self, *candidates: str, call_id: MatrixCallId = THEIR_CALL, sender: Party = LAPTOP
    ) -> None:
        self.tell(
            e.MatrixCandidatesReceived(
                room=ROOM, call_id=call_id, sender=sender, candidates=candidates
            )
        )

    def person_negotiates(
        self,
        sdp: str,
        kind: e.SdpType = e.SdpType.OFFER,
        *,
        call_id: MatrixCallId = THEIR_CALL,
        sender: Party = LAPTOP,
    ) -> None:
        self.tell(
            e.MatrixNegotiateReceived(
                room=ROOM, call_id=call_id, sender=sender, type=kind, sdp=sdp, lifetime=60
            )
        )

    def person_transfers(
        self,
        target: Address | None,
        *,
        waits: bool = False,
        call_id: MatrixCallId = THEIR_CALL,
        room: RoomId = ROOM,
        person: UserId | None = None,
    ) -> None:
        self.tell(
            e.MatrixReplacesReceived(
                room=room,
                call_id=call_id,
                sender=LAPTOP,
                target=target,
                waits=waits,
                person=person,
            )
        )

    def portal_is_ready(self, op: OpId) -> None:
        self.tell(e.PortalReady(call=CALL, op=op, room=ROOM))

    # --- the telephone --------------------------------------------------------------------

    def phone_calls(
        self,
        leg: LegId = IN,
        *,
        sdp: str | None = "sip offer",
        dialled: str = OURS,
        caller: Address = NUMBER,
        diverted_by: Address | None = None,
        full: bool = False,
    ) -> None:
        self.tell(
            e.SipInviteReceived(
                leg=leg,
                trunk=TRUNK,
                caller=caller,
                caller_name="Caller",
                dialled=dialled,
                sdp=sdp,
                sip_call_id="call-id@pbx.test",
                refers=self.refers,
                diverted_by=diverted_by,
                full=full,
            )
        )

    def phone_rings(self, status: int = 180, sdp: str | None = None) -> None:
        self.tell(e.SipProgressed(leg=OUT, status=status, sdp=sdp))

    def phone_answers(self, sdp: str = "sip answer") -> None:
        self.tell(e.SipAnswered(leg=OUT, sdp=sdp, refers=self.refers))

    def phone_acknowledges(self, leg: LegId = IN, sdp: str | None = None) -> None:
        self.tell(e.SipConfirmed(leg=leg, sdp=sdp))

    def phone_ends(
        self, leg: LegId, status: int = 200, q850: int = 0, *, remote: bool = True
    ) -> None:
        self.tell(e.SipEnded(leg=leg, status=status, q850=q850, remote=remote))

    def phone_reinvites(self, op: int, sdp: str | None = "sip hold", leg: LegId = OUT) -> None:
        self.tell(e.SipReinviteReceived(leg=leg, op=OpId(op), sdp=sdp))

    # --- media ----------------------------------------------------------------------------

    def media_offers(self, side: Side, sdp: str | None, *, video: bool = False) -> None:
        """The engine was asked for an offer, and has one for the other side."""
        asked = self.expect(c.OfferMedia)
        assert (asked.side, asked.sdp) == (side, sdp)
        offer = f"offer to {side.other.value}"
        self.tell(e.MediaOfferReady(call=CALL, op=asked.op, sdp=offer, video=video))

    def media_answers(self, side: Side, sdp: str) -> c.AnswerMedia:
        """The engine was told an answer, and has one for the other side."""
        told = self.expect(c.AnswerMedia)
        assert (told.side, told.sdp, told.provisional) == (side, sdp, False)
        self.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp=f"answer to {side.other.value}"))
        return told

    def media_joins(self) -> None:
        """The engine was given two offers, and has answered both."""
        asked = self.expect(c.JoinMedia)
        assert (asked.matrix_sdp, asked.sip_sdp) == ("matrix offer", "sip offer")
        self.tell(
            e.MediaJoined(
                call=CALL, op=asked.op, matrix_sdp="answer to matrix", sip_sdp="answer to sip"
            )
        )

    def media_connects(self) -> None:
        self.tell(e.MediaConnected(call=CALL, matrix_codec="PCMA/8000", sip_codec="PCMA/8000"))

    # --- whole passages -------------------------------------------------------------------

    def rings_at_the_phone(self, **invite: object) -> None:
        """A person called, and the far end rings."""
        self.person_calls(**invite)  # type: ignore[arg-type]
        self.media_offers(Side.MATRIX, "matrix offer")
        assert self.expect(c.SendSipInvite).sdp == "offer to sip"
        self.phone_rings()

    def connected_to_the_phone(self, **invite: object) -> None:
        """A person called, and talks."""
        self.rings_at_the_phone(**invite)
        self.phone_answers()
        self.media_answers(Side.SIP, "sip answer")
        assert self.expect(c.SendMatrixAnswer).sdp == "answer to matrix"
        self.media_connects()

    def rings_at_the_person(self, sdp: str | None = "sip offer") -> None:
        """A telephone called, and rings at the person's devices."""
        self.phone_calls(sdp=sdp)
        prepare, offer = self.expect_all(c.PreparePortal, c.OfferMedia)
        assert isinstance(prepare, c.PreparePortal)
        assert isinstance(offer, c.OfferMedia)
        self.portal_is_ready(prepare.op)
        self.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
        self.expect_all(c.SendMatrixInvite, c.SendSipProgress)

    def requested_and_rings_here(self) -> None:
        """The person asked for a call, and their devices ring."""
        self.tell(e.CallRequested(person=PERSON, address=NUMBER))
        prepare, offer = self.expect_all(c.PreparePortal, c.OfferMedia)
        assert isinstance(prepare, c.PreparePortal)
        assert isinstance(offer, c.OfferMedia)
        assert (offer.side, offer.sdp) == (Side.SIP, None)
        self.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
        self.portal_is_ready(prepare.op)
        assert self.expect(c.SendMatrixInvite).sdp == "offer to matrix"

    def requested_and_rings_there(self) -> None:
        """The person asked for a call, has answered, and the far end rings."""
        self.requested_and_rings_here()
        self.person_answers()
        assert isinstance(self.said.pop(0), c.SendMatrixSelectAnswer)
        self.media_answers(Side.MATRIX, "matrix answer")
        assert self.expect(c.SendSipInvite).sdp == "answer to sip"  # To SIP, it is an offer.
        self.phone_rings()

    def passed_on(self, call_id: MatrixCallId = THEIR_CALL) -> None:
        """The person who talks transfers the call to a colleague, at whom it rings."""
        self.person_transfers(None, person=COLLEAGUE, call_id=call_id)
        prepare, offer = self.expect_all(c.PreparePortal, c.OfferMedia)
        assert isinstance(prepare, c.PreparePortal)
        assert isinstance(offer, c.OfferMedia)
        assert (prepare.person, prepare.address) == (COLLEAGUE, NUMBER)
        assert (offer.call, offer.side, offer.sdp) == (SECOND, Side.SIP, None)
        self.tell(e.PortalReady(call=SECOND, op=prepare.op, room=COLLEAGUES_ROOM))
        self.tell(e.MediaOfferReady(call=SECOND, op=offer.op, sdp="offer to colleague"))
        assert self.expect(c.SendMatrixInvite).sdp == "offer to colleague"

    def colleague_answers(self) -> None:
        """They take the call, and the engine has an offer for the far end."""
        about = {"room": COLLEAGUES_ROOM, "call_id": SECOND_CALL, "sender": TABLET}
        self.tell(
            e.MatrixAnswerReceived(
                **about,  # type: ignore[arg-type]
                version=1,
                sdp="colleague's answer",
                capabilities=CAPABLE,
            )
        )
        selected, told = self.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
        assert isinstance(selected, c.SendMatrixSelectAnswer)
        assert isinstance(told, c.AnswerMedia)
        assert (told.call, told.side, told.sdp) == (SECOND, Side.MATRIX, "colleague's answer")
        self.tell(e.MediaAnswerReady(call=SECOND, op=told.op, sdp="offer of another call"))

    def far_end_moves(self, leg: LegId = OUT) -> None:
        """The far end takes the colleague's offer, and the engine its answer."""
        reinvite = self.expect(c.SendSipReinvite)
        assert (reinvite.call, reinvite.leg) == (CALL, leg)
        assert reinvite.sdp == "offer of another call"
        self.tell(e.SipReinviteAnswered(leg=leg, op=reinvite.op, sdp="moved"))

    def voicemail_takes_it(self) -> None:
        """It has rung at a person with voicemail for long enough."""
        self.tell(e.PersonChanged(person=PERSON, voicemail=True))
        self.rings_at_the_person()
        self.wait(VOICEMAIL.delay)
        hangup = self.said.pop(0)
        assert isinstance(hangup, c.SendMatrixHangup)
        assert hangup.reason == "invite_timeout"

    def voicemail_answers(self, number: int = 1) -> None:
        """Voicemail takes a call: it is answered, and the caller hears the greeting."""
        joined = self.expect(c.JoinMedia)
        assert (joined.matrix_sdp, joined.sip_sdp) == ("", "sip offer")
        call, leg = joined.call, LegId(f"in-{number}")
        self.tell(e.MediaJoined(call=call, op=joined.op, matrix_sdp="", sip_sdp="answer to sip"))
        assert self.expect(c.AnswerSip).sdp == "answer to sip"
        self.tell(e.MediaConnected(call=call, matrix_codec="PCMA/8000", sip_codec="PCMA/8000"))
        self.phone_acknowledges(leg)

    def voicemail_beeps(self, greeting: str = VOICEMAIL.greeting) -> None:
        """The greeting and the tone were heard."""
        for file in (greeting, VOICEMAIL.beep):
            played = self.expect(c.PlayAudio)
            assert (played.side, played.file) == (Side.SIP, file)
            self.tell(e.MediaPlayed(call=played.call, op=played.op, seconds=2))

    def voicemail_records(self) -> c.RecordAudio:
        """A telephone called, nobody took it, and the caller speaks by now."""
        self.voicemail_takes_it()
        self.voicemail_answers()
        self.voicemail_beeps()
        return self.expect(c.RecordAudio)

    def connected_to_the_person(
        self, *, version: int = 1, capabilities: e.Capabilities = CAPABLE
    ) -> None:
        """A telephone called, and the person talks."""
        self.rings_at_the_person()
        sender = LAPTOP if version else OLD_CLIENT
        self.person_answers(sender, version=version, capabilities=capabilities)
        if version:
            assert isinstance(self.said.pop(0), c.SendMatrixSelectAnswer)
        self.media_answers(Side.MATRIX, "matrix answer")
        assert self.expect(c.AnswerSip).sdp == "answer to sip"
        self.phone_acknowledges()
        self.media_connects()
