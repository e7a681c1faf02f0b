# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that lost its call (the page was reloaded, the app was killed) calls again."""

from collections.abc import Callable

import pytest

from bridge.call import commands as c
from bridge.call.ids import CallId, LegId, MatrixCallId, Party, PartyId, Side
from tests.call.desk import (
    CALL,
    IN,
    LAPTOP,
    MOBILE,
    OLD_CLIENT,
    OUR_CALL,
    OUT,
    PERSON,
    THEIR_CALL,
    Desk,
)

AGAIN = MatrixCallId("1795358499999again")
SECOND = CallId("n-2")


def rings_again(desk: Desk) -> None:
    """The second call goes its way."""
    offer = desk.expect(c.OfferMedia)
    assert (offer.call, offer.side, offer.sdp) == (SECOND, Side.MATRIX, "matrix offer")


@pytest.mark.parametrize(
    ("before", "end", "bye"),
    [
        (Desk.connected_to_the_phone, c.SendMatrixHangup, c.ByeSip),
        (Desk.rings_at_the_phone, c.SendMatrixReject, c.CancelSip),
    ],
)
def test_the_same_device_calls_again(
    before: Callable[[Desk], None], end: type[c.Command], bye: type[c.Command]
) -> None:
    desk = Desk()
    before(desk)
    desk.person_calls(AGAIN)
    ended, told, closed = desk.said[:3]
    assert [type(each) for each in (ended, told, closed)] == [end, bye, c.CloseMedia]
    assert isinstance(ended, c.SendMatrixHangup | c.SendMatrixReject)
    assert (ended.call_id, ended.reason) == (THEIR_CALL, "user_hangup")
    assert isinstance(told, c.ByeSip | c.CancelSip)
    assert told.leg == OUT
    assert desk.recorded(c.RecordEnd).cause == "replaced"
    desk.said = desk.said[3:]
    rings_again(desk)
    desk.phone_ends(OUT)
    desk.person_hangs_up(AGAIN)
    desk.phone_ends(LegId("n-2-out"))


def test_who_was_called_calls_back_from_the_same_device() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    desk.person_calls(AGAIN)
    hangup, bye, closed = desk.said[:3]
    assert isinstance(hangup, c.SendMatrixHangup)
    assert isinstance(bye, c.ByeSip)
    assert isinstance(closed, c.CloseMedia)
    assert (hangup.call_id, bye.leg, closed.call) == (OUR_CALL, IN, CALL)
    desk.said = desk.said[3:]
    rings_again(desk)


def test_a_client_of_v0_calls_again() -> None:
    desk = Desk()
    desk.connected_to_the_phone(sender=OLD_CLIENT, version=0)
    desk.said.clear()
    desk.person_calls(AGAIN, sender=OLD_CLIENT, version=0)
    assert desk.recorded(c.RecordEnd).cause == "replaced"


@pytest.mark.parametrize("sender", [MOBILE, Party(PERSON, PartyId(""))])
def test_another_device_is_told_that_the_line_is_busy(sender: Party) -> None:
    desk = Desk()
    desk.connected_to_the_phone(sender=LAPTOP)
    desk.person_calls(AGAIN, sender=sender)
    reject, _ = desk.expect_all(c.SendMatrixReject, c.SendNotice)
    assert isinstance(reject, c.SendMatrixReject)
    assert (reject.call_id, reject.reason) == (AGAIN, "user_busy")
    assert [view.state for view in desk.core.active()] == ["connected"]
