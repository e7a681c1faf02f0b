# SPDX-License-Identifier: GPL-3.0-or-later
"""A look at every message before the SIP stack works on it, and a way to be rid of it there.

pjsua takes a call slot and a transaction for each INVITE, whoever sent it, and always answers. So
this is a module of pjsip's own, which pjsua2 has no class for: pjsip calls it with what it has just
read, before anything else, and a message that it claims goes no further. It is registered by
ctypes, in the library that pjsua2 is.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import structlog

from bridge.sip.pjlib import Text, endpoint, library
from bridge.sip.replaces import disarm, is_replacing

log = structlog.get_logger(__name__)

_PACKET: Final = 8000
"""`PJSIP_MAX_PKT_LEN` in scripts/config_site.h."""
_FIRST: Final = 2
"""Priority: what writes messages to the log has 7, and a lower one goes first."""
_LONGEST_ADDRESS: Final = 46
_ON: Final = 0
_TAKEN: Final = 1


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as it came. `host` is an address, `data` the message's bytes.

    `connection`: the stack's number of what it came by.
    """

    host: str
    port: int
    data: bytes
    connection: int = 0


class Fate(Enum):
    """What becomes of a message without an answer."""

    PASS = "pass"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a request without keeping anything of it. `reason` may carry more header lines."""

    status: int
    reason: str


Judge = Callable[[Arrived], Fate | Refuse]


class _Transport(ctypes.Structure):
    """`pjsip_rx_data.tp_info`."""

    _fields_ = (
        ("pool", ctypes.c_void_p),
        ("transport", ctypes.c_void_p),
        ("tp_data", ctypes.c_void_p),
        ("op_key", ctypes.c_void_p * 35),
    )


class _Packet(ctypes.Structure):
    """`pjsip_rx_data.pkt_info`."""

    _fields_ = (
        ("timestamp", ctypes.c_long * 2),
        ("packet", ctypes.c_char * _PACKET),
        ("zero", ctypes.c_uint32),
        ("len", ctypes.c_ssize_t),
        ("src_addr", ctypes.c_uint32 * 7),
        ("src_addr_len", ctypes.c_int),
        ("src_name", ctypes.c_char * _LONGEST_ADDRESS),
        ("src_port", ctypes.c_int),
    )


class _Received(ctypes.Structure):
    """The beginning of `pjsip_rx_data`, as far as it is read here."""

    _fields_ = (
        ("tp_info", _Transport),
        ("pkt_info", _Packet),
        ("msg_buf", ctypes.c_void_p),
        ("len", ctypes.c_int),
        ("msg", ctypes.c_void_p),
    )


_OnReceived: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class _Module(ctypes.Structure):
    """`pjsip_module`."""

    _fields_ = (
        ("prev", ctypes.c_void_p),
        ("next", ctypes.c_void_p),
        ("name", Text),
        ("id", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("life", ctypes.c_void_p * 4),
        ("on_rx_request", _OnReceived),
        ("on_rx_response", _OnReceived),
        ("others", ctypes.c_void_p * 3),
    )


class Sieve:
    """Asks `judge` about every message that pjsip could read. For the SIP thread only."""

    def __init__(self, judge: Judge) -> None:
        self._judge: Judge | None = judge
        self._library = library()
        self._complained = False
        # pjsip keeps the address of this until it is destroyed.
        self._module = _Module(
            name=Text.of("mod-sieve"),
            id=-1,
            priority=_FIRST,
            on_rx_request=_OnReceived(lambda rdata: self._received(rdata, request=True)),
            on_rx_response=_OnReceived(lambda rdata: self._received(rdata, request=False)),
        )

    def register(self) -> None:
        """Begin; comes between `libInit` and `libStart`."""
        status = self._library.pjsip_endpt_register_module(
            endpoint(self._library), ctypes.byref(self._module)
        )
        if status:
            raise RuntimeError(f"pjsip takes no module of ours: {status}")

    def forget(self) -> None:
        """Ask nobody any more."""
        self._judge = None

    def _received(self, address: int, *, request: bool) -> int:
        try:
            return self._sift(address, request=request)
        except Exception:
            # An exception cannot leave a callback of C.
            log.exception("message cannot be judged")
            return _ON

    def _sift(self, address: int, *, request: bool) -> int:
        arrived = self._read(address)
        if self._judge is None or arrived is None:
            return _ON
        fate = self._judge(arrived)
        if fate is Fate.PASS:
            if request and is_replacing(arrived.data):
                disarm(self._library, address, _Received.from_address(address).msg)
            return _ON
        if request and isinstance(fate, Refuse):
            self._library.pjsip_endpt_respond_stateless(
                endpoint(self._library),
                ctypes.c_void_p(address),
                fate.status,
                ctypes.byref(Text.of(fate.reason)),
                None,
                None,
            )
        return _TAKEN

    def _read(self, address: int) -> Arrived | None:
        received = _Received.from_address(address)
        packet = received.pkt_info
        first = address + _Received.pkt_info.offset + _Packet.packet.offset
        host = packet.src_name.decode("ascii", "replace")
        start = received.msg_buf or 0
        fits = first <= start and 0 < received.len <= first + _PACKET - start
        if not fits or not 0 < packet.src_port < 65536 or ("." not in host and ":" not in host):
            if not self._complained:
                self._complained = True
                log.error("pjsip was built otherwise than scripts/config_site.h says: not sifted")
            return None
        data = ctypes.string_at(start, received.len)
        return Arrived(host, packet.src_port, data, received.tp_info.transport or 0)
