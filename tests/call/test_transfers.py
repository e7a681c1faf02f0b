# SPDX-License-Identifier: GPL-3.0-or-later
"""The person transfers a call: to a number, or into another call of theirs.

matrix-js-sdk leaves a call that it has transferred at once, and says no more.
"""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.deadlines import Timeouts
from bridge.call.ids import Address, CallId, LegId, MatrixCallId, RoomId, Side
from bridge.call.notices import NOT_TRANSFERRED, TO_NOBODY, Notices
from tests.call.desk import (
    CALL,
    LAPTOP,
    LIMITS,
    NUMBER,
    OLD_CLIENT,
    OUT,
    PERSON,
    POLICY,
    ROOM,
    TRUNK,
    Desk,
)

TARGET = Address("tel:+12025550177")
BUSY = "The call could not be transferred: the line was busy."
FAR = Address("tel:+442079460123")
SECOND = CallId("n-2")
SECOND_OUT = LegId("n-2-out")
SECOND_ROOM = RoomId("!second:mx.test")
SECOND_CALL = MatrixCallId("second")


def referred(desk: Desk, status: int) -> None:
    """The far end takes the REFER that the core asked for last, and this becomes of it."""
    refer = desk.expect(c.ReferSip)
    for each in (100, status):
        desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=each))


def client_is_gone(desk: Desk, call: CallId = CALL) -> None:
    desk.tell(e.MediaLost(call=call, side=Side.MATRIX, fault=e.MediaFault.ICE_FAILED))


def transferring() -> Desk:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_transfers(TARGET)
    return desk


# --- to a number ------------------------------------------------------------------------------


def test_the_far_end_is_referred_and_the_call_ends_when_it_has_got_there() -> None:
    desk = transferring()
    refer = desk.expect(c.ReferSip)
    assert (refer.leg, refer.target, refer.replaces) == (OUT, "+12025550177", None)
    client_is_gone(desk)
    for status in (202, 100, 180):
        desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=min(status, 199)))
    assert not desk.said
    desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=200))
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia)
    desk.is_over("transferred", "matrix")


def test_the_far_end_hangs_up_by_itself_when_it_has_got_there() -> None:
    desk = transferring()
    desk.expect(c.ReferSip)
    desk.phone_ends(OUT)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("transferred", "sip")


def test_the_far_end_is_lost_on_the_way() -> None:
    desk = transferring()
    desk.expect(c.ReferSip)
    desk.phone_ends(OUT, 408)
    desk.is_over("no_answer", "sip")


def test_a_refused_transfer_leaves_the_call_as_it_is() -> None:
    desk = transferring()
    referred(desk, 600)
    assert desk.expect(c.SendNotice).text == BUSY
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    desk.expect(c.SendSipReinvite)
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def comes_back(desk: Desk, *also: type[c.Command]) -> None:
    """Who has left the call is rung, and the far end hears that it rings."""
    said = desk.expect_all(
        *(*also, c.SendMatrixHangup, c.BridgeMedia, c.OfferMedia, c.PreparePortal, c.OfferMedia)
    )
    *_, bridge, anew, prepare, offer = said
    assert isinstance(bridge, c.BridgeMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(anew, c.OfferMedia)
    assert isinstance(offer, c.OfferMedia)
    assert (bridge.call, bridge.other) == (CALL, SECOND)
    assert (prepare.call, prepare.person, prepare.address) == (SECOND, PERSON, NUMBER)
    desk.tell(e.MediaOfferReady(call=CALL, op=anew.op, sdp="", needed=False))
    desk.expect(c.RollbackMedia)
    desk.tell(e.PortalReady(call=SECOND, op=prepare.op, room=ROOM))
    desk.tell(e.MediaOfferReady(call=SECOND, op=offer.op, sdp="offer to person"))
    assert desk.expect(c.SendMatrixInvite).sdp == "offer to person"


def test_a_refused_transfer_of_a_client_that_has_left_comes_back() -> None:
    desk = transferring()
    refer = desk.expect(c.ReferSip)
    client_is_gone(desk)
    for status in (100, 486):
        desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=status))
    assert isinstance(desk.said[0], c.SendNotice)
    assert desk.said[0].text == BUSY
    comes_back(desk, c.SendNotice)
    answer = {"room": ROOM, "call_id": MatrixCallId("~n2"), "sender": LAPTOP, "version": 1}
    desk.tell(e.MatrixAnswerReceived(**answer, sdp="here again"))  # type: ignore[arg-type]
    _, told = desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
    assert isinstance(told, c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=SECOND, op=told.op, sdp="offer of another call"))
    desk.far_end_moves()
    taken, closed = desk.expect_all(c.AnswerMedia, c.CloseMedia)
    assert (taken.call, closed.call) == (SECOND, CALL)


def test_who_does_not_take_it_back_has_lost_it() -> None:
    desk = transferring()
    refer = desk.expect(c.ReferSip)
    client_is_gone(desk)
    for status in (100, 486):
        desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=status))
    comes_back(desk, c.SendNotice)
    desk.wait(LIMITS.ring_time)
    assert any(isinstance(each, c.ByeSip) for each in desk.said)
    ends = {record.call: record.cause for record in desk.records if isinstance(record, c.RecordEnd)}
    assert ends == {CALL: "not_transferred", SECOND: "no_answer"}


def test_a_client_that_turns_out_to_have_left_gets_the_call_back() -> None:
    desk = transferring()
    referred(desk, 603)
    desk.expect(c.SendNotice)
    client_is_gone(desk)
    comes_back(desk)
    client_is_gone(desk)
    assert not desk.said


def test_a_hangup_does_not_cut_a_transfer_short() -> None:
    desk = transferring()
    refer = desk.expect(c.ReferSip)
    desk.person_hangs_up()
    assert not desk.said
    desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=200))
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.is_over("transferred", "matrix")


def test_a_hold_on_the_way_is_not_asked_of_a_client_that_has_left() -> None:
    desk = transferring()
    desk.expect(c.ReferSip)
    desk.person_hangs_up()
    desk.phone_reinvites(500)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    assert desk.expect(c.AnswerMedia).sdp == "matrix offer"


def test_a_transfer_of_which_nothing_is_heard_is_taken_for_done() -> None:
    desk = transferring()
    desk.expect(c.ReferSip)
    desk.wait(LIMITS.ring_time + Timeouts().transfer)
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia)
    desk.is_over("transferred", "bridge")


def test_a_refused_transfer_does_not_make_a_call_longer() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.wait(LIMITS.max_duration - 10)
    desk.person_transfers(TARGET)
    referred(desk, 603)
    desk.wait(11)
    desk.is_over("max_duration", "bridge")


def test_a_result_that_nobody_waits_for_is_ignored() -> None:
    desk = transferring()
    refer = desk.expect(c.ReferSip)
    for status in (100, 603):
        desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=status))
    desk.expect(c.SendNotice)
    for status in (100, 200):
        desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=status))
    assert not desk.said


# --- what may not be ----------------------------------------------------------------------------


def test_where_nobody_may_call_nobody_is_transferred() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_transfers(FAR)
    text = "There is no way to reach this number from here."
    assert desk.expect(c.SendNotice).text == text


def test_a_transfer_counts_as_a_call() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    for _ in range(LIMITS.calls_per_minute - 1):
        desk.person_transfers(TARGET)
        referred(desk, 603)
        desk.expect(c.SendNotice)
    desk.person_transfers(TARGET)
    assert desk.expect(c.SendNotice).text.startswith("Too many calls within a minute.")


def test_a_transfer_to_nobody() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_transfers(None)
    assert desk.expect(c.SendNotice).text == TO_NOBODY
    client_is_gone(desk)
    comes_back(desk)


def test_who_wants_no_notices_gets_none() -> None:
    desk = Desk(replace(POLICY, notices=Notices.NONE))
    desk.connected_to_the_phone()
    desk.person_transfers(None)
    assert not desk.said


def test_one_transfer_at_a_time() -> None:
    desk = transferring()
    desk.expect(c.ReferSip)
    for waits in (False, True):
        desk.person_transfers(TARGET, waits=waits)
        assert desk.expect(c.SendNotice).text == NOT_TRANSFERRED


def test_a_call_that_is_not_answered_is_not_transferred() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    desk.person_transfers(TARGET)
    assert not desk.said


def test_old_clients_know_no_transfer() -> None:
    desk = Desk()
    desk.connected_to_the_phone(sender=OLD_CLIENT, version=0)
    desk.tell(
        e.MatrixReplacesReceived(room=ROOM, call_id=MatrixCallId("x"), sender=LAPTOP, target=TARGET)
    )
    assert not desk.said


# --- into another call --------------------------------------------------------------------------


def consulting() -> Desk:
    """The person talks to the first, and asks the second whether they want to."""
    desk = Desk()
    desk.connected_to_the_phone()
    desk.person_calls(SECOND_CALL, address=TARGET, room=SECOND_ROOM)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=SECOND, op=offer.op, sdp="offer to sip"))
    desk.expect(c.SendSipInvite)
    desk.tell(e.SipAnswered(leg=SECOND_OUT, sdp="sip answer"))
    answer = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=SECOND, op=answer.op, sdp="answer to matrix"))
    desk.expect(c.SendMatrixAnswer)
    desk.tell(e.MediaConnected(call=SECOND, matrix_codec="x", sip_codec="x"))
    return desk


def waits_second(desk: Desk) -> None:
    desk.person_transfers(
        Address("tel:+12025550123"), waits=True, call_id=SECOND_CALL, room=SECOND_ROOM
    )


@pytest.mark.parametrize("first", [True, False])
def test_the_far_end_takes_the_place_of_the_person_in_the_other_call(first: bool) -> None:
    desk = consulting()
    if first:
        waits_second(desk)
    desk.person_transfers(TARGET)
    refer = desk.expect(c.ReferSip)
    assert (refer.leg, refer.replaces) == (OUT, SECOND_OUT)
    if not first:
        waits_second(desk)
    client_is_gone(desk)
    client_is_gone(desk, SECOND)
    assert not desk.said
    desk.tell(e.SipEnded(leg=SECOND_OUT, status=200))
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.tell(e.SipReferProgressed(leg=OUT, op=refer.op, status=200))
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia)
    desk.is_over("transferred", "matrix")


def test_who_waits_in_vain_is_let_go() -> None:
    desk = consulting()
    waits_second(desk)
    client_is_gone(desk, SECOND)
    assert not desk.said
    desk.wait(LIMITS.ring_time + Timeouts().transfer)
    desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia)
    assert desk.recorded(c.RecordEnd).cause == "transferred"


def test_the_calls_trunk_carries_the_transfer() -> None:
    """A rule for another trunk is none for the one that is to follow."""
    assert POLICY.outbound[0].trunks == (TRUNK,)
    other = replace(POLICY, outbound=[replace(POLICY.outbound[0], strip=1, prepend="9")])
    desk = Desk(other)
    desk.connected_to_the_phone()
    desk.person_transfers(TARGET)
    assert desk.expect(c.ReferSip).target == "92025550177"
