# SPDX-License-Identifier: GPL-3.0-or-later
"""A telephone calls three people, whose clients answer and decline as they like, and only hear
what was sent to them, in whatever order the network delivers it. In the end one of them talks, or
nobody does.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import UserId
from tests.call.desk import CALL, IN, OUR_CALL, Desk
from tests.call.test_group import EVERYBODY, GROUP, device, room


class Member:
    """A person's client."""

    def __init__(self, person: UserId) -> None:
        self.person = person
        self.rings = False
        self.talks = False
        self.has_said = False

    def hears(self, command: c.SendCallEvent) -> None:
        ours = device(self.person).party
        match command:
            case c.SendMatrixInvite():
                self.rings = True
            case c.SendMatrixSelectAnswer(selected=selected) if selected != ours:
                self.rings = self.talks = False
            case c.SendMatrixHangup():
                self.rings = self.talks = False

    def says(self, *, answers: bool) -> e.Event:
        self.rings, self.talks, self.has_said = False, answers, True
        about = {"room": room(self.person), "call_id": OUR_CALL, "sender": device(self.person)}
        if answers:
            return e.MatrixAnswerReceived(**about, version=1, sdp="answer")  # type: ignore[arg-type]
        return e.MatrixRejectReceived(**about)  # type: ignore[arg-type]


class Stage:
    """What is on its way. Each way keeps its order."""

    def __init__(self) -> None:
        self.desk = Desk(GROUP)
        self.members = {person: Member(person) for person in EVERYBODY}
        self.to: dict[UserId, deque[c.SendCallEvent]] = {each: deque() for each in EVERYBODY}
        self.to_core: list[e.Event] = []
        """From adapters and clients that do not wait for each other."""
        self.from_engine: deque[e.Event] = deque()

    def tell(self, event: e.Event) -> None:
        self.desk.tell(event)
        self.pass_on()

    def pass_on(self) -> None:
        """Put what the core said on its way."""
        said, self.desk.said = self.desk.said, []
        for command in said:
            match command:
                case c.PreparePortal(op=op, person=person):
                    self.to_core.append(e.PortalReady(call=CALL, op=op, room=room(person)))
                case c.SendCallEvent():
                    self.to[next(p for p in EVERYBODY if room(p) == command.room)].append(command)
                case c.OfferMedia(op=op):
                    self.from_engine.append(e.MediaOfferReady(call=CALL, op=op, sdp="offer"))
                case c.AnswerMedia(op=op):
                    self.from_engine.append(e.MediaAnswerReady(call=CALL, op=op, sdp="answer"))
                case c.CloseMedia():
                    self.from_engine.append(e.MediaClosed(call=CALL))
                case c.AnswerSip(leg=leg):
                    self.to_core.append(e.SipConfirmed(leg=leg))
                case c.RejectSip(leg=leg, status=status):
                    self.to_core.append(e.SipEnded(leg=leg, status=status))

    def ways(self, wishes: dict[UserId, bool]) -> list[Callable[[], None]]:
        """What may happen next; `wishes` says who will answer, and who will decline."""
        ways: list[Callable[[], None]] = []
        for person, waiting in self.to.items():
            if waiting:
                ways.append(partial(self._deliver, person))
            member = self.members[person]
            if member.rings and not member.has_said and person in wishes:
                ways.append(partial(self._say, member, wishes[person]))
        ways += [partial(self._report, number) for number in range(len(self.to_core))]
        if self.from_engine:
            ways.append(lambda: self.tell(self.from_engine.popleft()))
        return ways

    def _deliver(self, person: UserId) -> None:
        self.members[person].hears(self.to[person].popleft())

    def _say(self, member: Member, answers: bool) -> None:
        self.to_core.append(member.says(answers=answers))

    def _report(self, number: int) -> None:
        self.tell(self.to_core.pop(number))


@given(
    wishes=st.dictionaries(st.sampled_from(EVERYBODY), st.booleans()),
    undisturbed=st.sets(st.sampled_from(EVERYBODY), max_size=2),
    gives_up=st.booleans(),
    data=st.data(),
)
def test_one_of_them_talks_or_nobody(
    wishes: dict[UserId, bool], undisturbed: set[UserId], gives_up: bool, data: st.DataObject
) -> None:
    stage = Stage()
    for person in undisturbed:
        stage.tell(e.PersonChanged(person=person, dnd=True))
    stage.desk.phone_calls()
    stage.pass_on()
    stage.tell(e.SipConfirmed(leg=IN))  # Comes too early, and means nothing.
    while ways := stage.ways(wishes):
        ways[data.draw(st.integers(0, len(ways) - 1))]()
        if gives_up and data.draw(st.integers(0, 30)) == 0:
            gives_up = False
            stage.tell(e.SipCancelled(leg=IN))

    talking = [person for person, member in stage.members.items() if member.talks]
    connected = [view for view in stage.desk.core.active() if view.state == "connected"]
    assert [view.person for view in connected] == talking
    assert len(talking) <= 1
    ringing = [person for person, member in stage.members.items() if member.rings]
    if talking or not any(view.state == "ringing" for view in stage.desk.core.active()):
        assert ringing == []
    assert not undisturbed & set(talking + ringing)
    stage.desk.wait(10_000)
    stage.pass_on()
    while ways := stage.ways({}):
        ways[0]()
    assert not any(member.rings for member in stage.members.values())
