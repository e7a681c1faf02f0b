# SPDX-License-Identifier: GPL-3.0-or-later
"""A call that its person does not take: voicemail answers, greets, and records."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import Address, CallId, LegId, OpId, Side
from bridge.call.policy import Policy
from bridge.call.rules import InboundRule
from bridge.call.voicemail_terms import AWAY
from tests.call.desk import (
    CALL,
    COLLEAGUE,
    IN,
    NUMBER,
    OUR_CALL,
    OURS,
    PERSON,
    ROOM,
    SECOND,
    TRUNK,
    VOICEMAIL,
    VOICEMAIL_POLICY,
    Desk,
)
from tests.call.test_peers import NeverResolves, Phone, World

SPOKEN = {"seconds": 7.0, "sound": 5.0}


@pytest.fixture
def desk() -> Desk:
    desk = Desk(VOICEMAIL_POLICY)
    desk.tell(e.PersonChanged(person=PERSON, voicemail=True))
    return desk


def notices(desk: Desk) -> list[str]:
    """What the person was told, apart from everything else."""
    told = [each.text for each in desk.said if isinstance(each, c.SendNotice)]
    desk.said = [each for each in desk.said if not isinstance(each, c.SendNotice)]
    return told


def recorded(desk: Desk, op: OpId, sound: float = 5.0, call: CallId = CALL) -> None:
    desk.tell(e.MediaRecorded(call=call, op=op, seconds=sound + 2, sound=sound))


def ways_of(desk: Desk) -> list[type]:
    """What was decided about recordings."""
    return [type(each) for each in desk.records if isinstance(each, c.VoicemailCommand)]


# --- a message --------------------------------------------------------------------------------


def test_a_caller_leaves_a_message() -> None:
    desk = Desk(VOICEMAIL_POLICY)
    recording = desk.voicemail_records()
    assert (recording.side, recording.file) == (Side.SIP, "folder/n-1.ogg")
    assert (recording.longest, recording.silence) == (120, 8)
    kept = desk.recorded(c.KeepVoicemail)
    assert (kept.person, kept.address, kept.caller_name) == (PERSON, NUMBER, "Caller")
    assert kept.file == recording.file
    (view,) = desk.core.active()
    assert view.state == "voicemail"

    desk.phone_ends(IN)
    desk.expect(c.CloseMedia)
    recorded(desk, recording.op)
    desk.tell(e.MediaClosed(call=CALL))
    assert desk.said == []
    assert ways_of(desk) == [c.KeepVoicemail, c.PostVoicemail]
    desk.is_over("voicemail", "sip")


@pytest.mark.parametrize("key", ["#", "by info"])
def test_a_key_ends_it(desk: Desk, key: str) -> None:
    recording = desk.voicemail_records()
    desk.tell(e.MediaKeyPressed(call=CALL, key="1", duration=0.1))
    assert desk.said == []
    if key == "#":
        desk.tell(e.MediaKeyPressed(call=CALL, key="#", duration=0.1))
    else:
        desk.tell(e.SipKeyPressed(leg=IN, key="#", duration=0.1))
    assert desk.expect(c.EndAudio).side is Side.SIP
    recorded(desk, recording.op)
    desk.expect_all(c.ByeSip, c.CloseMedia)
    assert ways_of(desk)[-1] is c.PostVoicemail
    desk.phone_ends(IN)
    desk.is_over("voicemail", "bridge")


def test_a_key_skips_the_greeting(desk: Desk) -> None:
    desk.voicemail_takes_it()
    desk.voicemail_answers()
    greeting = desk.expect(c.PlayAudio)
    desk.tell(e.MediaKeyPressed(call=CALL, key="#", duration=0.1))
    desk.expect(c.EndAudio)
    desk.tell(e.MediaPlayed(call=CALL, op=greeting.op, seconds=0.5))
    assert desk.expect(c.PlayAudio).file == "beep.wav"


def test_one_that_offered_nothing(desk: Desk) -> None:
    desk.rings_at_the_person(sdp=None)
    desk.wait(20)
    _, offer = desk.expect_all(c.SendMatrixHangup, c.OfferMedia)
    assert isinstance(offer, c.OfferMedia)
    assert (offer.side, offer.sdp) == (Side.MATRIX, "")
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="our offer"))
    assert desk.expect(c.AnswerSip).sdp == "our offer"
    desk.phone_acknowledges(sdp="their answer")
    told = desk.expect(c.AnswerMedia)
    assert (told.side, told.sdp) == (Side.SIP, "their answer")
    desk.media_connects()
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp=""))
    desk.voicemail_beeps()
    desk.expect(c.RecordAudio)


def test_the_telephone_may_hold_meanwhile(desk: Desk) -> None:
    desk.voicemail_records()
    desk.phone_reinvites(700, leg=IN)
    asked = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=asked.op, sdp="", needed=False, answer="held"))
    assert desk.expect(c.AnswerSipReinvite).sdp == "held"


def test_it_is_nobodys_to_transfer(desk: Desk) -> None:
    desk.voicemail_records()
    desk.tell(e.SipReferReceived(leg=IN, op=OpId(900), target=Address("tel:+12025550177")))
    assert desk.expect(c.NotifySip).status == 491
    desk.tell(
        e.SipInviteReceived(
            leg=LegId("in-2"),
            trunk=TRUNK,
            caller=NUMBER,
            caller_name="",
            dialled="",
            sdp="sip offer",
            sip_call_id="next@pbx.test",
            replaces=IN,
        )
    )
    assert desk.expect(c.RejectSip).status == 491


# --- nothing was said -------------------------------------------------------------------------


def test_a_caller_who_only_hears_the_greeting(desk: Desk) -> None:
    desk.voicemail_takes_it()
    desk.voicemail_answers()
    desk.phone_ends(IN)
    assert notices(desk) == ["You missed a call at {time}. It rang for 20 s."]
    assert ways_of(desk) == []
    desk.is_over("voicemail", "sip")


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_caller_who_says_nothing(desk: Desk, hangs_up: bool) -> None:
    recording = desk.voicemail_records()
    if hangs_up:
        desk.phone_ends(IN)
        assert notices(desk) == []
    recorded(desk, recording.op, 0.9)
    assert notices(desk) == ["You missed a call at {time}. It rang for 20 s."]
    assert ways_of(desk) == [c.KeepVoicemail, c.DropVoicemail]
    desk.phone_ends(IN)
    desk.is_over("voicemail", "sip" if hangs_up else "bridge")


def test_a_caller_who_hangs_up_while_it_answers(desk: Desk) -> None:
    desk.voicemail_takes_it()
    desk.tell(e.SipCancelled(leg=IN))
    assert notices(desk) == ["You missed a call at {time}. It rang for 20 s."]
    desk.is_over("cancelled", "sip")


# --- why it answers ---------------------------------------------------------------------------


def test_a_person_who_answers_just_in_time_has_the_call(desk: Desk) -> None:
    desk.rings_at_the_person()
    desk.wait(19.9)
    desk.person_answers()
    desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
    desk.wait(5)
    assert desk.said == []


def test_a_person_who_answers_just_too_late_has_not(desk: Desk) -> None:
    desk.voicemail_takes_it()
    desk.person_answers()
    desk.voicemail_answers()
    desk.person_hangs_up(OUR_CALL)
    desk.tell(e.MatrixMemberLeft(room=ROOM, user=PERSON))
    desk.expect(c.PlayAudio)


def test_a_person_may_want_it_later() -> None:
    desk = Desk(VOICEMAIL_POLICY)
    desk.tell(
        e.PersonChanged(person=PERSON, voicemail=True, voicemail_delay=40, greeting="hello.wav")
    )
    desk.rings_at_the_person()
    desk.wait(39)
    assert desk.said == []
    desk.wait(1)
    del desk.said[0]
    desk.voicemail_answers()
    desk.voicemail_beeps("hello.wav")


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [(replace(VOICEMAIL_POLICY, voicemail=None), True), (VOICEMAIL_POLICY, False)],
)
def test_who_has_none_is_rung_for_longer(policy: Policy, wanted: bool) -> None:
    desk = Desk(policy)
    desk.tell(e.PersonChanged(person=PERSON, voicemail=wanted))
    desk.rings_at_the_person()
    desk.wait(59)
    assert desk.said == []
    desk.wait(1)
    assert desk.recorded(c.RecordEnd).cause == "no_answer"


def test_do_not_disturb(desk: Desk) -> None:
    desk.tell(e.PersonChanged(person=PERSON, voicemail=True, dnd=True))
    desk.phone_calls()
    prepare = desk.said.pop(0)
    assert isinstance(prepare, c.PreparePortal)
    desk.voicemail_answers()
    desk.phone_ends(IN)
    assert notices(desk) == []
    desk.portal_is_ready(prepare.op)
    assert notices(desk) == ["You missed a call at {time}: do not disturb was on."]
    desk.is_over("voicemail", "sip")


def test_the_portal_may_be_there_only_after_the_end(desk: Desk) -> None:
    """Or not at all: then nothing can be told."""
    desk.tell(e.PersonChanged(person=PERSON, voicemail=True, dnd=True))
    desk.phone_calls()
    del desk.said[0]
    desk.voicemail_answers()
    desk.phone_ends(IN)
    desk.tell(e.MediaClosed(call=CALL))
    assert desk.core.active()
    desk.wait(30)
    assert desk.core.active() == []


def test_declined(desk: Desk) -> None:
    desk.rings_at_the_person()
    desk.person_rejects()
    del desk.said[0]
    desk.voicemail_answers()
    desk.phone_ends(IN)
    assert notices(desk) == []  # They know of the call.
    desk.is_over("voicemail", "sip")


@pytest.mark.parametrize("what", ["no portal", "no homeserver"])
def test_it_cannot_ring(desk: Desk, what: str) -> None:
    if what == "no portal":
        desk.phone_calls()
        prepare, _ = desk.expect_all(c.PreparePortal, c.OfferMedia)
        assert isinstance(prepare, c.PreparePortal)
        desk.tell(e.PortalFailed(call=CALL, op=prepare.op, reason="No room."))
    else:
        desk.phone_calls()
        prepare, offer = desk.expect_all(c.PreparePortal, c.OfferMedia)
        assert isinstance(prepare, c.PreparePortal)
        assert isinstance(offer, c.OfferMedia)
        desk.portal_is_ready(prepare.op)
        desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
        invite, _ = desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)
        assert isinstance(invite, c.SendMatrixInvite)
        desk.tell(e.MatrixSendFailed(call=CALL, op=invite.op, reason="No homeserver."))
        assert isinstance(desk.said.pop(0), c.SendMatrixHangup)
    desk.voicemail_answers()


def test_busy_with_the_same_caller(desk: Desk) -> None:
    desk.connected_to_the_person()
    desk.phone_calls(LegId("in-2"))
    prepare = desk.said.pop(0)
    assert isinstance(prepare, c.PreparePortal)
    desk.voicemail_answers(2)
    desk.expect(c.PlayAudio)


def test_in_as_many_calls_as_a_person_may_have(desk: Desk) -> None:
    """Callers at voicemail are none of these, but there may be as many of them at once."""
    for number in range(1, 6):
        desk.phone_calls(LegId(f"in-{number}"), caller=Address(f"tel:+1202555019{number}"))
    joined = [each.call for each in desk.said if isinstance(each, c.JoinMedia)]
    assert joined == ["n-3", "n-4"]
    assert desk.recorded(c.RecordEnd).cause == "too_many_calls"
    assert desk.core.left(PERSON, desk.now).calls == 0


def test_who_calls_back_meanwhile(desk: Desk) -> None:
    """A caller at voicemail keeps nobody from calling them, nor themselves from calling again."""
    desk.voicemail_records()
    desk.person_calls()
    assert desk.expect(c.OfferMedia).call == SECOND
    assert desk.core.left(PERSON, desk.now).calls == 1


def test_an_admin_may_not_want_it_for_everything() -> None:
    desk = Desk(replace(VOICEMAIL_POLICY, voicemail=replace(VOICEMAIL, causes=AWAY)))
    desk.tell(e.PersonChanged(person=PERSON, voicemail=True))
    desk.rings_at_the_person()
    desk.wait(30)
    assert desk.said == []
    desk.person_rejects()
    assert desk.recorded(c.RecordEnd).cause == "declined"


def test_a_group_has_none() -> None:
    policy = replace(
        VOICEMAIL_POLICY, inbound=[InboundRule(people=(PERSON, COLLEAGUE), number=OURS)]
    )
    desk = Desk(policy)
    for person in (PERSON, COLLEAGUE):
        desk.tell(e.PersonChanged(person=person, voicemail=True, dnd=True))
    desk.phone_calls()
    assert desk.recorded(c.RecordEnd).cause == "do_not_disturb"
    assert not [each for each in desk.said if isinstance(each, c.JoinMedia)]


def test_too_much_waits_to_be_posted(desk: Desk) -> None:
    desk.tell(e.VoicemailFilled(full=True))
    desk.rings_at_the_person()
    desk.wait(30)
    assert desk.said == []
    desk.tell(e.ShutdownRequested())
    desk.said.clear()


# --- what goes wrong --------------------------------------------------------------------------


def test_what_cannot_be_played_is_left_out(desk: Desk) -> None:
    desk.voicemail_takes_it()
    desk.voicemail_answers()
    for _ in range(2):
        played = desk.expect(c.PlayAudio)
        fault = e.MediaFault.NO_RESOURCES
        desk.tell(e.MediaFailed(call=CALL, op=played.op, fault=fault))
    desk.expect(c.RecordAudio)


def test_an_engine_that_says_nothing_about_what_it_plays(desk: Desk) -> None:
    desk.voicemail_takes_it()
    desk.voicemail_answers()
    desk.expect(c.PlayAudio)
    desk.wait(90)
    _, recording = desk.expect_all(c.PlayAudio, c.RecordAudio)
    assert isinstance(recording, c.RecordAudio)
    desk.tell(e.MediaPlayed(call=CALL, op=recording.op, seconds=1))
    desk.wait(134)
    assert desk.said == []
    desk.wait(1)
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.tell(e.MediaClosed(call=CALL))
    assert ways_of(desk)[-1] is c.PostVoicemail  # Whoever posts it looks whether there is anything.
    desk.phone_ends(IN)
    desk.is_over("media_failed", "media")


def test_what_cannot_be_recorded(desk: Desk) -> None:
    recording = desk.voicemail_records()
    fault = e.MediaFault.NO_RESOURCES
    desk.tell(e.MediaFailed(call=CALL, op=recording.op, fault=fault, detail="The disk is full."))
    assert notices(desk) == ["You missed a call at {time}. It rang for 20 s."]
    assert ways_of(desk)[-1] is c.DropVoicemail
    desk.phone_ends(IN)
    desk.is_over("no_resources", "media")


def test_a_telephone_that_agrees_on_nothing(desk: Desk) -> None:
    desk.voicemail_takes_it()
    joined = desk.expect(c.JoinMedia)
    fault = e.MediaFault.NO_COMMON_CODEC
    desk.tell(e.MediaFailed(call=CALL, op=joined.op, fault=fault))
    assert len(notices(desk)) == 1
    desk.is_over("no_common_codec", "media")


@pytest.mark.parametrize(
    ("end", "cause", "by"),
    [
        (e.ShutdownRequested(), "shutdown", "bridge"),
        (e.HangupRequested(call=CALL, by=PERSON), "ended_by_admin", "bridge"),
        (
            e.MediaLost(call=CALL, side=Side.SIP, fault=e.MediaFault.INTERNAL),
            "media_failed",
            "media",
        ),
    ],
    ids=["shutdown", "admin", "media"],
)
def test_what_was_said_until_then_is_kept(desk: Desk, end: e.Event, cause: str, by: str) -> None:
    recording = desk.voicemail_records()
    desk.tell(end)
    recorded(desk, recording.op)
    assert ways_of(desk) == [c.KeepVoicemail, c.PostVoicemail]
    assert notices(desk) == []
    desk.phone_ends(IN)
    desk.is_over(cause, by)


def test_while_the_bridge_stops_it_takes_nothing(desk: Desk) -> None:
    desk.tell(e.PersonChanged(person=PERSON, voicemail=True, dnd=True))
    desk.tell(e.ShutdownRequested())
    desk.phone_calls()
    assert desk.recorded(c.RecordEnd).cause == "shutdown"


# --- who is first -----------------------------------------------------------------------------


class TwoWays(World):
    """Time passes at any moment: whoever is told first that the call is theirs has it."""

    def __init__(self) -> None:
        super().__init__(NeverResolves(), Phone(answers=False))
        self.desk = Desk(VOICEMAIL_POLICY)
        self.desk.tell(e.PersonChanged(person=PERSON, voicemail=True, voicemail_delay=10))
        self.ring_time = [self.time_passes]

    def time_passes(self) -> None:
        self.ring_time.clear()
        self.desk.wait(10)
        self.sort()

    def ways(self) -> list[Callable[[], None]]:
        return [*super().ways(), *self.ring_time]


@given(data=st.data())
def test_either_the_person_or_voicemail_has_the_call(data: st.DataObject) -> None:
    world = TwoWays()
    world.phone.calls()
    while ways := world.ways():
        ways[data.draw(st.integers(0, len(ways) - 1))]()

    (view,) = world.desk.core.active()
    assert world.phone.talks_on == IN
    talks = world.client.talks_in is not None
    assert view.state == ("connected" if talks else "voicemail")
    if not talks:
        assert world.client.theirs is None, "it rings on at the person's"
