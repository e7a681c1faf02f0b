# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts of all trunks: made, found, unregistered and deleted. SIP thread only."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.ids import TrunkName
from bridge.config import Sip
from bridge.errors import LocalError
from bridge.sip.account import Account, Callbacks, Ways
from bridge.sip.lookup import Target
from bridge.sip.probe import Probe
from bridge.sip.registrar import Pause, Registrar
from bridge.sip.tap import Tapped
from bridge.sip.trunks import Peers, Registration, Route

log = structlog.get_logger(__name__)

_LEAVING: Final = 2.0
"""Seconds that a registrar gets to answer when we unregister."""
_LOOK: Final = 0.1
"""Seconds until it is looked again whether it did."""
_CALLS_END: Final = 1.0
"""Seconds until it is looked again whether the calls of an account that is not wanted any more
have ended."""

_SLACK: Final = 0.01
"""Seconds by which a server has surely been avoided for long enough."""
_LINE: Final = re.compile(r";line=(\w+)")

Report = Callable[[TrunkName, Registration], None]
Later = Callable[[float, Callable[[], None]], None]


class Accounts:
    """By trunk; and one for all strangers."""

    def __init__(
        self,
        sip: Sip,
        peers: Peers,
        *,
        report: Report,
        call_later: Later,
        pause: Pause,
        transport: Callable[[Route, Target], int],
    ) -> None:
        self._peers = peers
        self._report = report
        self._call_later = call_later
        self._pause = pause
        versions = {each.listen.version for each in sip.transports}
        self._ways = Ways(versions, transport, self._avoided)
        self._strangers: Account | None = None
        self._accounts: dict[TrunkName, Account] = {}
        self._registrars: dict[TrunkName, Registrar] = {}
        self._by_line: dict[str, Registrar] = {}
        """By the mark in their Contact."""
        self._probes: dict[TrunkName, Probe] = {}
        self._asked: dict[str, Registrar] = {}
        """By the Call-ID of their last REGISTER."""
        self._leaving: list[Registrar] = []
        self._retiring: set[TrunkName] = set()
        """Are used no more, and have calls yet."""
        self._old: list[Account] = []
        """Unregister, or have calls yet."""
        self._spare: list[Account] = []

    def open_strangers(self, callbacks: Callbacks) -> None:
        """The account that takes what comes from no trunk."""
        self._strangers = Account()
        self._strangers.open(callbacks, None, ways=self._ways)

    def add(
        self,
        route: Route,
        callbacks: Callbacks,
        targets: Sequence[Target] | None = None,
        *,
        at_once: bool = True,
    ) -> Account:
        """Raises LocalError when the stack has no room for another account.

        `targets`: the trunk's servers, if others than are known. `at_once`: register now.
        """
        account = self._spare.pop() if self._spare else Account()
        registrar = self._registrar(account, route) if route.trunk.register else None
        try:
            account.open(
                callbacks,
                route,
                ways=self._ways,
                targets=self._peers.targets_of(route.name) if targets is None else targets,
                registrar=registrar,
                at_once=at_once,
            )
        except BaseException as error:
            self._spare.append(account)
            if not isinstance(error, pj.Error):
                raise
            raise LocalError(
                f"the SIP stack takes no account {route.identity}: {error.reason}",
                remedy="It was built for so many accounts: scripts/config_site.h, PJSUA_MAX_ACC.",
            ) from error
        self._accounts[route.name] = account
        if registrar:
            self._registrars[route.name] = self._by_line[route.line] = registrar
        elif route.trunk.probe_interval:
            self._probe(account, route, route.trunk.probe_interval)
        return account

    def change(self, route: Route, callbacks: Callbacks, targets: Sequence[Target]) -> None:
        """Have a trunk's settings be others; its calls go on. Raises LocalError.

        One that registers otherwise from now on has another account, which registers when the
        former has left: a registrar may know but one at a time.
        """
        account = self._accounts[route.name]
        self._retiring.discard(route.name)
        assert account.route
        if not account.route.goes_on_as(route):
            self._exchange(route, callbacks, targets)
            return
        try:
            account.change(route, targets)
        except pj.Error as error:
            raise LocalError(f"the SIP stack takes no such change: {error.reason}") from error
        if registrar := self._registrars.get(route.name):
            registrar.patience = route.trunk.answer_within
        elif route.trunk.probe_interval:
            self._probes.pop(route.name).stop()
            self._probe(account, route, route.trunk.probe_interval)

    def _exchange(self, route: Route, callbacks: Callbacks, targets: Sequence[Target]) -> None:
        former, registrar = self._accounts[route.name], self._registrars.pop(route.name, None)
        probe = self._probes.pop(route.name, None)
        try:
            account = self.add(route, callbacks, targets, at_once=False)
        except BaseException:
            if registrar:
                self._registrars[route.name] = registrar
            if probe:
                self._probes[route.name] = probe
            raise
        self._dismiss(former, registrar, probe, lambda left: account.register())

    def retire(
        self, trunk: TrunkName, busy: Callable[[TrunkName], bool], done: Callable[[bool], None]
    ) -> None:
        """Remove a trunk when it has no calls any more; by its registration comes what is theirs.

        It stays if it is changed before.
        """
        if probe := self._probes.pop(trunk, None):
            probe.stop()
        self._retiring.add(trunk)
        self._look_after(trunk, busy, done)

    def _look_after(
        self, trunk: TrunkName, busy: Callable[[TrunkName], bool], done: Callable[[bool], None]
    ) -> None:
        if trunk not in self._retiring:
            return
        if busy(trunk):
            self._call_later(_CALLS_END, lambda: self._look_after(trunk, busy, done))
            return
        self.remove(trunk, done)

    def remove(self, trunk: TrunkName, done: Callable[[bool], None]) -> None:
        """Unregister, tell whether that was answered, and delete the account when its calls end."""
        self._retiring.discard(trunk)
        account = self._accounts.pop(trunk, None)
        registrar, probe = self._registrars.pop(trunk, None), self._probes.pop(trunk, None)
        if account is None:
            done(True)
            return
        self._dismiss(account, registrar, probe, done)

    def _dismiss(
        self,
        account: Account,
        registrar: Registrar | None,
        probe: Probe | None,
        done: Callable[[bool], None],
    ) -> None:
        self._old.append(account)
        if probe:
            probe.stop()
        if registrar and account.route:
            self._by_line.pop(account.route.line, None)
            self._asked.pop(registrar.call_id, None)
            account.unsubscribe()
            registrar.leave()
            self._leaving.append(registrar)
        self._part(account, registrar, done, int(_LEAVING / _LOOK))

    def follow(self) -> None:
        """The trunks' servers may have moved, or been avoided for long enough."""
        for account in self._accounts.values():
            if account.route:
                account.follow(self._peers.targets_of(account.route.name))

    def seen(self, message: Tapped) -> None:
        """Any message: those of registrations tell whether servers answer."""
        if message.sent and message.text.startswith("REGISTER "):
            line = _LINE.search(message.text)
            if line and (registrar := self._by_line.get(line[1])):
                self._asked.pop(registrar.call_id, None)
                registrar.call_id = message.call_id
                self._asked[message.call_id] = registrar
                registrar.asked()
        elif not message.sent and (registrar := self._asked.get(message.call_id)):
            registrar.heard()

    def get(self, trunk: TrunkName) -> Account | None:
        """The trunk's account."""
        return self._accounts.get(trunk)

    def index(self, trunk: TrunkName | None) -> int | None:
        """The stack's number of a trunk's account; of the strangers' if there is none."""
        account = self._accounts.get(trunk) if trunk else self._strangers
        return account.getId() if account else None

    def transports(self) -> set[int]:
        """The transports of their own that trunks use, or that those use which leave."""
        return {account.transport for account in (*self._accounts.values(), *self._old)}

    def leave(self) -> None:
        """Unregister every account, and ask for none."""
        for probe in self._probes.values():
            probe.stop()
        for trunk, registrar in self._registrars.items():
            self._accounts[trunk].unsubscribe()
            registrar.leave()
            self._leaving.append(registrar)

    def left(self) -> bool:
        """Whether all have been unregistered."""
        return not any(registrar.registered for registrar in self._leaving)

    def close(self) -> None:
        """Let go of everything, right before the library ends."""
        accounts = [*self._accounts.values(), *self._old, *self._spare]
        for account in (*accounts, *filter(None, [self._strangers])):
            account.silence()
        self._strangers = None
        for kept in (self._accounts, self._registrars, self._leaving, self._old, self._spare):
            kept.clear()
        self._by_line.clear()
        self._probes.clear()
        self._asked.clear()
        self._retiring.clear()

    # --- inside -----------------------------------------------------------------------------

    def _part(
        self,
        account: Account,
        registrar: Registrar | None,
        done: Callable[[bool], None],
        tries: int,
    ) -> None:
        if registrar and registrar.registered and tries:
            self._call_later(_LOOK, lambda: self._part(account, registrar, done, tries - 1))
            return
        if registrar:
            self._leaving.remove(registrar)
        account.silence()
        self._delete(account)
        done(registrar is None or not registrar.registered)

    def _delete(self, account: Account) -> None:
        """Delete an account as soon as its calls have ended."""
        if account not in self._old:
            return
        if not account.shut():
            self._call_later(_CALLS_END, lambda: self._delete(account))
            return
        self._old.remove(account)
        self._spare.append(account)

    def _probe(self, account: Account, route: Route, interval: float) -> None:
        probe = Probe(
            account,
            route,
            lambda now: self._report(route.name, now),
            self._call_later,
            interval,
        )
        self._probes[route.name] = probe
        probe.begin()

    def _avoided(self, seconds: float) -> None:
        self._call_later(seconds + _SLACK, self.follow)

    def _registrar(self, account: Account, route: Route) -> Registrar:
        return Registrar(
            account,
            route.name,
            self._report,
            self._call_later,
            self._pause,
            route.trunk.answer_within,
        )
