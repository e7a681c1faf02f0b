# SPDX-License-Identifier: GPL-3.0-or-later
"""Pressed keys by SIP INFO: bodies read and written. What INFO says is sent one after the other.

There is no standard for them: `application/dtmf-relay` says signal and milliseconds, a line each;
`application/dtmf` is the key alone.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import Final

from bridge.sip.messages import Message

RELAY: Final = "application/dtmf-relay"
PLAIN: Final = "application/dtmf"
BODIES: Final = (RELAY, PLAIN)

_KEYS: Final = "0123456789*#ABCD"
_USUAL: Final = 0.16
"""Seconds, where nothing is said."""
_FIELD: Final = re.compile(r"^[ \t]*(signal|duration)[ \t]*=[ \t]*(\S+)", re.I | re.M)


def body_of(key: str, duration: float, kind: str) -> str:
    """What says that a key was pressed for so many seconds; `kind` is one of `BODIES`."""
    if kind == PLAIN:
        return key
    return f"Signal={key}\r\nDuration={max(1, round(duration * 1000))}\r\n"


def key_in(request: Message) -> tuple[str, float] | None:
    """The key that an INFO tells, and for how many seconds it was pressed."""
    kind = request.first("content-type").partition(";")[0].strip().lower()
    if kind == PLAIN:
        key = _key(request.body.strip())
        return (key, _USUAL) if key else None
    if kind != RELAY:
        return None
    fields = {name.lower(): value for name, value in _FIELD.findall(request.body)}
    key = _key(fields.get("signal", ""))
    lasts = fields.get("duration", "")
    known = lasts.isascii() and lasts.isdecimal() and len(lasts) < 6
    return (key, int(lasts) / 1000 if known else _USUAL) if key else None


def _key(text: str) -> str:
    """A key as it is written, or by the number of its event (`10` is the star)."""
    if len(text) == 2 and text.isascii() and text.isdecimal() and int(text) < len(_KEYS):
        return _KEYS[int(text)]
    return text.upper() if len(text) == 1 and text.upper() in _KEYS else ""


class Infos:
    """One dialog's INFO. They leave in order: the next one when the one before was answered."""

    def __init__(self, send: Callable[[str, str], bool]) -> None:
        """`send`, given type and body, tells whether an answer is to be waited for."""
        self._send = send
        self._waiting: deque[tuple[str, str]] = deque()
        self._busy = False
        self._heard = 0

    def heard(self, request: Message) -> tuple[bool, tuple[str, float] | None]:
        """Whether an INFO can be understood, and the key in it if it is no repetition."""
        pressed = key_in(request)
        number, _ = request.cseq
        again, self._heard = number <= self._heard, max(number, self._heard)
        return pressed is not None, None if again else pressed

    def say(self, kind: str, body: str) -> None:
        """Send something, after what was before it."""
        self._waiting.append((kind, body))
        self._next()

    def answered(self) -> None:
        """The far end answered, or will not."""
        self._busy = False
        self._next()

    def _next(self) -> None:
        while self._waiting and not self._busy:
            self._busy = self._send(*self._waiting.popleft())
