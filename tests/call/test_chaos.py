# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything, in any order: lost, repeated, late, and made up.

Nobody plays by the rules here but the core. Whatever comes, `Audit` holds for what it says, every
call waits for something, and in the end everything is over on both sides.
"""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.bounds import Bounds
from bridge.call.ids import Address, LegId, MatrixCallId, OpId, Party, PartyId, RoomId, Side, UserId
from bridge.call.policy import Policy
from bridge.call.quality import Measured
from bridge.call.rules import InboundRule, TrunkPolicy
from bridge.call.states import SipState
from bridge.call.switchboard import PARTY
from tests.call.desk import (
    CAPABLE,
    COLLEAGUES_ROOM,
    EARLY_POLICY,
    IN,
    LAPTOP,
    LIMITS,
    MOBILE,
    NUMBER,
    OLD_CLIENT,
    OUR_CALL,
    OURS,
    OUT,
    PERSON,
    POLICY,
    ROOM,
    SECOND,
    SECOND_CALL,
    SPARE_POLICY,
    TABLET,
    THEIR_CALL,
    TRUNK,
    VOICEMAIL_POLICY,
    Desk,
)

_OTHER_NUMBER = Address("tel:+12025550124")
_OTHER_ROOM = RoomId("!other:mx.test")
_STRANGER = Party(UserId("@eve:mx.test"), PartyId("EVE"))

_BOB = Party(UserId("@bob:mx.test"), PartyId("BOB"))
_BOBS_ROOM = RoomId("!bob:mx.test")
GROUP_POLICY = Policy(
    access=POLICY.access,
    trunks=POLICY.trunks,
    outbound=POLICY.outbound,
    inbound=[InboundRule(people=(PERSON, _BOB.user), number=OURS)],
    limits=LIMITS,
)
"""A telephone rings at two people."""

BOUNDED_POLICY = replace(
    POLICY,
    trunks={TRUNK: TrunkPolicy(bounds=Bounds(calls=2, seconds_per_day=130, max_duration=40))},
    people={PERSON: Bounds(seconds_per_day=100, forbidden_prefixes=("+12025550124",))},
)
"""Little time to talk."""

_theirs = st.sampled_from(["1a", "1b", "~~"]).map(MatrixCallId)
_senders = st.sampled_from([LAPTOP, LAPTOP, LAPTOP, MOBILE, OLD_CLIENT, _STRANGER, _BOB, _BOB])
_seconds = st.sampled_from([0.0, 0.5, 2.0, 5.0, 11.0, 21.0, 36.0, 61.0])
_sdps = st.sampled_from(["one", "two", "three"])
_luck = st.integers(0, 1000)


_SAID = (
    "hangup",
    "reject",
    "busy",
    "candidates",
    "select",
    "other",
    "mute",
    "transfer",
    "wait",
    "pass on",
)


def _room(person: UserId) -> RoomId:
    return _BOBS_ROOM if person == _BOB.user else ROOM


_POLICIES = st.sampled_from(
    [
        POLICY,
        EARLY_POLICY,
        GROUP_POLICY,
        BOUNDED_POLICY,
        SPARE_POLICY,
        SPARE_POLICY,
        VOICEMAIL_POLICY,
        VOICEMAIL_POLICY,
    ]
)


class Chaos(RuleBasedStateMachine):
    """Tells the core anything that an adapter could ever tell it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[c.Command] = []
        self.legs: list[LegId] = []
        self.ours: list[MatrixCallId] = []

    @initialize(policy=_POLICIES)
    def open(self, policy: Policy) -> None:
        self.desk = Desk(policy)
        self.desk.tell(e.PersonChanged(person=PERSON, voicemail=True))

    def tell(self, event: e.Event) -> None:
        self.desk.tell(event)
        self.notice()

    def notice(self) -> None:
        for command in self.desk.said:
            if isinstance(command, c.SendSipInvite):
                self.legs.append(command.leg)
            if isinstance(command, c.SendMatrixInvite):
                self.ours.append(command.call_id)
            if hasattr(command, "op"):
                self.asked.append(command)
        self.desk.said.clear()

    def pick_leg(self, luck: int) -> LegId:
        return self.legs[-1 - luck % len(self.legs)] if self.legs else LegId("none")

    def pick_call(self, luck: int, theirs: MatrixCallId) -> MatrixCallId:
        return self.ours[-1 - luck % len(self.ours)] if self.ours and luck % 2 else theirs

    # --- the person -----------------------------------------------------------------------

    @rule(
        call_id=_theirs,
        capable=st.booleans(),
        age=st.sampled_from([0.0, 0.0, 30.0, 58.0, 100.0]),
        elsewhere=st.sampled_from([False, False, False, True]),
        by=st.sampled_from([LAPTOP, LAPTOP, _BOB]),
    )
    def invite(
        self, call_id: MatrixCallId, capable: bool, age: float, elsewhere: bool, by: Party
    ) -> None:
        version = 0 if call_id == "1b" else 1  # A call id has one author.
        sender = by if version else Party(by.user, OLD_CLIENT.party)
        self.tell(
            e.MatrixInviteReceived(
                room=_OTHER_ROOM if elsewhere else _room(by.user),
                call_id=call_id,
                sender=sender,
                address=_OTHER_NUMBER if elsewhere else NUMBER,
                version=version,
                sdp="offer",
                lifetime=60,
                age=age,
                capabilities=CAPABLE if capable else e.Capabilities(),
            )
        )

    @rule(luck=_luck, call_id=_theirs, sender=_senders, sdp=_sdps, capable=st.booleans())
    def answer(
        self, luck: int, call_id: MatrixCallId, sender: Party, sdp: str, capable: bool
    ) -> None:
        self.tell(
            e.MatrixAnswerReceived(
                room=_room(sender.user),
                call_id=self.pick_call(luck, call_id),
                sender=sender,
                version=1 if sender.party else 0,
                sdp=sdp,
                capabilities=CAPABLE if capable else e.Capabilities(),
            )
        )

    @rule(
        luck=_luck,
        call_id=_theirs,
        sender=_senders,
        what=st.sampled_from(
            [
                "hangup",
                "reject",
                "busy",
                "candidates",
                "select",
                "other",
                "mute",
                "transfer",
                "wait",
                "pass on",
            ]
        ),
    )
    def say(self, luck: int, call_id: MatrixCallId, sender: Party, what: str) -> None:
        call_id = self.pick_call(luck, call_id)
        match what:
            case "hangup":
                self.tell(
                    e.MatrixHangupReceived(room=_room(sender.user), call_id=call_id, sender=sender)
                )
            case "candidates":
                self.tell(
                    e.MatrixCandidatesReceived(
                        room=_room(sender.user),
                        call_id=call_id,
                        sender=sender,
                        candidates=("a", ""),
                    )
                )
            case "select" | "other":
                selected = PARTY if what == "select" else "SOMEONE"
                self.tell(
                    e.MatrixSelectAnswerReceived(
                        room=_room(sender.user), call_id=call_id, sender=sender, selected=selected
                    )
                )
            case "pass on":
                self.tell(
                    e.MatrixReplacesReceived(
                        room=_room(sender.user),
                        call_id=call_id,
                        sender=sender,
                        target=None,
                        person=_BOB.user if sender != _BOB else PERSON,
                    )
                )
            case "transfer" | "wait":
                self.tell(
                    e.MatrixReplacesReceived(
                        room=_room(sender.user),
                        call_id=call_id,
                        sender=sender,
                        target=_OTHER_NUMBER,
                        waits=what == "wait",
                    )
                )
            case "mute":
                self.tell(
                    e.MatrixMuteChanged(
                        room=_room(sender.user), call_id=call_id, sender=sender, muted=True
                    )
                )
            case _:
                reason = "user_busy" if what == "busy" else ""
                self.tell(
                    e.MatrixRejectReceived(
                        room=_room(sender.user), call_id=call_id, sender=sender, reason=reason
                    )
                )

    @rule(
        luck=_luck,
        call_id=_theirs,
        sender=_senders,
        kind=st.sampled_from(e.SdpType),
        sdp=_sdps,
    )
    def negotiate(
        self, luck: int, call_id: MatrixCallId, sender: Party, kind: e.SdpType, sdp: str
    ) -> None:
        # A v0 client has no such event: the adapter drops it.
        if not sender.party:
            return
        self.tell(
            e.MatrixNegotiateReceived(
                room=_room(sender.user),
                call_id=self.pick_call(luck, call_id),
                sender=sender,
                type=kind,
                sdp=sdp,
                lifetime=60,
            )
        )

    @rule(
        room=st.sampled_from([ROOM, _OTHER_ROOM, _BOBS_ROOM]),
        user=st.sampled_from([LAPTOP, _STRANGER, _BOB]),
    )
    def leave(self, room: RoomId, user: Party) -> None:
        self.tell(e.MatrixMemberLeft(room=room, user=user.user))

    # --- the telephone --------------------------------------------------------------------

    @rule(
        bare=st.booleans(),
        elsewhere=st.sampled_from([False, False, False, True]),
        replaces=st.none() | _luck,
        full=st.sampled_from([False, False, False, False, True]),
    )
    def ring(self, bare: bool, elsewhere: bool, replaces: int | None, full: bool) -> None:
        replaced = None if replaces is None else self.pick_leg(replaces)
        leg = LegId(f"in-{len(self.legs)}")
        self.legs.append(leg)
        self.tell(
            e.SipInviteReceived(
                leg=leg,
                trunk=TRUNK,
                caller=_OTHER_NUMBER if elsewhere else NUMBER,
                caller_name="",
                dialled=OURS,
                sdp=None if bare else "offer",
                sip_call_id=f"{leg}@pbx.test",
                refers=bare,
                replaces=replaced,
                full=full,
            )
        )

    @rule(call_id=_theirs)
    def dial(self, call_id: MatrixCallId) -> None:
        """A person calls, and the engine has an offer, so that a trunk is asked."""
        self.invite(call_id=call_id, capable=True, age=0.0, elsewhere=False, by=LAPTOP)
        for command in [each for each in self.asked[-1:] if isinstance(each, c.OfferMedia)]:
            self.tell(e.MediaOfferReady(call=command.call, op=command.op, sdp="one", video=True))

    @precondition(lambda self: self.legs)
    @rule(status=st.sampled_from([503, 408, 401, 488, 606]), remote=st.booleans())
    def fail(self, status: int, remote: bool) -> None:
        """The trunk that was asked last cannot carry the call, or the far end wants no video."""
        self.tell(e.SipEnded(leg=self.legs[-1], status=status, remote=remote))

    @rule(luck=st.integers(0, 2), kind=st.integers(0, 15), sdp=st.none() | _sdps)
    def respond(self, luck: int, kind: int, sdp: str | None) -> None:
        leg = self.pick_leg(luck)
        events: list[e.SipEvent] = [
            e.SipProgressed(leg=leg, status=183 if sdp else 180, sdp=sdp),
            e.SipAnswered(leg=leg, sdp=sdp or "answer", refers=sdp is None),
            e.SipConfirmed(leg=leg, sdp=sdp),
            e.SipCancelled(leg=leg, cause=200 if sdp else 0),
            e.SipEnded(leg=leg, status=486 if sdp else 200),
            e.SipEnded(leg=leg, status=503, q850=0 if sdp else 17),
            e.SipEnded(leg=leg, status=408, remote=sdp is None),
            e.SipEnded(leg=leg, status=500),
            e.SipReinviteReceived(leg=leg, op=OpId(len(self.asked) + 10_000), sdp=sdp),
            e.SipDialogChanged(leg=leg, state="dialog"),
            e.SipIdentityChanged(leg=leg, address=_OTHER_NUMBER, name=sdp or ""),
            e.SipKeyPressed(leg=leg, key="#", duration=0.2),
            e.SipEnded(leg=leg, status=302, contacts=(_OTHER_NUMBER,) if sdp else ()),
            e.SipReferReceived(
                leg=leg, op=OpId(-len(self.asked) - len(sdp or "")), target=_OTHER_NUMBER
            ),
            e.SipPictureWanted(leg=leg),
            e.SipHeard(leg=leg),
        ]
        self.tell(events[kind])

    # --- results, soon or late ------------------------------------------------------------

    @rule(luck=st.integers(0, 3), good=st.sampled_from([True, True, True, False]), sdp=_sdps)
    def result(self, luck: int, good: bool, sdp: str) -> None:
        if not self.asked:
            return
        command = self.asked[-1 - luck % len(self.asked)]
        call, op = command.call, command.op  # type: ignore[attr-defined]
        match command:
            case c.PreparePortal() if good and sdp == "three":
                self.tell(e.PersonInvited(call=call, op=op, room=_room(command.person)))
            case c.PreparePortal() if good:
                self.tell(e.PortalReady(call=call, op=op, room=_room(command.person)))
            case c.PreparePortal():
                self.tell(e.PortalFailed(call=call, op=op, reason="No room."))
            case c.SendCallEvent() if not good:
                self.tell(e.MatrixSendFailed(call=call, op=op, reason="No server."))
            case c.SendSipReinvite(leg=leg) if good:
                self.tell(e.SipReinviteAnswered(leg=leg, op=op, sdp=sdp))
            case c.SendSipReinvite(leg=leg):
                status = {"one": 491, "two": 488, "three": 481}[sdp]
                self.tell(e.SipReinviteFailed(leg=leg, op=op, status=status))
            case c.ReferSip(leg=leg):
                if sdp == "one":
                    self.tell(e.SipReferProgressed(leg=leg, op=op, status=100))
                status = 200 if good else {"one": 486, "two": 405, "three": 503}[sdp]
                self.tell(e.SipReferProgressed(leg=leg, op=op, status=status))
            case c.OfferMedia() if good:
                needed = sdp != "one"
                answer = "" if needed else "at once"
                ready = e.MediaOfferReady(call=call, op=op, sdp=sdp, needed=needed, answer=answer)
                self.tell(replace(ready, video=sdp != "two" and not command.audio_alone))
            case c.NotifySip() | c.AnswerSipReinvite() | c.RejectSipReinvite():
                pass
            case c.OfferSuccessor() if good:
                video = sdp != "two" and not command.audio_alone
                self.tell(e.MediaOfferReady(call=call, op=op, sdp=sdp, video=video))
            case c.SwitchMedia() if good:
                self.tell(e.MediaSwitched(call=call, op=op, sdp=sdp, needed=sdp == "one"))
            case c.AnswerMedia() if good:
                self.tell(e.MediaAnswerReady(call=call, op=op, sdp=sdp))
            case c.JoinMedia() if good:
                self.tell(e.MediaJoined(call=call, op=op, matrix_sdp="m", sip_sdp="s"))
            case c.PlayAudio() if good:
                self.tell(e.MediaPlayed(call=call, op=op, seconds=1))
            case c.RecordAudio() if good:
                sound = 0.5 if sdp == "one" else 5
                self.tell(e.MediaRecorded(call=call, op=op, seconds=5, sound=sound))
            case c.MediaCommand():
                fault = e.MediaFault.NO_COMMON_CODEC
                self.tell(e.MediaFailed(call=call, op=op, fault=fault))

    @rule(kind=st.integers(0, 9), side=st.sampled_from(Side))
    def media(self, kind: int, side: Side) -> None:
        """The engine reports on whatever call was last dealt with; rarely that it is lost."""
        if not self.asked:
            return
        call = self.asked[-1].call
        if kind == 0:
            side = Side.MATRIX if len(self.asked) % 2 else Side.SIP
            self.tell(e.MediaLost(call=call, side=side, fault=e.MediaFault.ICE_FAILED))
        elif kind == 1:
            self.tell(e.MediaClosed(call=call))
        elif kind == 2:
            self.tell(e.MediaKeyPressed(call=call, key="1", duration=0.1))
            self.tell(e.MediaVideoChanged(call=call, codec="VP8/90000"))
            self.tell(e.MediaPictureWanted(call=call))
        elif kind == 3:
            self.tell(e.MediaSilent(call=call, side=side, seconds=3, heard=side is Side.SIP))
        elif kind == 4:
            self.tell(e.MediaAudible(call=call, side=side))
            self.tell(e.MediaRecorded(call=call, op=OpId(kind), seconds=1))
        elif kind == 5:
            heard = Measured(packets=250, reports=1)
            self.tell(e.MediaMeasured(call=call, matrix=heard, sip=Measured()))
        else:
            self.tell(e.MediaConnected(call=call, matrix_codec="x", sip_codec="x"))

    @rule(luck=st.integers(0, 30), policy=_POLICIES)
    def interfere(self, luck: int, policy: Policy) -> None:
        if self.asked and luck == 0:
            self.tell(e.CallFaulted(call=self.asked[-1].call))
        if luck == 1:
            talk = e.Talk(person=PERSON, trunk=TRUNK, seconds=70, ago=86_000)
            placed = e.Placed(person=PERSON, trunk=TRUNK, ago=59)
            self.tell(e.TalksRecalled(talks=(talk,), placed=(placed,)))
        if luck == 2:
            self.desk.core.use(policy)
        if luck == 29:
            self.tell(e.DrainRequested(seconds=30))
        if luck in (2, 3):
            self.tell(e.VoicemailFilled(full=luck == 2))
        if luck == 30:
            self.tell(e.ShutdownRequested())

    @rule(
        what=st.sampled_from(["request", "request", "dnd", "forward", "account", "nothing", "end"]),
        elsewhere=st.booleans(),
        who=st.sampled_from([LAPTOP, LAPTOP, _BOB]),
    )
    def wish(self, what: str, elsewhere: bool, who: Party) -> None:
        """What the person sets or asks for through the bot, and what an admin asks for."""
        to = _OTHER_NUMBER if elsewhere else NUMBER
        match what:
            case "request":
                self.tell(e.CallRequested(person=who.user, address=to))
            case "end":
                if self.asked:
                    self.tell(e.HangupRequested(call=self.asked[-1].call, by=PERSON))
            case _:
                self.tell(
                    e.PersonChanged(
                        person=who.user,
                        dnd=what == "dnd",
                        forward=to if what == "forward" else None,
                        account=TRUNK if what == "account" else None,
                        voicemail=elsewhere or what == "nothing",
                    )
                )

    @rule(seconds=_seconds)
    def wait(self, seconds: float) -> None:
        self.desk.wait(seconds)
        self.notice()

    # --- what holds -----------------------------------------------------------------------

    @invariant()
    def every_call_waits_for_something(self) -> None:
        if hasattr(self, "desk"):
            waits = self.desk.core.next_deadline() is not None
            assert waits == bool(self.desk.core.active())

    @invariant()
    def nobody_waits_for_who_has_gone(self) -> None:
        if hasattr(self, "desk"):
            successors = [call.far.successor for call in self.desk.core._calls.all()]
            assert not [leg for leg in successors if leg and leg.state is SipState.ENDED]

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            self.desk.wait(10_000)
            assert self.desk.core.active() == []
            assert self.desk.core.next_deadline() is None
            self.desk.audit.all_is_over()


class PassedOn(Chaos):
    """The same, where a call is already on its way from one person to another."""

    @initialize(called=st.booleans(), how_far=st.integers(0, 2))
    def open(self, called: bool, how_far: int) -> None:
        self.desk = Desk()
        leg = IN if called else OUT
        if called:
            self.desk.connected_to_the_person()
        else:
            self.desk.connected_to_the_phone()
        self.desk.passed_on(OUR_CALL if called else THEIR_CALL)
        if how_far:
            self.desk.colleague_answers()
        if how_far == 2:
            self.desk.far_end_moves(leg)
        self.legs.append(leg)
        self.ours.extend([OUR_CALL, SECOND_CALL])
        self.notice()

    @rule(luck=_luck, sdp=_sdps)
    def colleague(self, luck: int, sdp: str) -> None:
        """Who was called answers, holds, leaves, or passes the call back."""
        about: Any = {"room": COLLEAGUES_ROOM, "call_id": SECOND_CALL, "sender": TABLET}
        events: list[e.Event] = [
            e.MatrixAnswerReceived(**about, version=1, sdp=sdp, capabilities=CAPABLE),
            e.MatrixNegotiateReceived(**about, type=e.SdpType.OFFER, sdp=sdp, lifetime=60),
            e.MatrixReplacesReceived(**about, target=None, person=PERSON),
            e.MatrixHangupReceived(**about),
            e.MatrixRejectReceived(**about),
            e.MediaLost(call=SECOND, side=Side.MATRIX, fault=e.MediaFault.ICE_FAILED),
            e.MediaConnected(call=SECOND, matrix_codec="x", sip_codec="x"),
        ]
        self.tell(events[luck % len(events)])


class PutThrough(Chaos):
    """The same, where we are about to connect two telephones, or have done so."""

    @initialize(
        called=st.booleans(), consulted=st.booleans(), how_far=st.integers(0, 2), held=st.booleans()
    )
    def open(self, called: bool, consulted: bool, how_far: int, held: bool) -> None:
        self.desk = desk = Desk()
        desk.refers = False
        leg, call_id = (IN, OUR_CALL) if called else (OUT, THEIR_CALL)
        if called:
            desk.connected_to_the_person()
        else:
            desk.connected_to_the_phone()
        if held:
            desk.person_negotiates("hold", call_id=call_id)
        self.legs.append(leg)
        self.ours.extend([OUR_CALL, MatrixCallId("~n3")])
        self.notice()
        if consulted:
            self.invite(MatrixCallId("1a"), capable=True, age=0.0, elsewhere=True, by=LAPTOP)
            self.go_on(how_far)
        desk.person_transfers(_OTHER_NUMBER, call_id=call_id)
        self.notice()
        if not consulted:
            self.go_on(how_far)

    def go_on(self, how_far: int) -> None:
        """The second telephone is called, rings, and answers."""
        for command in [each for each in self.asked[-1:] if isinstance(each, c.OfferMedia)]:
            self.tell(e.MediaOfferReady(call=command.call, op=command.op, sdp="one"))
        if how_far:
            self.tell(e.SipProgressed(leg=self.legs[-1], status=180))
        if how_far == 2:
            self.tell(e.SipAnswered(leg=self.legs[-1], sdp="two"))
            answer = self.asked[-1]
            self.tell(e.MediaAnswerReady(call=answer.call, op=answer.op, sdp=""))  # type: ignore[attr-defined]

    @rule(luck=st.integers(0, 2))
    def pass_by(self, luck: int) -> None:
        """The client that has left is noticed by its silence, or says goodbye."""
        calls = [view.call for view in self.desk.core.active()]
        if luck == 0 and calls:
            lost = e.MediaFault.ICE_FAILED
            self.tell(e.MediaLost(call=calls[0], side=Side.MATRIX, fault=lost))
        elif luck == 1:
            about: Any = {"room": ROOM, "call_id": MatrixCallId("~n3"), "sender": LAPTOP}
            self.tell(e.MatrixAnswerReceived(**about, version=1, sdp="x", capabilities=CAPABLE))
        elif calls:
            self.tell(e.MediaConnected(call=calls[-1], matrix_codec="x", sip_codec="x"))


class LeaveAMessage(Chaos):
    """The same, where voicemail has taken a call."""

    @initialize(how_far=st.integers(0, 3), dnd=st.booleans())
    def open(self, how_far: int, dnd: bool) -> None:
        self.desk = desk = Desk(VOICEMAIL_POLICY)
        self.legs.append(IN)
        self.ours.append(OUR_CALL)
        if dnd:
            desk.tell(e.PersonChanged(person=PERSON, voicemail=True, dnd=True))
            desk.phone_calls()
        else:
            desk.voicemail_takes_it()
        (joined,) = (each for each in desk.said if isinstance(each, c.JoinMedia))
        self.asked.extend(each for each in desk.said if isinstance(each, c.PreparePortal))
        desk.said = [joined]
        if how_far:
            desk.voicemail_answers()
        if how_far > 1:
            desk.voicemail_beeps()
        self.notice()

    @rule(how=st.integers(0, 3))
    def speak(self, how: int) -> None:
        """The caller goes on, or the engine tells what has become of that."""
        if not self.asked:
            return
        call, op = self.asked[-1].call, self.asked[-1].op  # type: ignore[attr-defined]
        events: list[e.Event] = [
            e.MediaKeyPressed(call=call, key="#", duration=0.1),
            e.MediaPlayed(call=call, op=op, seconds=2),
            e.MediaRecorded(call=call, op=op, seconds=2, sound=1.5),
            e.SipEnded(leg=IN, status=200),
        ]
        self.tell(events[how])


TestChaos = Chaos.TestCase
TestPutThrough = PutThrough.TestCase
TestPassedOn = PassedOn.TestCase
TestLeaveAMessage = LeaveAMessage.TestCase
