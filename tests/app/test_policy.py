# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings, as the core gets them."""

from pathlib import Path

import pytest

from bridge.app.policy import kind_of, policy_of
from bridge.call.bounds import NumberKind
from bridge.call.causes import Cause
from bridge.call.dialplan import OutboundRoute, route_of, route_out
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.policy import Access, Limits, Policy, Refusal, access_of
from bridge.call.rules import Caller, InboundRule, NumberFormat, OutboundRule, TrunkPolicy
from bridge.call.terms import Keypad, Srtp, Terms
from bridge.config import parse

ALICE = UserId("@alice:mx.test")
RESERVED = ("sip_*", "sipbot")


@pytest.fixture
def policy() -> Policy:
    return policy_of(
        parse(
            """
homeserver: {domain: mx.test}
accounts:
  {servers: [sip.example.com], early_media: connect, srtp: optional, dtmf: dtmf, video: relay}
appservice: {as_token: ours, hs_token: theirs}
encryption: {mode: off}
permissions: {mx.test: receive, "@alice:mx.test": call, "*": blocked, "@chief:mx.test": admin}
trunks:
  provider:
    server: a
    caller_id: "+12025550100"
    callers: ["+1202*"]
    caller_format: national
    withhold: true
    early_media: connect
    codecs: [PCMA, opus]
  spare: {server: b}
callers:
  "mx.test": {numbers: ["+12025550177"], name: Pat, withhold: false}
outbound:
  - {prefix: "+1", trunk: provider, strip: 1, prepend: "0", format: plain}
  - {pattern: _1XX, trunks: [spare, provider], format: national, people: [mx.test], caller_id: "1"}
  - {sip_domain: pbx.example.org, trunk: provider}
inbound:
  - {trunk: provider, number: "+1202*", person: "@alice:mx.test"}
  - {number: "_6XX", people: ["@alice:mx.test", "@bob:mx.test"]}
  - {trunk: provider, localpart: true}
numbers: {region: DE, forbidden_prefixes: ["+881"]}
limits: {calls_per_person: 3, calls_per_minute: 4, max_duration: 50, ring_time: 6}
""",
            directory=Path("/"),
        )
    )


def test_every_setting_arrives(policy: Policy) -> None:
    provider, spare = TrunkName("provider"), TrunkName("spare")
    assert policy.callers == {
        "mx.test": Caller(numbers=("+12025550177",), name="Pat", withhold=False)
    }
    assert policy.write("+493012345", NumberFormat.NATIONAL) == "03012345"
    assert policy.unwrap(Address("tel:*31#03012345")) == ("tel:+493012345", True)
    assert policy.unwrap(Address("tel:*8203012345")) == ("tel:+493012345", False)
    assert policy.trunks == {
        provider: TrunkPolicy(
            caller_id="+12025550100",
            callers=("+1202*",),
            caller_format=NumberFormat.NATIONAL,
            withhold=True,
            early_media=True,
            terms=Terms(codecs=("PCMA", "opus")),
        ),
        spare: TrunkPolicy(terms=Terms(codecs=("opus", "G722", "PCMA", "PCMU"))),
    }
    assert policy.trunk(provider) is policy.trunks[provider]
    assert policy.trunk(TrunkName("account:@alice:mx.test")) == TrunkPolicy(
        early_media=True, terms=Terms(srtp=Srtp.OPTIONAL, keypad=Keypad.INFO, video=True)
    )
    assert list(policy.outbound) == [
        OutboundRule(
            trunks=(provider,),
            prefix="+1",
            strip=1,
            prepend="0",
            format=NumberFormat.PLAIN,
            name="outbound[0]",
        ),
        OutboundRule(
            trunks=(spare, provider),
            pattern="_1XX",
            format=NumberFormat.NATIONAL,
            people=("mx.test",),
            caller_id="1",
            name="outbound[1]",
        ),
        OutboundRule(trunks=(provider,), sip_domain="pbx.example.org", name="outbound[2]"),
    ]
    assert list(policy.inbound) == [
        InboundRule(
            people=(ALICE,), trunk=provider, number="+1202*", reserved=RESERVED, name="inbound[0]"
        ),
        InboundRule(
            people=(ALICE, UserId("@bob:mx.test")),
            number="_6XX",
            reserved=RESERVED,
            name="inbound[1]",
        ),
        InboundRule(server="mx.test", trunk=provider, reserved=RESERVED, name="inbound[2]"),
    ]
    assert policy.limits == Limits(
        calls_per_person=3, calls_per_minute=4, ring_time=6, max_duration=50
    )
    assert tuple(policy.forbidden_prefixes) == ("+881",)


@pytest.mark.parametrize(
    ("person", "access"),
    [
        ("@chief:mx.test", Access.ADMIN),
        ("@alice:mx.test", Access.CALL),
        ("@bob:mx.test", Access.RECEIVE),
        ("@eve:other.test", Access.BLOCKED),
    ],
)
def test_permissions_arrive(policy: Policy, person: str, access: Access) -> None:
    assert access_of(policy, UserId(person)) is access


def test_emergency_numbers_are_those_of_the_region(policy: Policy) -> None:
    assert isinstance(route_out(policy, ALICE, Address("tel:112")), Refusal)


@pytest.mark.parametrize(
    ("region", "number", "kind"),
    [
        ("US", "911", NumberKind.EMERGENCY),
        ("DE", "110", NumberKind.EMERGENCY),
        ("US", "110", NumberKind.ORDINARY),
        ("US", "100", NumberKind.ORDINARY),
        ("US", "+19005550123", NumberKind.PREMIUM),
        ("US", "+12025550123", NumberKind.ORDINARY),
        ("US", "+", NumberKind.ORDINARY),
        ("US", "*43", NumberKind.ORDINARY),
    ],
)
def test_kinds_of_numbers(region: str, number: str, kind: NumberKind) -> None:
    assert kind_of(region, number) is kind


@pytest.fixture
def american() -> Policy:
    return policy_of(
        parse(
            """
appservice: {as_token: ours, hs_token: theirs}
database: {secret_key: "a key for the secrets of one test"}
permissions: {mx.test: call}
trunks:
  provider: {server: a}
outbound:
  - {sip_domain: sip.example.com, trunk: provider}
  - {trunk: provider}
numbers: {region: US, forbidden_prefixes: ["+881"]}
""",
            directory=Path("/"),
        )
    )


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("tel:+19005550123", Cause.PREMIUM_NUMBER),
        ("tel:0019005550123", Cause.PREMIUM_NUMBER),
        ("tel:919005550123", Cause.PREMIUM_NUMBER),
        ("tel:*6719005550123", Cause.PREMIUM_NUMBER),
        ("tel:9911", Cause.EMERGENCY_NUMBER),
        ("tel:9881655501234", Cause.FORBIDDEN_NUMBER),
        ("sip:+19005550123@sip.example.com", Cause.PREMIUM_NUMBER),
        ("sip:1-900-555-0123@sip.example.com", Cause.PREMIUM_NUMBER),
        ("sip:9005550123@sip.example.com", Cause.PREMIUM_NUMBER),
        ("sip:%2331%23+19005550123@sip.example.com", Cause.PREMIUM_NUMBER),
        ("sip:911@sip.example.com", Cause.EMERGENCY_NUMBER),
        ("sip:+881655501234@sip.example.com", Cause.FORBIDDEN_NUMBER),
    ],
)
def test_no_disguise_gets_a_number_through(american: Policy, address: str, cause: Cause) -> None:
    assert route_of(american, Address(address)) == Refusal(cause)


@pytest.mark.parametrize(
    "address",
    [
        "tel:+12025550123",
        "tel:912025550123",
        "tel:900",
        "tel:*86",
        "sip:door@sip.example.com",
        "sip:+12025550123@sip.example.com",
        "sip:100@sip.example.com",
    ],
)
def test_ordinary_numbers_get_through(american: Policy, address: str) -> None:
    assert isinstance(route_of(american, Address(address)), OutboundRoute)
