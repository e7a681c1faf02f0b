# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts of our own, mount_namespaces(7), that are gone when this process is."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)


def own_mounts() -> None:
    """From now on, what this thread and its children mount is seen by nobody else.

    Needs root, or a user namespace. Raises OSError.
    """
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A disk of its own at `folder`, in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={megabytes}m".encode()
    _check(_libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, options))
    try:
        yield
    finally:
        _libc.umount2(bytes(folder), _MNT_DETACH)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no mount of our own: {os.strerror(number)}")
