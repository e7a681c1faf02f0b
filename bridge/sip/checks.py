# SPDX-License-Identifier: GPL-3.0-or-later
"""What the settings ask of the SIP stack, held against what it can do."""

from bridge.config import Sip, Transport, Trunk
from bridge.errors import ConfigurationError
from bridge.sip.loader import has_ipv6
from bridge.sip.lookup import Reachable


def check_listeners(sip: Sip) -> None:
    """Raises ConfigurationError for a listener that the stack cannot have."""
    for number, transport in enumerate(sip.transports):
        if transport.listen.version == 6 and not has_ipv6():
            # It would listen, and then fail every call.
            raise ConfigurationError(
                f"sip.transports.{number}.listen: {transport.listen} is an IPv6 address, "
                f"which the SIP stack is built without",
                remedy="Run `make setup`, which builds it anew, or listen on an IPv4 address.",
            )


def check_transport(sip: Sip, name: str, trunk: Trunk) -> None:
    """Raises ConfigurationError for a trunk that no listener is for."""
    if trunk.transport in {"auto", *(transport.protocol for transport in sip.transports)}:
        return
    raise ConfigurationError(
        f"{name}.transport is {trunk.transport}, but sip.transports has no such listener",
        remedy=f"Add a transport with protocol {trunk.transport}.",
    )


def reachable(sip: Sip) -> Reachable:
    """The versions of IP that there are listeners of, for each protocol."""
    found: dict[Transport, set[int]] = {}
    for each in sip.transports:
        found.setdefault(each.protocol, set()).add(each.listen.version)
    return found
