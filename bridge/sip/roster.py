# SPDX-License-Identifier: GPL-3.0-or-later
"""The trunks that there are: they come, change and go while the bridge runs. On the loop."""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final

import structlog

from bridge.call.ids import TrunkName
from bridge.config import Sip, Trunk
from bridge.errors import ConfigurationError
from bridge.sip.checks import check_transport, reachable
from bridge.sip.errands import Errands
from bridge.sip.lookup import LONGEST, Lookup
from bridge.sip.trunks import Peers, Registration, RegistrationState, Route

log = structlog.get_logger(__name__)

_RESOLVE_EVERY: Final = LONGEST
"""Seconds after which the trunks' servers are looked up again, if their records last as long."""
_RESOLVE_AGAIN: Final = 10.0
"""The same while one has none: at boot, names may not be known before the network is up."""

RegistrationObserver = Callable[[TrunkName, Registration], None]


class Roster:
    """Trunks by name, where their servers are, and how their registrations stand.

    `moved` is set when servers were looked up again. `told` hears of registrations.
    """

    def __init__(
        self,
        sip: Sip,
        trunks: Mapping[str, Trunk],
        errands: Errands,
        lookup: Lookup,
        told: RegistrationObserver | None,
    ) -> None:
        self._sip = sip
        self._errands = errands
        self._told = told
        self.routes = {
            TrunkName(name): Route(TrunkName(name), trunk, mailbox=bool(trunk.mailbox_people))
            for name, trunk in trunks.items()
        }
        self.peers = Peers(self.routes.values(), lookup)
        self.registrations = {name: _before(route) for name, route in self.routes.items()}
        self.moved = threading.Event()
        self._reachable = reachable(sip)
        self._good_for = LONGEST
        """Seconds that the last answers of name servers are good for."""
        self._unresolved: frozenset[TrunkName] = frozenset()
        self._retiring: dict[TrunkName, asyncio.Task[None]] = {}
        """Are used no more, but have calls yet."""

    # --- they come, change and go -------------------------------------------------------------

    async def add(
        self, name: TrunkName, settings: Trunk, *, personal: bool = False, mailbox: bool = False
    ) -> None:
        """Use one more trunk. Raises ConfigurationError and LocalError."""
        if name in self._retiring:
            await self.change(name, settings, mailbox=mailbox)
            return
        if name in self.routes:
            raise ConfigurationError(f"there is a trunk {name} already")
        self.check(name, settings)
        route = Route(name, settings, personal=personal, mailbox=mailbox)
        self.routes[name] = route
        self.registrations[name] = _before(route)
        self.peers.add(route)
        try:
            await self.resolve([name])
            await self._errands.ask(lambda worker: worker.add(route))
        except BaseException:
            self._forget(name)
            raise

    async def change(self, name: TrunkName, settings: Trunk, *, mailbox: bool = False) -> None:
        """Have a trunk's settings be others: it registers anew, and its calls go on.

        Raises ConfigurationError and LocalError; then nothing has changed.
        """
        self.check(name, settings)
        before = self.routes[name]
        route = before.changed(settings, mailbox=mailbox)
        found = await self.peers.find(route, self._reachable)
        targets = tuple(target for _, target in found.targets)
        stood = self.registrations[name]
        if not before.goes_on_as(route):
            self.registrations[name] = _before(route)
        try:
            await self._errands.ask(lambda worker: worker.change(route, targets))
        except BaseException:
            self.registrations[name] = stood
            raise
        if not (settings.register or settings.probe_interval):
            # An answer to the last probe may have come in before it was told to stop.
            self.registrations[name] = _before(route)
        self._stay(name)
        self.routes[name] = route
        self.peers.change(route, found)
        self._note_missing([name], found.good_for)

    async def remove(self, name: TrunkName) -> None:
        """Unregister, and use the trunk no more; calls by it go on. Harmless if it is none."""
        if name not in self.routes:
            return
        self._stay(name)
        self._forget(name)
        if not await self._remove(name):
            log.info("the registrar did not answer when we left", trunk=name)

    async def _remove(self, name: TrunkName) -> bool:
        return await self._errands.wait(lambda worker, told: worker.remove(name, told))

    def retire(self, name: TrunkName) -> None:
        """Use the trunk no more, and unregister when its calls have ended: by the registration
        comes in what belongs to them."""
        if name in self.routes and name not in self._retiring:
            self.peers.retire(name)
            self._retiring[name] = asyncio.create_task(self._retire(name), name=f"retire {name}")

    async def _retire(self, name: TrunkName) -> None:
        left: bool = await self._errands.wait(lambda worker, told: worker.retire(name, told))
        if self._retiring.pop(name, None):
            self._forget(name)
            log.info("a trunk that was removed has no calls any more", trunk=name, left=left)

    def _stay(self, name: TrunkName) -> None:
        """It is not about to go any more."""
        if (task := self._retiring.pop(name, None)) is not None:
            task.cancel()

    def check(self, name: TrunkName, settings: Trunk) -> None:
        """Raises ConfigurationError for settings that do not fit the listeners."""
        check_transport(self._sip, str(name), settings)

    def is_present(self, name: TrunkName) -> bool:
        """Whether there is such a trunk, for calls that begin now."""
        return name in self.routes and name not in self._retiring

    def _forget(self, trunk: TrunkName) -> None:
        self.routes.pop(trunk, None)
        self.registrations.pop(trunk, None)
        self._unresolved -= {trunk}
        self.peers.remove(trunk)

    # --- registrations ------------------------------------------------------------------------

    def registered(self, trunk: TrunkName, registration: Registration) -> None:
        """A registration stands otherwise now."""
        before = self.registrations.get(trunk)
        if before in (None, registration):
            return
        self.registrations[trunk] = registration
        log.info(
            "registration", trunk=trunk, state=registration.state.value, status=registration.status
        )
        if self._told:
            self._told(trunk, registration)

    # --- where their servers are --------------------------------------------------------------

    def has_address(self, trunk: TrunkName) -> bool:
        """Whether the trunk's server has an address that a listener of ours can reach."""
        return bool(self.peers.targets_of(trunk))

    async def keep_resolving(self) -> None:
        """Look the trunks' servers up again, for ever."""
        while True:
            again = _RESOLVE_AGAIN if self._unresolved else _RESOLVE_EVERY
            await asyncio.sleep(min(again, self._good_for))
            await self.resolve()
            self.moved.set()

    async def resolve(self, trunks: Collection[TrunkName] | None = None) -> None:
        """Look the servers of these trunks up, or of all."""
        good_for = await self.peers.resolve(self._reachable, trunks)
        if trunks is None:
            self._good_for, self._unresolved = good_for, self._unresolved & set(self.routes)
        self._note_missing(self.routes if trunks is None else trunks, good_for)

    def _note_missing(self, asked: Collection[TrunkName], good_for: float) -> None:
        self._good_for = min(good_for, self._good_for)
        missing = frozenset(name for name in asked if not self.has_address(name))
        for trunk in missing - self._unresolved:
            log.warning("trunk's server has no address", trunk=trunk)
        self._unresolved = (self._unresolved - set(asked)) | missing

    async def close(self) -> None:
        """Wait for nobody to go any more."""
        tasks = list(self._retiring.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _before(route: Route) -> Registration:
    state = RegistrationState.TRYING if route.trunk.register else RegistrationState.NOT_USED
    return Registration(state)
