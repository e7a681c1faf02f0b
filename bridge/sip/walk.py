# SPDX-License-Identifier: GPL-3.0-or-later
"""A request's way through the servers of its trunk. SIP thread only."""

from collections.abc import Callable

import structlog

from bridge.sip.account import Account
from bridge.sip.lookup import Target
from bridge.sip.registrar import ELSEWHERE

log = structlog.get_logger(__name__)


class Walk:
    """The servers that have been asked, and which one is asked next."""

    def __init__(
        self,
        account: Callable[[], Account | None],
        call_later: Callable[[float, Callable[[], None]], None],
        **about: str,
    ) -> None:
        """`account`: the trunk's, while there is one; it must not be held on to.

        `about` tells in the log what is sent.
        """
        self._log = log.bind(**about)
        self._account = account
        self._call_later = call_later
        self._target: Target | None = None
        self._tried: set[Target] = set()

    def stop(self) -> Account | None:
        """The account, whose server in use is asked now; None where the trunk is gone."""
        account = self._account()
        if account is not None:
            self._target = account.target
        return account

    def works(self) -> None:
        """The server that was asked had something to say."""
        account = self._account()
        if account is not None and self._target is not None:
            account.servers.works(self._target)

    def goes_on(self, status: int, again: Callable[[], None], wish: int = 0) -> bool:
        """Ask `again`, the next server, after whatever is going on; False if none is left to ask.

        `status` is how the one that was asked failed, `wish` its Retry-After in seconds, or 0.
        """
        account = self._account()
        if status not in ELSEWHERE or self._target is None or account is None:
            return False
        self._tried.add(self._target)
        other = account.gives_up(self._target, self._tried, wish)
        if other is None:
            return False
        self._log.warning(
            "trying another server", status=status, server=str(self._target), next=str(other)
        )
        self._call_later(0, lambda: self._move(other, again))
        return True

    def _move(self, other: Target, again: Callable[[], None]) -> None:
        account = self._account()
        if account and account.target in self._tried:  # Another request may have moved it already.
            account.move(other)
        again()
