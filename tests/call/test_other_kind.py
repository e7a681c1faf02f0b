# SPDX-License-Identifier: GPL-3.0-or-later
"""A leg on the Matrix side that knows nothing of `m.call`: the call takes it as it takes the other.

It stands for a MatrixRTC session: the person joins a slot in the room, the bridge joins it too, and
whoever leaves it ends the call.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.call import Call
from bridge.call.causes import Cause
from bridge.call.deadlines import Timeouts
from bridge.call.dialplan import OutboundRoute
from bridge.call.ids import Address, Direction, LegId, OpId, RoomId, UserId
from bridge.call.leg import Over, Signal
from bridge.call.machine import Effects
from bridge.call.placing import Placing
from bridge.call.policy import Policy
from bridge.call.sip_leg import SipLeg
from bridge.call.states import MatrixState, State
from bridge.call.terms import Terms
from tests.call.desk import CALL, IN, LIMITS, NUMBER, OUT, PERSON, ROOM, TRUNK

TO_PHONE = OutboundRoute(
    trunk=TRUNK, target="+12025550123", caller="", early_media=False, terms=Terms()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotEvent(e.Event):
    """Something that happened in the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonJoinedSlot(SlotEvent):
    """The person takes part, with this description of their media."""

    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonLeftSlot(SlotEvent):
    """The person takes part no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSlot(c.MatrixCommand):
    """Take part, with this description of our media; `ring` if the person does not yet."""

    sdp: str
    ring: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveSlot(c.MatrixCommand):
    """Take part no more."""


class SlotLeg:
    """A `PersonLeg` by its own events and commands."""

    def __init__(self, effects: Effects, *, offer: str = "") -> None:
        self.state: State = MatrixState.INVITED if offer else MatrixState.PREPARING
        self.deadline: float | None = None
        self.description = offer
        self.polite = bool(offer)
        self.people: Sequence[UserId] = (PERSON,)
        self.rooms: Sequence[RoomId] = (ROOM,)
        self.told: list[str] = []
        self._effects = effects

    @property
    def keys(self) -> Sequence[Hashable]:
        return [(ROOM, "m.call#ROOM")]

    @property
    def can_renegotiate(self) -> bool:
        return False

    def yields_to(self, event: e.MatrixInviteReceived) -> bool:
        return False

    def is_stale(self, event: e.MatrixInviteReceived) -> bool:
        return False

    def prepare(self, display_name: str) -> None:
        self.state = MatrixState.READY

    def invite(self, sdp: str) -> None:
        self._effects.emit(JoinSlot(call=CALL, sdp=sdp, ring=True))
        self.state = MatrixState.INVITING

    def answer(self, sdp: str) -> None:
        self._effects.emit(JoinSlot(call=CALL, sdp=sdp, ring=False))
        self.state = MatrixState.ACTIVE

    def end(self, cause: Cause, *, telling: bool = False) -> None:
        if self.state in (MatrixState.INVITING, MatrixState.ACTIVE):
            self._effects.emit(LeaveSlot(call=CALL))
        self.state = MatrixState.ENDED

    def tell(self, text: str, since: float) -> None:
        self.told.append(text)

    def identify(self, address: Address, name: str) -> None:
        self.told.append(f"{name} {address}")

    def reoffer(self, op: OpId, sdp: str) -> c.Command:
        raise AssertionError("it cannot renegotiate")

    def reanswer(self, sdp: str) -> c.Command:
        raise AssertionError("it never offers")

    def take_candidates(self) -> list[tuple[str, ...]]:
        return []

    def ringing(self) -> tuple[c.Ringing, ...]:
        return ()

    def record(self) -> None:
        """Whoever restarts leaves every slot anyway."""

    def handle(self, event: e.Event) -> Signal | None:
        match event:
            case PersonJoinedSlot(sdp=sdp) if self.state is MatrixState.INVITING:
                self.description, self.state = sdp, MatrixState.ACTIVE
            case PersonLeftSlot() if self.state is not MatrixState.ENDED:
                return Over(cause=Cause.NORMAL, by="matrix")
        return None

    def is_due(self) -> bool:
        return False

    def expire(self) -> Over | None:
        return None


class Table:
    """One call whose Matrix side is a slot."""

    def __init__(self, direction: Direction) -> None:
        self.effects = Effects(Timeouts(), Policy(limits=LIMITS))
        self.effects.now = 1000.0
        outgoing = direction is Direction.TO_SIP
        self.slot = SlotLeg(self.effects, offer="offer of the person" if outgoing else "")
        sip = (
            SipLeg.calling(self.effects, CALL, Placing.of(TO_PHONE, OUT), longest=3600)
            if outgoing
            else SipLeg.called(self.effects, CALL, called(), longest=3600)
        )
        self.call = Call(
            self.effects,
            CALL,
            direction,
            address=NUMBER,
            matrix=self.slot,
            sip=sip,
            terms=Terms(),
        )
        self.call.start()

    def said(self) -> list[c.Command]:
        """What is to be done, apart from what is written down."""
        return [one for one in self.effects.take() if not isinstance(one, c.StoreCommand)]

    def media(self) -> OpId:
        """The media engine was asked something."""
        [asked] = self.said()
        assert isinstance(asked, c.OfferMedia | c.AnswerMedia)
        return asked.op


def called() -> e.SipInviteReceived:
    return e.SipInviteReceived(
        leg=IN,
        trunk=TRUNK,
        caller=NUMBER,
        caller_name="",
        dialled="+12025550100",
        sip_call_id="x",
        sdp="offer of the phone",
    )


def test_the_person_calls_and_leaves() -> None:
    table = Table(Direction.TO_SIP)
    table.call.handle(e.MediaOfferReady(call=CALL, op=table.media(), sdp="offer to sip"))
    assert [type(one) for one in table.said()] == [c.SendSipInvite]
    table.call.handle(e.SipAnswered(leg=OUT, sdp="answer of the phone"))
    table.call.handle(e.MediaAnswerReady(call=CALL, op=table.media(), sdp="answer to matrix"))
    assert table.said() == [JoinSlot(call=CALL, sdp="answer to matrix", ring=False)]
    assert table.call.view().state == "connected"
    table.call.handle(PersonLeftSlot())
    left = [type(one) for one in table.said()]
    assert left == [LeaveSlot, c.ByeSip, c.CloseMedia]
    finish(table, OUT)


def test_the_telephone_calls_and_hangs_up() -> None:
    table = Table(Direction.TO_MATRIX)
    table.call.handle(e.MediaOfferReady(call=CALL, op=table.media(), sdp="offer to matrix"))
    joined, ringing = table.said()
    assert joined == JoinSlot(call=CALL, sdp="offer to matrix", ring=True)
    assert isinstance(ringing, c.SendSipProgress)
    table.call.handle(PersonJoinedSlot(sdp="answer of the person"))
    table.call.handle(e.MediaAnswerReady(call=CALL, op=table.media(), sdp="answer to sip"))
    [answer] = table.said()
    assert isinstance(answer, c.AnswerSip)
    table.call.handle(e.SipConfirmed(leg=IN, sdp=None))
    assert table.call.view().state == "connected"
    table.call.handle(ended(IN))
    assert [type(one) for one in table.said()] == [LeaveSlot, c.CloseMedia]
    finish(table, IN)


def test_the_person_does_not_come() -> None:
    table = Table(Direction.TO_MATRIX)
    table.call.handle(e.MediaOfferReady(call=CALL, op=table.media(), sdp="offer to matrix"))
    table.said()
    table.call.end(Cause.NO_ANSWER, "bridge")
    assert [type(one) for one in table.said()] == [LeaveSlot, c.RejectSip, c.CloseMedia]
    assert table.slot.told, "a missed call is told"
    finish(table, IN)


def ended(leg: LegId) -> e.SipEnded:
    return e.SipEnded(leg=leg, status=200)


def finish(table: Table, leg: LegId) -> None:
    """Everyone lets go, and nothing is left of the call."""
    table.call.handle(ended(leg))
    table.call.handle(e.MediaClosed(call=CALL, statistics={}))
    assert table.call.is_finished
    assert not table.said()
