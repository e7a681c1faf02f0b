# SPDX-License-Identifier: GPL-3.0-or-later
"""What the SIP stack has allocated: pjlib's pools, by what they are for."""

import ctypes
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import pjsua2 as pj

from tests.sip.phone import Bridge

_T4, _LIFE = 5_000, 32_000
"""Milliseconds that ended transactions, and so dialogs, live on (RFC 3261, timers K, D and J)."""


@dataclass(slots=True)
class Pools:
    """Pools of one purpose: how many, and the bytes that they have taken."""

    count: int = 0
    size: int = 0


class _Link(ctypes.Structure):
    _fields_: ClassVar = [("prev", ctypes.c_void_p), ("next", ctypes.c_void_p)]


class _Pool(ctypes.Structure):
    """`pj_pool_t`, as far as it matters."""

    _fields_: ClassVar = [
        ("link", _Link),
        ("name", ctypes.c_char * 32),
        ("factory", ctypes.c_void_p * 2),
        ("size", ctypes.c_size_t),
    ]


class _Factory(ctypes.Structure):
    """`pj_caching_pool`, as far as it matters."""

    _fields_: ClassVar = [
        ("functions", ctypes.c_void_p * 9),
        ("sizes", ctypes.c_size_t * 2),
        ("count", ctypes.c_size_t),
        ("unused", ctypes.c_size_t * 2),
        ("free", _Link * 16),
        ("used", _Link),
    ]


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(pj._pjsua2.__file__)


def _read() -> Mapping[str, Pools]:
    """On the SIP thread, or the list changes meanwhile."""
    get = _library().pjsua_get_pool_factory
    get.restype = ctypes.c_void_p
    address = get()
    factory = _Factory.from_address(address)
    end = address + _Factory.used.offset
    found: defaultdict[str, Pools] = defaultdict(Pools)
    at = factory.used.next
    while at != end:
        pool = _Pool.from_address(at)
        # Most have their address in their names.
        kind = found[re.sub(r"(0x)?[0-9a-f]{6,}.*", "", pool.name.decode())]
        kind.count, kind.size = kind.count + 1, kind.size + pool.size
        at = pool.link.next
    assert sum(kind.count for kind in found.values()) == factory.count
    return found


async def pools_of(bridge: Bridge) -> Mapping[str, Pools]:
    """All that there are now, by the first part of their names."""
    return await bridge.sip._errands.ask(lambda worker: _read())


@contextmanager
def soon_forgotten(milliseconds: int) -> Iterator[None]:
    """Let ended transactions go as soon as that, while a bridge runs."""
    set_timers = _library().pjsip_tsx_set_timers
    set_timers(0, 0, milliseconds, milliseconds)
    try:
        yield
    finally:
        set_timers(0, 0, _T4, _LIFE)
