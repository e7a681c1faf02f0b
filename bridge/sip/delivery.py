# SPDX-License-Identifier: GPL-3.0-or-later
"""One text's way through the servers of its trunk. SIP thread only."""

from collections.abc import Callable

from bridge.sip.account import Account
from bridge.sip.pager import Answered
from bridge.sip.registrar import ELSEWHERE
from bridge.sip.walk import Walk

_UNAVAILABLE = 503


class Delivery:
    """Tries a trunk's servers in turn, until one has anything to say about the text.

    Each has as long as the stack gives it (RFC 3261, timer F): a server that is only slow would
    deliver the text as well.
    """

    def __init__(
        self, walk: Walk, send: Callable[[Account, Answered], None], told: Answered
    ) -> None:
        self._walk = walk
        self._send = send
        self._told = told

    def begin(self) -> None:
        """Send it to the server in use."""
        account = self._walk.stop()
        if account is None or not account.reachable:
            self._told(_UNAVAILABLE)
            return
        self._send(account, self._answered)

    def _answered(self, status: int) -> None:
        if self._walk.goes_on(status, self.begin):
            return
        if status not in ELSEWHERE:
            self._walk.works()
        self._told(status)
