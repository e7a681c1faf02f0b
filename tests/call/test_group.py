# SPDX-License-Identifier: GPL-3.0-or-later
"""A telephone calls a number that several people have."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.cause_mapping import best_of
from bridge.call.causes import Cause
from bridge.call.ids import Address, LegId, MatrixCallId, OpId, Party, PartyId, RoomId, Side, UserId
from bridge.call.notices import Notices
from bridge.call.policy import Access, Policy
from bridge.call.rules import InboundRule
from bridge.call.switchboard import PARTY
from tests.call.desk import (
    CALL,
    CAPABLE,
    IN,
    LIMITS,
    NUMBER,
    OUR_CALL,
    OURS,
    POLICY,
    THEIR_CALL,
    Desk,
)

ANN = UserId("@ann:mx.test")
BOB = UserId("@bob:mx.test")
CLEO = UserId("@cleo:mx.test")
EVERYBODY = (ANN, BOB, CLEO)
FRONT_DESK = Address("tel:+12025550188")
GROUP = Policy(
    access=POLICY.access,
    trunks=POLICY.trunks,
    outbound=POLICY.outbound,
    inbound=[InboundRule(people=EVERYBODY, number=OURS)],
    limits=LIMITS,
)


def room(person: UserId) -> RoomId:
    return RoomId(f"!{person[1:].partition(':')[0]}:mx.test")


def device(person: UserId) -> Party:
    return Party(person, PartyId(f"{person}'s phone"))


class Group:
    """A desk with three people around it."""

    def __init__(self, policy: Policy = GROUP) -> None:
        self.desk = Desk(policy)
        self.portals: dict[UserId, OpId] = {}

    def prepared(self) -> list[c.Command]:
        """The call came in; what the core said besides having portals made ready."""
        said, self.desk.said = self.desk.said, []
        for command in said:
            if isinstance(command, c.PreparePortal):
                self.portals[command.person] = command.op
        return [command for command in said if not isinstance(command, c.PreparePortal)]

    def comes_in(self, *ready: UserId) -> None:
        """It rings at those who are ready."""
        self.desk.phone_calls()
        (offer,) = self.prepared()
        assert isinstance(offer, c.OfferMedia)
        self.desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to matrix"))
        for person in ready:
            self.ready(person)

    def ready(self, person: UserId) -> None:
        op = self.portals[person]
        self.desk.tell(e.PortalReady(call=CALL, op=op, room=room(person)))

    def ring(self) -> None:
        """It rings at all three."""
        self.comes_in(*EVERYBODY)
        ann, ringing, *others = self.desk.expect_all(
            c.SendMatrixInvite, c.SendSipProgress, c.SendMatrixInvite, c.SendMatrixInvite
        )
        assert isinstance(ringing, c.SendSipProgress)
        invites = [each for each in (ann, *others) if isinstance(each, c.SendMatrixInvite)]
        assert [(each.room, each.invitee) for each in invites] == [
            (room(each), each) for each in EVERYBODY
        ]
        assert {each.sdp for each in invites} == {"offer to matrix"}

    def answer(self, person: UserId) -> None:
        self.desk.tell(
            e.MatrixAnswerReceived(
                room=room(person),
                call_id=OUR_CALL,
                sender=device(person),
                version=1,
                sdp=f"answer of {person}",
                capabilities=CAPABLE,
            )
        )

    def reject(self, person: UserId, reason: str = "") -> None:
        self.desk.tell(
            e.MatrixRejectReceived(
                room=room(person), call_id=OUR_CALL, sender=device(person), reason=reason
            )
        )

    def connect(self, person: UserId) -> None:
        """They answer, and talk; the others have stopped ringing."""
        self.answer(person)
        self.desk.said = self.desk.said[7:]
        self.desk.media_answers(Side.MATRIX, f"answer of {person}")
        self.desk.expect(c.AnswerSip)
        self.desk.phone_acknowledges()
        self.desk.media_connects()

    def notices(self) -> list[tuple[RoomId, str]]:
        """What was told to whom since the last look; everything else is dropped."""
        said, self.desk.said = self.desk.said, []
        return [(each.room, each.text) for each in said if isinstance(each, c.SendNotice)]


def test_the_first_to_answer_has_the_call_and_the_others_stop_ringing() -> None:
    group = Group()
    group.ring()
    assert [each.person for each in group.desk.recorded(c.RecordLegs).ringing or ()] == [*EVERYBODY]
    group.answer(BOB)
    said, group.desk.said = group.desk.said, []
    chosen, *others, told = said
    assert isinstance(chosen, c.SendMatrixSelectAnswer)
    assert (chosen.room, chosen.selected) == (room(BOB), device(BOB).party)
    ends = [(type(each).__name__, each.room) for each in others if hasattr(each, "room")]
    assert ends == [
        ("SendMatrixSelectAnswer", room(ANN)),
        ("SendMatrixHangup", room(ANN)),
        ("SendNotice", room(ANN)),
        ("SendMatrixSelectAnswer", room(CLEO)),
        ("SendMatrixHangup", room(CLEO)),
        ("SendNotice", room(CLEO)),
    ]
    elsewhere = [each.selected for each in others if isinstance(each, c.SendMatrixSelectAnswer)]
    assert elsewhere == [PARTY, PARTY]
    assert isinstance(told, c.AnswerMedia)
    assert told.sdp == "answer of @bob:mx.test"
    legs = group.desk.recorded(c.RecordLegs)
    assert (legs.person, legs.ringing) == (BOB, ())
    assert [view.person for view in group.desk.core.active()] == [BOB]

    group.answer(ANN)  # Crossed our hangup.
    group.reject(CLEO)
    assert group.desk.said == []
    group.desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="answer to sip"))
    group.desk.expect(c.AnswerSip)
    group.desk.phone_acknowledges()
    group.desk.media_connects()
    group.desk.phone_ends(IN)
    hangup, _ = group.desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    assert isinstance(hangup, c.SendMatrixHangup)
    assert hangup.room == room(BOB)
    group.desk.is_over("normal", "sip")


def test_who_wants_no_notices_reads_of_none() -> None:
    group = Group(replace(GROUP, notices=Notices.NONE))
    group.ring()
    group.answer(BOB)
    assert group.notices() == []


def test_the_one_who_answered_is_as_any_other() -> None:
    """Hold, candidates, a lost media session: it is their leg now."""
    group = Group()
    group.ring()
    about = {"room": room(BOB), "call_id": OUR_CALL, "sender": device(BOB)}
    group.desk.tell(e.MatrixCandidatesReceived(**about, candidates=("a",)))  # type: ignore[arg-type]
    group.answer(BOB)
    added = group.desk.said.pop()
    assert isinstance(added, c.AddRemoteCandidates)
    told = group.desk.said.pop()
    assert isinstance(told, c.AnswerMedia)
    group.desk.said.clear()
    group.desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="answer to sip"))
    group.desk.expect(c.AnswerSip)
    group.desk.phone_acknowledges()
    group.desk.media_connects()

    group.desk.phone_reinvites(700, leg=IN)
    offer = group.desk.expect(c.OfferMedia)
    group.desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="hold"))
    negotiate = group.desk.expect(c.SendMatrixNegotiate)
    assert negotiate.room == room(BOB)
    group.desk.tell(
        e.MatrixNegotiateReceived(
            **about,  # type: ignore[arg-type]
            type=e.SdpType.ANSWER,
            sdp="held",
            lifetime=60,
        )
    )
    answer = group.desk.expect(c.AnswerMedia)
    group.desk.tell(e.MediaAnswerReady(call=CALL, op=answer.op, sdp="sip held"))
    group.desk.expect(c.AnswerSipReinvite)

    group.desk.tell(
        e.MatrixNegotiateReceived(
            **about,  # type: ignore[arg-type]
            type=e.SdpType.OFFER,
            sdp="resume",
            lifetime=60,
        )
    )
    offer = group.desk.expect(c.OfferMedia)
    ready = e.MediaOfferReady(call=CALL, op=offer.op, sdp="", needed=False, answer="resumed")
    group.desk.tell(ready)
    assert group.desk.expect(c.SendMatrixNegotiate).sdp == "resumed"
    group.desk.tell(e.MatrixMemberLeft(room=room(BOB), user=BOB))
    group.desk.expect_all(c.ByeSip, c.CloseMedia)


def test_who_answers_learns_who_has_come_to_the_line_before() -> None:
    group = Group()
    group.ring()
    group.desk.tell(e.SipIdentityChanged(leg=IN, address=FRONT_DESK, name="Front desk"))
    assert group.desk.said == []
    group.answer(BOB)
    told = [each for each in group.desk.said if isinstance(each, c.SendMatrixAssertedIdentity)]
    assert [(each.room, each.name) for each in told] == [(room(BOB), "Front desk")]


def test_offers_that_meet_give_way_as_we_called() -> None:
    """The client was called, so it is the polite one: its offer is ignored while ours is out."""
    group = Group()
    group.ring()
    group.connect(BOB)
    group.desk.phone_reinvites(700, leg=IN)
    offer = group.desk.expect(c.OfferMedia)
    group.desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="hold"))
    group.desk.expect(c.SendMatrixNegotiate)
    group.desk.tell(
        e.MatrixNegotiateReceived(
            room=room(BOB),
            call_id=OUR_CALL,
            sender=device(BOB),
            type=e.SdpType.OFFER,
            sdp="theirs",
            lifetime=60,
        )
    )
    assert group.desk.said == []


def test_who_is_not_ready_yet_rings_later() -> None:
    group = Group()
    group.comes_in(BOB)
    group.desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)
    group.desk.tell(e.PersonInvited(call=CALL, op=group.portals[ANN], room=room(ANN)))
    assert group.desk.said == []
    group.ready(ANN)
    assert group.desk.expect(c.SendMatrixInvite).room == room(ANN)
    group.answer(ANN)
    kinds = [(type(each), getattr(each, "room", None)) for each in group.desk.said]
    assert kinds == [
        (c.SendMatrixSelectAnswer, room(ANN)),
        (c.SendMatrixSelectAnswer, room(BOB)),
        (c.SendMatrixHangup, room(BOB)),
        (c.SendNotice, room(BOB)),
        (c.AnswerMedia, None),
    ]
    group.desk.said.clear()
    group.ready(CLEO)  # Too late.
    assert group.desk.said == []


def test_the_caller_hears_it_ring_while_the_first_one_joins() -> None:
    group = Group()
    group.comes_in()
    group.desk.tell(e.PersonInvited(call=CALL, op=group.portals[ANN], room=room(ANN)))
    assert group.desk.expect(c.SendSipProgress).status == 180
    group.desk.tell(e.PersonInvited(call=CALL, op=group.portals[BOB], room=room(BOB)))
    assert group.desk.said == []


def test_one_declines_and_another_rings_after_that() -> None:
    group = Group()
    group.comes_in(ANN)
    group.desk.expect_all(c.SendMatrixInvite, c.SendSipProgress)
    group.reject(ANN)
    group.desk.expect(c.SendMatrixSelectAnswer)
    group.ready(BOB)
    assert group.desk.expect(c.SendMatrixInvite).room == room(BOB)


def test_all_decline() -> None:
    group = Group()
    group.ring()
    group.reject(ANN)
    group.reject(BOB)
    assert group.desk.recorded(c.RecordStart).call == CALL
    assert group.desk.core.active()[0].state == "ringing"
    group.desk.said.clear()
    group.reject(CLEO)
    _, reject, _ = group.desk.expect_all(c.SendMatrixSelectAnswer, c.RejectSip, c.CloseMedia)
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 603
    group.desk.phone_ends(IN, 603)
    group.desk.is_over("declined", "matrix")


def test_who_was_busy_missed_a_call_that_the_others_declined() -> None:
    group = Group()
    group.ring()
    group.reject(ANN)
    group.reject(BOB, "user_busy")
    group.reject(CLEO)
    assert group.notices() == [(room(BOB), "You missed a call at {time}.")]
    group.desk.phone_ends(IN, 603)
    group.desk.is_over("declined", "bridge")


def test_nobody_answers_and_who_declined_did_not_miss_it() -> None:
    group = Group()
    group.ring()
    group.reject(BOB)
    group.desk.said.clear()
    group.desk.wait(LIMITS.ring_time)
    assert group.notices() == [
        (room(ANN), "You missed a call at {time}. It rang for 1 min."),
        (room(CLEO), "You missed a call at {time}. It rang for 1 min."),
    ]
    group.desk.is_over("declined", "bridge")


def test_the_caller_gives_up() -> None:
    group = Group()
    group.comes_in(ANN)
    group.desk.said.clear()
    group.desk.tell(e.SipCancelled(leg=IN))
    assert group.notices() == [(room(ANN), "You missed a call at {time}.")]
    group.ready(CLEO)  # Whose portal was not ready.
    assert group.notices() == [(room(CLEO), "You missed a call at {time}.")]
    assert [view.state for view in group.desk.core.active()] == ["ending"]
    group.desk.phone_ends(IN, 487)
    group.desk.is_over("cancelled", "sip")


def test_a_failed_portal_leaves_the_others() -> None:
    group = Group()
    group.comes_in(BOB)
    for person in (ANN, CLEO):
        op = group.portals[person]
        group.desk.tell(e.PortalFailed(call=CALL, op=op, reason="No room."))
    group.desk.said.clear()
    invite = OpId(max(group.portals.values()) + 2)
    group.desk.tell(e.MatrixSendFailed(call=CALL, op=invite, reason="No homeserver."))
    assert group.desk.recorded(c.RecordEnd).cause == "unreachable"


def test_who_leaves_their_portal_has_declined() -> None:
    group = Group()
    group.ring()
    group.desk.tell(e.MatrixMemberLeft(room=room(ANN), user=ANN))
    assert group.desk.said == []
    group.desk.wait(LIMITS.ring_time)
    assert [told for told, _ in group.notices()] == [room(BOB), room(CLEO)]


# --- who does not ring ------------------------------------------------------------------------


def test_who_is_not_to_be_disturbed_is_left_out_and_learns_what_they_missed() -> None:
    group = Group()
    group.desk.tell(e.PersonChanged(person=ANN, dnd=True))
    group.comes_in(*EVERYBODY)
    invites = [each.room for each in group.desk.said if isinstance(each, c.SendMatrixInvite)]
    assert invites == [room(BOB), room(CLEO)]
    group.desk.said.clear()
    group.desk.tell(e.SipCancelled(leg=IN))
    assert [told for told, _ in group.notices()] == [room(ANN), room(BOB), room(CLEO)]


def test_who_is_absent_is_not_told_of_a_call_that_was_answered() -> None:
    group = Group()
    group.desk.tell(e.PersonChanged(person=ANN, dnd=True))
    group.comes_in(BOB, CLEO)
    group.desk.said.clear()
    group.answer(BOB)
    group.ready(ANN)
    group.desk.said.clear()
    group.desk.phone_ends(IN)
    assert group.notices() == []


def test_a_portal_for_no_more_than_a_notice_takes_too_long() -> None:
    group = Group()
    group.desk.tell(e.PersonChanged(person=ANN, dnd=True))
    group.comes_in(BOB)
    group.desk.wait(31)
    group.desk.said.clear()
    group.desk.tell(e.SipCancelled(leg=IN))
    assert [told for told, _ in group.notices()] == [room(BOB)]


def test_nobody_may_be_disturbed() -> None:
    group = Group()
    for person in EVERYBODY:
        group.desk.tell(e.PersonChanged(person=person, dnd=True))
    group.desk.phone_calls()
    (reject,) = group.prepared()
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 480
    for person in EVERYBODY:
        group.ready(person)
    assert [told for told, _ in group.notices()] == [room(each) for each in EVERYBODY]
    group.desk.phone_ends(IN, 480)
    group.desk.is_over("do_not_disturb", "bridge")


def test_a_forward_does_not_count_in_a_group() -> None:
    group = Group()
    group.desk.tell(e.PersonChanged(person=ANN, forward=NUMBER))
    group.comes_in(*EVERYBODY)
    assert isinstance(group.desk.said[0], c.SendMatrixInvite)


def test_who_talks_with_the_caller_already_does_not_ring_again() -> None:
    group = Group()
    group.ring()
    group.connect(BOB)
    group.desk.phone_calls(LegId("in-2"))
    prepared = {each.person for each in group.desk.said if isinstance(each, c.PreparePortal)}
    assert prepared == set(EVERYBODY)
    second = next(each.call for each in group.desk.said if isinstance(each, c.PreparePortal))
    offer = next(each.op for each in group.desk.said if isinstance(each, c.OfferMedia))
    ops = {each.person: each.op for each in group.desk.said if isinstance(each, c.PreparePortal)}
    group.desk.said.clear()
    group.desk.tell(e.MediaOfferReady(call=second, op=offer, sdp="second offer"))
    for person in EVERYBODY:
        group.desk.tell(e.PortalReady(call=second, op=ops[person], room=room(person)))
    invites = [each.room for each in group.desk.said if isinstance(each, c.SendMatrixInvite)]
    assert invites == [room(ANN), room(CLEO)]


def test_a_group_call_counts_for_each() -> None:
    group = Group(
        Policy(
            access=GROUP.access,
            outbound=GROUP.outbound,
            inbound=GROUP.inbound,
            limits=LIMITS,
        )
    )
    for number in range(LIMITS.calls_per_person):
        group.desk.phone_calls(LegId(f"in-{number}"), caller=f"tel:+1202555016{number}")  # type: ignore[arg-type]
    group.desk.said.clear()
    group.desk.phone_calls(LegId("in-9"))
    (reject,) = group.prepared()
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 486


def test_only_those_ring_who_may_be_called() -> None:
    group = Group(
        Policy(access={**GROUP.access, ANN: Access.BLOCKED}, inbound=GROUP.inbound, limits=LIMITS)
    )
    group.desk.phone_calls()
    group.prepared()
    assert set(group.portals) == {BOB, CLEO}


def test_a_number_of_nobody_says_which_rules_were_tried() -> None:
    desk = Desk(GROUP)
    desk.phone_calls(dialled="+12025550199")
    assert desk.expect(c.RejectSip).status == 404
    assert desk.recorded(c.RecordEnd).detail == (
        "nothing for '+12025550199' by provider; tried: inbound[0] (number +12025550100)"
    )


# --- both at once -----------------------------------------------------------------------------


def calls(group: Group, person: UserId, call_id: MatrixCallId = THEIR_CALL) -> None:
    group.desk.person_calls(call_id, sender=device(person), room=room(person))


def test_a_member_calls_the_number_that_rings_them() -> None:
    group = Group()
    group.ring()
    calls(group, BOB)
    ended = [each.room for each in group.desk.said if isinstance(each, c.SendMatrixHangup)]
    assert ended == [room(each) for each in EVERYBODY]
    group.desk.said = group.desk.said[-1:]
    group.desk.media_joins()
    _, answer = group.desk.expect_all(c.AnswerSip, c.SendMatrixAnswer)
    assert isinstance(answer, c.SendMatrixAnswer)
    assert answer.room == room(BOB)
    legs = group.desk.recorded(c.RecordLegs)
    assert legs.room == room(BOB)
    assert [view.person for view in group.desk.core.active()] == [BOB]


def test_a_member_whose_call_id_is_the_greater_is_refused() -> None:
    group = Group()
    group.ring()
    calls(group, BOB, MatrixCallId("~~"))
    assert group.desk.expect(c.SendMatrixReject).room == room(BOB)


def test_who_has_answered_calls_again_from_the_same_device() -> None:
    group = Group()
    group.ring()
    group.connect(BOB)
    calls(group, BOB)
    assert [type(each) for each in group.desk.said] == [
        c.SendMatrixHangup,
        c.ByeSip,
        c.CloseMedia,
        c.OfferMedia,
    ]


def test_a_member_who_has_declined_calls() -> None:
    group = Group()
    group.ring()
    group.reject(BOB)
    group.desk.said.clear()
    calls(group, BOB)
    group.desk.expect(c.OfferMedia)
    assert len(group.desk.core.active()) == 2


def test_a_member_is_calling_the_number_that_calls() -> None:
    group = Group()
    calls(group, CLEO)
    group.desk.media_offers(Side.MATRIX, "matrix offer")
    group.desk.expect(c.SendSipInvite)
    group.desk.phone_calls()
    group.desk.expect_all(c.CancelSip, c.JoinMedia)
    assert [view.person for view in group.desk.core.active()] == [CLEO]


def test_a_group_has_no_call_of_its_own_to_answer() -> None:
    group = Group()
    group.ring()
    (call,) = group.desk.core._calls.all()
    with pytest.raises(AssertionError, match="must not be sent"):
        call.matrix.answer("answer")


# --- the best of several causes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("causes", "best"),
    [
        ([Cause.NO_ANSWER, Cause.DECLINED], Cause.DECLINED),
        ([Cause.ERROR, Cause.UNREACHABLE], Cause.UNREACHABLE),
        ([Cause.BUSY, Cause.NO_ANSWER], Cause.NO_ANSWER),
        ([Cause.UNREACHABLE, Cause.BUSY], Cause.BUSY),
        ([Cause.UNDELIVERABLE, Cause.UNREACHABLE], Cause.UNDELIVERABLE),
    ],
)
def test_the_best_cause(causes: list[Cause], best: Cause) -> None:
    assert best_of(causes) is best
