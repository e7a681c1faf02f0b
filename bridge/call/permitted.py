# SPDX-License-Identifier: GPL-3.0-or-later
"""Which numbers may be called: by a person, by a trunk, by anybody at all."""

from collections.abc import Sequence

from bridge.call.bounds import NO_BOUNDS, Bounds, NumberKind
from bridge.call.causes import Cause
from bridge.call.ids import TrunkName, UserId
from bridge.call.policy import Policy, Refusal, entries_of

_KINDS = {
    NumberKind.EMERGENCY: Cause.EMERGENCY_NUMBER,
    NumberKind.PREMIUM: Cause.PREMIUM_NUMBER,
    NumberKind.SATELLITE: Cause.SATELLITE_NUMBER,
}
_Level = tuple[str, Bounds]
"""Where bounds are written, and what they are."""


def forbidden(policy: Policy, number: str, person: UserId | None = None) -> Refusal | None:
    """Why `person` may not call a number, written as it is dialled; None if they may.

    Of nobody in particular it is said only if it holds for everybody.
    """
    if person is not None:
        return _refusal(policy, number, _levels(policy, person))
    everybody = ("", *policy.people)
    refusals = [_refusal(policy, number, _levels(policy, UserId(one))) for one in everybody]
    return refusals[0] if all(refusals) else None


def forbidden_by(policy: Policy, trunk: TrunkName, number: str) -> Refusal | None:
    """Why a trunk may not be told to call a number; None if it may."""
    bounds = policy.trunk(trunk).bounds
    if bounds == NO_BOUNDS:
        return None
    return _refusal(policy, number, [(f"trunks.{trunk}.limits", bounds)])


def _levels(policy: Policy, person: UserId) -> Sequence[_Level]:
    """The most exact first."""
    own = [
        (f"limits.people.{key}", policy.people[key]) for key in entries_of(policy.people, person)
    ]
    general = Bounds(
        allowed_prefixes=tuple(policy.allowed_prefixes),
        forbidden_prefixes=tuple(policy.forbidden_prefixes),
        forbidden_kinds=policy.forbidden_kinds,
    )
    return [*own, ("numbers", general)]


def _refusal(policy: Policy, number: str, levels: Sequence[_Level]) -> Refusal | None:
    meanings = policy.meanings(number)
    # Most trunks take ITU-T E.164's prefix for international calls, whatever the country dials.
    public = ["+" + one[2:] if one.startswith("00") else one for one in meanings]
    if any(policy.kind_of(one) is NumberKind.EMERGENCY for one in meanings):
        return Refusal(Cause.EMERGENCY_NUMBER)
    for one in public:
        refusal = _by_prefix(one, levels) if one.startswith("+") else None
        if refusal is not None:
            return refusal
    return _by_kind({policy.kind_of(one) for one in public}, levels)


def _by_prefix(number: str, levels: Sequence[_Level]) -> Refusal | None:
    for where, bounds in levels:
        allowed = bounds.allow(number)
        if allowed is not None:
            return None if allowed else Refusal(Cause.FORBIDDEN_NUMBER, where)
    return None


def _by_kind(kinds: set[NumberKind], levels: Sequence[_Level]) -> Refusal | None:
    for where, bounds in levels:
        if bounds.forbidden_kinds is None:
            continue
        found = sorted(kinds & bounds.forbidden_kinds, key=lambda kind: kind.value)
        if not found:
            return None
        detail = f"{where}: {found[0].value}"
        return Refusal(_KINDS.get(found[0], Cause.FORBIDDEN_NUMBER), detail)
    return None
