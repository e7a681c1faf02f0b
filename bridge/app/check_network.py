# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what belongs to this machine and the SIP side: ports, names, certificates."""

import asyncio
import errno
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from cryptography import x509

from bridge.config import Media, SipTransport, Trunk
from bridge.errors import BridgeError, ConfigurationError, LocalError
from bridge.sip.lookup import split_host_port

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


async def trunk(settings: Trunk) -> str:
    """The server's name has an address."""
    host, port = split_host_port(settings.server)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host.strip("[]"), port or None, type=socket.SOCK_DGRAM
        )
    except OSError as error:
        raise ConfigurationError(
            f"{host} has no address: {error.strerror or error}",
            remedy="Look at the trunk's server, and at this machine's name servers.",
        ) from error
    addresses = sorted({str(address[0]) for *_, address in found})
    return f"{host} is {', '.join(addresses)}"


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
