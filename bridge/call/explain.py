# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a call would go where it goes: everything that is tried, in words."""

from dataclasses import dataclass

from bridge.call.causes import MEANINGS, Cause
from bridge.call.dialplan import OutboundRoute, carries, route_out
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.policy import Policy, Refusal, access_entry
from bridge.call.rules import OutboundRule


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was tried, in order, and the result, which is that of `route_out`."""

    steps: tuple[str, ...]
    result: OutboundRoute | Refusal

    @property
    def verdict(self) -> str:
        """The result, in words."""
        if isinstance(self.result, Refusal):
            return f"refused: {MEANINGS[self.result.cause].sentence}"
        caller = f" as `{self.result.caller}`" if self.result.caller else ""
        return f"trunk `{self.result.trunk}` dials `{self.result.target}`{caller}"


def explain(
    policy: Policy, person: UserId, address: Address, account: TrunkName | None = None
) -> Explanation:
    """What `route_out` would make of a call, and by which rules."""
    result = route_out(policy, person, address, account)
    entry, access = access_entry(policy, person)
    steps = [f"permissions: `{entry}` is {access.name.lower()}" if entry else "permissions: none"]
    if isinstance(result, Refusal) and result.cause is not Cause.NO_ROUTE:
        if result.cause is not Cause.NOT_PERMITTED:
            where = f" ({result.detail})" if result.detail else ""
            steps.append(f"the number itself: {result.cause.value.replace('_', ' ')}{where}")
        return Explanation(tuple(steps), result)
    if account is not None:
        return Explanation((*steps, "an account of their own: no rule is needed"), result)
    for number, rule in enumerate(policy.outbound):
        taken = carries(rule, address)
        steps.append(f"outbound[{number}], {_words(rule)}: {'this one' if taken else 'no'}")
        if taken:
            break
    return Explanation(tuple(steps), result)


def _words(rule: OutboundRule) -> str:
    if rule.sip_domain is not None:
        return "any SIP address" if rule.sip_domain == "*" else f"SIP domain {rule.sip_domain}"
    return f"numbers from {rule.prefix}" if rule.prefix else "any number"
