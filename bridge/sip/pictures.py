# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole pictures of video asked for by SIP INFO (RFC 5168), which old telephones know alone."""

import re
from typing import Final

from bridge.sip.messages import Message

CONTROL: Final = "application/media_control+xml"
ASK: Final = (
    '<?xml version="1.0" encoding="utf-8" ?>\r\n'
    "<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive>"
    "</media_control>\r\n"
)
_WANTED: Final = re.compile(r"<picture_fast_update\s*/?>")


def asks_for_picture(request: Message) -> bool:
    """Whether an INFO wants a whole picture; there is nothing else to be understood there."""
    kind = request.first("content-type").partition(";")[0].strip().lower()
    return kind == CONTROL and _WANTED.search(request.body) is not None
