# SPDX-License-Identifier: GPL-3.0-or-later
"""What people set for themselves: do not disturb, a forward, an account of their own."""

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.dialplan import OutboundRoute
from bridge.call.ids import Address, LegId, TrunkName, UserId
from bridge.call.policy import Access, Policy
from bridge.call.rules import InboundRule, NumberFormat, OutboundRule
from tests.call.desk import IN, LIMITS, NUMBER, OURS, PERSON, POLICY, ROOM, TRUNK, Desk

MOBILE_PHONE = Address("tel:+12025550177")
BOB = UserId("@bob:mx.test")
ACCOUNT = TrunkName("ann-account")


def changed(desk: Desk, **wishes: object) -> None:
    desk.tell(e.PersonChanged(person=PERSON, **wishes))  # type: ignore[arg-type]


# --- do not disturb ---------------------------------------------------------------------------


def test_do_not_disturb_refuses_and_leaves_a_word() -> None:
    desk = Desk()
    changed(desk, dnd=True)
    desk.phone_calls()
    prepare, reject = desk.expect_all(c.PreparePortal, c.RejectSip)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(reject, c.RejectSip)
    assert (reject.status, reject.contact) == (480, "")
    assert [view.state for view in desk.core.active()] == ["ending"]
    desk.portal_is_ready(prepare.op)
    notice = desk.expect(c.SendNotice)
    missed = "You missed a call at {time}: do not disturb was on."
    assert (notice.room, notice.address, notice.text) == (ROOM, NUMBER, missed)
    desk.phone_ends(IN, 480)
    desk.is_over("do_not_disturb", "bridge")


@pytest.mark.parametrize("how", ["failed", "never"])
def test_there_is_nowhere_to_leave_a_word(how: str) -> None:
    desk = Desk()
    changed(desk, dnd=True)
    desk.phone_calls()
    prepare, _ = desk.expect_all(c.PreparePortal, c.RejectSip)
    assert isinstance(prepare, c.PreparePortal)
    if how == "failed":
        desk.tell(e.PortalFailed(call=prepare.call, op=prepare.op, reason="No room."))
    desk.is_over("do_not_disturb", "bridge")
    assert desk.said == []


def test_what_was_set_can_be_taken_back() -> None:
    desk = Desk()
    changed(desk, dnd=True)
    changed(desk)
    desk.rings_at_the_person()


def test_who_has_too_many_calls_learns_of_another() -> None:
    desk = Desk()
    for number in range(LIMITS.calls_per_person):
        desk.phone_calls(LegId(f"another-{number}"), caller=Address(f"tel:+1202555015{number}"))
        desk.said.clear()
    desk.phone_calls()
    prepare, reject = desk.expect_all(c.PreparePortal, c.RejectSip)
    assert isinstance(prepare, c.PreparePortal)
    assert isinstance(reject, c.RejectSip)
    assert reject.status == 486
    desk.tell(e.PortalReady(call=prepare.call, op=prepare.op, room=ROOM))
    missed = "You missed a call at {time}: you were in too many other calls."
    assert desk.expect(c.SendNotice).text == missed


# --- forward ----------------------------------------------------------------------------------


def test_a_forward_redirects_the_caller() -> None:
    desk = Desk()
    changed(desk, forward=MOBILE_PHONE)
    desk.phone_calls()
    reject = desk.expect(c.RejectSip)
    assert (reject.status, reject.contact) == (302, "+12025550177")
    assert desk.recorded(c.RecordEnd).status == 302
    desk.phone_ends(IN, 302)
    desk.is_over("forwarded", "bridge")


def test_a_forward_is_written_as_the_trunk_wants_it() -> None:
    rule = OutboundRule(trunks=(TRUNK,), prefix="+1", strip=1, prepend="9")
    desk = Desk(Policy(access=POLICY.access, outbound=[rule], inbound=POLICY.inbound))
    changed(desk, forward=MOBILE_PHONE)
    desk.phone_calls()
    assert desk.expect(c.RejectSip).contact == "92025550177"


def rings(desk: Desk) -> bool:
    """Whether a call for the person rings, in spite of their forward."""
    desk.phone_calls()
    prepared = any(isinstance(command, c.PreparePortal) for command in desk.said)
    redirected = any(isinstance(command, c.RejectSip) for command in desk.said)
    assert prepared is not redirected
    return prepared


@pytest.mark.parametrize(
    "forward",
    [
        NUMBER,  # Who calls is who it goes to.
        Address(f"tel:{OURS}"),  # The number that they called.
        Address("tel:+442079460123"),  # No rule of this trunk.
    ],
)
def test_a_forward_that_leads_nowhere_rings(forward: Address) -> None:
    desk = Desk()
    changed(desk, forward=forward)
    assert rings(desk)


def test_who_may_not_call_cannot_forward() -> None:
    desk = Desk(
        Policy(access={"*": Access.RECEIVE}, outbound=POLICY.outbound, inbound=POLICY.inbound)
    )
    changed(desk, forward=MOBILE_PHONE)
    assert rings(desk)


def test_only_rules_of_the_same_trunk_count_for_a_forward() -> None:
    elsewhere = OutboundRule(trunks=(TrunkName("other"),))
    ours = OutboundRule(trunks=(TrunkName("first"), TRUNK), format=NumberFormat.PLAIN)
    desk = Desk(Policy(access=POLICY.access, outbound=[elsewhere, ours], inbound=POLICY.inbound))
    changed(desk, forward=MOBILE_PHONE)
    desk.phone_calls()
    assert desk.expect(c.RejectSip).contact == "12025550177"


BOBS = "+12025550101"
TWO = Policy(
    access=POLICY.access,
    outbound=POLICY.outbound,
    inbound=[
        InboundRule(people=(PERSON,), number=OURS),
        InboundRule(people=(BOB,), number=BOBS),
        InboundRule(people=(PERSON,)),
    ],
    limits=LIMITS,
)


def test_a_forward_to_another_of_ours() -> None:
    desk = Desk(TWO)
    changed(desk, forward=Address(f"tel:{BOBS}"))
    assert not rings(desk)


def test_forwards_that_go_in_a_circle_ring() -> None:
    desk = Desk(TWO)
    changed(desk, forward=Address(f"tel:{BOBS}"))
    desk.tell(e.PersonChanged(person=BOB, forward=Address(f"tel:{OURS}")))
    assert rings(desk)


def test_a_rule_for_any_number_makes_no_circle() -> None:
    desk = Desk(TWO)
    changed(desk, forward=MOBILE_PHONE)
    assert not rings(desk)


def test_forwards_in_a_circle_outside_come_to_an_end() -> None:
    desk = Desk()
    changed(desk, forward=MOBILE_PHONE)
    statuses = []
    for number in range(LIMITS.calls_per_minute + 1):
        desk.phone_calls(LegId(f"another-{number}"))
        statuses.append(desk.expect(c.RejectSip).status)
    assert statuses == [302] * LIMITS.calls_per_minute + [503]
    desk.wait(61)
    desk.phone_calls()
    assert desk.expect(c.RejectSip).status == 302


# --- an account of their own ------------------------------------------------------------------


def account_calls(desk: Desk) -> None:
    desk.tell(
        e.SipInviteReceived(
            leg=IN,
            trunk=ACCOUNT,
            caller=NUMBER,
            caller_name="",
            dialled="ann",
            sdp="sip offer",
            sip_call_id="call-id@pbx.test",
        )
    )


@pytest.mark.parametrize("address", ["tel:+442079460123", "sip:door@pbx.test"])
def test_calls_leave_by_the_persons_own_account(address: str) -> None:
    desk = Desk()
    changed(desk, account=ACCOUNT)
    desk.person_calls(address=Address(address))
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=offer.call, op=offer.op, sdp="offer to sip"))
    invite = desk.expect(c.SendSipInvite)
    assert (invite.trunk, invite.target) == (ACCOUNT, address.removeprefix("tel:"))
    assert desk.recorded(c.RecordStart).rule == "account"


def test_a_call_by_an_account_rings_its_owner() -> None:
    desk = Desk()
    changed(desk, account=ACCOUNT)
    account_calls(desk)
    prepare, _ = desk.expect_all(c.PreparePortal, c.OfferMedia)
    assert isinstance(prepare, c.PreparePortal)
    assert prepare.person == PERSON
    assert desk.recorded(c.RecordStart).rule == "account"


def test_a_forward_of_a_call_by_an_account() -> None:
    desk = Desk(Policy(access=POLICY.access))
    changed(desk, account=ACCOUNT, forward=MOBILE_PHONE)
    account_calls(desk)
    assert desk.expect(c.RejectSip).contact == "+12025550177"


@pytest.mark.parametrize("access", [Access.CALL, Access.BLOCKED])
def test_an_account_that_was_left_rings_nobody(access: Access) -> None:
    desk = Desk(Policy(access={"*": access}))
    changed(desk, account=ACCOUNT)
    if access is Access.CALL:
        changed(desk)
    account_calls(desk)
    assert desk.expect(c.RejectSip).status == (404 if access is Access.CALL else 403)


def test_routes_of_what_is_no_call_are_the_same() -> None:
    desk = Desk()
    changed(desk, account=ACCOUNT)
    route = desk.core.route_out(PERSON, NUMBER)
    assert isinstance(route, OutboundRoute)
    assert (route.trunk, route.target) == (ACCOUNT, "+12025550123")
    assert desk.core.route_in(TRUNK, OURS) == (PERSON,)
