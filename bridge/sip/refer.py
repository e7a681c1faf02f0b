# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers that we ask for: REFER, and what the far end says of it. SIP thread only."""

from collections.abc import Callable
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.ids import OpId

log = structlog.get_logger(__name__)

_TIMED_OUT: Final = 408
_UNAVAILABLE: Final = 503

Progressed = Callable[[OpId, int], None]


class Transfer:
    """The REFER of one leg; another may follow when it has come to its end."""

    def __init__(self, progressed: Progressed) -> None:
        self._progressed = progressed
        self._op: OpId | None = None

    def ask(self, op: OpId, send: Callable[[], None]) -> None:
        """Send REFER. One at a time: the stack does not say which one a NOTIFY is about."""
        if self._op is not None:
            self._progressed(op, _UNAVAILABLE)
            return
        self._op = op
        try:
            send()
        except pj.Error as error:
            log.info("cannot send REFER", error=error.reason)
            self._ended(_UNAVAILABLE)

    def heard(self, status: int, *, last: bool) -> None:
        """How far it is: a final response of 300 or more to REFER, 100 for any other, or sipfrag's.

        `last`: the subscription has ended.
        """
        if self._op is None:
            return
        if status >= 200:
            self._ended(status)
        elif last:
            self._ended(_TIMED_OUT)
        else:
            self._progressed(self._op, status)

    def _ended(self, status: int) -> None:
        op, self._op = self._op, None
        if op is not None:
            self._progressed(op, status)
