# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what belongs to this machine and the SIP side: ports, names, certificates."""

import errno
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from bridge.app.check_tls import authorities, own_certificate, shown_certificate
from bridge.app.verdicts import NotTried
from bridge.call.ids import TrunkName
from bridge.config import Media, Sip, SipTransport, Trunk
from bridge.errors import ConfigurationError, LocalError
from bridge.sip.checks import reachable
from bridge.sip.lookup import Lookup, split_host_port
from bridge.sip.trunks import Route

_TRIED_PORTS: Final = 50
"""As many RTP ports are tried, evenly spread over the range."""


async def transport(settings: SipTransport, *, running: bool) -> str:
    """The listener's port is free and its certificate good."""
    where = f"{settings.protocol} {settings.listen} port {settings.port}"
    kind = socket.SOCK_DGRAM if settings.protocol == "udp" else socket.SOCK_STREAM
    try:
        _bind(kind, settings.listen, settings.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not running:
            raise LocalError(
                f"cannot listen on {where}: {error.strerror}", remedy=_remedy(error)
            ) from error
    if settings.protocol == "tls" and settings.certificate and settings.private_key:
        return f"{where}; {own_certificate(settings.certificate, settings.private_key)}"
    return f"{where} can be used"


async def trunk(settings: Trunk, sip: Sip) -> str:
    """The server's name leads to a server that a listener is for; certificates are good."""
    route = Route(TrunkName("trunk"), settings)
    host, port = split_host_port(route.next_hop)
    found = await Lookup(sip.nameservers).targets(host, port, route.protocol, reachable(sip))
    if not found.addresses:
        raise ConfigurationError(
            f"{host} has no address",
            remedy="Look at the trunk's server, and at this machine's name servers.",
        )
    if not found.targets:
        raise ConfigurationError(
            f"{host} has no address that a listener in sip.transports is for: "
            f"{', '.join(map(str, found.addresses))}",
            remedy="Add a listener on an address of that version of IP.",
        )
    where = f"{host} is {', then '.join(str(target) for _, target in found.targets)}"
    tls = settings.tls
    if tls.ca_list:
        authorities(tls.ca_list)
    if tls.certificate and tls.private_key:
        return f"{where}; {own_certificate(tls.certificate, tls.private_key)}"
    return where


async def trunk_tls(settings: Trunk, sip: Sip) -> str:
    """Every server of the trunk that is reached by TLS shows a good certificate."""
    route = Route(TrunkName("trunk"), settings)
    host, port = split_host_port(route.next_hop)
    found = await Lookup(sip.nameservers).targets(host, port, route.protocol, reachable(sip))
    targets = [target for _, target in found.targets if target.protocol == "tls"]
    if not targets:
        raise NotTried("no server to connect to")
    shown = {await shown_certificate(target, route, sip): None for target in targets}
    return "; ".join(shown)


async def rtp_ports(settings: Media) -> str:
    """Ports of the range are free."""
    low, high = settings.rtp_ports
    address = settings.listen or IPv4Address("0.0.0.0")
    step = max(1, (high - low + 1) // _TRIED_PORTS)
    tried = range(low, high + 1, step)
    taken = []
    for port in tried:
        try:
            _bind(socket.SOCK_DGRAM, address, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise LocalError(
                    f"cannot use UDP {address} port {port}: {error.strerror}",
                    remedy=_remedy(error),
                ) from error
            taken.append(port)
    if len(taken) > len(tried) // 2:
        raise LocalError(
            f"most ports of {low} to {high} are in use",
            remedy="Choose another range for media.rtp_ports.",
        )
    return f"UDP {low} to {high} can be used"


def _bind(kind: socket.SocketKind, address: IPv4Address | IPv6Address, port: int) -> None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, kind) as attempt:
        if kind == socket.SOCK_STREAM:
            # As the stack does: connections in TIME_WAIT are no obstacle.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        attempt.bind((str(address), port))


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "Stop what uses it, or choose another port."
    if error.errno == errno.EADDRNOTAVAIL:
        return "Choose an address of this machine, or 0.0.0.0 for all."
    if error.errno == errno.EACCES:
        return "Ports below 1024 need a privilege (CAP_NET_BIND_SERVICE); or choose another."
    return "Look at the address and the port."
