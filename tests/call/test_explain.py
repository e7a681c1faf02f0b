# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bot's `route` shows: every rule that is tried, and the very result of `route_out`."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bridge.call.bounds import NumberKind
from bridge.call.dialplan import OutboundRoute, route_out
from bridge.call.explain import explain, explain_in
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.inbound import route_in, rule_in
from bridge.call.policy import Access, Policy, Refusal
from bridge.call.rules import Caller, InboundRule, OutboundRule, TrunkPolicy

ANN = UserId("@ann:mx.test")
POLICY = Policy(
    access={"mx.test": Access.CALL, "@guest:mx.test": Access.RECEIVE},
    trunks={TrunkName("provider"): TrunkPolicy(caller_id="+12025550100")},
    outbound=[
        OutboundRule(trunks=(TrunkName("abroad"),), prefix="+44", strip=2, prepend="00"),
        OutboundRule(trunks=(TrunkName("pbx"),), sip_domain="pbx.example.org"),
        OutboundRule(trunks=(TrunkName("provider"),), prefix="+1"),
        OutboundRule(trunks=(TrunkName("never"),), prefix=""),
    ],
    forbidden_prefixes=["+1900"],
    kind_of=lambda number: NumberKind.EMERGENCY if number == "911" else NumberKind.ORDINARY,
)


def test_every_rule_up_to_the_one_that_is_taken_is_named() -> None:
    found = explain(POLICY, ANN, Address("tel:+12025550123"))
    assert found.steps == (
        "permissions: `mx.test` is call",
        "the number: `+12025550123`",
        "outbound[0], numbers from +44: no, the number starts otherwise",
        "outbound[1], SIP domain pbx.example.org: no, for SIP addresses",
        "outbound[2], numbers from +1: this one",
    )
    assert found.verdict == "trunk `provider` dials `+12025550123` as `+12025550100`"


def test_a_sip_address_is_carried_by_its_domain() -> None:
    found = explain(POLICY, ANN, Address("sip:door@pbx.example.org"))
    assert found.steps[-1] == "outbound[1], SIP domain pbx.example.org: this one"
    assert found.verdict == "trunk `pbx` dials `sip:door@pbx.example.org`"


def test_a_rule_for_any_address_says_so() -> None:
    rules = [
        OutboundRule(trunks=(TrunkName("a"),)),
        OutboundRule(trunks=(TrunkName("b"),), sip_domain="*"),
    ]
    policy = Policy(access={"*": Access.CALL}, outbound=rules)
    found = explain(policy, ANN, Address("sip:door@pbx.example.org"))
    assert found.steps[2:] == (
        "outbound[0], any number: no, for numbers",
        "outbound[1], any SIP address: this one",
    )


def test_what_no_rule_carries_is_shown_with_all_of_them() -> None:
    found = explain(POLICY, ANN, Address("sip:a@example.com"))
    assert len(found.steps) == 2 + len(POLICY.outbound)
    assert all(": no, " in step for step in found.steps[2:])
    assert found.verdict == "refused: There is no way to reach this number from here."


def test_a_number_that_nobody_may_call_meets_no_rule() -> None:
    found = explain(POLICY, ANN, Address("tel:911"))
    assert found.steps[1:] == ("the number: `911`", "refused as such: emergency number")
    assert found.verdict.startswith("refused: Emergency calls cannot be made")
    assert explain(POLICY, ANN, Address("tel:+19005550123")).steps[2:] == (
        "refused as such: forbidden number (numbers)",
    )


def test_somebody_who_may_not_call_meets_no_rule() -> None:
    found = explain(POLICY, UserId("@guest:mx.test"), Address("tel:+12025550123"))
    assert found.steps == ("permissions: `@guest:mx.test` is receive",)
    stranger = explain(POLICY, UserId("@eve:example.com"), Address("tel:+12025550123"))
    assert stranger.steps == ("permissions: none",)
    assert isinstance(stranger.result, Refusal)


def test_an_account_of_ones_own_needs_no_rule() -> None:
    found = explain(POLICY, ANN, Address("tel:+12025550123"), TrunkName("hers"))
    assert found.steps[2:] == ("an account of their own: no rule is needed",)
    assert found.verdict == "trunk `hers` dials `+12025550123`"
    refused = explain(POLICY, ANN, Address("tel:911"), TrunkName("hers"))
    assert refused.steps[2:] == ("refused as such: emergency number",)


@given(
    st.sampled_from(["tel:+12025550123", "tel:+442079460000", "tel:100", "sip:a@pbx.example.org"]),
    st.lists(
        st.builds(
            OutboundRule,
            trunks=st.lists(
                st.sampled_from([TrunkName("a"), TrunkName("b")]), min_size=1, unique=True
            ).map(tuple),
            people=st.sampled_from([(), ("mx.test",), ("@eve:mx.test",)]),
            pattern=st.sampled_from(["", "", "_+1202X.", "_1XX"]),
            prefix=st.sampled_from(["", "+", "+1", "+44", "1"]),
            sip_domain=st.sampled_from([None, "*", "PBX.example.org", "example.com"]),
        )
    ),
)
def test_the_step_taken_is_the_rule_that_the_call_leaves_by(
    address: str, rules: list[OutboundRule]
) -> None:
    policy = Policy(access={"*": Access.CALL}, outbound=rules)
    found = explain(policy, ANN, Address(address))
    assert found.result == route_out(policy, ANN, Address(address))
    tried = [step for step in found.steps if step.startswith("outbound[")]
    taken = [step.endswith("this one") for step in tried]
    assert not any(taken[:-1])
    if isinstance(found.result, OutboundRoute):
        assert taken[-1]
        way = rules[len(taken) - 1].trunks
        assert way == (found.result.trunk, *(each.trunk for each in found.result.others))
    else:
        assert len(tried) == len(rules)
        assert not any(taken)


def test_who_calls_as_whom_is_told() -> None:
    policy = Policy(
        access={"*": Access.CALL},
        trunks={
            TrunkName("a"): TrunkPolicy(callers=("+1202*",), withhold=True),
            TrunkName("b"): TrunkPolicy(caller_id="100"),
        },
        outbound=[
            OutboundRule(
                trunks=(TrunkName("a"), TrunkName("b")), pattern="_+1X.", people=("mx.test",)
            )
        ],
        callers={
            "mx.test": Caller(numbers=("+12025550177",), name="Ann"),
            "@bob:*": Caller(withhold=False),
            "*": Caller(withhold=True),
        },
        unwrap=lambda address: (Address(address.replace(":*82", ":")), "*82" not in address),
    )
    found = explain(policy, ANN, Address("tel:*82+12025550123"))
    assert found.steps == (
        "permissions: `*` is call",
        "the number: `+12025550123`, behind a code that shows the caller's number",
        "outbound[0], numbers like _+1X., of mx.test: this one",
        'callers: `mx.test` is +12025550177, "Ann"',
    )
    assert found.verdict == (
        "trunk `a` dials `+12025550123` as `+12025550177`, "
        "then trunk `b` dials `+12025550123` as `100`"
    )
    hidden = explain(policy, ANN, Address("tel:+12025550123"))
    assert "withholds" in hidden.steps[1]
    assert hidden.verdict.count("withheld") == 2
    bob = explain(policy, UserId("@bob:example.com"), Address("tel:100"))
    assert bob.steps[-1] == (
        "outbound[0], numbers like _+1X., of mx.test: no, the number is not like that"
    )
    elsewhere = explain(policy, UserId("@bob:example.com"), Address("tel:+12025550123"))
    assert elsewhere.steps[-1].endswith("no, for other people")
    anybody = replace(policy, outbound=[OutboundRule(trunks=(TrunkName("a"),))])
    for who, words in (("@bob:example.com", "not withheld"), ("@eve:example.com", "withheld")):
        steps = explain(anybody, UserId(who), Address("tel:100")).steps
        assert steps[-1].endswith(f"is {words}")
    plain = replace(anybody, callers={"*": Caller()})
    assert explain(plain, ANN, Address("tel:100")).steps[-1].endswith("nobody in particular")


PROVIDER = TrunkName("provider")
INBOUND = Policy(
    access={"mx.test": Access.RECEIVE, "@eve:mx.test": Access.BLOCKED},
    inbound=[
        InboundRule(people=(ANN,), trunk=TrunkName("pbx")),
        InboundRule(people=(ANN,), number="701"),
        InboundRule(server="mx.test", reserved=("sip_*",)),
        InboundRule(people=(ANN, UserId("@eve:mx.test")), number="+1202*"),
    ],
)


def test_every_rule_for_a_call_that_comes_in_is_named() -> None:
    found = explain_in(INBOUND, PROVIDER, "+12025550100")
    assert found.steps == (
        "the number: `+12025550100`",
        "inbound[0], number *, trunk pbx: no, for trunk pbx",
        "inbound[1], number 701: no, another number",
        "inbound[2], number *, localpart: this one",
        "@+12025550100:mx.test: permissions say receive",
    )
    assert found.verdict == "rings @+12025550100:mx.test"
    assert found.result == route_in(INBOUND, PROVIDER, "+12025550100")


def test_a_number_that_rings_nobody_is_explained() -> None:
    found = explain_in(INBOUND, PROVIDER, "sip_1")
    assert found.steps[-2:] == (
        "inbound[2], number *, localpart: no, nobody here is called that, or may be",
        "inbound[3], number +1202*: no, another number",
    )
    assert found.verdict == "rings nobody: not in service"


def test_a_group_is_explained_by_its_members() -> None:
    policy = replace(INBOUND, inbound=INBOUND.inbound[3:])
    found = explain_in(policy, PROVIDER, "+12025550100")
    assert found.steps[-2:] == (
        f"{ANN}: permissions say receive",
        "@eve:mx.test: permissions say blocked",
    )
    assert found.verdict == f"rings {ANN}"


def test_the_owner_of_an_account_is_rung_without_a_rule() -> None:
    found = explain_in(INBOUND, PROVIDER, "100", ANN)
    assert found.steps == (f"the account of {ANN}: no rule is needed",)
    assert found.result == (ANN,)


def test_of_many_rules_some_are_named() -> None:
    others = [OutboundRule(trunks=(PROVIDER,), prefix="+44")] * 25
    anybody = OutboundRule(trunks=(PROVIDER,))
    for rules, last in (([*others, anybody], ": this one"), (others, "not for it")):
        found = explain(Policy(access={"*": Access.CALL}, outbound=rules), ANN, Address("tel:100"))
        assert "5 more rules that are not for it" in found.steps
        assert found.steps[-1].endswith(last)
        assert len(found.steps) < 26
    people = Policy(inbound=[InboundRule(people=(ANN,), number="1")] * 25)
    assert explain_in(people, PROVIDER, "100").steps[-1] == "5 more rules that are not for it"


def test_rules_that_have_a_name_are_called_by_it() -> None:
    provider = TrunkName("provider")
    policy = Policy(
        access={"*": Access.CALL, "@gone:mx.test": Access.BLOCKED},
        outbound=[
            OutboundRule(trunks=(TrunkName("abroad"),), prefix="+44", name="outbound:uk"),
            OutboundRule(trunks=(provider,), name="outbound:rest"),
        ],
        inbound=[
            InboundRule(people=(UserId("@gone:mx.test"),), number="100", name="inbound:gone"),
            InboundRule(people=(ANN,), number="101", name="inbound:ann"),
        ],
    )
    found = explain(policy, ANN, Address("tel:+12025550123"))
    assert found.steps[2:] == (
        "outbound:uk, numbers from +44: no, the number starts otherwise",
        "outbound:rest, any number: this one",
    )
    assert isinstance(found.result, OutboundRoute)
    assert found.result.rule == "outbound:rest"
    assert "inbound:ann, number 101: this one" in explain_in(policy, provider, "101").steps
    assert rule_in(policy, provider, "101") == "inbound:ann"
    refusals = [route_in(policy, provider, dialled) for dialled in ("100", "102")]
    details = [each.detail for each in refusals if isinstance(each, Refusal)]
    assert details[0] == "inbound:gone: @gone:mx.test"
    assert details[1].endswith("tried: inbound:gone (number 100), inbound:ann (number 101)")
