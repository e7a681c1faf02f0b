# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS listeners that are opened anew, for their certificates were renewed. SIP thread only.

The stack reads the certificate of a listener when the first connection comes in, and keeps it. It
can open the listener anew, by a call that pjsua2 has no method for; connections stay.
"""

import ctypes
from typing import Any, Final

import pjsua2 as pj
import structlog

from bridge.config import SipTransport

log = structlog.get_logger(__name__)

_ON: Final = 1


class _Text(ctypes.Structure):
    """`pj_str_t`."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))

    @classmethod
    def of(cls, text: object) -> "_Text":
        data = str(text).encode()
        return cls(data, len(data))


class _Option(ctypes.Structure):
    _fields_ = (
        ("level", ctypes.c_int),
        ("name", ctypes.c_int),
        ("value", ctypes.c_void_p),
        ("length", ctypes.c_int),
    )


class _Options(ctypes.Structure):
    """`pj_sockopt_params`."""

    _fields_ = (("count", ctypes.c_uint), ("options", _Option * 4))


class _Quality(ctypes.Structure):
    """`pj_qos_params`."""

    _fields_ = (("bits", ctypes.c_uint8 * 3), ("wmm", ctypes.c_int))


class _Tls(ctypes.Structure):
    """`pjsip_tls_setting`."""

    _fields_ = (
        ("ca_list", _Text),
        ("ca_path", _Text),
        ("certificate", _Text),
        ("private_key", _Text),
        ("buffers", _Text * 3),
        ("lookup_type", ctypes.c_int),
        ("lookup_keyword", _Text),
        ("direct_type", ctypes.c_uint),
        ("direct", ctypes.c_void_p * 2),
        ("password", _Text),
        ("method", ctypes.c_int),
        ("protocols", ctypes.c_uint32),
        ("ciphers_number", ctypes.c_uint),
        ("ciphers", ctypes.c_void_p),
        ("curves_number", ctypes.c_uint),
        ("curves", ctypes.c_void_p),
        ("signatures", _Text),
        ("entropy", ctypes.c_int),
        ("entropy_path", _Text),
        ("verify_server", ctypes.c_int),
        ("verify_client", ctypes.c_int),
        ("require_client", ctypes.c_int),
        ("seconds", ctypes.c_long),
        ("milliseconds", ctypes.c_long),
        ("first", ctypes.c_uint),
        ("reuse_address", ctypes.c_int),
        ("quality", ctypes.c_int),
        ("quality_values", _Quality),
        ("quality_errors", ctypes.c_int),
        ("options", _Options),
        ("options_errors", ctypes.c_int),
        ("renegotiation", ctypes.c_int),
        ("callbacks", ctypes.c_void_p * 2),
    )


class _Config(ctypes.Structure):
    """`pjsua_transport_config`, and room for more."""

    _fields_ = (
        ("port", ctypes.c_uint),
        ("range", ctypes.c_uint),
        ("random", ctypes.c_int),
        ("public_address", _Text),
        ("bound_address", _Text),
        ("tls", _Tls),
        ("quality", ctypes.c_int),
        ("quality_values", _Quality),
        ("options", _Options),
        ("more", ctypes.c_char * 512),
    )


def open_anew(number: int, transport: SipTransport, settings: pj.TransportConfig) -> bool:
    """Whether listener `number` of the stack, opened with `settings`, listens anew.

    If not, it may be shut: try again.
    """
    library: Any = ctypes.CDLL(pj._pjsua2.__file__)
    config = _Config()
    library.pjsua_transport_config_default(ctypes.byref(config))
    if not _is_known(config):
        log.error("pjsip was built otherwise than is known here: a certificate wants a restart")
        return True
    tls = settings.tlsConfig
    config.port = settings.port
    config.public_address = _Text.of(settings.publicAddress)
    config.bound_address = _Text.of(settings.boundAddress)
    config.tls.ca_list = _Text.of(tls.CaListFile)
    config.tls.certificate = _Text.of(tls.certFile)
    config.tls.private_key = _Text.of(tls.privKeyFile)
    config.tls.protocols = tls.proto
    config.tls.verify_server = int(tls.verifyServer)
    config.tls.seconds, config.tls.milliseconds = divmod(tls.msecTimeout, 1000)
    status = library.pjsua_transport_lis_restart(number, ctypes.byref(config))
    if status:
        log.error(
            "a TLS listener cannot be opened anew; trying again",
            listen=str(transport.listen),
            port=transport.port,
            status=status,
        )
    return not status


def _is_known(config: _Config) -> bool:
    """Whether what is on by default is where it is looked for, and all else is empty."""
    tls = config.tls
    on = (tls.reuse_address, tls.quality_errors, tls.options_errors, tls.renegotiation)
    off = (config.port, tls.certificate.slen, tls.verify_server, tls.seconds, tls.first)
    return on == (_ON,) * 4 and not any(off) and not any(config.more)
