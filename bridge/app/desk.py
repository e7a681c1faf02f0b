# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bot can ask and do, over the running bridge."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from bridge.app.in_force import InForce
from bridge.app.pace import Pace
from bridge.app.routing import Plan
from bridge.app.voicemail_desk import VoicemailSettings
from bridge.call.causes import MEANINGS, Cause
from bridge.call.dialplan import route_out
from bridge.call.events import CallRequested, HangupRequested, PersonChanged
from bridge.call.explain import Explanation, InboundExplanation
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.limits import Allowance
from bridge.call.policy import Access, Refusal, access_of
from bridge.call.view import CallView
from bridge.errors import NotDone
from bridge.ports import Accounts, Emit
from bridge.records import CallRecord, LineView, PersonSettings
from bridge.sip.trunks import Registration, RegistrationState

log = structlog.get_logger(__name__)

_LOGINS = 5
"""Tries within a minute: nobody is to guess the passwords of others through the bridge."""
_STATES = {
    RegistrationState.NOT_USED: "known by its address, does not register",
    RegistrationState.ANSWERS: "known by its address, answers",
    RegistrationState.TRYING: "registering",
    RegistrationState.REGISTERED: "registered",
}


class Core(Protocol):
    """What is asked of the switchboard. `now` is seconds of the driver's clock."""

    def active(self) -> list[CallView]:
        """The calls that are not finished, oldest first."""

    def why_not(self, person: UserId, address: Address, now: float) -> Refusal | None:
        """Why a call would come to nothing now."""

    def left(self, person: UserId, now: float) -> Allowance:
        """What a person may do yet."""


class History(Protocol):
    """What is asked of the records of calls."""

    async def recent_of(self, person: UserId, limit: int) -> Sequence[CallRecord]:
        """A person's newest calls, newest first."""


class Settings(Protocol):
    """Where people's settings are kept."""

    async def settings(self) -> Mapping[UserId, PersonSettings]:
        """What people chose."""

    async def save_settings(self, person: UserId, settings: PersonSettings) -> None:
        """Remember what a person chose."""


class NotPlaced(NotDone):
    """A call that somebody asked for, and that cannot be."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(_sentence(cause))
        self.cause = cause


@dataclass(kw_only=True)
class ServiceDesk:
    """A `Desk`. `clock` is the driver's."""

    in_force: InForce
    core: Core
    emit: Emit
    calls: History
    people: Settings
    accounts: Accounts
    registrations: Callable[[], Mapping[TrunkName, Registration]]
    clock: Callable[[], float]
    refused: Callable[[UserId, Address, Refusal], None] = lambda person, address, refusal: None
    """Told of every call that could not be made."""

    def __post_init__(self) -> None:
        self._chosen: dict[UserId, PersonSettings] = {}
        self.voicemail = VoicemailSettings(self.in_force, self.settings, self._choose)
        self._logins = Pace(lambda: _LOGINS, self.clock)

    @property
    def _plan(self) -> Plan:
        return Plan(self.in_force.policy, self.in_force.config)

    async def open(self) -> None:
        """Tell the core what everybody chose before; comes after the accounts are known."""
        self._chosen = dict(await self.people.settings())
        for person in self._chosen:
            self.changed(person)

    def changed(self, person: UserId) -> None:
        """Tell the core how a person wants it from now on."""
        chosen = self.settings(person)
        self.emit(
            PersonChanged(
                person=person,
                dnd=chosen.dnd,
                forward=chosen.forward,
                account=self.accounts.trunk_of(person),
                withhold=chosen.withhold,
                voicemail=chosen.voicemail,
                voicemail_delay=chosen.voicemail_delay,
                greeting=self.voicemail.greeting(person),
            )
        )

    # --- calls ------------------------------------------------------------------------------

    def access(self, person: UserId) -> Access:
        """What the person may do."""
        return access_of(self.in_force.policy, person)

    def call(self, person: UserId, number: str) -> Address:
        """Ring the person, and dial what they wrote as soon as they answer."""
        address, withhold = self._plan.read(number)
        refusal = self.core.why_not(person, address, self.clock())
        if refusal is not None:
            self.refused(person, address, refusal)
            raise NotPlaced(refusal.cause)
        self.emit(CallRequested(person=person, address=address, withhold=withhold))
        return address

    def left(self, person: UserId) -> Allowance:
        """What the person may do yet."""
        return self.core.left(person, self.clock())

    async def history(self, person: UserId, limit: int) -> Sequence[CallRecord]:
        """The person's newest calls, newest first."""
        return await self.calls.recent_of(person, limit)

    def active(self) -> Sequence[tuple[CallView, float]]:
        """Every call that is not over, oldest first, with the seconds that it has lasted."""
        now = self.clock()
        return [(view, now - view.since) for view in self.core.active()]

    def hang_up(self, call: str, by: UserId, why: str = "") -> CallView:
        """End a call, named by its id."""
        found = next((view for view in self.core.active() if view.call == call), None)
        if found is None:
            raise NotDone("There is no such call; `active` lists those that there are.")
        log.info("an admin ends a call", call=found.call, admin=by)
        self.emit(HangupRequested(call=found.call, by=by, why=why))
        return found

    def explain(self, person: UserId, number: str) -> Explanation:
        """Which rules a call of this person would meet, and what would become of it."""
        account, withhold = self.accounts.trunk_of(person), self.settings(person).withhold
        return self._plan.out(person, number, account, withhold)

    def explain_in(self, trunk: str, number: str) -> InboundExplanation:
        """Which rules a call that comes by a trunk would meet, and whom it would ring."""
        found = self._plan.into(trunk, number)
        people = () if isinstance(found.result, Refusal) else found.result
        wishes = [line for person in people for line in self._wishes(person)]
        return replace(found, steps=(*found.steps, *wishes))

    def _wishes(self, person: UserId) -> Iterator[str]:
        """What a person has set that is in the way of a call to them."""
        chosen = self.settings(person)
        if chosen.dnd:
            yield f"{person}: do not disturb is on"
        if chosen.forward is not None:
            yield f"{person}: forwards to `{chosen.forward}`"

    # --- settings ---------------------------------------------------------------------------

    def settings(self, person: UserId) -> PersonSettings:
        """What the person chose."""
        return self._chosen.get(person, PersonSettings())

    async def set_dnd(self, person: UserId, on: bool) -> None:
        """Switch *do not disturb* on or off, for good."""
        await self._choose(person, replace(self.settings(person), dnd=on))

    async def set_forward(self, person: UserId, number: str | None) -> Address | None:
        """Send the person's calls elsewhere, or nowhere else; returns where."""
        address = None if number is None else self._plan.read(number)[0]
        if address is not None:
            account = self.accounts.trunk_of(person)
            route = route_out(self.in_force.policy, person, address, account)
            if isinstance(route, Refusal):
                raise NotDone(_sentence(route.cause))
        await self._choose(person, replace(self.settings(person), forward=address))
        return address

    async def set_withhold(self, person: UserId, on: bool | None) -> None:
        """Call without showing one's number, or with it, or as it is configured (None)."""
        await self._choose(person, replace(self.settings(person), withhold=on))

    async def _choose(self, person: UserId, settings: PersonSettings) -> None:
        await self.people.save_settings(person, settings)
        self._chosen[person] = settings
        self.changed(person)

    # --- accounts and trunks ----------------------------------------------------------------

    def account(self, person: UserId) -> LineView | None:
        """How the person's own SIP account stands, if they have one."""
        return self.accounts.line_of(person)

    async def login(
        self, person: UserId, server: str, username: str, password: str, auth_username: str = ""
    ) -> LineView:
        """Use a SIP account for the person's calls, once it has registered."""
        if not self._logins.allows(person):
            raise NotDone("You have tried too often; please wait a minute.")
        return await self.accounts.login(person, server, username, password, auth_username)

    async def logout(self, person: UserId) -> bool:
        """Forget the person's SIP account; False if they had none."""
        return await self.accounts.logout(person)

    def trunks(self) -> Sequence[LineView]:
        """Every trunk of the configuration."""
        known = self.registrations()
        names = [TrunkName(name) for name in self.in_force.config.trunks]
        return [line_view(name, known[name]) for name in names if name in known]


def line_view(name: str, registration: Registration) -> LineView:
    """A registration as people read it."""
    failed = f"{registration.status} {registration.reason}".strip()
    words = _STATES.get(registration.state, f"does not work: {failed}")
    return LineView(name=name, works=registration.usable, state=words)


def _sentence(cause: Cause) -> str:
    return MEANINGS[cause].sentence or "That is not possible now."
