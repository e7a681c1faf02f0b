# SPDX-License-Identifier: GPL-3.0-or-later
"""How a text goes into a MESSAGE and comes out of one (RFC 3428)."""

from typing import Final

from bridge.sip.messages import Message

TYPE: Final = "text/plain"

_ROOM: Final = 1300
"""Bytes of a request that may go over UDP without congestion control (section 8)."""
_ROOM_IN_STREAM: Final = 6000
"""Bytes of text, where the stack's packets (PJSIP_MAX_PKT_LEN) are the bound."""
_HEADERS: Final = 450
"""Bytes of request line and headers but for the parties."""


def fits(text: str, transport: str, *parties: str) -> bool:
    """Whether a text can be sent in one MESSAGE; `parties`: what To and From will be."""
    size = len(text.encode())
    if transport != "udp":
        return size <= _ROOM_IN_STREAM
    # The far end's address is in the request line, too.
    return size + _HEADERS + 2 * sum(len(party.encode()) for party in parties) <= _ROOM


def decoded(body: str, request: Message) -> str:
    """The text, which is in UTF-8 (section 4) unless it says otherwise.

    `body`: as it comes from the stack, bytes that are not UTF-8 as lone surrogates (PEP 383).
    """
    raw = body.encode(errors="surrogateescape")
    for parameter in request.first("content-type").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            try:
                return raw.decode(value.strip().strip('"'), errors="replace")
            except LookupError:
                break
    return raw.decode(errors="replace")
