# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call what, and which way."""

import pytest

from bridge.call.bounds import NumberKind
from bridge.call.causes import Cause
from bridge.call.dialplan import OutboundRoute, rewrite, route_out, terms_of
from bridge.call.ids import ANONYMOUS, Address, TrunkName, UserId
from bridge.call.policy import Access, Policy, Refusal, access_of, without_a_country
from bridge.call.rules import NumberFormat, OutboundRule, TrunkPolicy
from bridge.call.terms import Terms

ANN, BOB, EVE = (UserId(f"@{name}:mx.test") for name in ("ann", "bob", "eve"))
GUEST = UserId("@guest:example.org:8448")
PROVIDER, PBX = TrunkName("provider"), TrunkName("pbx")
NUMBER = Address("tel:+12025550123")


def test_nobody_may_call_until_it_is_written_down() -> None:
    assert access_of(Policy(), ANN) is Access.BLOCKED
    assert route_out(Policy(), ANN, NUMBER) == Refusal(Cause.NOT_PERMITTED)


def test_the_most_exact_permission_counts() -> None:
    policy = Policy(
        access={
            "*": Access.RECEIVE,
            "mx.test": Access.BLOCKED,
            EVE: Access.BLOCKED,
            ANN: Access.CALL,
        }
    )
    assert [access_of(policy, person) for person in (ANN, BOB, EVE, GUEST)] == [
        Access.CALL,
        Access.BLOCKED,
        Access.BLOCKED,
        Access.RECEIVE,
    ]


def test_a_server_name_may_have_a_port() -> None:
    assert access_of(Policy(access={"example.org:8448": Access.CALL}), GUEST) is Access.CALL


def test_who_withheld_their_number_cannot_be_called_back() -> None:
    policy = Policy(
        access={ANN: Access.CALL, BOB: Access.RECEIVE},
        outbound=[OutboundRule(trunks=(PROVIDER,), sip_domain="*")],
    )
    assert route_out(policy, ANN, ANONYMOUS) == Refusal(Cause.NUMBER_WITHHELD)
    assert route_out(policy, BOB, ANONYMOUS) == Refusal(Cause.NOT_PERMITTED)


def everyone(*outbound: OutboundRule, **more: object) -> Policy:
    return Policy(access={"*": Access.CALL}, outbound=outbound, **more)  # type: ignore[arg-type]


def test_the_first_rule_that_matches_wins() -> None:
    policy = everyone(
        OutboundRule(trunks=(PBX,), prefix="+1202"),
        OutboundRule(trunks=(PROVIDER,)),
        trunks={PBX: TrunkPolicy(caller_id="100", early_media=True, terms=Terms(codecs=("PCMU",)))},
    )
    assert route_out(policy, ANN, NUMBER) == OutboundRoute(
        trunk=PBX,
        target="+12025550123",
        caller="100",
        early_media=True,
        terms=Terms(codecs=("PCMU",)),
        rule="outbound[0]",
    )
    other = route_out(policy, ANN, Address("tel:+442079460123"))
    assert other == OutboundRoute(
        trunk=PROVIDER,
        target="+442079460123",
        caller="",
        early_media=False,
        terms=Terms(),
        rule="outbound[1]",
    )
    assert (terms_of(policy, PBX), terms_of(policy, PROVIDER)) == (
        Terms(codecs=("PCMU",)),
        Terms(),
    )


def test_no_rule_no_route() -> None:
    assert route_out(everyone(), ANN, NUMBER) == Refusal(Cause.NO_ROUTE)
    numbers = everyone(OutboundRule(trunks=(PBX,)))
    assert route_out(numbers, ANN, Address("sip:door@pbx.test")) == Refusal(Cause.NO_ROUTE)


@pytest.mark.parametrize(
    ("domain", "uri", "matches"),
    [
        ("pbx.test", "sip:door@pbx.test", True),
        ("PBX.test", "sip:door@pbx.TEST:5070;transport=tcp", True),
        ("*", "sip:door@anywhere.test", True),
        ("[2001:db8::1]", "sip:door@[2001:db8::1]:5060", True),
        ("pbx.test", "sip:door@evil.test", False),
        ("pbx.test", "tel:+12025550123", False),
    ],
)
def test_sip_addresses_are_routed_by_domain(domain: str, uri: str, matches: bool) -> None:
    route = route_out(everyone(OutboundRule(trunks=(PBX,), sip_domain=domain)), ANN, Address(uri))
    assert isinstance(route, OutboundRoute) is matches
    assert not isinstance(route, OutboundRoute) or route.target == uri


@pytest.mark.parametrize(
    ("number", "strip", "prepend", "style", "target"),
    [
        ("+12025550123", 0, "", "e164", "+12025550123"),
        ("+12025550123", 0, "", "plain", "12025550123"),
        ("+12025550123", 1, "", "e164", "2025550123"),
        ("+12025550123", 1, "9", "e164", "92025550123"),
        ("+12025550123", 0, "00", "plain", "0012025550123"),
        ("+12025550123", 0, "#31#", "e164", "#31#+12025550123"),
        ("+12025550123", 0, "9", "national", "9(202)"),
        ("+12025550123", 1, "9", "national", "9202)"),
        ("101", 0, "", "e164", "101"),
    ],
)
def test_numbers_are_written_as_the_trunk_wants_them(
    number: str, strip: int, prepend: str, style: str, target: str
) -> None:
    def write(number: str, style: NumberFormat) -> str:
        return "(202)" if style is NumberFormat.NATIONAL else without_a_country(number, style)

    rule = OutboundRule(trunks=(PBX,), strip=strip, prepend=prepend, format=NumberFormat(style))
    assert rewrite(Policy(write=write), rule, number) == target


def test_numbers_that_nobody_may_call() -> None:
    kinds = {"911": NumberKind.EMERGENCY, "+19005550123": NumberKind.PREMIUM}
    policy = everyone(
        OutboundRule(trunks=(PBX,)),
        forbidden_prefixes=("+1900555", "+88"),
        kind_of=lambda number: kinds.get(number, NumberKind.ORDINARY),
    )
    refused = {
        "tel:911": Cause.EMERGENCY_NUMBER,
        "tel:+19005550123": Cause.FORBIDDEN_NUMBER,
        "tel:+8835550123": Cause.FORBIDDEN_NUMBER,
        "tel:008835550123": Cause.FORBIDDEN_NUMBER,
    }
    for number, cause in refused.items():
        assert route_out(policy, ANN, Address(number)) == Refusal(cause)
    lenient = everyone(OutboundRule(trunks=(PBX,)), kind_of=policy.kind_of)
    for number in ("tel:+19005550123", "tel:0019005550123"):
        assert route_out(lenient, ANN, Address(number)) == Refusal(Cause.PREMIUM_NUMBER)
