# SPDX-License-Identifier: GPL-3.0-or-later
"""UDP sockets of media sessions: a port range shared by RTP and ICE, and local addresses."""

import contextlib
import errno
import random
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import ifaddr

from bridge.errors import LocalError, SdpError

RECEIVE_BUFFER = 262_144
"""Bytes: a quarter of a second of a hundred streams' worth, should the loop be busy."""
_PROBE = {4: "192.0.2.1", 6: "2001:db8::1"}  # RFC 5737, RFC 3849: nothing is sent there


def bound_socket(host: str, port: int) -> socket.socket:
    """A non-blocking UDP socket bound to `host`:`port`; OSError when that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def connected_twin(sock: socket.socket, peer: tuple[Any, ...]) -> socket.socket:
    """A second socket on the same port, which alone gets what `peer` sends. Raises OSError.

    Sending and receiving cost less where the kernel need not look for the way and nobody has to
    compare addresses; everybody else still reaches the first socket.
    """
    twin = socket.socket(sock.family, socket.SOCK_DGRAM)
    try:
        twin.setblocking(False)
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        # Linux looks at this only while binding: afterwards nobody may share the port any more.
        for each in (sock, twin):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        twin.bind(sock.getsockname())
        twin.connect(peer)
        _drain(twin)
    except OSError:
        twin.close()
        raise
    finally:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return twin


def _drain(sock: socket.socket) -> None:
    """Drop what came before the socket was connected: that may be anybody's."""
    with contextlib.suppress(OSError):
        while True:
            sock.recv(1)


class PortRange:
    """Hands out sockets bound to ports between `low` and `high`, both included.

    Goes round the range, so that a port rests as long as possible before it serves another call:
    packets of the call before may still be on their way.
    """

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._high = high
        self._next = random.randint(low, high)

    def single(self, host: str) -> socket.socket:
        """One socket on any free port (ICE). Raises LocalError when the range is used up."""
        for _ in range(self._high - self._low + 1):
            port = self._advance(1)
            try:
                return bound_socket(host, port)
            except OSError as error:
                self._check(host, error)
        raise self._exhausted(host)

    def singles(self, hosts: Sequence[str]) -> list[socket.socket]:
        """A socket for each of the addresses that can be had; LocalError if none can."""
        sockets: list[socket.socket] = []
        problem: LocalError | None = None
        for host in hosts:
            try:
                sockets.append(self.single(host))
            except LocalError as error:
                problem = error  # An interface may go, or its address not be ready yet.
        if problem is not None and not sockets:
            raise problem
        return sockets

    def pair(self, host: str) -> tuple[socket.socket, socket.socket]:
        """RTP on an even port and RTCP on the next (RFC 3550 11). Raises LocalError."""
        for _ in range(self._high - self._low + 1):
            port = self._advance(2 - self._next % 2)
            if port % 2 or port + 1 > self._high:
                continue
            sockets = self._try_pair(host, port)
            if sockets is not None:
                return sockets
        raise self._exhausted(host)

    def _try_pair(self, host: str, port: int) -> tuple[socket.socket, socket.socket] | None:
        try:
            rtp = bound_socket(host, port)
        except OSError as error:
            self._check(host, error)
            return None
        try:
            return rtp, bound_socket(host, port + 1)
        except OSError:
            rtp.close()
            return None

    def _advance(self, step: int) -> int:
        port = self._next
        self._next += step
        if self._next > self._high:
            self._next = self._low
        return port

    def _check(self, host: str, error: OSError) -> None:
        """A port that is taken is no reason to give up; an address that is not ours is."""
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            raise LocalError(
                f"media.listen: {host} is not an address of this machine",
                remedy="Set media.listen to a local address, or leave it empty.",
            ) from error

    def _exhausted(self, host: str) -> LocalError:
        return LocalError(
            f"media.rtp_ports: no free UDP port on {host} between {self._low} and {self._high}",
            remedy="Widen media.rtp_ports: a call takes three ports or more.",
        )


def gathering_addresses(listen: IPv4Address | IPv6Address | None) -> list[str]:
    """Local addresses for ICE host candidates; loopback only when there is nothing else."""
    if listen is not None and not listen.is_unspecified:
        return [str(listen)]
    found = [
        address
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if (address := _usable(ip.ip)) is not None
    ]
    return found or ["127.0.0.1"]


def _usable(ip: str | tuple[str, int, int]) -> str | None:
    """The address as text, or None for loopback and link-local ones."""
    address = ip_address(ip if isinstance(ip, str) else ip[0])
    if address.is_loopback or address.is_link_local:
        return None
    return str(address)


def local_address(listen: IPv4Address | IPv6Address | None, remote: str | None) -> str:
    """The local address for RTP with `remote` (None: not known yet), as routing would choose it.

    Where it is not known, an unspecified `listen` says which IP it will be. Raises SdpError.
    """
    if listen is not None and not listen.is_unspecified:
        return str(listen)
    try:
        version = ip_address(remote).version if remote else listen.version if listen else 4
    except ValueError:
        raise SdpError(f"The SIP peer wants audio at {remote!r}: not an IP address") from None
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote or _PROBE[version], 9))
            return str(probe.getsockname()[0])
        except OSError:
            found = gathering_addresses(None)
            return next((each for each in found if ip_address(each).version == version), found[0])
