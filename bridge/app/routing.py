# SPDX-License-Identifier: GPL-3.0-or-later
"""A dry run of the dial plan: which rules a call meets, and what its INVITE would say."""

from collections.abc import Iterator
from dataclasses import replace

from bridge.app.policy import policy_of
from bridge.call.dialplan import OutboundRoute
from bridge.call.explain import Explanation, InboundExplanation, explain, explain_in
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.policy import Policy
from bridge.config import Config
from bridge.config.checks_routing import USER_ID
from bridge.errors import BridgeError, NotDone
from bridge.numbers import read_address
from bridge.sip.callers import origin_of
from bridge.sip.trunks import Route
from bridge.store.database import is_there, open_database
from bridge.store.provisioned import ProvisionedSettings

_NOT_READ = "That is neither a telephone number nor a SIP address."


class Plan:
    """The dial plan of a configuration, and the trunks that it leads to."""

    def __init__(self, policy: Policy, config: Config) -> None:
        self._policy = policy
        self._trunks = config.trunks
        self._region = config.numbers.region

    @classmethod
    def of(cls, config: Config) -> "Plan":
        """What a configuration says."""
        return cls(policy_of(config), config)

    def read(self, number: str) -> tuple[Address, bool | None]:
        """What somebody wrote, and whether a code in front of it withholds or shows their number.

        Raises `NotDone`.
        """
        bare, withhold = self._policy.unwrap(Address(f"tel:{number}"))
        address = read_address(number, self._region) if withhold is None else bare
        if address is None:
            raise NotDone(_NOT_READ)
        return address, withhold

    def out(
        self,
        person: UserId,
        number: str,
        account: TrunkName | None = None,
        withhold: bool | None = None,
    ) -> Explanation:
        """What would become of a call of `person`. Raises `NotDone` if `number` is none.

        `account` and `withhold` as in `route_out`.
        """
        address, told = self.read(number)
        wish = withhold if told is None else told
        found = explain(self._policy, person, address, account, wish)
        if not isinstance(found.result, OutboundRoute):
            return found
        ways = (found.result, *found.result.others)
        sent = [line for way in ways for line in self._sent(way)]
        return replace(found, steps=(*found.steps, *sent))

    def into(self, trunk: str, number: str) -> InboundExplanation:
        """Whom a call that comes by `trunk` for `number` would ring. Raises `NotDone`."""
        if trunk not in self._trunks:
            names = ", ".join(self._trunks) or "none at all"
            raise NotDone(f"There is no such trunk; there are: {names}.")
        address = read_address(number, self._region)
        return explain_in(self._policy, TrunkName(trunk), address or number)

    def _sent(self, way: OutboundRoute) -> Iterator[str]:
        """What a trunk of the configuration would be sent."""
        trunk = self._trunks.get(way.trunk)
        if trunk is None:
            return
        route = Route(way.trunk, trunk)
        us = origin_of(route, way.caller, way.caller_name, withheld=way.withheld)
        yield f"by `{way.trunk}`: INVITE {route.target(way.target)}"
        yield f"by `{way.trunk}`: From: {us.origin}"
        for name, value in us.headers.items():
            yield f"by `{way.trunk}`: {name}: {value}"


async def with_provisioned(config: Config) -> tuple[Config, str]:
    """The settings with what programs have set over them; and why that is not known, if so."""
    url = config.database.url.get_secret_value()
    try:
        if not await is_there(url):
            return config, ""
        async with open_database(url) as database:
            return (await ProvisionedSettings(database).every()).over(config), ""
    except BridgeError as error:
        return config, str(error)


def dry_run(config: Config, who: str, number: str, trunk: str = "") -> Iterator[str]:
    """`matrix-sip route`: every rule tried, and at last the result. Raises `NotDone`.

    `trunk`: the call comes in by it, and `who` is a number.
    """
    plan = Plan.of(config)
    found: Explanation | InboundExplanation
    if trunk:
        yield f"the caller: `{plan.read(who)[0]}`"
        found = plan.into(trunk, number)
    elif USER_ID.fullmatch(who):
        found = plan.out(UserId(who), number)
    else:
        raise NotDone(f"{who} is not a Matrix id; wanted: like @person:example.org.")
    yield from found.steps
    yield found.verdict
