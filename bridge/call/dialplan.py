# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way an outgoing call leaves, and how its number is written there."""

from dataclasses import dataclass
from urllib.parse import unquote

from bridge.call.causes import Cause
from bridge.call.ids import ANONYMOUS, Address, TrunkName, UserId
from bridge.call.permitted import forbidden, forbidden_by
from bridge.call.policy import Access, Policy, Refusal, access_of
from bridge.call.rules import OutboundRule, TrunkPolicy
from bridge.call.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRoute:
    """How an outgoing call leaves."""

    trunk: TrunkName
    target: str
    """A number as the trunk wants it, or a whole SIP URI."""
    caller: str
    early_media: bool
    terms: Terms


def terms_of(policy: Policy, trunk: TrunkName) -> Terms:
    """What `trunk` wants of a call's media."""
    return policy.trunks.get(trunk, TrunkPolicy()).terms


def follows(policy: Policy, trunk: TrunkName) -> bool:
    """Whether a call that `trunk` points elsewhere is placed there."""
    return policy.trunks.get(trunk, TrunkPolicy()).follows


def route_out(
    policy: Policy, person: UserId, address: Address, account: TrunkName | None = None
) -> OutboundRoute | Refusal:
    """Where a call of `person` to `address` leaves, or why it may not.

    By their own `account`, if they have one: it needs no rule, and numbers stay as they are.
    """
    if access_of(policy, person) < Access.CALL:
        return Refusal(Cause.NOT_PERMITTED)
    return route_of(policy, address, account, person)


def route_of(
    policy: Policy,
    address: Address,
    account: TrunkName | None = None,
    person: UserId | None = None,
) -> OutboundRoute | Refusal:
    """Where calls to `address` leave, and why they may not: those of `person`, or of anybody."""
    if address == ANONYMOUS:
        return Refusal(Cause.NUMBER_WITHHELD)
    scheme, _, rest = address.partition(":")
    # The server that a user part is sent to may dial it as a number.
    number = rest if scheme == "tel" else unquote(rest.rpartition("@")[0])
    refusal = forbidden(policy, number, person)
    if refusal is not None:
        return refusal
    if account is not None:
        return _leave_by(policy, account, rest if scheme == "tel" else address)
    for rule in policy.outbound:
        if carries(rule, address):
            target = rewrite(rule, rest) if scheme == "tel" else address
            return forbidden_by(policy, rule.trunk, number) or _leave_by(policy, rule.trunk, target)
    return Refusal(Cause.NO_ROUTE)


def carries(rule: OutboundRule, address: Address) -> bool:
    """Whether the rule is for this address."""
    scheme, _, rest = address.partition(":")
    if scheme == "tel":
        return rule.sip_domain is None and rest.startswith(rule.prefix)
    return rule.sip_domain is not None and rule.sip_domain.lower() in ("*", _host(address))


def _leave_by(policy: Policy, trunk: TrunkName, target: str) -> OutboundRoute:
    known = policy.trunks.get(trunk, TrunkPolicy())
    return OutboundRoute(
        trunk=trunk,
        target=target,
        caller=known.caller_id,
        early_media=known.early_media,
        terms=known.terms,
    )


def rewrite(rule: OutboundRule, number: str) -> str:
    """`number` as the rule's trunk wants it."""
    digits = number.removeprefix("+")
    plus = "+" if rule.keep_plus and not rule.strip and digits != number else ""
    return rule.prepend + plus + digits[rule.strip :]


def _host(uri: str) -> str:
    """The host of a SIP URI, in lower case, without port and parameters."""
    authority = uri.partition(":")[2].rpartition("@")[2].partition(";")[0].lower()
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0]
