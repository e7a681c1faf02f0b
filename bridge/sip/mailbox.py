# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mailbox holds, as a server sums it up (RFC 3842)."""

import re
from typing import Final

from bridge.call.ids import TrunkName
from bridge.records import Mailbox
from bridge.sip.messages import Message, parse_uri

EVENT: Final = "message-summary"
_LONGEST: Final = 64
_MOST: Final = 99_999
_COUNTS: Final = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})")


def read_mailbox(trunk: TrunkName, notify: Message) -> Mailbox | None:
    """What a NOTIFY says of voice messages; None if it says nothing of them.

    Servers that do not count say only whether any wait: then `new` is None.
    """
    kind = notify.first("event").partition(";")[0].strip().lower()
    lines = dict(_line(line) for line in notify.body.splitlines())
    waiting = lines.get("messages-waiting", "").lower()
    counts = _COUNTS.match(lines.get("voice-message", ""))
    if kind != EVENT or (waiting not in ("yes", "no") and counts is None):
        return None
    new, old = (min(int(each), _MOST) for each in counts.groups()) if counts else (None, 0)
    return Mailbox(
        trunk=trunk,
        waiting=new > 0 if new is not None else waiting == "yes",
        new=new,
        old=old,
        number=parse_uri(lines.get("message-account", "")).user[:_LONGEST],
    )


def _line(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()
