# SPDX-License-Identifier: GPL-3.0-or-later
"""How a text goes into a MESSAGE and comes out of one (RFC 3428)."""

from typing import Final

from bridge.sip.messages import Message

TYPE: Final = "text/plain"

_ROOM: Final = 1300
"""Bytes of a request that may go over UDP without congestion control (section 8)."""
_ROOM_IN_STREAM: Final = 6000
"""Bytes of text, where the stack's packets (PJSIP_MAX_PKT_LEN) are the bound."""
_LEAST: Final = 100
"""Bytes of text that are worth a message."""
_MOST: Final = 10
"""Messages that one text may become."""
_HEADERS: Final = 450
"""Bytes of request line and headers but for the parties."""


def parts(text: str, transport: str, *parties: str) -> list[str]:
    """A text as it goes into as many messages as it needs; none if these are too many.

    It is cut between words where it can be. `parties`: what To and From will be.
    """
    found: list[str] = []
    room, rest = _room(transport, *parties), text
    while rest and room >= _LEAST and len(found) < _MOST:
        part, rest = _cut(rest, room)
        found.append(part)
    return [] if rest else found


def _room(transport: str, *parties: str) -> int:
    """Bytes of text that one message has room for."""
    if transport != "udp":
        return _ROOM_IN_STREAM
    # The far end's address is in the request line, too.
    return _ROOM - _HEADERS - 2 * sum(len(party.encode()) for party in parties)


def _cut(text: str, room: int) -> tuple[str, str]:
    """The first `room` bytes of a text, or somewhat less, and the rest."""
    raw = text.encode()
    if len(raw) <= room:
        return text, ""
    head = raw[:room].decode(errors="ignore")
    end = max(head.rfind(" "), head.rfind("\n")) if text[len(head)] not in " \n" else len(head)
    head = head[:end] if end > len(head) // 2 else head
    return head.rstrip(), text[len(head) :].lstrip()


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
