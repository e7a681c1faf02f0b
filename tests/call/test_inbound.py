# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom an incoming call rings."""

import pytest

from bridge.call.causes import Cause
from bridge.call.ids import TrunkName, UserId
from bridge.call.inbound import route_in, rule_in
from bridge.call.patterns import matches, pattern_of
from bridge.call.policy import Access, Policy, Refusal
from bridge.call.rules import InboundRule

ANN = UserId("@ann:mx.test")
BOB = UserId("@bob:mx.test")
GUEST = UserId("@guest:other.test")
PBX = TrunkName("pbx")
PROVIDER = TrunkName("provider")
POLICY = Policy(
    access={"mx.test": Access.RECEIVE},
    inbound=(
        InboundRule(people=(ANN,), number="+12025550100"),
        InboundRule(people=(BOB, GUEST, ANN), number="+1202555*", trunk=PBX),
        InboundRule(people=(GUEST,), trunk=PBX, number="_7XX"),
    ),
)


def test_the_first_rule_that_is_for_a_number_decides() -> None:
    assert route_in(POLICY, PROVIDER, "+12025550100") == (ANN,)
    assert route_in(POLICY, PROVIDER, "tel:+12025550100") == (ANN,)
    assert route_in(POLICY, PBX, "+12025550100") == (ANN,)


def test_who_may_not_be_called_is_left_out_of_a_group() -> None:
    assert route_in(POLICY, PBX, "+12025550101") == (BOB, ANN)
    refusal = route_in(POLICY, PBX, "701")
    assert refusal == Refusal(Cause.NOT_PERMITTED)
    assert isinstance(refusal, Refusal)
    assert refusal.detail == "inbound[2]: @guest:other.test"


def test_the_rule_that_decided_is_named() -> None:
    assert rule_in(POLICY, PROVIDER, "tel:+12025550100") == "inbound[0]"
    assert rule_in(POLICY, PBX, "+12025550101") == "inbound[1]"
    assert rule_in(POLICY, PBX, "701") == ""
    assert rule_in(POLICY, PBX, "701", ANN) == "account"


def test_a_number_without_a_rule_names_the_rules_that_were_tried() -> None:
    refusal = route_in(POLICY, PROVIDER, "door")
    assert refusal == Refusal(Cause.NOT_IN_SERVICE)
    assert isinstance(refusal, Refusal)
    assert refusal.detail == (
        "nothing for 'door' by provider; tried: inbound[0] (number +12025550100), "
        "inbound[1] (number +1202555*, trunk pbx), inbound[2] (number _7XX, trunk pbx)"
    )


def test_no_rules_and_many() -> None:
    nothing = route_in(Policy(), PBX, "100")
    assert isinstance(nothing, Refusal)
    assert nothing.detail.endswith("tried: no rules at all")
    rules = [InboundRule(people=(ANN,), number=f"{number}") for number in range(200, 223)]
    many = route_in(Policy(inbound=rules), PBX, "100")
    assert isinstance(many, Refusal)
    assert many.detail.endswith("inbound[19] (number 219), 3 more")


# --- localparts -------------------------------------------------------------------------------

BY_NAME = Policy(
    access={"mx.test": Access.RECEIVE, "@blocked:mx.test": Access.BLOCKED},
    inbound=(
        InboundRule(server="mx.test", reserved=("sip_*", "sipbot"), trunk=PBX),
        InboundRule(people=(BOB,), number="+1*"),
    ),
)


@pytest.mark.parametrize(
    ("dialled", "person"),
    [
        ("ann", "@ann:mx.test"),
        ("Ann", "@ann:mx.test"),
        ("ann%3Dlee", "@ann=lee:mx.test"),
        ("701", "@701:mx.test"),
        ("sipbots", "@sipbots:mx.test"),
    ],
)
def test_a_localpart_rings_who_has_it(dialled: str, person: str) -> None:
    assert route_in(BY_NAME, PBX, dialled) == (person,)


@pytest.mark.parametrize(
    "dialled", ["sip_12025550123", "sipbot", "blocked", "ann:evil.test", "ann lee", "%00", ""]
)
def test_not_every_name_is_somebodys(dialled: str) -> None:
    refusal = route_in(BY_NAME, PBX, dialled)
    assert refusal == Refusal(Cause.NOT_IN_SERVICE)  # Not: not permitted.
    assert isinstance(refusal, Refusal)
    assert "inbound[0] (number *, localpart, trunk pbx)" in refusal.detail


def test_a_localpart_that_may_not_be_called_is_left_to_the_rules_behind() -> None:
    policy = Policy(access={BOB: Access.RECEIVE}, inbound=BY_NAME.inbound)
    assert route_in(policy, PBX, "+12025550100") == (BOB,)


# --- an account of one's own ------------------------------------------------------------------


def test_an_account_rings_its_owner_whatever_was_dialled() -> None:
    assert route_in(POLICY, PBX, "+12025550101", owner=ANN) == (ANN,)
    assert route_in(POLICY, PBX, "701", owner=GUEST) == Refusal(Cause.NOT_PERMITTED)


# --- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("700", ["700"], ["7000", "70", "x700"]),
        ("+1202555*", ["+12025550123", "+1202555"], ["+1202", "12025550123"]),
        ("*", ["", "anything", "+1"], []),
        ("*97*", ["*97", "*971"], ["97"]),
        ("_7XX", ["700", "799"], ["70", "7000", "7x0", "7\u0660\u0660"]),
        ("_7xx", ["700"], ["7xx"]),
        ("_ZN", ["12", "99"], ["02", "11"]),
        ("_[15-7]0", ["10", "50", "60", "70"], ["20", "80"]),
        ("_X.", ["10", "1x"], ["1", ""]),
        ("_9!", ["9", "91"], ["8"]),
        ("_+1XXX.", ["+12025550123"], ["12025550123", "+1202"]),
        ("_*97", ["*97"], ["97", "x97"]),
        ("_.", ["a", "1"], [""]),
    ],
)
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [number for number in yes if not matches(pattern, number)] == []
    assert [number for number in no if matches(pattern, number)] == []


@pytest.mark.parametrize("pattern", ["_", "_X..", "_X.X", "_[]", "_[a]", "_X]", "_[9-1]", "_[1"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="wanted"):
        pattern_of(pattern)
