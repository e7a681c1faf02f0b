# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and permissions that programs have set: kept in the database, laid over the file's.

They come first, those of a lower priority before others. One that does not fit the file any more
(its trunk is gone) is left out until it does again, so that neither can be in the other's way.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from pydantic import Field

from bridge.config.checks_routing import SERVER_NAME, USER_ID, inbound_rule, outbound_rule
from bridge.config.models import Config, Permission
from bridge.config.problems import Finding
from bridge.config.routing import InboundRule, OutboundRule

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
"""What rules may be called."""
Kind = Literal["outbound", "inbound"]


class ProvisionedOutbound(OutboundRule):
    """Where calls from Matrix go, as a program has set it."""

    name: str = Field(..., description="What the rule is called.")
    priority: int = Field(..., description="Rules of a lower one are tried first.")


class ProvisionedInbound(InboundRule):
    """Whom calls from SIP ring, as a program has set it."""

    name: str = Field(..., description="What the rule is called.")
    priority: int = Field(..., description="Rules of a lower one are tried first.")


ProvisionedRule = ProvisionedOutbound | ProvisionedInbound
Rule = TypeVar("Rule", ProvisionedOutbound, ProvisionedInbound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """All that programs have set."""

    outbound: Sequence[ProvisionedOutbound] = ()
    inbound: Sequence[ProvisionedInbound] = ()
    permissions: Mapping[str, Permission] = field(default_factory=dict)

    def over(self, config: Config) -> Config:
        """The settings of a file with these over them."""
        permissions = {**config.permissions, **self.permissions}
        permitted = config.model_copy(update={"permissions": permissions})
        return permitted.model_copy(
            update={
                "outbound": (*_fitting(permitted, self.outbound), *config.outbound),
                "inbound": (*_fitting(permitted, self.inbound), *config.inbound),
            }
        )

    def left_out(self, config: Config) -> Iterator[ProvisionedRule]:
        """The rules that do not fit these settings."""
        every: list[ProvisionedRule] = [*self.outbound, *self.inbound]
        for rule in every:
            if any(problems_of(config, rule)):
                yield rule


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """As they are tried."""
    return sorted(rules, key=lambda rule: (rule.priority, rule.name))


def kind_of(rule: OutboundRule | InboundRule) -> Kind:
    """Which list a rule stands in."""
    return "outbound" if isinstance(rule, OutboundRule) else "inbound"


def called(rules: Sequence[OutboundRule] | Sequence[InboundRule]) -> Iterator[str]:
    """What records and explanations call each: `outbound:sales`, or by its place in the file."""
    place = 0
    for rule in rules:
        if isinstance(rule, ProvisionedRule):
            yield f"{kind_of(rule)}:{rule.name}"
        else:
            yield f"{kind_of(rule)}[{place}]"
            place += 1


def problems_of(config: Config, rule: ProvisionedRule) -> Iterator[Finding]:
    """Why a rule does not fit the settings in force; the paths begin within the rule."""
    if isinstance(rule, ProvisionedOutbound):
        return outbound_rule(config, rule, ())
    return inbound_rule(config, rule, ())


def is_somebody(who: str) -> bool:
    """Whether permissions can be for them: a Matrix id, a server name, or `*`."""
    return who == "*" or bool(USER_ID.fullmatch(who) or SERVER_NAME.fullmatch(who))


def _fitting(config: Config, rules: Iterable[Rule]) -> list[Rule]:
    return [rule for rule in in_order(rules) if not any(problems_of(config, rule))]
