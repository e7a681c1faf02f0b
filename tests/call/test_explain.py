# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bot's `route` shows: every rule that is tried, and the very result of `route_out`."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.call.bounds import NumberKind
from bridge.call.dialplan import OutboundRoute, route_out
from bridge.call.explain import explain
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.policy import Access, Policy, Refusal
from bridge.call.rules import OutboundRule, TrunkPolicy

ANN = UserId("@ann:mx.test")
POLICY = Policy(
    access={"mx.test": Access.CALL, "@guest:mx.test": Access.RECEIVE},
    trunks={TrunkName("provider"): TrunkPolicy(caller_id="+12025550100")},
    outbound=[
        OutboundRule(trunk=TrunkName("abroad"), prefix="+44", strip=2, prepend="00"),
        OutboundRule(trunk=TrunkName("pbx"), sip_domain="pbx.example.org"),
        OutboundRule(trunk=TrunkName("provider"), prefix="+1"),
        OutboundRule(trunk=TrunkName("never"), prefix=""),
    ],
    forbidden_prefixes=["+1900"],
    kind_of=lambda number: NumberKind.EMERGENCY if number == "911" else NumberKind.ORDINARY,
)


def test_every_rule_up_to_the_one_that_is_taken_is_named() -> None:
    found = explain(POLICY, ANN, Address("tel:+12025550123"))
    assert found.steps == (
        "permissions: `mx.test` is call",
        "outbound[0], numbers from +44: no",
        "outbound[1], SIP domain pbx.example.org: no",
        "outbound[2], numbers from +1: this one",
    )
    assert found.verdict == "trunk `provider` dials `+12025550123` as `+12025550100`"


def test_a_sip_address_is_carried_by_its_domain() -> None:
    found = explain(POLICY, ANN, Address("sip:door@pbx.example.org"))
    assert found.steps[-1] == "outbound[1], SIP domain pbx.example.org: this one"
    assert found.verdict == "trunk `pbx` dials `sip:door@pbx.example.org`"


def test_a_rule_for_any_address_says_so() -> None:
    rules = [OutboundRule(trunk=TrunkName("a")), OutboundRule(trunk=TrunkName("b"), sip_domain="*")]
    policy = Policy(access={"*": Access.CALL}, outbound=rules)
    found = explain(policy, ANN, Address("sip:door@pbx.example.org"))
    assert found.steps[1:] == (
        "outbound[0], any number: no",
        "outbound[1], any SIP address: this one",
    )


def test_what_no_rule_carries_is_shown_with_all_of_them() -> None:
    found = explain(POLICY, ANN, Address("sip:a@example.com"))
    assert len(found.steps) == 1 + len(POLICY.outbound)
    assert all(step.endswith(": no") for step in found.steps[1:])
    assert found.verdict == "refused: There is no way to reach this number from here."


def test_a_number_that_nobody_may_call_meets_no_rule() -> None:
    found = explain(POLICY, ANN, Address("tel:911"))
    assert found.steps[1:] == ("the number itself: emergency number",)
    assert found.verdict.startswith("refused: Emergency calls cannot be made")
    assert explain(POLICY, ANN, Address("tel:+19005550123")).steps[1:] == (
        "the number itself: forbidden number (numbers)",
    )


def test_somebody_who_may_not_call_meets_no_rule() -> None:
    found = explain(POLICY, UserId("@guest:mx.test"), Address("tel:+12025550123"))
    assert found.steps == ("permissions: `@guest:mx.test` is receive",)
    stranger = explain(POLICY, UserId("@eve:example.com"), Address("tel:+12025550123"))
    assert stranger.steps == ("permissions: none",)
    assert isinstance(stranger.result, Refusal)


def test_an_account_of_ones_own_needs_no_rule() -> None:
    found = explain(POLICY, ANN, Address("tel:+12025550123"), TrunkName("hers"))
    assert found.steps[1:] == ("an account of their own: no rule is needed",)
    assert found.verdict == "trunk `hers` dials `+12025550123`"
    refused = explain(POLICY, ANN, Address("tel:911"), TrunkName("hers"))
    assert refused.steps[1:] == ("the number itself: emergency number",)


@given(
    st.sampled_from(["tel:+12025550123", "tel:+442079460000", "tel:100", "sip:a@pbx.example.org"]),
    st.lists(
        st.builds(
            OutboundRule,
            trunk=st.sampled_from([TrunkName("a"), TrunkName("b")]),
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
        assert rules[len(taken) - 1].trunk == found.result.trunk
    else:
        assert len(tried) == len(rules)
        assert not any(taken)
