# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs can ask and do by the API, over the running bridge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bridge.app.desk import NotPlaced
from bridge.app.in_force import InForce
from bridge.app.provisioning import Provisioning, available
from bridge.call.explain import Explanation, InboundExplanation
from bridge.call.ids import Address, CallId, UserId
from bridge.call.view import CallView
from bridge.config import Config, Permission
from bridge.config.provisioned import Kind, Provisioned, ProvisionedRule
from bridge.errors import NotDone, Unfit
from bridge.records import CallQuery, CallRecord, LineView, SipAccount
from bridge.sip.trunks import Registration, RegistrationState
from bridge.web.api.backend import AccountView, NoCall


class Desk(Protocol):
    """What is asked of the desk."""

    def call(self, person: UserId, number: str) -> Address:
        """Ring the person, and dial what was written as soon as they answer."""

    def active(self) -> Sequence[tuple[CallView, float]]:
        """Every call that is not over, oldest first, with the seconds that it has lasted."""

    def hang_up(self, call: str, by: UserId, why: str = "") -> CallView:
        """End a call, named by its id."""

    def explain(self, person: UserId, number: str) -> Explanation:
        """Which rules a call of this person would meet, and what would become of it."""

    def explain_in(self, trunk: str, number: str) -> InboundExplanation:
        """Which rules a call that comes by a trunk would meet, and whom it would ring."""


class Accounts(Protocol):
    """What is asked of people's own accounts."""

    def standing(self, only: UserId | None = None) -> list[tuple[SipAccount, Registration | None]]:
        """Everybody's account, by person, or `only` theirs; and how its registration stands."""

    async def login(
        self, person: UserId, server: str, username: str, password: str, auth_username: str = ""
    ) -> LineView:
        """Register with an account, in place of the one before, which is kept if that fails."""

    async def logout(self, person: UserId) -> bool:
        """Unregister, and forget the account; False if there was none."""


class Archive(Protocol):
    """What is asked of the records of calls."""

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        """Calls, newest first."""

    async def unfinished(self) -> Sequence[CallRecord]:
        """Calls without an end, oldest first."""

    async def call(self, call: CallId) -> CallRecord | None:
        """One call."""


@dataclass(frozen=True, kw_only=True)
class ServiceBackend:
    """A `Backend`."""

    in_force: InForce
    provisioning: Provisioning
    desk: Desk
    people: Accounts
    archive: Archive

    # --- accounts ---------------------------------------------------------------------------

    def accounts(self) -> Iterator[AccountView]:
        """Everybody's, by person."""
        return (_view(*each) for each in self.people.standing())

    def account(self, person: UserId) -> AccountView | None:
        """A person's own one."""
        return next((_view(*each) for each in self.people.standing(person)), None)

    async def log_in(
        self, person: UserId, server: str, username: str, password: str, auth_username: str
    ) -> None:
        """Register with an account, in place of the one before, which is kept if that fails."""
        self._require_a_person(person)
        async with available():
            await self.people.login(person, server, username, password, auth_username)

    async def log_out(self, person: UserId) -> bool:
        """Unregister, and forget the account; False if there was none."""
        async with available():
            return await self.people.logout(person)

    # --- rules and permissions --------------------------------------------------------------

    @property
    def written(self) -> Config:
        """What the configuration's file says."""
        return self.in_force.written

    @property
    def config(self) -> Config:
        """The settings in force."""
        return self.in_force.config

    @property
    def provisioned(self) -> Provisioned:
        """What programs have set."""
        return self.provisioning.kept

    async def set_rule(self, rule: ProvisionedRule) -> None:
        """Put a rule in force, in place of the one of that name. Raises `Unfit`."""
        await self.provisioning.set_rule(rule)

    async def delete_rule(self, kind: Kind, name: str) -> None:
        """Have a rule no more; harmless if there is none."""
        await self.provisioning.delete_rule(kind, name)

    async def set_permission(self, who: str, level: Permission) -> None:
        """Put a permission in force."""
        await self.provisioning.set_permission(who, level)

    async def delete_permission(self, who: str) -> None:
        """Have it as the configuration says; harmless if it is so."""
        await self.provisioning.delete_permission(who)

    def explain(self, person: UserId, number: str) -> Explanation:
        """Which rules a call of this person would meet, and what would become of it."""
        return self.desk.explain(person, number)

    def explain_in(self, trunk: str, number: str) -> InboundExplanation:
        """Which rules a call that comes by a trunk would meet, and whom it would ring."""
        return self.desk.explain_in(trunk, number)

    # --- calls ------------------------------------------------------------------------------

    def active(self) -> Sequence[tuple[CallView, float]]:
        """Every call that is not over, oldest first, with the seconds that it has lasted."""
        return self.desk.active()

    async def call(self, call: CallId) -> CallRecord | None:
        """The record of a call, if it is written already."""
        async with available():
            return await self.archive.call(call)

    async def unfinished(self) -> Sequence[CallRecord]:
        """The records of the calls that are not over, as far as they are written already."""
        async with available():
            return await self.archive.unfinished()

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        """Calls, newest first."""
        async with available():
            return await self.archive.search(query)

    def start(self, person: UserId, number: str) -> CallView:
        """Ring a person, and dial when they answer. Raises `NoCall`, and `Unfit` for no number."""
        self._require_a_person(person)
        try:
            address = self.desk.call(person, number)
        except NotPlaced as error:
            raise NoCall(str(error), error.cause) from None
        except NotDone as error:
            raise Unfit(str(error), [("number", str(error))]) from None
        for view, _ in reversed(self.desk.active()):
            if (view.person, view.address) == (person, address):
                return view
        raise NotDone("The call has ended at once; its record says why.")

    def hang_up(self, call: CallId, by: str, why: str) -> None:
        """End a call. Raises `NotDone` if it is over."""
        self.desk.hang_up(call, UserId(by), why)

    def _require_a_person(self, person: UserId) -> None:
        """Raises Unfit for a ghost and for the bot, whom permissions mean as well as others."""
        localpart, _, server = person.removeprefix("@").partition(":")
        ours = self.config.appservice
        if server != self.config.homeserver.domain:
            return
        if localpart == ours.bot_localpart or localpart.startswith(ours.ghost_prefix):
            text = f"{person} is one of the bridge's own users; wanted: a person"
            raise Unfit(text, [("person", text)])


_STATES: dict[RegistrationState, Literal["registered", "registering", "failed"]] = {
    RegistrationState.REGISTERED: "registered",
    RegistrationState.TRYING: "registering",
}


def _view(account: SipAccount, registration: Registration | None) -> AccountView:
    if registration is None:
        return AccountView(account=account, state="registering")
    return AccountView(
        account=account,
        state=_STATES.get(registration.state, "failed"),
        status=registration.status,
        reason=registration.reason,
    )
