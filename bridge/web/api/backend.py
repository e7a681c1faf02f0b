# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API needs of the running bridge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bridge.call.causes import Cause
from bridge.call.explain import Explanation, InboundExplanation
from bridge.call.ids import CallId, UserId
from bridge.call.view import CallView
from bridge.config import Config, Permission
from bridge.config.provisioned import Kind, Provisioned, ProvisionedRule
from bridge.errors import NotDone
from bridge.records import CallQuery, CallRecord, SipAccount


class NoCall(NotDone):
    """A call that is not placed. The message is a sentence; `cause` says the same in a word."""

    def __init__(self, message: str, cause: Cause) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """A person's own account, and the registrar's last answer."""

    account: SipAccount
    state: Literal["registered", "registering", "failed"]
    status: int = 0
    reason: str = ""


class Backend(Protocol):
    """All that programs can ask and do. Raises `NotDone`, and what the database raises."""

    # accounts
    def accounts(self) -> Iterator[AccountView]:
        """Everybody's, by person."""

    def account(self, person: UserId) -> AccountView | None:
        """A person's own one."""

    async def log_in(
        self, person: UserId, server: str, username: str, password: str, auth_username: str
    ) -> None:
        """Register with an account, in place of the one before, which is kept if that fails."""

    async def log_out(self, person: UserId) -> bool:
        """Unregister, and forget the account; False if there was none."""

    # rules and permissions
    @property
    def written(self) -> Config:
        """What the configuration's file says."""

    @property
    def config(self) -> Config:
        """The settings in force: with what programs have set over them."""

    @property
    def provisioned(self) -> Provisioned:
        """What programs have set."""

    async def set_rule(self, rule: ProvisionedRule) -> None:
        """Put a rule in force, in place of the one of that name. Raises `Unfit`."""

    async def delete_rule(self, kind: Kind, name: str) -> None:
        """Have a rule no more; harmless if there is none."""

    async def set_permission(self, who: str, level: Permission) -> None:
        """Put a permission in force."""

    async def delete_permission(self, who: str) -> None:
        """Have it as the configuration says; harmless if it is so."""

    def explain(self, person: UserId, number: str) -> Explanation:
        """Which rules a call of this person would meet, and what would become of it."""

    def explain_in(self, trunk: str, number: str) -> InboundExplanation:
        """Which rules a call that comes by a trunk would meet, and whom it would ring."""

    # calls
    def active(self) -> Sequence[tuple[CallView, float]]:
        """Every call that is not over, oldest first, with the seconds that it has lasted."""

    async def call(self, call: CallId) -> CallRecord | None:
        """The record of a call, if it is written already."""

    async def unfinished(self) -> Sequence[CallRecord]:
        """The records of the calls that are not over, as far as they are written already."""

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        """Calls, newest first."""

    def start(self, person: UserId, number: str) -> CallView:
        """Ring a person, and dial when they answer. Raises `NoCall`, and `Unfit` for no number."""

    def hang_up(self, call: CallId, by: str, why: str) -> None:
        """End a call. Raises `NotDone` if it is over."""
