# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole SIP messages, out of the stack's own log: the one place that shows every one of them.

Transaction events leave out ACKs, retransmissions and what is answered without a dialog.
"""

import re
from dataclasses import dataclass
from typing import Final

from bridge.sip.messages import clean

_ENTRY: Final = re.compile(
    r"(?P<way>RX|TX) \d+ bytes [^\n]*? (?:from|to) (?P<transport>\w+) (?P<peer>[^\s]+):\n"
)
_END: Final = "\n--end msg--"
_CALL_ID: Final = re.compile(r"^(?:Call-ID|i)[ \t]*:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_SECRET: Final = re.compile(r"""(\bresponse="|\b(?i:inline):)[^"\s|;]+""")
"""Digest replies, from which a password can be guessed, and SRTP keys (RFC 4568)."""
_KEYS: Final = re.compile(r"^(?:Content-Type|c)[ \t]*:[ \t]*application/dtmf", re.I | re.M)
_NAME: Final = re.compile(r'"[^"]*"(?= ?<)')
_TEXT: Final = re.compile(r"(?<=message ')(?:.*'(?=: \d)|.*)")
"""What somebody wrote in a MESSAGE, where the stack complains that it was not taken."""
_UNREADABLE: Final = re.compile(
    r"(?:Dropping \d+ bytes packet from \S+(?: \S+)?|Error processing packet from) "
    r"(?P<host>[0-9a-fA-F.:]+):\d+[: ]"
)
"""What the stack says when it has thrown a message away."""
_USER: Final = re.compile(r"\b(sips?:|tel:)[^@\s<>;,\"]+(@?)")


@dataclass(frozen=True, slots=True)
class Tapped:
    """A message that went over the wire. `peer` is `host:port`, `transport` `udp`, `tcp`, `tls`."""

    sent: bool
    transport: str
    peer: str
    text: str

    @property
    def call_id(self) -> str:
        """The Call-ID header, or an empty string."""
        head = self.text.partition("\r\n\r\n")[0]
        match = _CALL_ID.search(head)
        return match[1] if match else ""

    @property
    def direction(self) -> str:
        """`sent` or `received`."""
        return "sent" if self.sent else "received"


def read_entry(entry: str) -> Tapped | None:
    """The message in a log entry; None if the entry is about something else."""
    if entry[:3] not in ("RX ", "TX "):
        return None
    match = _ENTRY.match(entry)
    if not match:
        return None
    text = clean(entry[match.end() :])
    end = text.rfind(_END)
    transport = match["transport"].lower().rstrip("6")
    return Tapped(match["way"] == "TX", transport, match["peer"], text[:end] if end >= 0 else text)


def unreadable_from(entry: str) -> str:
    """The address that a message came from which the stack could not read; or empty."""
    match = _UNREADABLE.match(entry)
    return match["host"] if match else ""


def without_users(entry: str) -> str:
    """The first line of a log entry, without texts, display names and user parts of URIs."""
    line = _TEXT.sub("…'", clean(entry.partition("\n")[0]))
    line = _NAME.sub('"…"', line)
    return _USER.sub(r"\1…\2", line).strip()


def without_secrets(text: str) -> str:
    """A message that may be kept and shown. Which keys were pressed may be a password, too."""
    head, gap, _ = text.partition("\r\n\r\n")
    if gap and _KEYS.search(head):
        text = f"{head}{gap}…"
    return _SECRET.sub(r"\1…", text)
