# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts this process, and all that it starts, into a network of its own that ends at `lo`."""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> None:
    """Enter a new network namespace (network_namespaces(7)) with only `lo` and no IPv6.

    Only the calling thread moves, and what it starts afterwards: call it first of all. Needs root
    or unprivileged user namespaces; raises OSError where the system allows neither.
    """
    if os.geteuid() == 0:
        _unshare(_CLONE_NEWNET)
    else:
        _unshare_as_user()
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    _bring_up("lo")


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace: {os.strerror(number)}")


def _unshare_as_user() -> None:
    user, group = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", interface.encode(), 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(
            control, _SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags | _IFF_UP)
        )
