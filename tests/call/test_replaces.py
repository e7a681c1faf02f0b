# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody calls who is to take the far end's place (Replaces, RFC 3891)."""

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import CallId, LegId
from tests.call.desk import CALL, IN, OUT, POLICY, TRUNK, Desk
from tests.call.successors import ANOTHER, TARGET, being_called, switched


def another_calls(
    desk: Desk, replaces: LegId = OUT, *, sdp: str | None = "offer of the next"
) -> None:
    """An INVITE comes that is to take a leg's place."""
    desk.tell(
        e.SipInviteReceived(
            leg=ANOTHER,
            trunk=TRUNK,
            caller=TARGET,
            caller_name="Desk",
            dialled="whatever",
            sdp=sdp,
            sip_call_id="next@pbx.test",
            replaces=replaces,
        )
    )


@pytest.mark.parametrize("leg", [OUT, IN])
def test_a_caller_takes_the_far_ends_place(leg: LegId) -> None:
    desk = Desk()
    if leg == OUT:
        desk.connected_to_the_phone()
    else:
        desk.connected_to_the_person()
    another_calls(desk, leg)
    switch = desk.expect(c.SwitchMedia)
    assert (switch.sdp, switch.offered) == ("offer of the next", True)
    assert switch.terms == POLICY.trunks[TRUNK].terms
    switched(desk, switch, sdp="answer to the next")
    identity, answer, bye = desk.expect_all(c.SendMatrixAssertedIdentity, c.AnswerSip, c.ByeSip)
    assert isinstance(identity, c.SendMatrixAssertedIdentity)
    assert (identity.identity, identity.name) == (TARGET, "Desk")
    assert answer == c.AnswerSip(call=CALL, leg=ANOTHER, sdp="answer to the next")
    assert bye.leg == leg  # type: ignore[attr-defined]
    assert desk.recorded(c.RecordLegs).sip_call_id == "next@pbx.test"
    desk.phone_ends(leg, 410, remote=False)
    desk.phone_acknowledges(ANOTHER)
    assert len(desk.core.active()) == 1
    desk.phone_ends(ANOTHER)
    desk.expect_all(c.SendMatrixHangup, c.CloseMedia)
    desk.is_over("normal", "sip")


def test_a_caller_without_an_offer_takes_the_far_ends_place() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    another_calls(desk, sdp=None)
    offer = desk.expect(c.OfferSuccessor)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to the next"))
    assert desk.expect(c.AnswerSip).sdp == "offer to the next"
    desk.phone_ends(OUT, 410, remote=False)
    desk.phone_acknowledges(ANOTHER, "answer of the next")
    _, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.SwitchMedia)
    assert isinstance(switch, c.SwitchMedia)
    switched(desk, switch)
    assert not desk.said
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.is_over("normal", "matrix")


def test_a_caller_with_whom_the_engine_cannot_talk_is_refused() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    another_calls(desk)
    op = desk.expect(c.SwitchMedia).op
    desk.tell(e.MediaFailed(call=CALL, op=op, fault=e.MediaFault.NO_COMMON_CODEC))
    _, reject = desk.expect_all(c.DropSuccessor, c.RejectSip)
    assert isinstance(reject, c.RejectSip)
    assert (reject.leg, reject.status) == (ANOTHER, 488)
    desk.phone_ends(ANOTHER, 488, remote=False)
    desk.person_hangs_up()
    desk.is_over("normal", "matrix")


def test_a_caller_picks_up_what_rings_elsewhere() -> None:
    desk = Desk()
    desk.rings_at_the_phone()
    another_calls(desk, sdp="sip offer")
    cancel, _ = desk.expect_all(c.CancelSip, c.JoinMedia)
    assert cancel.leg == OUT  # type: ignore[attr-defined]


@pytest.mark.parametrize("replaced", [LegId("gone"), IN])
def test_a_caller_who_replaces_nobody(replaced: LegId) -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    another_calls(desk, replaced)
    assert desk.expect(c.RejectSip) == c.RejectSip(call=CallId(""), leg=ANOTHER, status=481)


def test_a_caller_who_comes_at_a_bad_moment() -> None:
    desk = being_called()
    another_calls(desk)
    assert desk.expect(c.RejectSip) == c.RejectSip(call=CALL, leg=ANOTHER, status=491)
    desk.phone_ends(ANOTHER, 491, remote=False)
    assert not desk.said
    another_calls(desk)
    assert not desk.said
