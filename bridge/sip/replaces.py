# SPDX-License-Identifier: GPL-3.0-or-later
"""INVITEs that are to take the place of a call of ours: Replaces (RFC 3891). SIP thread only.

pjsua answers such a one at once, and ends the dialog that it names in the same breath. So once the
stack has found that dialog, the header is taken out of what the stack has read: the INVITE is a
call like any other then, about which the core decides in its own time. One that names no dialog of
ours, or must not replace it, is left to the stack, which refuses it.
"""

import ctypes
import re
from typing import Any, Final

from bridge.sip.messages import Message
from bridge.sip.pjlib import Text

_NAME: Final = "Replaces"
_HEADER: Final = re.compile(rb"^Replaces[ \t]*:", re.IGNORECASE | re.MULTILINE)


def is_replacing(request: bytes) -> bool:
    """Whether a request has the header."""
    return request.startswith(b"INVITE ") and _HEADER.search(request) is not None


def disarm(pjsip: Any, received: int, message: int) -> None:
    """Take the header out, if the dialog is there and may be replaced (RFC 3891 section 3).

    `received` and `message` are the addresses of the `pjsip_rx_data` and its `pjsip_msg`.
    """
    request, dialog = ctypes.c_void_p(received), ctypes.c_void_p()
    if pjsip.pjsip_replaces_verify_request(request, ctypes.byref(dialog), 0, None):
        return
    pjsip.pjsip_msg_find_hdr_by_name.restype = ctypes.c_void_p
    name = Text.of(_NAME)
    header = pjsip.pjsip_msg_find_hdr_by_name(ctypes.c_void_p(message), ctypes.byref(name), None)
    if header is not None:
        pjsip.pj_list_erase(ctypes.c_void_p(header))


def replaced(invite: Message) -> str:
    """The Call-ID of the dialog whose place an INVITE is to take; empty if it takes none."""
    return invite.first(_NAME.lower()).partition(";")[0].strip()
