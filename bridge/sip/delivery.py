# SPDX-License-Identifier: GPL-3.0-or-later
"""One text's way through the servers of its trunk. SIP thread only."""

from collections.abc import Callable

import structlog

from bridge.sip.account import Account
from bridge.sip.lookup import Target
from bridge.sip.pager import Answered
from bridge.sip.registrar import ELSEWHERE

log = structlog.get_logger(__name__)

_UNAVAILABLE = 503


class Delivery:
    """Tries a trunk's servers in turn, until one has anything to say about the text.

    Each has as long as the stack gives it (RFC 3261, timer F): a server that is only slow would
    deliver the text as well.
    """

    def __init__(
        self,
        account: Callable[[], Account | None],
        send: Callable[[Account, Answered], None],
        told: Answered,
        call_later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """`account`: the trunk's, while there is one; it must not be held on to."""
        self._account = account
        self._send = send
        self._told = told
        self._call_later = call_later
        self._target: Target | None = None
        self._tried: set[Target] = set()

    def begin(self) -> None:
        """Send it to the server in use."""
        account = self._account()
        if account is None or not account.reachable:
            self._told(_UNAVAILABLE)
            return
        self._target = account.target
        self._send(account, self._answered)

    def _answered(self, status: int) -> None:
        account = self._account()
        if account is None or self._target is None:
            self._told(status)
            return
        if status not in ELSEWHERE:
            account.servers.works(self._target)
            self._told(status)
            return
        self._tried.add(self._target)
        other = account.gives_up(self._target, self._tried)
        if other is None:
            self._told(status)
            return
        log.warning(
            "sending a text by another server",
            status=status,
            server=str(self._target),
            next=str(other),
        )
        self._call_later(0, lambda: self._go_on(other))

    def _go_on(self, other: Target) -> None:
        account = self._account()
        if account and account.target in self._tried:
            account.move(other)
        self.begin()
