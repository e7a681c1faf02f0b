# SPDX-License-Identifier: GPL-3.0-or-later
"""pjlib and pjsip themselves, for what pjsua2 has no words for. SIP thread only.

They are in the library that pjsua2 is, which exports all that their headers declare.
"""

import ctypes
from typing import Any, Self

import pjsua2 as pj


class Text(ctypes.Structure):
    """`pj_str_t`."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))

    @classmethod
    def of(cls, text: str) -> Self:
        """Lives as long as what is returned."""
        written = text.encode()
        return cls(written, len(written))


def library() -> Any:
    """By whose attributes the functions are called; what is none of its business returns `int`."""
    return ctypes.CDLL(pj._pjsua2.__file__)


def endpoint(functions: Any) -> ctypes.c_void_p:
    """The `pjsip_endpoint` of this process."""
    functions.pjsua_get_pjsip_endpt.restype = ctypes.c_void_p
    return ctypes.c_void_p(functions.pjsua_get_pjsip_endpt())
