# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way an outgoing call leaves: by which trunks, how its number is written, and as whom."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from bridge.call.causes import Cause
from bridge.call.ids import ANONYMOUS, Address, TrunkName, UserId
from bridge.call.patterns import matches, names
from bridge.call.permitted import forbidden, forbidden_by
from bridge.call.policy import Access, Policy, Refusal, access_of
from bridge.call.rules import Caller, OutboundRule, TrunkPolicy, name_of
from bridge.call.terms import Terms

_NOBODY = Caller()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRoute:
    """How an outgoing call leaves."""

    trunk: TrunkName
    target: str
    """A number as the trunk wants it, or a whole SIP URI."""
    caller: str
    """The number that is shown; empty: the trunk's own."""
    caller_name: str = ""
    withheld: bool = False
    """Whether the caller is to stay unknown (RFC 3323)."""
    early_media: bool
    terms: Terms
    rule: str = ""
    """Which rule of the dial plan it is by."""
    others: tuple["OutboundRoute", ...] = ()
    """Tried in this order where the trunk cannot carry the call."""

    @property
    def ways(self) -> "Sequence[OutboundRoute]":
        """All that are tried, in order."""
        return (replace(self, others=()), *self.others)

    @property
    def following(self) -> "OutboundRoute | None":
        """What is tried next, with what comes after that."""
        return replace(self.others[0], others=self.others[1:]) if self.others else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identity:
    """As whom a call is placed, as far as that does not depend on the trunk."""

    entry: Caller
    shown: str
    """What the rule shows, whoever calls."""
    withhold: bool | None


def terms_of(policy: Policy, trunk: TrunkName) -> Terms:
    """What `trunk` wants of a call's media."""
    return policy.trunk(trunk).terms


def follows(policy: Policy, trunk: TrunkName) -> bool:
    """Whether a call that `trunk` points elsewhere is placed there."""
    return policy.trunk(trunk).follows


def refers(policy: Policy, trunk: TrunkName) -> bool:
    """Whether `trunk` is asked to transfer calls."""
    return policy.trunk(trunk).refers


def caller_entry(policy: Policy, person: UserId) -> tuple[str, Caller]:
    """The entry that says as whom `person` calls, empty if there is none; and what it says.

    The one for their Matrix id, or else the first that means them.
    """
    if person in policy.callers:
        return person, policy.callers[person]
    for key, entry in policy.callers.items():
        if names(key, person):
            return key, entry
    return "", _NOBODY


def route_out(
    policy: Policy,
    person: UserId,
    address: Address,
    account: TrunkName | None = None,
    withhold: bool | None = None,
) -> OutboundRoute | Refusal:
    """Where a call of `person` to `address` leaves, or why it may not.

    By their own `account`, if they have one: it needs no rule, and numbers stay as they are.
    `withhold`: whether they want to stay unknown, if they said so.
    """
    if access_of(policy, person) < Access.CALL:
        return Refusal(Cause.NOT_PERMITTED)
    return route_of(policy, address, account, person, withhold)


def route_of(
    policy: Policy,
    address: Address,
    account: TrunkName | None = None,
    person: UserId | None = None,
    withhold: bool | None = None,
) -> OutboundRoute | Refusal:
    """Where calls to `address` leave, and why they may not: those of `person`, or of anybody."""
    if address == ANONYMOUS:
        return Refusal(Cause.NUMBER_WITHHELD)
    address, told = policy.unwrap(address)
    scheme, _, rest = address.partition(":")
    # The server that a user part is sent to may dial it as a number.
    number = rest if scheme == "tel" else unquote(rest.rpartition("@")[0])
    refusal = forbidden(policy, number, person)
    if refusal is not None:
        return refusal
    withhold = withhold if told is None else told
    if account is not None:
        identity = _Identity(entry=_NOBODY, shown="", withhold=withhold)
        target = rest if scheme == "tel" else address
        return _leave_by(policy, account, target, identity, "account")
    for index, rule in enumerate(policy.outbound):
        if not mismatch(rule, address, person):
            target = rewrite(policy, rule, rest) if scheme == "tel" else address
            entry = _NOBODY if person is None else caller_entry(policy, person)[1]
            identity = _Identity(entry=entry, shown=rule.caller_id, withhold=withhold)
            return _ways(policy, index, target, identity, number)
    return Refusal(Cause.NO_ROUTE)


def mismatch(rule: OutboundRule, address: Address, person: UserId | None = None) -> str:
    """Why the rule is not for a call, in words; empty if it is. No `person`: of anybody."""
    scheme, _, rest = address.partition(":")
    if rule.sip_domain is None and scheme != "tel":
        return "for numbers"
    if rule.sip_domain is not None and scheme == "tel":
        return "for SIP addresses"
    if rule.sip_domain is not None and rule.sip_domain.lower() not in ("*", _host(address)):
        return "another domain"
    if not rest.startswith(rule.prefix):
        return "the number starts otherwise"
    if rule.pattern and not matches(rule.pattern, rest):
        return "the number is not like that"
    if person is None or not rule.people or any(names(each, person) for each in rule.people):
        return ""
    return "for other people"


def only_by(trunk: TrunkName, rules: Sequence[OutboundRule]) -> list[OutboundRule]:
    """The rules that lead to `trunk`, as if it were the only one of each."""
    return [replace(rule, trunks=(trunk,)) for rule in rules if trunk in rule.trunks]


def on_request(route: OutboundRoute) -> OutboundRoute:
    """The same for a call that a person asked for, and has answered before it is placed.

    Nothing is lost by letting them hear it ring. They have one description for all trunks: with the
    codecs that all of them allow, or if there are none, those of the first, and without the trunks
    that do not allow these, or have other terms.
    """
    alike = [each for each in route.others if _alike(each.terms, route.terms)]
    first = route.terms.codecs
    common = tuple(codec for codec in first if all(_allows(each, codec) for each in alike))
    codecs = common or first
    fitting = [each for each in alike if all(_allows(each, codec) for codec in codecs)]
    terms = replace(route.terms, codecs=codecs)
    others = tuple(replace(each, terms=terms, early_media=True) for each in fitting)
    return replace(route, terms=terms, early_media=True, others=others)


def heard(route: OutboundRoute) -> OutboundRoute:
    """The same for a call that another telephone waits for: it is let hear how it rings."""
    others = tuple(replace(each, early_media=True) for each in route.others)
    return replace(route, early_media=True, others=others)


def _alike(one: Terms, other: Terms) -> bool:
    """Whether they are the same but for the codecs."""
    return replace(one, codecs=()) == replace(other, codecs=())


def _allows(route: OutboundRoute, codec: str) -> bool:
    return not route.terms.codecs or codec in route.terms.codecs


def _ways(
    policy: Policy, index: int, target: str, identity: _Identity, number: str
) -> OutboundRoute | Refusal:
    """The trunks of a rule that may be told to call a number, or why none may."""
    rule = policy.outbound[index]
    trunks, name = rule.trunks, name_of(rule, index)
    refusals = [forbidden_by(policy, trunk, number) for trunk in trunks]
    ways = [
        _leave_by(policy, trunk, target, identity, name)
        for trunk, refusal in zip(trunks, refusals, strict=True)
        if refusal is None
    ]
    if ways:
        return in_order(ways)
    return next(refusal for refusal in refusals if refusal is not None)


def in_order(ways: Sequence[OutboundRoute]) -> OutboundRoute:
    """One route of several: each is tried where those before it cannot carry the call."""
    return replace(ways[0], others=tuple(ways[1:]))


def _leave_by(
    policy: Policy, trunk: TrunkName, target: str, identity: _Identity, rule: str
) -> OutboundRoute:
    known = policy.trunk(trunk)
    wishes = (identity.withhold, identity.entry.withhold, known.withhold)
    return OutboundRoute(
        trunk=trunk,
        target=target,
        caller=policy.write(_shown(known, identity), known.caller_format),
        caller_name=identity.entry.name,
        withheld=next(wish for wish in wishes if wish is not None),
        early_media=known.early_media,
        terms=known.terms,
        rule=rule,
    )


def _shown(trunk: TrunkPolicy, identity: _Identity) -> str:
    """The number that is shown: the rule's, else the first of the person's that may be."""
    if identity.shown:
        return identity.shown
    allowed = (
        number
        for number in identity.entry.numbers
        if any(matches(pattern, number) for pattern in trunk.callers)
    )
    return next(allowed, trunk.caller_id)


def rewrite(policy: Policy, rule: OutboundRule, number: str) -> str:
    """`number` as the rule's trunks want it."""
    written = policy.write(number, rule.format)
    digits = written.removeprefix("+")
    plus = "+" if not rule.strip and digits != written else ""
    return rule.prepend + plus + digits[rule.strip :]


def _host(uri: str) -> str:
    """The host of a SIP URI, in lower case, without port and parameters."""
    authority = uri.partition(":")[2].rpartition("@")[2].partition(";")[0].lower()
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0]
