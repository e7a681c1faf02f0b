# SPDX-License-Identifier: GPL-3.0-or-later
"""A trunk cannot carry a call, and the next one is tried."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.bounds import Bounds
from bridge.call.cause_mapping import blames_trunk
from bridge.call.ids import Address, CallId, LegId, MatrixCallId, RoomId, Side, TrunkName
from bridge.call.policy import Policy
from bridge.call.rules import OutboundRule, TrunkPolicy
from bridge.call.terms import Terms
from tests.call.desk import (
    CALL,
    IN,
    LAST,
    LIMITS,
    OURS,
    OUT,
    PERSON,
    POLICY,
    SPARE,
    TRUNK,
    Desk,
)

OUT_2, OUT_3 = LegId("n-1-out-2"), LegId("n-1-out-3")


def several(**trunks: TrunkPolicy) -> Policy:
    """Three trunks for every number, each of which may be told something else."""
    known = {TRUNK: TrunkPolicy(caller_id=OURS, terms=Terms(codecs=("PCMA",)))}
    known |= {name: TrunkPolicy(terms=Terms(codecs=("PCMA",))) for name in (SPARE, LAST)}
    known |= {TrunkName(name): each for name, each in trunks.items()}
    return replace(
        POLICY, trunks=known, outbound=[OutboundRule(trunks=(TRUNK, SPARE, LAST), prefix="+1")]
    )


def dialling(policy: Policy | None = None) -> Desk:
    """A person called, and the first trunk was asked."""
    desk = Desk(policy or several())
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer")
    invite = desk.expect(c.SendSipInvite)
    assert (invite.trunk, invite.leg, invite.spare) == (TRUNK, OUT, True)
    return desk


def tried(desk: Desk) -> c.SendSipInvite:
    """The next trunk is asked, with what was offered before."""
    invite = desk.expect(c.SendSipInvite)
    assert invite.sdp == "offer to sip"
    return invite


def test_the_next_trunk_carries_the_call() -> None:
    desk = dialling()
    desk.phone_ends(OUT, 503)
    invite = tried(desk)
    assert (invite.trunk, invite.leg, invite.caller, invite.spare) == (SPARE, OUT_2, "", True)
    record = desk.recorded(c.RecordAttempts)
    assert record.trunk == SPARE
    assert record.failed == (c.Attempt(trunk=TRUNK, cause="congestion", status=503),)
    (view,) = desk.core.active()
    assert view.trunk == SPARE
    desk.tell(e.SipProgressed(leg=OUT_2, status=180))
    desk.tell(e.SipAnswered(leg=OUT_2, sdp="sip answer"))
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixAnswer)
    desk.media_connects()
    desk.person_hangs_up()
    bye, _ = desk.expect_all(c.ByeSip, c.CloseMedia)
    assert isinstance(bye, c.ByeSip)
    assert bye.leg == OUT_2
    desk.phone_ends(OUT_2)
    desk.is_over("normal", "matrix")


def test_all_trunks_fail() -> None:
    desk = dialling()
    desk.phone_ends(OUT, 500)
    assert tried(desk).leg == OUT_2
    desk.phone_ends(OUT_2, 408, remote=False)
    last = tried(desk)
    assert (last.leg, last.trunk, last.spare) == (OUT_3, LAST, False)
    assert [each.trunk for each in desk.recorded(c.RecordAttempts).failed] == [TRUNK, SPARE]
    desk.phone_ends(OUT_3, 503, remote=False)
    _, _, notice = desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    assert isinstance(notice, c.SendNotice)
    assert notice.text == "The telephone network cannot be reached at the moment."
    desk.is_over("trunk_down", "sip")


@pytest.mark.parametrize(
    ("status", "q850", "blamed"),
    [
        (500, 0, True),
        (502, 0, True),
        (503, 34, True),
        (503, 38, True),
        (504, 0, True),
        (408, 0, True),
        (401, 0, True),
        (407, 0, True),
        (599, 0, True),
        (500, 17, False),
        (503, 1, False),
        (408, 19, False),
        (403, 0, False),
        (404, 0, False),
        (480, 0, False),
        (486, 0, False),
        (487, 0, False),
        (488, 0, False),
        (600, 0, False),
        (603, 0, False),
        (200, 0, False),
        (302, 0, False),
    ],
)
def test_what_is_the_fault_of_a_trunk(status: int, q850: int, blamed: bool) -> None:
    assert blames_trunk(status, q850) is blamed
    desk = dialling()
    desk.phone_ends(OUT, status, q850)
    assert isinstance(desk.said[0], c.SendSipInvite) is blamed
    desk.said.clear()
    desk.phone_ends(OUT_2, 486)
    desk.wait(200)
    assert desk.core.active() == []


def test_who_rang_is_not_called_again() -> None:
    desk = dialling()
    desk.phone_rings()
    desk.phone_rings(183)
    desk.phone_ends(OUT, 503)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("congestion", "sip")


@pytest.mark.parametrize(("status", "again"), [(503, True), (408, False)])
def test_a_failure_after_something_was_to_be_heard(status: int, again: bool) -> None:
    """183 may be an announcement of the network, or ringing: nobody answered is the callee's."""
    desk = dialling()
    desk.phone_rings(183, "announcement")
    desk.phone_ends(OUT, status)
    assert isinstance(desk.said[0], c.SendSipInvite) is again
    desk.said.clear()
    desk.phone_ends(OUT_2, 486)
    desk.is_over("busy" if again else "no_answer", "sip")


def test_what_the_person_hears_is_not_taken_from_them() -> None:
    desk = dialling(several(provider=TrunkPolicy(early_media=True)))
    desk.phone_rings(183, "announcement")
    early = desk.expect(c.AnswerMedia)
    assert early.provisional
    desk.phone_ends(OUT, 503)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("congestion", "sip")


def test_another_trunk_is_offered_its_own_codecs() -> None:
    desk = dialling(several(spare=TrunkPolicy(terms=Terms(codecs=("opus", "PCMU")))))
    desk.phone_ends(OUT, 503)
    offer = desk.expect(c.OfferMedia)
    assert (offer.side, offer.sdp) == (Side.MATRIX, "matrix offer")
    assert offer.terms == Terms(codecs=("opus", "PCMU"))
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="another offer"))
    invite = desk.expect(c.SendSipInvite)
    assert (invite.sdp, invite.leg) == ("another offer", OUT_2)
    desk.phone_ends(OUT_2, 486)
    desk.is_over("busy", "sip")


def test_the_person_hangs_up_between_attempts() -> None:
    desk = dialling(several(spare=TrunkPolicy(terms=Terms(codecs=("opus",)))))
    desk.phone_ends(OUT, 503)
    offer = desk.expect(c.OfferMedia)
    desk.person_hangs_up()
    desk.expect(c.CloseMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="too late"))
    assert not desk.said
    desk.is_over("cancelled", "matrix")


def test_the_person_hangs_up_while_the_second_trunk_is_asked() -> None:
    desk = dialling()
    desk.phone_ends(OUT, 503)
    tried(desk)
    desk.person_hangs_up()
    cancel, _ = desk.expect_all(c.CancelSip, c.CloseMedia)
    assert isinstance(cancel, c.CancelSip)
    assert cancel.leg == OUT_2
    desk.phone_ends(OUT_2, 503)
    assert not desk.said
    desk.is_over("cancelled", "matrix")


def test_all_trunks_share_the_ring_time() -> None:
    desk = dialling()
    desk.wait(40)
    desk.phone_ends(OUT, 408)
    tried(desk)
    desk.wait(LIMITS.ring_time - 40)
    desk.expect_all(c.SendMatrixReject, c.CancelSip, c.CloseMedia, c.SendNotice)
    desk.phone_ends(OUT_2, 487)
    desk.is_over("no_answer", "bridge")


def test_no_trunk_is_tried_when_the_time_is_over() -> None:
    desk = dialling()
    desk.now += LIMITS.ring_time
    desk.phone_ends(OUT, 503)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("congestion", "sip")


def test_what_comes_late_of_the_first_trunk_means_nothing() -> None:
    desk = dialling()
    desk.phone_ends(OUT, 503)
    tried(desk)
    desk.phone_ends(OUT, 500)
    desk.phone_answers()
    desk.tell(e.SipDialogChanged(leg=OUT, state="dialog"))
    assert not desk.said
    desk.phone_ends(OUT_2, 486)
    desk.is_over("busy", "sip")


@pytest.mark.parametrize("codecs", [("PCMA",), ("opus",)])
def test_the_number_calls_between_attempts(codecs: tuple[str, ...]) -> None:
    """Glare, while the second trunk is asked, or about to be."""
    desk = dialling(several(spare=TrunkPolicy(terms=Terms(codecs=codecs))))
    desk.phone_ends(OUT, 503)
    asked = desk.said.pop()
    desk.phone_calls()
    if isinstance(asked, c.SendSipInvite):
        cancel = desk.said.pop(0)
        assert isinstance(cancel, c.CancelSip)
        assert cancel.leg == OUT_2
    desk.media_joins()
    desk.expect_all(c.AnswerSip, c.SendMatrixAnswer)
    desk.phone_acknowledges()
    desk.phone_ends(OUT_2, 487)
    desk.phone_ends(IN)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_a_call_on_request_goes_by_the_next_trunk_with_the_same_offer() -> None:
    desk = Desk(several(spare=TrunkPolicy(terms=Terms(codecs=("PCMU", "PCMA")))))
    desk.requested_and_rings_here()
    desk.person_answers()
    assert isinstance(desk.said.pop(0), c.SendMatrixSelectAnswer)
    desk.media_answers(Side.MATRIX, "matrix answer")
    assert desk.expect(c.SendSipInvite).trunk == TRUNK
    desk.phone_ends(OUT, 503)
    invite = desk.expect(c.SendSipInvite)
    assert (invite.trunk, invite.sdp) == (SPARE, "answer to sip")
    desk.wait(LIMITS.ring_time)
    desk.expect_all(c.SendMatrixHangup, c.CancelSip, c.CloseMedia, c.SendNotice)
    desk.phone_ends(OUT_2, 487)
    desk.is_over("no_answer", "bridge")


def test_a_call_that_comes_in_has_one_trunk() -> None:
    desk = Desk(several())
    desk.rings_at_the_person()
    desk.phone_ends(IN, 503)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    desk.is_over("congestion", "sip")


def test_a_call_of_an_own_account_has_one_trunk() -> None:
    desk = Desk(several())
    desk.tell(e.PersonChanged(person=PERSON, account=LAST))
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer")
    invite = desk.expect(c.SendSipInvite)
    assert (invite.trunk, invite.spare) == (LAST, False)
    desk.phone_ends(OUT, 503)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("congestion", "sip")


def test_where_a_call_was_pointed_to_has_trunks_of_its_own() -> None:
    """The first trunk fails, the second points elsewhere, and there the first fails again."""
    desk = dialling()
    desk.phone_ends(OUT, 503)
    tried(desk)
    desk.tell(e.SipEnded(leg=OUT_2, status=302, contacts=(Address("tel:+12025550177"),)))
    elsewhere = desk.expect(c.SendSipInvite)
    assert (elsewhere.leg, elsewhere.trunk, elsewhere.spare) == (LegId("n-1-to-1"), TRUNK, True)
    desk.phone_ends(elsewhere.leg, 503)
    again = desk.expect(c.SendSipInvite)
    assert (again.leg, again.trunk) == (LegId("n-1-to-1-2"), SPARE)
    desk.phone_ends(again.leg, 486)
    desk.is_over("busy", "sip")


def test_a_trunk_that_may_not_call_the_number_is_passed_over() -> None:
    abroad = Bounds(allowed_prefixes=("+44",))
    desk = dialling(several(spare=TrunkPolicy(bounds=abroad, terms=Terms(codecs=("PCMA",)))))
    desk.phone_ends(OUT, 503)
    assert tried(desk).trunk == LAST
    desk.phone_ends(OUT_2, 486)
    desk.is_over("busy", "sip")
    nowhere = {name: TrunkPolicy(bounds=abroad) for name in ("provider", "spare", "last")}
    barred = Desk(several(**nowhere))
    barred.person_calls()
    barred.is_over("forbidden_number", "bridge")


def test_what_fails_over_to_a_trunk_counts_there() -> None:
    rare = TrunkPolicy(bounds=Bounds(calls_per_minute=1), terms=Terms(codecs=("PCMA",)))
    desk = dialling(several(spare=rare))
    desk.phone_ends(OUT, 503)
    assert tried(desk).trunk == SPARE
    desk.tell(e.SipProgressed(leg=OUT_2, status=180))
    desk.person_calls(
        MatrixCallId("another"), address=Address("tel:+12025550124"), room=RoomId("!other:mx.test")
    )
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CallId("n-2"), op=offer.op, sdp="offer to sip"))
    assert desk.expect(c.SendSipInvite).trunk == TRUNK
    desk.phone_ends(LegId("n-2-out"), 503)
    assert desk.expect(c.SendSipInvite).trunk == LAST


def test_a_trunk_that_is_full_leaves_calls_to_the_next() -> None:
    full = TrunkPolicy(bounds=Bounds(calls=1, max_duration=90.0), terms=Terms(codecs=("PCMA",)))
    desk = dialling(several(provider=full))
    desk.person_calls(
        MatrixCallId("another"), address=Address("tel:+12025550124"), room=RoomId("!other:mx.test")
    )
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CallId("n-2"), op=offer.op, sdp="offer to sip"))
    assert desk.expect(c.SendSipInvite).trunk == SPARE
    # The first goes on by another trunk, and lasts as the strictest of its trunks has it.
    desk.phone_ends(OUT, 503)
    tried(desk)
    desk.tell(e.SipAnswered(leg=OUT_2, sdp="sip answer"))
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixAnswer)
    desk.media_connects()
    desk.person_selects()
    desk.wait(60)
    desk.said.clear()
    desk.wait(31)
    assert any(isinstance(said, c.ByeSip) and said.leg == OUT_2 for said in desk.said)
