# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells programs what happens: to calls, trunks and people's own accounts."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal

from bridge.app.accounts import is_personal
from bridge.call.causes import Cause
from bridge.call.commands import (
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordLegs,
    RecordRinging,
    RecordStart,
    StoreCommand,
)
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.call.outcomes import outcome_of
from bridge.sip.trunks import Registration, RegistrationState
from bridge.web.api.events import AccountEvent, CallEnded, CallEvent, Event, TrunkEvent

_WORKS: Final = {
    RegistrationState.REGISTERED: True,
    RegistrationState.ANSWERS: True,
    RegistrationState.FAILED: False,
    RegistrationState.SILENT: False,
}
"""Other states say nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What every event of a call tells."""

    direction: Direction
    person: UserId
    address: Address
    trunk: TrunkName
    answered_at: float | None = None


class Announcer:
    """Makes events of what it is told, each state once.

    `publish` takes them. `owner_of`: whose own account a trunk is, if it is one.
    """

    def __init__(
        self,
        publish: Callable[[Event], None],
        owner_of: Callable[[TrunkName], UserId | None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._publish = publish
        self._owner_of = owner_of
        self._wall = wall
        self._calls: dict[CallId, _Known] = {}
        self._works: dict[TrunkName, bool] = {}

    def record(self, command: StoreCommand, at: float) -> None:
        """Something is written down about a call, `at` seconds since the epoch."""
        known = self._calls.get(command.call)
        match command:
            case RecordStart():
                self._calls[command.call] = known = _Known(
                    direction=command.direction,
                    person=command.person,
                    address=command.address,
                    trunk=command.trunk,
                )
                self._step("call.started", command.call, known, at)
            case RecordLegs(person=str(person)) if known:
                self._calls[command.call] = replace(known, person=UserId(person))
            case RecordAttempts(trunk=trunk) if known:
                self._calls[command.call] = replace(known, trunk=trunk)
            case RecordRinging() if known:
                self._step("call.ringing", command.call, known, at)
            case RecordAnswer() if known and known.answered_at is None:
                self._calls[command.call] = replace(known, answered_at=at)
                self._step("call.answered", command.call, known, at)
            case RecordEnd() if known:
                del self._calls[command.call]
                self._publish(_ended(command, known, at))

    def registration(self, trunk: TrunkName, registration: Registration) -> None:
        """A registration stands otherwise now, of a trunk or of a person's own account."""
        works = _WORKS.get(registration.state)
        if works is None or self._works.get(trunk) is works:
            return
        self._works[trunk] = works
        at, person = _time(self._wall()), self._owner_of(trunk)
        status, reason = registration.status, registration.reason
        if person is not None:
            how: Literal["account.registered", "account.lost"]
            how = "account.registered" if works else "account.lost"
            self._publish(
                AccountEvent(type=how, at=at, person=person, status=status, reason=reason)
            )
        elif not is_personal(trunk):
            what: Literal["trunk.registered", "trunk.lost"]
            what = "trunk.registered" if works else "trunk.lost"
            self._publish(TrunkEvent(type=what, at=at, trunk=trunk, status=status, reason=reason))

    def account(self, person: UserId, trunk: TrunkName) -> None:
        """A person's own account, which is this trunk, is another, or gone."""
        self._works.pop(trunk, None)
        gone = self._owner_of(trunk) is None
        what: Literal["account.removed", "account.changed"]
        what = "account.removed" if gone else "account.changed"
        self._publish(AccountEvent(type=what, at=_time(self._wall()), person=person))

    def _step(
        self,
        what: Literal["call.started", "call.ringing", "call.answered"],
        call: CallId,
        known: _Known,
        at: float,
    ) -> None:
        event = CallEvent(
            type=what,
            at=_time(at),
            call=call,
            direction=known.direction,
            person=known.person,
            number=known.address.removeprefix("tel:"),
            trunk=known.trunk,
        )
        self._publish(event)


def _ended(command: RecordEnd, known: _Known, at: float) -> CallEnded:
    talked = None if known.answered_at is None else round(max(0.0, at - known.answered_at), 1)
    return CallEnded(
        at=_time(at),
        call=command.call,
        direction=known.direction,
        person=known.person,
        number=known.address.removeprefix("tel:"),
        trunk=known.trunk,
        outcome=outcome_of(Cause(command.cause)),
        cause=command.cause,
        sip_status=command.status or None,
        ended_by=command.ended_by,
        detail=command.detail,
        talked_s=talked,
    )


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
