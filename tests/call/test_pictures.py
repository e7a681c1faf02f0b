# SPDX-License-Identifier: GPL-3.0-or-later
"""Who joins video late, or lost some of it, wants a whole picture: asked for on the other leg."""

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import LegId, Side
from tests.call.desk import CALL, IN, OUT, Desk


def client_wants_one(desk: Desk) -> None:
    desk.tell(e.MediaPictureWanted(call=CALL))


def phone_wants_one(desk: Desk, leg: LegId = OUT) -> None:
    desk.tell(e.SipPictureWanted(leg=leg))


def test_a_client_wants_a_picture_of_the_telephone() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    client_wants_one(desk)
    assert desk.expect(c.AskSipForPicture).leg == OUT
    client_wants_one(desk)
    desk.expect(c.AskSipForPicture)


def test_a_door_wants_a_picture_of_the_client() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    phone_wants_one(desk, IN)
    assert desk.expect(c.RefreshPicture).call == CALL


def test_before_the_answer_and_after_the_end_there_are_no_pictures() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    phone_wants_one(desk)
    client_wants_one(desk)
    assert not desk.said
    desk.phone_answers()
    phone_wants_one(desk)  # Answered, but nothing passes yet.
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixAnswer)
    desk.media_connects()
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    phone_wants_one(desk)
    client_wants_one(desk)
    assert not desk.said


def test_pictures_go_on_while_it_rings_elsewhere() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    desk.passed_on()
    phone_wants_one(desk)
    desk.expect(c.RefreshPicture)
    client_wants_one(desk)
    desk.expect(c.AskSipForPicture)
