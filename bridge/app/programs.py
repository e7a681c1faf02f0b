# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the API for programs together, where there is one."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from bridge.app.accounts import PersonalAccounts
from bridge.app.desk import ServiceDesk
from bridge.app.in_force import InForce
from bridge.app.provisioning import Provisioning
from bridge.call.commands import StoreCommand
from bridge.call.ids import TrunkName, UserId
from bridge.config import Api as Settings
from bridge.sip.trunks import Registration
from bridge.store.calls import Calls

if TYPE_CHECKING:
    from bridge.app.announcer import Announcer
    from bridge.web.api.server import Api


class Programs:
    """The API of a bridge that may still be starting; nothing where there is no token."""

    def __init__(self, settings: Settings) -> None:
        self._owner_of: Callable[[TrunkName], UserId | None] = lambda trunk: None
        self._api: Api | None
        self._announcer: Announcer | None
        self._api, self._announcer = _made(settings, lambda trunk: self._owner_of(trunk))
        self._opened = False

    def serve(self, application: web.Application) -> None:
        """Add the API to what the listener serves."""
        if self._api is not None:
            self._api.serve(application)

    def know(self, owner_of: Callable[[TrunkName], UserId | None]) -> None:
        """From now on it is known whose account a trunk is."""
        self._owner_of = owner_of

    def open(
        self,
        *,
        in_force: InForce,
        provisioning: Provisioning,
        desk: ServiceDesk,
        people: PersonalAccounts,
        archive: Calls,
    ) -> None:
        """There is somebody to ask."""
        self._opened = True
        if self._api is None:
            return
        from bridge.app.backend import ServiceBackend

        backend = ServiceBackend(
            in_force=in_force,
            provisioning=provisioning,
            desk=desk,
            people=people,
            archive=archive,
        )
        self._api.open(backend)

    def record(self, command: StoreCommand, at: float) -> None:
        """Something is written down about a call."""
        if self._announcer is not None:
            self._announcer.record(command, at)

    def registration(self, trunk: TrunkName, registration: Registration) -> None:
        """A registration stands otherwise now."""
        if self._announcer is not None:
            self._announcer.registration(trunk, registration)

    def account(self, person: UserId, trunk: TrunkName) -> None:
        """A person's own account is another, or gone: not one that is there from the start."""
        if self._announcer is not None and self._opened:
            self._announcer.account(person, trunk)


def _made(
    settings: Settings, owner_of: Callable[[TrunkName], UserId | None]
) -> "tuple[Api, Announcer] | tuple[None, None]":
    read = settings.read_token.get_secret_value()
    write = settings.write_token.get_secret_value()
    if not (read or write):
        return None, None
    # Its models take memory, and are made where there is an API alone.
    from bridge.app.announcer import Announcer
    from bridge.web.api.events import Events
    from bridge.web.api.server import Api

    events = Events(secrets.token_hex(4))
    return Api(read, write, events), Announcer(events.publish, owner_of)
