# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what belongs to this machine and the SIP side: ports, names, certificates."""

import errno
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from cryptography import x509

from bridge.call.ids import TrunkName
from bridge.config import Media, Sip, SipTransport, Trunk
from bridge.errors import BridgeError, ConfigurationError, LocalError
from bridge.sip.checks import reachable
from bridge.sip.lookup import Lookup, split_host_port
from bridge.sip.trunks import Route

_SOON: Final = timedelta(days=14)
_TRIED_PORTS: Final = 50
"""As many RTP ports are tried, evenly spread over the range."""


class Doubt(BridgeError):
    """Works now, but deserves a look."""


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
        return f"{where}; {_certificate(settings.certificate, settings.private_key)}"
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
        _authorities(tls.ca_list)
    if tls.certificate and tls.private_key:
        return f"{where}; {_certificate(tls.certificate, tls.private_key)}"
    return where


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


def _certificate(certificate: Path, key: Path) -> str:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        # SSLError is an OSError.
        raise ConfigurationError(
            f"certificate or private key cannot be used: {error}",
            remedy="Both must be PEM files, and the key that of the first certificate.",
        ) from error
    left = parsed.not_valid_after_utc - datetime.now(UTC)
    until = f"{parsed.not_valid_after_utc:%Y-%m-%d}"
    if left < timedelta():
        raise ConfigurationError(f"the certificate expired on {until}", remedy="Renew it.")
    if left < _SOON:
        raise Doubt(f"the certificate expires on {until}", remedy="Renew it.")
    return f"certificate good until {until}"


def _authorities(file: Path) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"no certificate authorities can be read from {file}: {error}",
            remedy="It must be a PEM file.",
        ) from error
