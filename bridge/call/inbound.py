# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom an incoming call rings."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from bridge.call.causes import Cause
from bridge.call.ids import TrunkName, UserId
from bridge.call.patterns import matches
from bridge.call.policy import Access, Policy, Refusal, access_of
from bridge.call.rules import InboundRule, name_of

# https://spec.matrix.org/v1.15/appendices/#user-identifiers
_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
_SHOWN = 20
"""Rules that are named where none was for a number."""


def route_in(
    policy: Policy, trunk: TrunkName, dialled: str, owner: UserId | None = None
) -> tuple[UserId, ...] | Refusal:
    """Whom a call that came in by `trunk` for `dialled` rings, or why nobody.

    The first rule that is for it decides; who may not be called is left out. If the trunk is
    somebody's own account, its `owner` rings, whatever the rules say.
    """
    if owner is not None:
        return _permitted(policy, [owner]) or Refusal(Cause.NOT_PERMITTED, f"account of {owner}")
    number = dialled.removeprefix("tel:")
    for index, rule in enumerate(policy.inbound):
        if mismatch_in(rule, trunk, number):
            continue
        whom = named(rule, number)
        people = _permitted(policy, whom)
        if people:
            return people
        # Nobody is to find out by dialling who has an account here.
        if not rule.server:
            return Refusal(Cause.NOT_PERMITTED, f"{name_of(rule, index)}: {', '.join(whom)}")
    return Refusal(Cause.NOT_IN_SERVICE, _tried(policy.inbound, trunk, number))


def rule_in(policy: Policy, trunk: TrunkName, dialled: str, owner: UserId | None = None) -> str:
    """Which rule says whom `route_in` rings; empty if none does."""
    if owner is not None:
        return "account"
    number = dialled.removeprefix("tel:")
    fitting = (
        name_of(rule, index)
        for index, rule in enumerate(policy.inbound)
        if not mismatch_in(rule, trunk, number) and _permitted(policy, named(rule, number))
    )
    return next(fitting, "")


def mismatch_in(rule: InboundRule, trunk: TrunkName, number: str) -> str:
    """Why the rule is not for a call, in words; empty if it is."""
    if rule.trunk not in (None, trunk):
        return f"for trunk {rule.trunk}"
    return "" if matches(rule.number, number) else "another number"


def named(rule: InboundRule, number: str) -> tuple[UserId, ...]:
    """Whom the rule means."""
    if not rule.server:
        return rule.people
    localpart = unquote(number).lower()
    taken = any(matches(reserved, localpart) for reserved in rule.reserved)
    if taken or not _LOCALPART.fullmatch(localpart):
        return ()
    return (UserId(f"@{localpart}:{rule.server}"),)


def _permitted(policy: Policy, people: Iterable[UserId]) -> tuple[UserId, ...]:
    return tuple(each for each in people if access_of(policy, each) >= Access.RECEIVE)


def _tried(rules: Sequence[InboundRule], trunk: TrunkName, number: str) -> str:
    """The rules that were not for a number, for whoever asks why it does not ring."""
    shown = [f"{name_of(rule, i)} ({words_of(rule)})" for i, rule in enumerate(rules[:_SHOWN])]
    if len(rules) > _SHOWN:
        shown.append(f"{len(rules) - _SHOWN} more")
    return f"nothing for {number!r} by {trunk}; tried: {', '.join(shown) or 'no rules at all'}"


def words_of(rule: InboundRule) -> str:
    """What the rule is for."""
    words = [f"number {rule.number}"]
    if rule.server:
        words.append("localpart")
    if rule.trunk is not None:
        words.append(f"trunk {rule.trunk}")
    return ", ".join(words)
