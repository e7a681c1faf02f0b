# SPDX-License-Identifier: GPL-3.0-or-later
"""What the person reads: every sentence, for every end that a call can come to."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.causes import MEANINGS, Cause
from bridge.call.ids import Address, LegId
from bridge.call.leg import Over
from bridge.call.notices import Notices, Past, last_words, spelled
from tests.call.desk import CALL, IN, MOBILE, OUR_CALL, OUT, POLICY, Desk

PLACED = Past(inbound=False, called=False, rang=0, talked=None)
TALKED = replace(PLACED, talked=192.4)
RANG = Past(inbound=True, called=True, rang=24.6, talked=None)
UNHEARD = replace(RANG, rang=0)
ASKED_FOR = Past(inbound=False, called=True, rang=10, talked=None)


def told(level: Notices, cause: Cause, by: str, past: Past) -> str:
    return last_words(level, Over(cause=cause, by=by), past)


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("past", [PLACED, TALKED, RANG, UNHEARD, ASKED_FOR])
@pytest.mark.parametrize("by", ["matrix", "sip", "media", "bridge"])
def test_who_wants_none_reads_none_and_everybody_reads_sentences(
    cause: Cause, past: Past, by: str
) -> None:
    assert told(Notices.NONE, cause, by, past) == ""
    for level in (Notices.ERRORS, Notices.ALL):
        text = told(level, cause, by, past)
        assert text == "" or (text[0].isupper() and text.endswith("."))
        assert len(text) < 160
        assert text.count("{time}") == text.count("You missed a call")


@pytest.mark.parametrize(
    ("cause", "by", "past", "text"),
    [
        # Their own call, which failed.
        (Cause.BUSY, "sip", PLACED, "The line is busy."),
        (Cause.NOT_IN_SERVICE, "sip", PLACED, "This number is not in service."),
        (Cause.TRUNK_DOWN, "sip", PLACED, MEANINGS[Cause.TRUNK_DOWN].sentence),
        (Cause.NOT_PERMITTED, "bridge", PLACED, MEANINGS[Cause.NOT_PERMITTED].sentence),
        (Cause.IN_CALL, "bridge", PLACED, "You are in a call with this number already."),
        (Cause.UNDELIVERABLE, "matrix", TALKED, MEANINGS[Cause.UNDELIVERABLE].sentence),
        (Cause.CONNECTION_LOST, "sip", TALKED, MEANINGS[Cause.CONNECTION_LOST].sentence),
        # What they did, or their client shows.
        (Cause.CANCELLED, "matrix", PLACED, ""),
        (Cause.NO_ANSWER, "matrix", PLACED, ""),
        (Cause.ICE_FAILED, "matrix", TALKED, ""),
        (Cause.ANSWERED_ELSEWHERE, "matrix", PLACED, ""),
        (Cause.NORMAL, "matrix", TALKED, ""),
        (Cause.NORMAL, "sip", TALKED, ""),
        # A call to them.
        (Cause.CANCELLED, "sip", RANG, "You missed a call at {time}. It rang for 25 s."),
        (Cause.CANCELLED, "sip", UNHEARD, "You missed a call at {time}."),
        (Cause.UNREACHABLE, "matrix", UNHEARD, "You missed a call at {time}."),
        (
            Cause.DO_NOT_DISTURB,
            "bridge",
            UNHEARD,
            "You missed a call at {time}: do not disturb was on.",
        ),
        (Cause.BUSY, "matrix", RANG, "You missed a call at {time}: you were in another call."),
        (Cause.DECLINED, "matrix", RANG, ""),
        (Cause.NORMAL, "matrix", RANG, ""),
        (Cause.ANSWERED_ELSEWHERE, "sip", RANG, "Somebody else answered this call."),
        (Cause.ANSWERED_ELSEWHERE, "sip", UNHEARD, ""),
        (Cause.FORWARDED, "bridge", UNHEARD, ""),
        # A call that they asked for.
        (Cause.NO_ANSWER, "bridge", ASKED_FOR, ""),
        (Cause.DECLINED, "matrix", ASKED_FOR, ""),
        (Cause.NO_RESOURCES, "media", ASKED_FOR, MEANINGS[Cause.NO_RESOURCES].sentence),
    ],
)
def test_what_is_told(cause: Cause, by: str, past: Past, text: str) -> None:
    assert told(Notices.ERRORS, cause, by, past) == text


@pytest.mark.parametrize("by", ["matrix", "sip"])
def test_how_long_they_talked_is_told_to_who_wants_all(by: str) -> None:
    assert told(Notices.ALL, Cause.NORMAL, by, TALKED) == "Call ended after 3 min 12 s."
    assert told(Notices.ALL, Cause.NORMAL, by, PLACED) == ""
    lost = told(Notices.ALL, Cause.CONNECTION_LOST, "sip", TALKED)
    assert lost == "The connection to the telephone network was lost. You talked for 3 min 12 s."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (42, "42 s"),
        (59.6, "1 min"),
        (192, "3 min 12 s"),
        (3600, "1 h"),
        (3735, "1 h 2 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert spelled(seconds) == text


def test_the_notice_of_a_missed_call_says_how_long_ago_it_came() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.wait(20)
    desk.tell(e.SipCancelled(leg=IN))
    _, _, notice = desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    assert isinstance(notice, c.SendNotice)
    assert notice.text == "You missed a call at {time}. It rang for 20 s."
    assert notice.ago == 20
    desk.is_over("cancelled", "sip")


def test_who_wants_all_reads_how_long_the_call_was() -> None:
    desk = Desk(replace(POLICY, notices=Notices.ALL))
    desk.connected_to_the_phone()
    desk.wait(61)
    desk.phone_ends(OUT)
    _, _, notice = desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    assert isinstance(notice, c.SendNotice)
    assert notice.text == "Call ended after 1 min 1 s."
    desk.is_over("normal", "sip")


def test_who_wants_none_is_told_nothing() -> None:
    desk = Desk(replace(POLICY, notices=Notices.NONE))
    desk.rings_at_the_person()
    desk.phone_calls(leg=LegId("in-2"))
    desk.expect(c.RejectSip)
    desk.tell(e.SipCancelled(leg=IN))
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("cancelled", "sip")


def test_answered_by_somebody_else_is_told_as_such() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.wait(5)
    desk.tell(e.SipCancelled(leg=IN, cause=26))
    *_, notice = desk.expect_all(
        c.SendMatrixSelectAnswer, c.SendMatrixHangup, c.CloseMedia, c.SendNotice
    )
    assert isinstance(notice, c.SendNotice)
    assert notice.text == "Somebody else answered this call."


def test_who_declines_on_any_device_is_told_nothing() -> None:
    desk = Desk()
    desk.rings_at_the_person()
    desk.person_rejects(MOBILE)
    desk.expect_all(c.SendMatrixSelectAnswer, c.RejectSip, c.CloseMedia)
    desk.person_hangs_up(OUR_CALL)
    desk.is_over("declined", "matrix")


@pytest.mark.parametrize(
    ("level", "told"), [(Notices.ALL, True), (Notices.ERRORS, False), (Notices.NONE, False)]
)
def test_who_wants_all_reads_who_forwarded_the_call(level: Notices, told: bool) -> None:
    desk = Desk(replace(POLICY, notices=level))
    desk.phone_calls(diverted_by=Address("tel:+12025550177"))
    prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(offer, c.OfferMedia)
    assert desk.recorded(c.RecordStart).diverted_by == "tel:+12025550177"
    desk.portal_is_ready(prepare.op)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
    notices = [each.text for each in desk.said if isinstance(each, c.SendNotice)]
    assert notices == (["This call was forwarded from +12025550177."] if told else [])
    assert isinstance(desk.said[0], c.SendMatrixInvite)
