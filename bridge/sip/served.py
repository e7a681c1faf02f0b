# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that nothing here serves, and the answers to them.

The stack answers those that some part of it knows. Outside of calls, nobody would say a word to the
others, and their sender would try for 32 seconds; within calls, they would get a 500.
"""

import re
from typing import Final

from bridge.sip.keypad import BODIES
from bridge.sip.pictures import CONTROL
from bridge.sip.sieve import Refuse

_SERVED: Final = frozenset({"INVITE", "ACK", "CANCEL", "OPTIONS", "MESSAGE"})
_WITHIN: Final = frozenset({"BYE", "INFO", "UPDATE", "PRACK", "NOTIFY", "SUBSCRIBE", "REFER"})
"""Within a dialog alone; a dialog that is none is the stack's to tell (481)."""
_ALLOW: Final = f"\r\nAllow: {', '.join(sorted(_SERVED | _WITHIN))}"
_TYPE: Final = re.compile(rb"^(?:Content-Type|c)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_PACKAGE: Final = re.compile(rb"^Info-Package[ \t]*:", re.IGNORECASE | re.MULTILINE)
_EVENT: Final = re.compile(rb"^(?:Event|o)[ \t]*:[ \t]*([\w.\-]+)", re.IGNORECASE | re.MULTILINE)
_REQUIRE: Final = re.compile(
    rb"^Require[ \t]*:((?:[^\r\n]|\r?\n[ \t])*+)", re.IGNORECASE | re.MULTILINE
)
_EXTENSION: Final = re.compile(rb"[\w.\-]+")
_KNOWN: Final = frozenset({b"100rel", b"norefersub", b"replaces", b"timer"})
"""What the stack supports, and says so."""
_STACKS: Final = frozenset({"INVITE", "ACK", "CANCEL", "BYE"})
"""INVITE it refuses by itself. Of ACK and CANCEL nothing may be required, and no call is to go on
for what a BYE requires."""
_UNKNOWN_DIALOG: Final = Refuse(481, "Call/Transaction Does Not Exist")
_BAD_EVENT: Final = Refuse(489, "Bad Event\r\nAllow-Events: message-summary, refer")
"""RFC 6665 section 4.4.4 wants the packages that we know, which are those that we subscribe to."""
_DECLINED: Final = Refuse(603, "Decline")
_NOT_ALLOWED: Final = Refuse(405, f"Method Not Allowed{_ALLOW}")
_NOT_IMPLEMENTED: Final = Refuse(501, f"Not Implemented{_ALLOW}")
_ALIVE: Final = Refuse(200, f"OK{_ALLOW}\r\nAccept: application/sdp, text/plain")
TAKEN: Final = Refuse(200, "OK")
NOT_UNDERSTOOD: Final = Refuse(
    415, f"Unsupported Media Type\r\nAccept: {', '.join((*BODIES, CONTROL))}"
)
_BAD_PACKAGE: Final = Refuse(469, "Bad Info Package\r\nRecv-Info:")
"""RFC 6086 section 4.2.2; we want none."""


def unserved(method: str, head: bytes, *, tagged: bool, live: bool = False) -> Refuse | None:
    """How to refuse a request of a trunk; None if it is for the stack.

    `tagged`: its To has a tag, so it believes to be within a dialog. `live`: that is one of a call.
    """
    if live and (answer := _within_call(method, head)):
        return answer
    if method in _SERVED or (tagged and method in _WITHIN):
        return None
    match method:
        case "SUBSCRIBE":
            return _BAD_EVENT
        case "NOTIFY":
            event = _EVENT.search(head)
            # Many a PBX tells what waits in a mailbox without having been asked.
            asked = event is not None and event[1].lower() == b"message-summary"
            return None if asked else _UNKNOWN_DIALOG
        case "REFER":
            return _DECLINED
        case "REGISTER" | "PUBLISH":
            return _NOT_ALLOWED
    return _UNKNOWN_DIALOG if method in _WITHIN else _NOT_IMPLEMENTED


def overcharged(method: str, head: bytes) -> Refuse | None:
    """How to refuse a request that requires what nobody here knows (RFC 3261 section 8.2.2.3)."""
    if method in _STACKS:
        return None
    wanted = (each for found in _REQUIRE.finditer(head) for each in _EXTENSION.findall(found[1]))
    unknown = dict.fromkeys(each.decode() for each in wanted if each.lower() not in _KNOWN)
    if not unknown:
        return None
    return Refuse(420, f"Bad Extension\r\nUnsupported: {', '.join(unknown)}")


def _within_call(method: str, head: bytes) -> Refuse | None:
    """What the stack would answer with 500, which some take for the end of the call."""
    match method:
        case "SUBSCRIBE":
            return _BAD_EVENT
        case "OPTIONS":
            return _ALIVE
        case "INFO" if _PACKAGE.search(head):
            return _BAD_PACKAGE
        case "INFO" if _TYPE.search(head) is None:
            return TAKEN  # RFC 6086 section 4.2.2
    return None
