# SPDX-License-Identifier: GPL-3.0-or-later
"""Both call at once, and neither knows: a client, a telephone and an engine that only hear what was
sent to them, in whatever order the network delivers it. In the end all of them mean the same call.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import LegId, MatrixCallId, MatrixCallKey
from bridge.call.switchboard import PARTY
from tests.call.desk import (
    IN,
    LAPTOP,
    NUMBER,
    OURS,
    ROOM,
    SPARE_POLICY,
    THEIR_CALL,
    TRUNK,
    Desk,
)


class Client:
    """A client in the portal: what it believes, and what it would say."""

    def __init__(self) -> None:
        self.own: MatrixCallId | None = None
        self.theirs: MatrixCallId | None = None
        self.talks_in: MatrixCallId | None = None
        self.outbox: list[e.MatrixCallEvent] = []

    def calls(self) -> None:
        self.own = THEIR_CALL
        self.outbox.append(
            e.MatrixInviteReceived(
                **self._about(self.own),
                address=NUMBER,
                version=1,
                sdp="matrix offer",
                lifetime=60,
                age=0,
            )
        )

    def hears(self, command: c.SendCallEvent) -> None:
        match command:
            case c.SendMatrixInvite():
                self.invited(command.call_id)
            case c.SendMatrixAnswer() if command.call_id == self.own:
                self.talks_in = self.own
                self.outbox.append(
                    e.MatrixSelectAnswerReceived(
                        **self._about(command.call_id), selected=command.party
                    )
                )
            case c.SendMatrixReject() if command.call_id == self.own:
                self.own = None
            case c.SendMatrixSelectAnswer() if command.selected == PARTY:
                self.hung_up(command.call_id)  # Another than this client was chosen.
            case c.SendMatrixHangup():
                self.hung_up(command.call_id)

    def invited(self, call_id: MatrixCallId) -> None:
        raise NotImplementedError

    def hung_up(self, call_id: MatrixCallId) -> None:
        # matrix-js-sdk ignores the hangup of its own call before an answer.
        if call_id == self.theirs:
            self.theirs = None
        if call_id == self.talks_in:
            self.talks_in = self.own = None

    def accepts(self, call_id: MatrixCallId) -> None:
        self.talks_in = call_id
        self.outbox.append(
            e.MatrixAnswerReceived(**self._about(call_id), version=1, sdp="matrix answer")
        )

    def _about(self, call_id: MatrixCallId) -> dict[str, Any]:
        return {"room": ROOM, "call_id": call_id, "sender": LAPTOP}


class NeverResolves(Client):
    """matrix-js-sdk: a call that comes in while its own is under way is not looked at."""

    def invited(self, call_id: MatrixCallId) -> None:
        if self.own is None:
            self.theirs = call_id


class Resolves(Client):
    """A client by the specification: the lesser call id survives, the greater is aborted."""

    def invited(self, call_id: MatrixCallId) -> None:
        if self.own is None:
            self.theirs = call_id
        elif self.own < call_id:
            self.outbox.append(e.MatrixRejectReceived(**self._about(call_id)))
        else:
            self.outbox.append(e.MatrixHangupReceived(**self._about(self.own)))
            self.own = None
            self.accepts(call_id)


class Phone:
    """A telephone that calls, and rings when it is called, but answers only if told to."""

    def __init__(self, *, answers: bool, failing: int = 0, blind: bool = False) -> None:
        """`failing`: so many of the trunks that lead here do not work. `blind`: wants no video."""
        self.outbox: list[e.SipEvent] = []
        self.talks_on: LegId | None = None
        self._answers = answers
        self._failing = failing
        self._blind = blind

    def calls(self) -> None:
        self.outbox.append(
            e.SipInviteReceived(
                leg=IN,
                trunk=TRUNK,
                caller=NUMBER,
                caller_name="",
                dialled=OURS,
                sdp="sip offer",
                sip_call_id="call-id@pbx.test",
            )
        )

    def hears(self, command: c.SipCommand) -> None:
        leg = command.leg
        match command:
            case c.SendSipInvite() if self._failing:
                self._failing -= 1
                self.outbox.append(e.SipEnded(leg=leg, status=503, remote=False))
            case c.SendSipInvite(sdp="video") if self._blind:
                self.outbox.append(e.SipEnded(leg=leg, status=488))
            case c.SendSipInvite():
                self.outbox.append(e.SipProgressed(leg=leg, status=180))
                if self._answers and self.talks_on is None:
                    self.talks_on = leg
                    self.outbox.append(e.SipAnswered(leg=leg, sdp="sip answer"))
            case c.AnswerSip():
                self.talks_on = leg
                self.outbox.append(e.SipConfirmed(leg=leg))
            case c.CancelSip() if self.talks_on != leg and not self._has_ended(leg):
                self.outbox.append(e.SipEnded(leg=leg, status=487))
            case c.RejectSip(status=status):
                self.outbox.append(e.SipEnded(leg=leg, status=status))
            case c.ByeSip():
                self.talks_on = None if self.talks_on == leg else self.talks_on
                self.outbox.append(e.SipEnded(leg=leg, status=200))

    def _has_ended(self, leg: LegId) -> bool:
        return any(isinstance(each, e.SipEnded) and each.leg == leg for each in self.outbox)


def engine(command: c.Command) -> e.Event | None:
    """What the media engine and the portal answer."""
    match command:
        case c.PreparePortal(call=call, op=op):
            return e.PortalReady(call=call, op=op, room=ROOM)
        case c.OfferMedia(call=call, op=op, audio_alone=True):
            return e.MediaOfferReady(call=call, op=op, sdp="audio")
        case c.OfferMedia(call=call, op=op):
            return e.MediaOfferReady(call=call, op=op, sdp="video", video=True)
        case c.AnswerMedia(call=call, op=op):
            return e.MediaAnswerReady(call=call, op=op, sdp="answer")
        case c.JoinMedia(call=call, op=op):
            return e.MediaJoined(call=call, op=op, matrix_sdp="answer", sip_sdp="answer")
        case c.CloseMedia(call=call):
            return e.MediaClosed(call=call)
    return None


class World:
    """Everyone, and what is on its way between them. Each way keeps its order."""

    def __init__(self, client: Client, phone: Phone) -> None:
        self.desk = Desk(SPARE_POLICY)
        self.client = client
        self.phone = phone
        self.to_client: deque[c.SendCallEvent] = deque()
        self.to_phone: deque[c.SipCommand] = deque()
        self.from_engine: deque[e.Event] = deque()

    def ways(self) -> list[Callable[[], None]]:
        """What may happen next."""
        found: list[Callable[[], None]] = []
        if self.to_client:
            found.append(lambda: self.client.hears(self.to_client.popleft()))
        if self.to_phone:
            found.append(lambda: self.phone.hears(self.to_phone.popleft()))
        if self.from_engine:
            found.append(lambda: self.tell(self.from_engine.popleft()))
        if self.client.outbox:
            found.append(lambda: self.tell(self.client.outbox.pop(0)))
        if self.phone.outbox:
            found.append(lambda: self.tell(self.phone.outbox.pop(0)))
        if self.client.theirs and not self.client.own and not self.client.talks_in:
            found.append(self.accept)
        return found

    def accept(self) -> None:
        assert self.client.theirs is not None
        self.client.accepts(self.client.theirs)

    def tell(self, event: e.Event) -> None:
        self.desk.tell(event)
        self.sort()

    def sort(self) -> None:
        """Send what the core said on its way."""
        for command in self.desk.said:
            match command:
                case c.SendCallEvent():
                    self.to_client.append(command)
                case c.SipCommand():
                    self.to_phone.append(command)
                case _ if (result := engine(command)) is not None:
                    self.from_engine.append(result)
        self.desk.said.clear()


@pytest.mark.parametrize("kind", [NeverResolves, Resolves])
@given(answers=st.booleans(), failing=st.integers(0, 2), blind=st.booleans(), data=st.data())
def test_both_sides_keep_the_same_call(
    kind: type[Client], answers: bool, failing: int, blind: bool, data: st.DataObject
) -> None:
    client, phone = kind(), Phone(answers=answers, failing=failing, blind=blind)
    world = World(client, phone)
    starts: list[Callable[[], None]] = [client.calls, phone.calls]
    while ways := world.ways() + starts:
        way = ways[data.draw(st.integers(0, len(ways) - 1))]
        if way == client.calls and client.talks_in:
            starts.remove(way)  # Nobody calls a second time while they talk.
            continue
        if way in starts:
            starts.remove(way)
        way()

    (view,) = world.desk.core.active()
    assert view.state == "connected"
    assert client.talks_in is not None
    kept = world.desk.audit.matrix[MatrixCallKey(ROOM, client.talks_in)]
    assert not kept.over
    alive = [leg for leg, seen in world.desk.audit.sip.items() if not seen.is_ended]
    assert alive == [phone.talks_on]
