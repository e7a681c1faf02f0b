# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a trunk without registration whether it is there, by OPTIONS (RFC 3261 section 11)."""

import random
from collections.abc import Callable
from typing import Final

import pjsua2 as pj
import structlog

from bridge.sip.account import Account
from bridge.sip.lookup import Target
from bridge.sip.registrar import ELSEWHERE
from bridge.sip.trunks import Registration, RegistrationState, Route

log = structlog.get_logger(__name__)

_TIMEOUT: Final = 408


class Probe:
    """Asks again and again, until it is told to `stop`. SIP thread only."""

    def __init__(
        self,
        account: Account,
        route: Route,
        report: Callable[[Registration], None],
        call_later: Callable[[float, Callable[[], None]], None],
        interval: float,
    ) -> None:
        """`interval`: seconds between two questions; a tenth more or less, by chance."""
        self._account = account
        self._route = route
        self._report = report
        self._call_later = call_later
        self._interval = interval
        self._tried: set[Target] = set()
        self._turn = 0
        self._stopped = False

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True

    def begin(self) -> None:
        """Ask the server in use."""
        if self._stopped:
            return
        self._turn += 1
        turn = self._turn
        if not self._account.reachable:
            self._is_away(_TIMEOUT, "Unknown server")
            return
        self._call_later(
            self._route.trunk.answer_within, lambda: self._answered(turn, _TIMEOUT, "No answer")
        )
        prm = pj.SendRequestParam()
        prm.method = "OPTIONS"
        prm.txOption.targetUri = self._route.registrar
        self._account.answered = lambda status, reason: self._answered(turn, status, reason)
        try:
            self._account.sendRequest(prm)
        except pj.Error as error:
            self._answered(turn, 503, error.reason)

    def _answered(self, turn: int, status: int, reason: str) -> None:
        """Whatever the response, somebody is there; but for 503, and the stack's stand-ins."""
        if self._stopped or turn != self._turn:
            return
        self._turn += 1
        if status in ELSEWHERE:
            self._is_away(status, reason)
            return
        self._tried.clear()
        if self._account.target:
            self._account.servers.works(self._account.target)
        self._report(Registration(RegistrationState.ANSWERS, status, reason))
        self._again()

    def _is_away(self, status: int, reason: str) -> None:
        target = self._account.target
        if target:
            self._tried.add(target)
            other = self._account.gives_up(target, self._tried)
            if other:
                self._call_later(0, lambda: self._ask(other))
                return
        self._tried.clear()
        self._report(Registration(RegistrationState.SILENT, status, reason))
        self._again()

    def _ask(self, other: Target) -> None:
        if not self._stopped:
            self._account.move(other)
            self.begin()

    def _again(self) -> None:
        self._call_later(self._interval * random.uniform(0.9, 1.1), self.begin)
