# SPDX-License-Identifier: GPL-3.0-or-later
"""A trunk points a call elsewhere (300 to 399): it is placed there, as far as that is allowed."""

from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import Address, LegId, Side, TrunkName
from bridge.call.policy import Policy
from bridge.call.rules import OutboundRule, TrunkPolicy
from bridge.call.terms import Terms
from tests.call.desk import CALL, EARLY_POLICY, OUT, POLICY, Desk

THERE = Address("tel:+12025550144")
ALSO = Address("tel:+12025550166")
OTHER = TrunkName("other")


def pointed(desk: Desk, *contacts: Address, leg: LegId = OUT, status: int = 302) -> None:
    """The trunk refuses the call, and says where else to try."""
    desk.tell(e.SipEnded(leg=leg, status=status, reason="Moved", contacts=contacts))


def calling(policy: Policy = POLICY) -> Desk:
    """A person's call is out."""
    desk = Desk(policy)
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer")
    desk.expect(c.SendSipInvite)
    return desk


def test_the_call_is_placed_where_it_was_pointed_to_and_goes_on_there() -> None:
    desk = calling()
    pointed(desk, THERE, ALSO)
    invite = desk.expect(c.SendSipInvite)
    assert invite.target == "+12025550144"
    assert invite.leg != OUT
    assert invite.sdp == "offer to sip"
    desk.tell(e.SipAnswered(leg=invite.leg, sdp="sip answer"))
    desk.media_answers(Side.SIP, "sip answer")
    desk.expect(c.SendMatrixAnswer)
    desk.person_selects()
    desk.tell(e.SipEnded(leg=invite.leg, status=200))
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_the_person_hangs_up_while_it_rings_there() -> None:
    desk = calling()
    pointed(desk, THERE)
    leg = desk.expect(c.SendSipInvite).leg
    desk.person_hangs_up()
    cancel, *_ = desk.expect_all(c.CancelSip, c.CloseMedia)
    assert isinstance(cancel, c.CancelSip)
    assert cancel.leg == leg


def test_only_where_the_person_may_call() -> None:
    desk = calling(replace(POLICY, forbidden_prefixes=("+12025550144",)))
    pointed(desk, THERE, ALSO)
    assert desk.expect(c.SendSipInvite).target == "+12025550166"


@pytest.mark.parametrize(
    ("policy", "contacts"),
    [
        (replace(POLICY, forbidden_prefixes=("+12025550144",)), [THERE]),
        (POLICY, [Address("sip:ann@elsewhere.example.org")]),
        (replace(POLICY, trunks={TrunkName("provider"): TrunkPolicy(follows=False)}), [THERE]),
        (replace(POLICY, limits=replace(POLICY.limits, calls_per_minute=1)), [THERE]),
    ],
    ids=["forbidden", "no route", "refused for the trunk", "too frequent"],
)
def test_else_the_call_fails(policy: Policy, contacts: list[Address]) -> None:
    desk = calling(policy)
    pointed(desk, *contacts)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("redirected", "sip")


def test_a_number_that_has_changed_says_so() -> None:
    desk = calling(replace(POLICY, forbidden_prefixes=("+12025550144",)))
    pointed(desk, THERE, status=301)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("number_changed", "sip")


def test_not_round_in_circles() -> None:
    desk = calling(replace(POLICY, limits=replace(POLICY.limits, calls_per_minute=10)))
    leg = OUT
    for _ in range(3):
        pointed(desk, THERE, leg=leg)
        leg = desk.expect(c.SendSipInvite).leg
    pointed(desk, THERE, leg=leg)
    desk.expect_all(c.SendMatrixReject, c.CloseMedia, c.SendNotice)
    desk.is_over("redirected", "sip")


def test_another_trunk_may_want_another_offer() -> None:
    rules = (OutboundRule(trunks=(OTHER,), prefix="+12025550144"), *POLICY.outbound)
    trunks = {**POLICY.trunks, OTHER: TrunkPolicy(terms=Terms(codecs=("PCMU",)))}
    desk = calling(replace(POLICY, outbound=rules, trunks=trunks))
    pointed(desk, THERE)
    offer = desk.expect(c.OfferMedia)
    assert offer.terms == Terms(codecs=("PCMU",))
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="another offer"))
    invite = desk.expect(c.SendSipInvite)
    assert (invite.trunk, invite.sdp) == (OTHER, "another offer")


def test_too_late_once_early_media_was_heard() -> None:
    desk = calling(EARLY_POLICY)
    desk.phone_rings(183, "early answer")
    desk.tell(e.MediaAnswerReady(call=CALL, op=desk.expect(c.AnswerMedia).op, sdp="early"))
    desk.expect(c.SendMatrixAnswer)
    pointed(desk, THERE)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    desk.is_over("redirected", "sip")


def test_a_call_that_was_cancelled_is_placed_nowhere() -> None:
    desk = calling()
    desk.person_hangs_up()
    desk.expect_all(c.CancelSip, c.CloseMedia)
    pointed(desk, THERE)
    assert desk.said == []


def requested(policy: Policy = POLICY) -> Desk:
    """A call that the person asked for is out; what it offers was made for them."""
    desk = Desk(policy)
    desk.requested_and_rings_here()
    desk.person_answers()
    _, told = desk.expect_all(c.SendMatrixSelectAnswer, c.AnswerMedia)
    assert isinstance(told, c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=told.op, sdp="offer to sip"))
    desk.expect(c.SendSipInvite)
    return desk


def test_a_requested_call_is_placed_elsewhere_with_the_same_offer() -> None:
    desk = requested()
    pointed(desk, THERE)
    assert desk.expect(c.SendSipInvite).sdp == "offer to sip"


def test_a_requested_call_has_no_other_offer_for_another_trunk() -> None:
    rules = (OutboundRule(trunks=(OTHER,), prefix="+12025550144"), *POLICY.outbound)
    trunks = {**POLICY.trunks, OTHER: TrunkPolicy(terms=Terms(codecs=("PCMU",)))}
    desk = requested(replace(POLICY, outbound=rules, trunks=trunks))
    pointed(desk, THERE)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia, c.SendNotice)
    desk.is_over("redirected", "sip")
