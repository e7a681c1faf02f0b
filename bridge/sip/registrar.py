# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a trunk registered, with one of its servers, while it is wanted. SIP thread only."""

from collections.abc import Callable
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.ids import TrunkName
from bridge.sip.account import Account
from bridge.sip.lookup import Target
from bridge.sip.trunks import Registration, RegistrationState

log = structlog.get_logger(__name__)

_LONGEST_WISH: Final = 3600.0
"""Seconds: a registrar may ask for a longer pause in vain."""
_TIMEOUT: Final = 408
ELSEWHERE: Final = frozenset({408, 502, 503})
"""No answer, no address, or no service: another server may have one (RFC 3263 section 4.3)."""

Pause = Callable[[int, int], float]
"""Seconds until the next try, after so many failures in a row, the last one with this status."""


class Registrar:
    """Keeps one trunk registered: pjsip refreshes, this tries again after failures."""

    def __init__(
        self,
        account: Account,
        trunk: TrunkName,
        report: Callable[[TrunkName, Registration], None],
        call_later: Callable[[float, Callable[[], None]], None],
        pause: Pause,
        patience: float,
    ) -> None:
        """`patience`: seconds that a server gets for its answer, if there is another."""
        self._account = account
        self._trunk = trunk
        self._report = report
        self._call_later = call_later
        self._pause = pause
        self.patience = patience
        self._failures = 0
        self._tried: set[Target] = set()
        """Servers that have failed since it was last registered, or since the last pause."""
        self._asked = 0
        self._heard = True
        self._waiting = False
        self._leaving = False
        self.registered = False
        self.call_id = ""
        """Of its last REGISTER."""

    def leave(self) -> None:
        """Unregister, and try no more."""
        self._leaving = True
        if not self.registered:
            return
        try:
            self._account.setRegistration(False)
        except pj.Error as error:
            self.registered = False
            log.info("cannot unregister", trunk=self._trunk, error=error.reason)

    def asked(self) -> None:
        """A REGISTER was sent, for the first time or again."""
        if not self._heard or self._leaving or len(self._account.servers) < 2:
            return
        self._heard = False
        self._asked += 1
        asked = self._asked
        self._call_later(self.patience, lambda: self._is_overdue(asked))

    def heard(self) -> None:
        """The server has said something, if not the last word."""
        self._heard = True

    def answered(self, status: int, reason: str, expiration: int, wish: float = 0.0) -> None:
        """The registrar's final response, or the stack's stand-in for none (408, 503).

        `wish`: seconds in its Retry-After header (RFC 3261 section 20.33), 0 if there is none.
        """
        self.registered = status // 100 == 2 and expiration > 0
        self._heard = True
        if self._leaving:
            return
        if self.registered:
            self._failures = 0
            self._tried.clear()
            if self._account.target:
                self._account.servers.works(self._account.target)
            self._report(self._trunk, Registration(RegistrationState.REGISTERED, status, reason))
            return
        if self._waiting or (status in ELSEWHERE and self._goes_elsewhere(status)):
            return
        self._tried.clear()
        self._failures += 1
        pause = max(self._pause(self._failures, status), min(wish, _LONGEST_WISH))
        log.warning(
            "registration failed",
            trunk=self._trunk,
            status=status,
            reason=reason,
            retry_in=round(pause, 1),
        )
        self._report(self._trunk, Registration(RegistrationState.FAILED, status, reason))
        self._waiting = True
        self._call_later(pause, self._retry)

    def _is_overdue(self, asked: int) -> None:
        if asked == self._asked and not self._heard and not self._leaving:
            self._goes_elsewhere(_TIMEOUT)

    def _goes_elsewhere(self, status: int) -> bool:
        """Try the next server; False if none is left."""
        target = self._account.target
        if target is None:
            return False
        self._tried.add(target)
        other = self._account.gives_up(target, self._tried)
        if other is None:
            return False
        log.warning(
            "registering with another server",
            trunk=self._trunk,
            status=status,
            server=str(target),
            next=str(other),
        )
        self._heard = True
        # Not from within the stack's own report on the registration that this replaces.
        self._call_later(0, lambda: self._account.move(other))
        return True

    def _retry(self) -> None:
        self._waiting = False
        if self._leaving:
            return
        try:
            self._account.setRegistration(True)
        except pj.Error as error:
            self.answered(503, error.reason, 0)
