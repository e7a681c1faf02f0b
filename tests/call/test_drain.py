# SPDX-License-Identifier: GPL-3.0-or-later
"""Before the bridge stops: no call begins, and those that have go on."""

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import Address, LegId, MatrixCallId, RoomId, Side
from tests.call.desk import NUMBER, OUT, PERSON, Desk

OTHER = Address("tel:+12025550124")


def test_calls_go_on_and_new_ones_are_told_when_to_try_again() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.tell(e.DrainRequested(seconds=300))
    assert desk.said == []
    desk.wait(100)
    desk.phone_calls(LegId("in-2"), caller=OTHER)
    (refused,) = [each for each in desk.said if isinstance(each, c.RejectSip)]
    assert (refused.status, refused.retry_after) == (503, 200)
    assert desk.recorded(c.RecordEnd).cause == "shutdown"
    (prepare,) = [each for each in desk.said if isinstance(each, c.PreparePortal)]
    desk.said.clear()
    desk.tell(e.PortalReady(call=prepare.call, op=prepare.op, room=RoomId("!other:mx.test")))
    notice = desk.expect(c.SendNotice)
    assert notice.text.endswith("the bridge was being restarted.")
    desk.phone_ends(LegId("in-2"), 503, remote=False)
    desk.said.clear()
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_a_caller_waits_for_the_restart_at_least() -> None:
    desk = Desk()
    desk.tell(e.DrainRequested(seconds=5))
    desk.phone_calls()
    (refused,) = [each for each in desk.said if isinstance(each, c.RejectSip)]
    assert refused.retry_after == 30


def test_a_person_reads_that_the_bridge_is_being_restarted() -> None:
    desk = Desk()
    desk.tell(e.DrainRequested(seconds=60))
    desk.person_calls()
    reject, notice = desk.said[0], desk.said[-1]
    assert isinstance(reject, c.SendMatrixReject)
    assert isinstance(notice, c.SendNotice)
    assert "is being restarted" in notice.text
    assert desk.recorded(c.RecordEnd).cause == "shutdown"


def test_the_bot_places_no_call() -> None:
    desk = Desk()
    desk.tell(e.DrainRequested(seconds=60))
    why = desk.core.why_not(PERSON, NUMBER, desk.now)
    assert why is not None
    assert why.cause.value == "shutdown"
    desk.tell(e.CallRequested(person=PERSON, address=NUMBER))
    assert desk.said == []


@pytest.mark.parametrize("rings", [True, False])
def test_a_call_that_rings_may_be_answered(rings: bool) -> None:
    desk = Desk()
    desk.person_calls(MatrixCallId("first"))
    desk.media_offers(Side.MATRIX, "matrix offer")
    desk.expect(c.SendSipInvite)
    if rings:
        desk.phone_rings()
    desk.tell(e.DrainRequested(seconds=60))
    desk.phone_answers()
    assert isinstance(desk.said[-1], c.AnswerMedia)
    desk.said.clear()
    desk.tell(e.ShutdownRequested())
    desk.phone_ends(OUT)
    assert desk.recorded(c.RecordEnd).cause == "shutdown"
