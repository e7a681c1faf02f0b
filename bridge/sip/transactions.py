# SPDX-License-Identifier: GPL-3.0-or-later
"""What pjsip can do about a transaction, for which pjsua2 has no words. SIP thread only."""

import ctypes
import re
from typing import Final

from bridge.sip.pjlib import Text, library

_BRANCH: Final = re.compile(
    r"^(?:Via|v)[ \t]*:[^\r\n]*?;[ \t]*branch[ \t]*=[ \t]*([^\s;,]+)", re.I | re.M
)


def send_no_more(invite: str) -> bool:
    """Do not retransmit an INVITE of ours; whether it was still waiting for a response.

    The transaction goes on until timer B fires (RFC 3261 section 17.1.1.2), so that whatever comes
    in yet is answered as it has to be.
    """
    branch = _BRANCH.search(invite)
    if branch is None:
        return False
    pjsip = library()
    pjsip.pjsip_tsx_layer_find_tsx.restype = ctypes.c_void_p
    key = Text.of(f"c${branch[1]}")  # As pjsip names the transaction of an INVITE that was sent.
    found = pjsip.pjsip_tsx_layer_find_tsx(ctypes.byref(key), 0)
    if found is None:
        return False
    return bool(pjsip.pjsip_tsx_stop_retransmit(ctypes.c_void_p(found)) == 0)
