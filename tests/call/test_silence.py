# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls in which somebody is not heard: what is told of them, and when they end for it."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.deadlines import Timeouts
from bridge.call.ids import Address, LegId, OpId, Side
from bridge.call.notices import Notices
from bridge.call.quality import Measured
from bridge.call.silence import Silence, cause_of
from tests.call.desk import CALL, LAPTOP, OUT, POLICY, ROOM, THEIR_CALL, Desk


def silent(side: Side, *, heard: bool = False, **known: object) -> e.MediaSilent:
    return e.MediaSilent(call=CALL, side=side, seconds=3, heard=heard, **known)  # type: ignore[arg-type]


def talking(desk: Desk) -> Desk:
    desk.connected_to_the_phone()
    return desk


def ended(desk: Desk) -> str:
    """The person hangs up; what they read then."""
    desk.person_hangs_up()
    said, desk.said = desk.said, []
    notices = [each.text for each in said if isinstance(each, c.SendNotice)]
    desk.phone_ends(OUT)
    desk.is_over("normal", "matrix")
    return "".join(notices)


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (silent(Side.MATRIX, hurdle=e.MediaFault.ICE_FAILED), Silence.NO_ICE_PAIR),
        (silent(Side.MATRIX, hurdle=e.MediaFault.DTLS_FAILED), Silence.NO_DTLS),
        (silent(Side.MATRIX, undecipherable=9), Silence.WRONG_KEY),
        (silent(Side.MATRIX), Silence.MUTED),
        (silent(Side.MATRIX, heard=True), Silence.MUTED),
        (silent(Side.SIP), Silence.NEVER_SENT),
        (silent(Side.SIP, heard=True), Silence.STOPPED),
        (silent(Side.SIP, strangers=4), Silence.UNEXPECTED_ADDRESS),
        (silent(Side.SIP, undecipherable=4, strangers=4), Silence.WRONG_KEY),
    ],
)
def test_the_likely_cause_while_the_client_is_muted(event: e.MediaSilent, cause: Silence) -> None:
    assert cause_of(event, muted=True) is cause


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (silent(Side.SIP), "The other side could not be heard: it sent no audio."),
        (
            silent(Side.SIP, strangers=50),
            "The other side could not be heard: its audio came from an unexpected address.",
        ),
        (
            silent(Side.MATRIX),
            "You could not be heard: your device sent no audio; may it use the microphone?",
        ),
        (silent(Side.MATRIX, heard=True), ""),
    ],
)
def test_who_was_not_heard_is_told_after_the_call(event: e.MediaSilent, text: str) -> None:
    desk = talking(Desk())
    desk.wait(3)
    desk.tell(event)
    assert desk.recorded(c.RecordSilence).side is event.side
    assert event.side in desk.core.active()[0].unheard
    desk.wait(4)
    assert ended(desk) == text


def test_who_is_heard_after_all_is_not_told_of() -> None:
    desk = talking(Desk())
    desk.wait(3)
    desk.tell(silent(Side.SIP))
    desk.wait(2)
    desk.tell(e.MediaAudible(call=CALL, side=Side.SIP))
    desk.tell(e.MediaAudible(call=CALL, side=Side.SIP))
    assert desk.core.active()[0].unheard == {}
    desk.wait(400)
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.phone_ends(OUT)
    desk.tell(e.MediaClosed(call=CALL))
    statistics = desk.recorded(c.RecordStatistics).statistics
    assert statistics == {"sip_silent_s": 5.0, "sip_silence": "never_sent"}


def test_more_that_becomes_known_is_told_once() -> None:
    desk = talking(Desk())
    for _ in range(2):
        desk.tell(silent(Side.MATRIX, hurdle=e.MediaFault.ICE_FAILED))
    desk.tell(silent(Side.MATRIX, hurdle=e.MediaFault.DTLS_FAILED))
    causes = [each.cause for each in desk.records if isinstance(each, c.RecordSilence)]
    assert causes == ["no_ice_pair", "no_dtls"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, ""), (18, "The other side could not be heard any more.")]
)
def test_who_falls_silent_is_told_of_only_if_it_was_long(seconds: float, text: str) -> None:
    desk = talking(Desk())
    desk.wait(60)
    desk.tell(silent(Side.SIP, heard=True))
    desk.wait(seconds)
    assert ended(desk) == text


def test_how_long_they_talked_stands_behind_it() -> None:
    desk = talking(Desk(replace(POLICY, notices=Notices.ALL)))
    desk.wait(6)
    desk.tell(silent(Side.SIP))
    text = ended(desk)
    assert text == "The other side could not be heard: it sent no audio. You talked for 6 s."


def test_muted_people_are_neither_told_of_nor_hung_up() -> None:
    desk = talking(Desk())
    desk.tell(e.MatrixMuteChanged(room=ROOM, call_id=THEIR_CALL, sender=LAPTOP, muted=True))
    desk.tell(silent(Side.MATRIX, heard=True))
    assert desk.recorded(c.RecordSilence).cause == "muted"
    desk.wait(3000)
    assert desk.said == []
    assert ended(desk) == ""


def test_a_telephone_that_still_reports_is_muted_and_stays() -> None:
    desk = talking(Desk())
    desk.tell(silent(Side.SIP, heard=True))
    for _ in range(200):
        desk.wait(5)
        desk.tell(e.MediaMeasured(call=CALL, matrix=Measured(packets=250), sip=Measured(reports=1)))
    assert desk.said == []
    assert ended(desk) == ""


def test_a_telephone_that_says_something_by_sip_is_muted_and_stays() -> None:
    """A session timer's refresh, or whatever else: nobody needs to ask it."""
    desk = talking(Desk())
    desk.tell(silent(Side.SIP, heard=True))
    for _ in range(10):
        desk.wait(290)
        desk.tell(e.SipHeard(leg=OUT))
    assert desk.said == []
    ended(desk)


def test_a_sign_of_somebody_else_is_none_of_the_telephone() -> None:
    desk = talking(Desk())
    desk.tell(silent(Side.SIP, heard=True))
    target = Address("tel:+12025550177")
    desk.tell(e.SipReferReceived(leg=OUT, op=OpId(-1), target=target))
    desk.wait(200)
    desk.said.clear()
    desk.tell(e.SipHeard(leg=LegId("n-1-out-2")))
    desk.wait(97)
    assert desk.expect(c.AskSipIfThere).leg == OUT
    ended(desk)


def test_a_telephone_that_answers_when_it_is_asked_stays() -> None:
    desk = talking(Desk())
    desk.tell(silent(Side.SIP, heard=True))
    desk.tell(e.SipHeard(leg=OUT))
    for _ in range(5):
        desk.wait(299)
        assert desk.said == []
        desk.wait(1)
        assert desk.expect(c.AskSipIfThere).leg == OUT
        desk.wait(30)
        desk.tell(e.SipHeard(leg=OUT))
    ended(desk)


def test_a_telephone_that_is_transferred_is_not_asked() -> None:
    """It may well be silent by then; there is a time for what it does."""
    desk = talking(Desk(replace(POLICY, limits=replace(POLICY.limits, vanished_after=60))))
    desk.tell(silent(Side.SIP, heard=True))
    desk.wait(20)
    desk.person_transfers(Address("tel:+12025550177"))
    desk.expect(c.ReferSip)
    desk.wait(80)
    assert desk.said == []
    desk.wait(20)
    assert desk.recorded(c.RecordEnd).cause == "transferred"


def test_a_telephone_that_vanished_is_given_up() -> None:
    desk = talking(Desk())
    desk.wait(1000)
    desk.tell(silent(Side.SIP, heard=True))
    desk.wait(100)
    desk.tell(e.MediaMeasured(call=CALL, matrix=Measured(packets=250), sip=Measured()))
    desk.wait(196)
    assert desk.said == []
    desk.wait(1)
    desk.expect(c.AskSipIfThere)
    desk.wait(Timeouts().options - 1)
    assert desk.said == []
    desk.wait(1)
    _, _, _, notice = desk.expect_all(c.SendMatrixHangup, c.ByeSip, c.CloseMedia, c.SendNotice)
    assert isinstance(notice, c.SendNotice)
    assert notice.text == "The connection to the telephone network was lost."
    desk.phone_ends(OUT)
    desk.is_over("connection_lost", "media")


def test_nobody_vanishes_where_that_is_not_wanted() -> None:
    limits = replace(POLICY.limits, vanished_after=None)
    desk = talking(Desk(replace(POLICY, limits=limits)))
    desk.tell(silent(Side.SIP, heard=True))
    desk.wait(600)
    assert desk.said == []
    ended(desk)


def test_of_two_who_are_not_heard_the_other_side_is_told() -> None:
    desk = talking(Desk())
    desk.tell(silent(Side.MATRIX))
    desk.tell(silent(Side.SIP))
    assert ended(desk).startswith("The other side")


def test_after_the_end_nothing_is_told() -> None:
    desk = talking(Desk())
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.tell(silent(Side.SIP))
    assert not [each for each in desk.records if isinstance(each, c.RecordSilence)]
    desk.phone_ends(OUT)
    desk.is_over("normal", "matrix")
