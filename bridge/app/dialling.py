# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody types to call: read, and checked as far as it does not depend on who calls."""

from bridge.app.in_force import InForce
from bridge.call.causes import Cause
from bridge.call.dialplan import route_of
from bridge.call.ids import Address
from bridge.call.policy import Refusal
from bridge.matrix.lookups import Unreachable
from bridge.numbers import is_canonical, read_address


def dial(in_force: InForce, text: str) -> Address | Unreachable:
    """The address that `text` calls; `Unreachable` with a reason where nobody could call it."""
    region = in_force.config.numbers.region
    address = read_address(text, region)
    if address is None or not is_canonical(address, region):
        return Unreachable(f"{len(text)} characters that are no number and no SIP address")
    route = route_of(in_force.policy, address)
    # People's own SIP accounts carry what no rule does.
    accounts = bool(in_force.config.accounts.servers)
    if isinstance(route, Refusal) and not (accounts and route.cause is Cause.NO_ROUTE):
        return Unreachable(f"{address}: {route.cause.value}")
    return address
