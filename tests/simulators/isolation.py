# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of our own, network_namespaces(7), that ends at `lo`: nothing can leave the machine."""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Root only: this thread, and all that it starts meanwhile, is in a network of its own."""
    with Path("/proc/thread-self/ns/net").open() as before:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            _set_up()
            yield
        finally:
            _check(_libc.setns(before.fileno(), _CLONE_NEWNET))


def isolate_for_good() -> None:
    """Without root: the same until the end of the process, which must have no other thread yet.

    Raises OSError where the system does not let people make user namespaces.
    """
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _set_up()


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace: {os.strerror(number)}")


def _set_up() -> None:
    # One loopback address is enough, and all that WebRTC shall find.
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = b"lo"
        request = struct.pack("16sH14x", name, 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | _IFF_UP))


class ExtraNetwork:
    """A network interface besides `lo`, with an address that can be exchanged for another.

    A pair of virtual Ethernet devices (veth(4)), inside the network that the caller is in.
    """

    def __init__(self, address: str, *, name: str = "roam") -> None:
        self._name = name
        self._address = address

    def __enter__(self) -> Self:
        peer = f"{self._name}-peer"
        _ip("link", "add", self._name, "type", "veth", "peer", "name", peer)
        _ip("address", "add", f"{self._address}/24", "dev", self._name)
        for device in (self._name, peer):
            _ip("link", "set", device, "up")
        _ip("route", "add", "default", "dev", self._name)
        return self

    def __exit__(self, *_: object) -> None:
        _ip("link", "delete", self._name)

    def move(self, address: str) -> None:
        """Take the address away and give the interface another, as when a device roams."""
        _ip("address", "flush", "dev", self._name)
        _ip("address", "add", f"{address}/24", "dev", self._name)
        _ip("route", "add", "default", "dev", self._name)


def _ip(*arguments: str) -> None:
    """ip(8), which is found for users other than root, too."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    subprocess.run(["ip", *arguments], check=True, env={**os.environ, "PATH": path})
