# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else comes to the phone: clients are told who."""

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import Address, Side
from tests.call.desk import IN, NUMBER, OLD_CLIENT, OUT, Desk

OTHER = Address("tel:+12025550177")


def changes(desk: Desk, address: Address = OTHER, name: str = "Reception") -> None:
    desk.tell(e.SipIdentityChanged(leg=OUT, address=address, name=name))


def test_who_comes_to_the_phone_is_told_once() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    changes(desk)
    told = desk.expect(c.SendMatrixAssertedIdentity)
    assert (told.identity, told.name, told.address) == (OTHER, "Reception", NUMBER)
    changes(desk)
    assert not desk.said
    changes(desk, NUMBER, "")
    assert desk.expect(c.SendMatrixAssertedIdentity).identity == NUMBER


def test_who_was_called_is_no_news() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    changes(desk, NUMBER)
    assert not desk.said


def test_who_answers_instead_is_told_when_the_call_is_answered() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    changes(desk)
    assert not desk.said
    desk.phone_answers()
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect_all(c.SendMatrixAnswer, c.SendMatrixAssertedIdentity)


def test_who_calls_now_is_told_when_the_person_answers() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.tell(e.SipIdentityChanged(leg=IN, address=OTHER))
    assert not desk.said
    desk.person_answers()
    desk.expect_all(c.SendMatrixSelectAnswer, c.SendMatrixAssertedIdentity, c.AnswerMedia)


def test_old_clients_and_calls_that_are_over_are_not_told() -> None:
    desk = Desk()
    desk.connected_to_the_phone(sender=OLD_CLIENT, version=0)
    changes(desk)
    assert not desk.said
    desk.person_hangs_up(sender=OLD_CLIENT)
    desk.expect_all(c.ByeSip, c.CloseMedia)
    changes(desk, Address("tel:+12025550178"))
    assert not desk.said
