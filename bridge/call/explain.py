# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a call would go where it goes: everything that is tried, in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from bridge.call.causes import MEANINGS, Cause
from bridge.call.dialplan import OutboundRoute, caller_entry, mismatch, route_out
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.inbound import mismatch_in, named, route_in, words_of
from bridge.call.policy import Access, Policy, Refusal, access_entry, access_of
from bridge.call.rules import Caller, OutboundRule, name_of

_SHOWN = 20
"""Rules that are named although they are not for a call."""


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
        then = "".join(f", then {_way(each)}" for each in self.result.others)
        return _way(self.result) + then


@dataclass(frozen=True, slots=True)
class InboundExplanation:
    """The same of a call that comes in: the result is that of `route_in`."""

    steps: tuple[str, ...]
    result: tuple[UserId, ...] | Refusal

    @property
    def verdict(self) -> str:
        """The result, in words."""
        if isinstance(self.result, Refusal):
            return f"rings nobody: {self.result.cause.value.replace('_', ' ')}"
        return f"rings {', '.join(self.result)}"


def explain(
    policy: Policy,
    person: UserId,
    address: Address,
    account: TrunkName | None = None,
    withhold: bool | None = None,
) -> Explanation:
    """What `route_out` would make of a call, and by which rules."""
    result = route_out(policy, person, address, account, withhold)
    return Explanation(tuple(_steps(policy, person, address, account, result)), result)


def _steps(
    policy: Policy,
    person: UserId,
    address: Address,
    account: TrunkName | None,
    result: OutboundRoute | Refusal,
) -> Iterator[str]:
    entry, access = access_entry(policy, person)
    yield f"permissions: `{entry}` is {access.name.lower()}" if entry else "permissions: none"
    if access < Access.CALL:
        return
    bare, told = policy.unwrap(address)
    number = bare.removeprefix("tel:")
    yield f"the number: `{number}`" + _told(told)
    if isinstance(result, Refusal) and result.cause is not Cause.NO_ROUTE:
        where = f" ({result.detail})" if result.detail else ""
        yield f"refused as such: {result.cause.value.replace('_', ' ')}{where}"
        return
    if account is not None:
        yield "an account of their own: no rule is needed"
        return
    yield from _rules(policy, person, bare)
    if isinstance(result, OutboundRoute):
        yield from _caller(policy, person)


def _rules(policy: Policy, person: UserId, address: Address) -> Iterator[str]:
    others: list[str] = []
    for number, rule in enumerate(policy.outbound):
        why_not = mismatch(rule, address, person)
        line = f"{name_of(rule, number)}, {_words(rule)}"
        if not why_not:
            yield from (*_brief(others), f"{line}: this one")
            return
        others.append(f"{line}: no, {why_not}")
    yield from _brief(others)


def _brief(others: list[str]) -> Iterator[str]:
    """The rules that are not for a call, as far as anybody wants to read of them."""
    yield from others[:_SHOWN]
    if len(others) > _SHOWN:
        yield f"{len(others) - _SHOWN} more rules that are not for it"


def _caller(policy: Policy, person: UserId) -> Iterator[str]:
    key, entry = caller_entry(policy, person)
    if key:
        yield f"callers: `{key}` is {_entry(entry)}"


def explain_in(
    policy: Policy, trunk: TrunkName, dialled: str, owner: UserId | None = None
) -> InboundExplanation:
    """What `route_in` would make of a call, and by which rules."""
    result = route_in(policy, trunk, dialled, owner)
    if owner is not None:
        return InboundExplanation((f"the account of {owner}: no rule is needed",), result)
    return InboundExplanation(tuple(_steps_in(policy, trunk, dialled)), result)


def _steps_in(policy: Policy, trunk: TrunkName, dialled: str) -> Iterator[str]:
    number = dialled.removeprefix("tel:")
    yield f"the number: `{number}`"
    others: list[str] = []
    for index, rule in enumerate(policy.inbound):
        why_not = mismatch_in(rule, trunk, number)
        whom = named(rule, number)
        if not why_not and rule.server and not _receives(policy, whom):
            why_not = "nobody here is called that, or may be"
        line = f"{name_of(rule, index)}, {words_of(rule)}"
        if not why_not:
            yield from (*_brief(others), f"{line}: this one")
            for person in whom:
                yield f"{person}: permissions say {access_of(policy, person).name.lower()}"
            return
        others.append(f"{line}: no, {why_not}")
    yield from _brief(others)


def _receives(policy: Policy, people: tuple[UserId, ...]) -> bool:
    return any(access_of(policy, each) >= Access.RECEIVE for each in people)


def _way(route: OutboundRoute) -> str:
    caller = f" as `{route.caller}`" if route.caller else ""
    hidden = ", withheld" if route.withheld else ""
    return f"trunk `{route.trunk}` dials `{route.target}`{caller}{hidden}"


def _told(withheld: bool | None) -> str:
    if withheld is None:
        return ""
    return f", behind a code that {'withholds' if withheld else 'shows'} the caller's number"


def _words(rule: OutboundRule) -> str:
    if rule.sip_domain is not None:
        what = "any SIP address" if rule.sip_domain == "*" else f"SIP domain {rule.sip_domain}"
    elif rule.pattern:
        what = f"numbers like {rule.pattern}"
    else:
        what = f"numbers from {rule.prefix}" if rule.prefix else "any number"
    return f"{what}, of {' '.join(rule.people)}" if rule.people else what


def _entry(entry: Caller) -> str:
    words = [*entry.numbers, *([f'"{entry.name}"'] if entry.name else [])]
    if entry.withhold is not None:
        words.append("withheld" if entry.withhold else "not withheld")
    return ", ".join(words) or "nobody in particular"
