# SPDX-License-Identifier: GPL-3.0-or-later
"""Which trunks carry a call, in which order, and as whom it is placed."""

from dataclasses import replace

import pytest

from bridge.call.causes import Cause
from bridge.call.dialplan import OutboundRoute, caller_entry, on_request, only_by, route_out
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.patterns import names
from bridge.call.policy import Access, Policy, Refusal
from bridge.call.rules import Caller, NumberFormat, OutboundRule, TrunkPolicy
from bridge.call.terms import Srtp, Terms

ANN, BOB = UserId("@ann:mx.test"), UserId("@bob:example.org")
A, B, C = TrunkName("a"), TrunkName("b"), TrunkName("c")
NUMBER = Address("tel:+12025550123")


def policy(*outbound: OutboundRule, **more: object) -> Policy:
    return Policy(access={"*": Access.CALL}, outbound=outbound, **more)  # type: ignore[arg-type]


def route(of: Policy, who: UserId = ANN, to: Address = NUMBER, **more: object) -> OutboundRoute:
    found = route_out(of, who, to, **more)  # type: ignore[arg-type]
    assert isinstance(found, OutboundRoute)
    return found


@pytest.mark.parametrize(
    ("entry", "person", "means"),
    [
        ("@ann:mx.test", ANN, True),
        ("mx.test", ANN, True),
        ("*", ANN, True),
        ("@a*:mx.test", ANN, True),
        ("@*:mx.test", ANN, True),
        ("@ann:mx.*", ANN, True),
        ("@b*:mx.test", ANN, False),
        ("example.org", ANN, False),
        ("*.test", ANN, False),
        ("@a.n:mx.test", ANN, False),
        ("@ann:mx.test", UserId("@ann:mx.test.example"), False),
    ],
)
def test_whom_an_entry_means(entry: str, person: UserId, means: bool) -> None:
    assert names(entry, person) is means


def test_a_rule_may_be_for_some_people_only() -> None:
    of = policy(OutboundRule(trunks=(A,), people=("@b*:example.org",)), OutboundRule(trunks=(B,)))
    assert (route(of).trunk, route(of, BOB).trunk) == (B, A)
    assert (route(of).rule, route(of, BOB).rule) == ("outbound[1]", "outbound[0]")
    only = policy(OutboundRule(trunks=(A,), people=("example.org",)))
    assert route_out(only, ANN, NUMBER) == Refusal(Cause.NO_ROUTE)


def test_a_pattern_chooses() -> None:
    of = policy(
        OutboundRule(trunks=(A,), pattern="_1XX"), OutboundRule(trunks=(B,), pattern="_+1X.")
    )
    assert route(of).trunk == B
    assert route(of, to=Address("tel:110")).trunk == A
    assert route_out(of, ANN, Address("tel:1100")) == Refusal(Cause.NO_ROUTE)


def test_trunks_are_tried_in_order() -> None:
    of = policy(
        OutboundRule(trunks=(A, B, C), strip=1),
        trunks={B: TrunkPolicy(caller_id="200", terms=Terms(codecs=("PCMA",)))},
    )
    first = route(of)
    assert [each.trunk for each in (first, *first.others)] == [A, B, C]
    assert {each.rule for each in first.ways} == {"outbound[0]"}
    second = first.following
    assert second is not None
    assert (second.trunk, second.caller, second.target) == (B, "200", "2025550123")
    third = second.following
    assert third is not None
    assert (third.trunk, third.following) == (C, None)


def test_what_one_trunk_carries_of_rules_for_several() -> None:
    rules = [OutboundRule(trunks=(A, B), prefix="+1"), OutboundRule(trunks=(A,))]
    assert only_by(B, rules) == [OutboundRule(trunks=(B,), prefix="+1")]


# --- who calls --------------------------------------------------------------------------------

OF_ANN, OF_ALL = Caller(numbers=("+12025550177", "+442079460177"), name="Ann"), Caller(name="All")


def test_the_entry_for_the_very_person_counts_first() -> None:
    of = policy(callers={"@*:mx.test": OF_ALL, ANN: OF_ANN, "*": Caller()})
    assert caller_entry(of, ANN) == (ANN, OF_ANN)
    assert caller_entry(of, UserId("@eve:mx.test")) == ("@*:mx.test", OF_ALL)
    assert caller_entry(of, BOB) == ("*", Caller())
    assert caller_entry(policy(), BOB) == ("", Caller())


@pytest.mark.parametrize(
    ("allowed", "shown"),
    [
        ((), "100"),
        (("+1202*",), "+12025550177"),
        (("_+44X.",), "+442079460177"),
        (("*",), "+12025550177"),
        (("+49*",), "100"),
    ],
)
def test_a_person_shows_what_the_trunk_lets_them(allowed: tuple[str, ...], shown: str) -> None:
    of = policy(
        OutboundRule(trunks=(A,)),
        trunks={A: TrunkPolicy(caller_id="100", callers=allowed)},
        callers={ANN: OF_ANN},
    )
    assert (route(of).caller, route(of).caller_name) == (shown, "Ann")
    assert (route(of, BOB).caller, route(of, BOB).caller_name) == ("100", "")


def test_what_a_rule_shows_goes_for_everybody() -> None:
    of = policy(
        OutboundRule(trunks=(A,), caller_id="+12025550100"),
        trunks={A: TrunkPolicy(callers=("*",), caller_format=NumberFormat.PLAIN)},
        callers={ANN: OF_ANN},
    )
    assert route(of).caller == "12025550100"


@pytest.mark.parametrize(
    ("code", "wish", "entry", "trunk", "withheld"),
    [
        (None, None, None, False, False),
        (None, None, None, True, True),
        (None, None, False, True, False),
        (None, None, True, False, True),
        (None, False, True, True, False),
        (None, True, False, False, True),
        (False, True, True, True, False),
        (True, False, False, False, True),
    ],
)
def test_the_nearest_wish_to_stay_unknown_counts(
    code: bool | None, wish: bool | None, entry: bool | None, trunk: bool, withheld: bool
) -> None:
    of = policy(
        OutboundRule(trunks=(A,)),
        trunks={A: TrunkPolicy(withhold=trunk)},
        callers={ANN: Caller(withhold=entry)},
        unwrap=lambda address: (address, code),
    )
    assert route(of, withhold=wish).withheld is withheld


def test_an_account_of_ones_own_shows_itself() -> None:
    of = policy(callers={ANN: replace(OF_ANN, withhold=True)})
    own = route(of, account=C)
    assert (own.trunk, own.caller, own.caller_name, own.withheld) == (C, "", "", False)
    assert route(of, account=C, withhold=True).withheld


def test_codes_are_taken_off_before_rules_are_tried() -> None:
    of = policy(
        OutboundRule(trunks=(A,), prefix="+1"),
        unwrap=lambda address: (Address("tel:+12025550123"), True),
        forbidden_prefixes=("+1900",),
    )
    assert (route(of, to=Address("tel:*672025550123")).target) == "+12025550123"
    paid = replace(of, unwrap=lambda address: (Address("tel:+19005550123"), True))
    assert route_out(paid, ANN, Address("tel:*679005550123")) == Refusal(Cause.FORBIDDEN_NUMBER)


# --- on request -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "third", "offered", "trunks"),
    [
        (("PCMA", "PCMU"), ("PCMU", "PCMA"), (), ("PCMA", "PCMU"), [A, B, C]),
        (("opus", "PCMA"), ("PCMA",), ("PCMU", "PCMA"), ("PCMA",), [A, B, C]),
        (("opus",), ("PCMA",), ("opus", "PCMU"), ("opus",), [A, C]),
    ],
)
def test_one_offer_does_for_all_trunks(
    first: tuple[str, ...],
    second: tuple[str, ...],
    third: tuple[str, ...],
    offered: tuple[str, ...],
    trunks: list[TrunkName],
) -> None:
    codecs = dict(zip((A, B, C), (first, second, third), strict=True))
    of = policy(
        OutboundRule(trunks=(A, B, C)),
        trunks={name: TrunkPolicy(terms=Terms(codecs=each)) for name, each in codecs.items()},
    )
    asked = on_request(route(of))
    ways = [asked, *asked.others]
    assert [way.trunk for way in ways] == trunks
    assert all(way.early_media and way.terms.codecs == offered for way in ways)


def test_a_trunk_with_other_terms_wants_another_offer() -> None:
    of = policy(
        OutboundRule(trunks=(A, B, C)),
        trunks={B: TrunkPolicy(terms=Terms(srtp=Srtp.REQUIRED))},
    )
    assert [way.trunk for way in on_request(route(of)).others] == [C]
