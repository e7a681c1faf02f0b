# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a call has come, and what is recorded of that."""

from bridge.call.causes import MEANINGS
from bridge.call.commands import (
    Attempt,
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordRinging,
    RecordStart,
)
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.call.leg import NotCarried, Over
from bridge.call.machine import Effects
from bridge.call.notices import Past
from bridge.call.sip_leg import SipLeg


class Course:
    """The stages of one call. Times are those of the events that the core was told."""

    def __init__(self, effects: Effects, call: CallId, direction: Direction) -> None:
        self.since = effects.now
        self.answered_at: float | None = None
        self.direction = direction
        self.is_recorded = False
        """Whether the end is."""
        self._effects = effects
        self._call = call
        self._rang_at: float | None = None
        """Since when it rings at the person's devices."""
        self._attempts: list[Attempt] = []
        self._rung = False

    def begins(self, person: UserId, address: Address, leg: SipLeg, rule: str) -> None:
        """There is a call; `rule` of the dial plan led it where it goes."""
        self._effects.emit(
            RecordStart(
                call=self._call,
                direction=self.direction,
                person=person,
                address=address,
                trunk=leg.trunk,
                diverted_by=leg.diverted_by,
                rule=rule,
            )
        )

    def rings(self) -> None:
        """It rings at the person's devices."""
        self._rang_at = self._effects.now
        if self.direction is Direction.TO_MATRIX:
            self._ring()

    def rings_there(self) -> None:
        """It rings at the far end, or that says something before it answers."""
        if self.direction is Direction.TO_SIP and self.answered_at is None:
            self._ring()

    def _ring(self) -> None:
        if not self._rung and not self.is_recorded:
            self._rung = True
            self._effects.emit(RecordRinging(call=self._call))

    def goes_on(self, failed: TrunkName, why: NotCarried, following: TrunkName) -> None:
        """A trunk could not carry the call; another is tried, or the same without video."""
        cause, status = why.over.cause.value, why.over.status
        self._attempts.append(Attempt(trunk=failed, cause=cause, status=status, video=why.video))
        self._effects.emit(
            RecordAttempts(call=self._call, trunk=following, failed=tuple(self._attempts))
        )

    @property
    def attempts(self) -> int:
        """How many trunks could not carry the call, so that others were tried."""
        return len(self._attempts)

    def answered(self) -> None:
        """Both sides are connected."""
        self.answered_at = self._effects.now
        self._effects.emit(RecordAnswer(call=self._call))

    def ended(self, over: Over, status: int = 0, detail: str = "") -> None:
        """It is over."""
        self._effects.emit(
            RecordEnd(
                call=self._call,
                cause=over.cause.value,
                status=status,
                ended_by=over.by,
                reason=MEANINGS[over.cause].reason,
                detail=detail,
            )
        )
        self.is_recorded = True

    def past(self, *, called: bool, unheard: str = "") -> Past:
        """How far the call has come. `called`: the person was, and has not answered."""
        now = self._effects.now
        return Past(
            inbound=self.direction is Direction.TO_MATRIX,
            called=called,
            rang=0.0 if self._rang_at is None else now - self._rang_at,
            talked=None if self.answered_at is None else now - self.answered_at,
            unheard=unheard,
        )
