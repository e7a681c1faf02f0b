# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that are pressed in a call, and cannot pass within the audio."""

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import LegId, Side
from tests.call.desk import CALL, IN, OUT, Desk


def person_presses(desk: Desk, key: str = "5") -> None:
    desk.tell(e.MediaKeyPressed(call=CALL, key=key, duration=0.16))


def phone_presses(desk: Desk, leg: LegId = OUT, key: str = "#") -> None:
    desk.tell(e.SipKeyPressed(leg=leg, key=key, duration=0.25))


def test_a_key_of_the_person_goes_by_sip() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    person_presses(desk)
    told = desk.expect(c.SendSipKey)
    assert (told.leg, told.key, told.duration) == (OUT, "5", 0.16)
    person_presses(desk)
    desk.expect(c.SendSipKey)


def test_a_key_of_the_telephone_goes_into_the_audio() -> None:
    desk = Desk()
    desk.connected_to_the_person()
    phone_presses(desk, IN)
    played = desk.expect(c.PlayKey)
    assert (played.key, played.duration) == ("#", 0.25)


def test_before_the_answer_and_after_the_end_keys_mean_nothing() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    phone_presses(desk)
    person_presses(desk)
    assert not desk.said
    desk.phone_answers()
    phone_presses(desk)  # Answered, but there is no audio yet.
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixAnswer)
    desk.media_connects()
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    phone_presses(desk)
    person_presses(desk)
    assert not desk.said
