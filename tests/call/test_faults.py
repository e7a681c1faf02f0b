# SPDX-License-Identifier: GPL-3.0-or-later
"""One call goes wrong inside; the others do not notice."""

from typing import Any

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.call import Call
from bridge.call.ids import Address, CallId, LegId
from bridge.call.matrix_leg import MatrixLeg
from bridge.call.sip_leg import SipLeg
from tests.call.desk import CALL, IN, NUMBER, PERSON, ROOM, Desk

OTHER = CallId("n-2")


class Fault(Exception):
    """What goes wrong."""


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Two calls ring at the person's, from two numbers."""
    desk = Desk()
    desk.rings_at_the_person()
    desk.phone_calls(LegId("in-2"), caller=Address("tel:+12025550124"))
    desk.said.clear()
    return desk


def breaks(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, call: CallId = CALL) -> None:
    """From now on, something of this call raises."""
    works = getattr(kind, name)

    def broken(self: Any, *args: Any, **named: Any) -> Any:
        if getattr(self, "id", None) == call or getattr(self, "_call", None) == call:
            raise Fault(name)
        return works(self, *args, **named)

    monkeypatch.setattr(kind, name, broken)


def faults(desk: Desk) -> list[tuple[CallId, str]]:
    return [(call, str(error)) for call, error in desk.core.take_faults()]


def causes(commands: list[c.Command]) -> dict[CallId, str]:
    return {each.call: each.cause for each in commands if isinstance(each, c.RecordEnd)}


def test_a_timer_that_fails_ends_its_call_and_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, Call, "handle_timer")
    said = desk.core.handle_timer(desk.now + 61)
    assert faults(desk) == [(CALL, "handle_timer")]
    assert causes(said) == {CALL: "error", OTHER: "unreachable"}
    assert any(isinstance(each, c.RejectSip) and each.leg == IN for each in said)
    assert any(isinstance(each, c.SendMatrixHangup) and each.call == CALL for each in said)
    assert faults(desk) == []


def test_a_call_that_fails_again_while_it_ends_is_let_go_of(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, Call, "handle_timer")
    said = desk.core.handle_timer(desk.now + 100)
    said += desk.core.handle_timer(desk.now + 141)
    assert faults(desk) == [(CALL, "handle_timer")] * 2
    assert [type(each) for each in said if each.call == CALL].count(c.RecordEnd) == 1
    assert causes(said)[OTHER] != "error"
    desk.core.handle_timer(desk.now + 1000)
    assert desk.core.active() == []


def test_a_leg_that_cannot_be_ended_leaves_the_other_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, MatrixLeg, "handle")
    breaks(monkeypatch, MatrixLeg, "end")
    said = desk.core.handle(e.MatrixMemberLeft(room=ROOM, user=PERSON), desk.now)
    assert faults(desk) == [(CALL, "handle")]
    assert [type(each) for each in said] == [c.RejectSip, c.CloseMedia, c.RecordEnd]
    assert causes(said) == {CALL: "error"}
    assert [view.call for view in desk.core.active()] == [OTHER]


def test_a_call_that_cannot_be_ended_does_not_keep_the_others_from_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, SipLeg, "end")
    said = desk.core.handle(e.ShutdownRequested(), desk.now)
    assert faults(desk) == [(CALL, "end")]
    assert causes(said) == {CALL: "shutdown", OTHER: "shutdown"}
    assert any(isinstance(each, c.CloseMedia) and each.call == CALL for each in said)


def test_what_goes_wrong_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    breaks(monkeypatch, MatrixLeg, "prepare")
    said = desk.core.handle(e.CallRequested(person=PERSON, address=NUMBER), desk.now)
    assert faults(desk) == [(CALL, "prepare")]
    assert causes(said) == {CALL: "error"}
    assert desk.core.active() == []
