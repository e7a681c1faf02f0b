# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections as the SIP stack has them: who has opened one, and how to be rid of it.

pjsua2 tells when there is a new one, and gives no more than its address in memory: what is asked of
it here is read by ctypes, in the library that pjsua2 is.
"""

import ctypes
from typing import Final

import pjsua2 as pj
import structlog

from bridge.sip.pjlib import library
from bridge.sip.trunks import address_in

log = structlog.get_logger(__name__)

_INCOMING: Final = 2
_DIRECTIONS: Final = (0, 1, _INCOMING)
"""`PJSIP_TP_DIR_NONE`, `_OUTGOING` and `_INCOMING`."""
_OVER: Final = (
    pj.PJSIP_TP_STATE_DISCONNECTED,
    pj.PJSIP_TP_STATE_SHUTDOWN,
    pj.PJSIP_TP_STATE_DESTROY,
)
_LONGEST_ADDRESS: Final = 64
_USUAL: Final = 90
"""`PJSIP_TCP_KEEP_ALIVE_INTERVAL` and `PJSIP_TLS_KEEP_ALIVE_INTERVAL`."""


class _Text(ctypes.Structure):
    """`pj_str_t`."""

    _fields_ = (("ptr", ctypes.c_void_p), ("slen", ctypes.c_ssize_t))


class _HostPort(ctypes.Structure):
    """`pjsip_host_port`."""

    _fields_ = (("host", _Text), ("port", ctypes.c_int))


class _Key(ctypes.Structure):
    """`pjsip_transport_key`."""

    _fields_ = (("type", ctypes.c_long), ("remote", ctypes.c_uint32 * 7))


class _Transport(ctypes.Structure):
    """The beginning of `pjsip_transport`, as far as it is read here."""

    _fields_ = (
        ("name", ctypes.c_char * 32),
        ("memory_and_locks", ctypes.c_void_p * 4),
        ("flags", ctypes.c_int * 3),
        ("key", _Key),
        ("type_name", ctypes.c_void_p),
        ("flag", ctypes.c_uint),
        ("info", ctypes.c_void_p),
        ("address_length", ctypes.c_int),
        ("local_address", ctypes.c_uint32 * 7),
        ("has_name", ctypes.c_int),
        ("local", _HostPort),
        ("remote", _HostPort),
        ("direction", ctypes.c_int),
    )


class _Settings(ctypes.Structure):
    """`pjsip_cfg_t`."""

    _fields_ = (
        ("others", ctypes.c_int * 20),
        ("tcp_keep_alive", ctypes.c_long),
        ("tls_keep_alive", ctypes.c_long),
    )


class Wires:
    """For the SIP thread only."""

    def __init__(self) -> None:
        self._library = library()
        self._complained = False
        self._settings = _Settings.in_dll(self._library, "pjsip_sip_cfg_var")
        self._usual = self.kept_alive

    @property
    def kept_alive(self) -> tuple[int, int]:
        """Seconds after which connections by TCP and by TLS are kept open."""
        return self._settings.tcp_keep_alive, self._settings.tls_keep_alive

    def keep_alive(self, seconds: int) -> None:
        """Have a connection on which nothing was sent for so long be kept open; 0: none.

        The stack knows no more than this for all of them (RFC 5626 section 3.5.1).
        """
        if self._usual != (_USUAL, _USUAL):
            log.error(
                "pjsip was built otherwise than is known here: connections are kept open as it is"
            )
            return
        self._settings.tcp_keep_alive = self._settings.tls_keep_alive = seconds

    def forget(self) -> None:
        """Leave the stack as it was: its settings outlive the endpoint."""
        self._settings.tcp_keep_alive, self._settings.tls_keep_alive = self._usual

    def caller(self, number: int) -> str:
        """The address of who has connected to us; empty if we have, or if nobody has yet."""
        transport = _Transport.from_address(number)
        length = transport.remote.host.slen
        if transport.direction not in _DIRECTIONS or not 0 <= length <= _LONGEST_ADDRESS:
            return self._odd()
        if transport.direction != _INCOMING:
            return ""
        host = ctypes.string_at(transport.remote.host.ptr, length).decode("ascii", "replace")
        return host if address_in(host) else self._odd()

    def close(self, number: int) -> None:
        """Close a connection, whatever it is used for."""
        self._library.pjsip_transport_shutdown2(ctypes.c_void_p(number), 1)

    def _odd(self) -> str:
        if not self._complained:
            self._complained = True
            log.error("pjsip was built otherwise than is known here: connections are not bounded")
        return ""


def is_over(state: int) -> bool:
    """Whether a connection in that state carries nothing any more."""
    return state in _OVER
