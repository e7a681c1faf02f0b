# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends events, in order per room, for as long as they matter.

A homeserver may restart in the middle of a call: what was to be sent is sent when it is back, if
the call still wants it. Transaction ids depend on the command alone, so repetitions are harmless.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from bridge.call.commands import (
    SendCallEvent,
    SendMatrixAssertedIdentity,
    SendMatrixHangup,
    SendMatrixInvite,
    SendMatrixNegotiate,
    SendMatrixReject,
    SendNotice,
)
from bridge.call.ids import CallId, RoomId, UserId
from bridge.matrix.homeserver import HomeserverError, Patience
from bridge.matrix.lanes import Lanes
from bridge.matrix.writer import write_asserted_identity, write_call_event

log = structlog.get_logger(__name__)

LAST_WORDS: Final = 60.0
"""Seconds for which the end of a call is worth telling: an invite has ceased to ring by then."""
_WHILE_SETTING_UP: Final = 90.0
_NOTICE: Final = 60.0

Send = Callable[[RoomId, UserId, str, dict[str, Any], str], Awaitable[None]]


@dataclass(slots=True, kw_only=True, eq=False)
class Outgoing:
    """An event on its way. `deadline` is on the clock of `Patience`; the past gives it up."""

    call: CallId
    room: RoomId
    ghost: UserId
    type: str
    content: dict[str, Any]
    transaction: str
    deadline: float
    on_failure: Callable[[str], None] | None = None
    attempted: bool = False
    superseded: bool = False

    def give_up(self) -> None:
        """Nobody waits for it any more; not a failure."""
        self.superseded = True
        self.deadline = -math.inf


class Outbox:
    """Queues of outgoing events, one per room."""

    def __init__(self, send: Send, patience: Patience) -> None:
        self._send = send
        self._patience = patience
        self._lanes: Lanes[RoomId, Outgoing] = Lanes(self.deliver)
        self._pending: dict[CallId, list[Outgoing]] = {}

    def put(self, event: Outgoing) -> None:
        """Queue an event of a call."""
        self._pending.setdefault(event.call, []).append(event)
        if not self._lanes.put(event.room, event):
            self._failed(event, "too much waits to be sent into this room")
            self._forget(event)

    def end(self, last: Outgoing) -> None:
        """Queue the event that ends a call; what still waits of it there makes room for it.

        A call that rings at several people ends in each of their rooms.
        """
        waiting = [
            e
            for e in self._pending.get(last.call, ())
            if e.type != "m.room.message" and e.room == last.room
        ]
        unheard = any(e.type == "m.call.invite" and not e.attempted for e in waiting)
        for event in waiting:
            if event.type in ("m.call.answer", "m.call.select_answer"):
                # matrix-js-sdk ignores the hangup of a party that it never saw answer.
                event.deadline = min(event.deadline, last.deadline)
            else:
                event.give_up()
        if not unheard:
            self.put(last)

    async def deliver(self, event: Outgoing) -> None:
        """Send now, repeating as long as it matters; failures are reported, not raised."""

        async def attempt() -> None:
            event.attempted = True
            await self._send(event.room, event.ghost, event.type, event.content, event.transaction)

        try:
            await self._patience.persist(attempt, lambda: event.deadline)
        except HomeserverError as error:
            self._failed(event, str(error))
        finally:
            self._forget(event)

    @property
    def waiting(self) -> int:
        """How many events wait for those before them."""
        return self._lanes.waiting

    async def drained(self) -> None:
        """Wait until nothing is queued."""
        await self._lanes.drained()

    async def close(self) -> None:
        """Stop sending; what waits is lost."""
        await self._lanes.close()

    def _failed(self, event: Outgoing, reason: str) -> None:
        bound = log.bind(call=event.call, room=event.room, type=event.type)
        if event.superseded:
            bound.info("not sent: the call ended first")
            return
        bound.warning("could not be sent", reason=reason)
        if event.on_failure is not None:
            event.on_failure(reason)

    def _forget(self, event: Outgoing) -> None:
        waiting = self._pending.get(event.call, [])
        if event in waiting:
            waiting.remove(event)
        if not waiting:
            self._pending.pop(event.call, None)


def call_event(
    command: SendCallEvent, ghost: UserId, now: float, on_failure: Callable[[str], None] | None
) -> Outgoing:
    """The event that a command asks for, with the time for which it matters."""
    event_type, content = write_call_event(command)
    return Outgoing(
        call=command.call,
        room=command.room,
        ghost=ghost,
        type=event_type,
        content=content,
        transaction=f"{command.call}.{command.op}.{event_type}",
        deadline=now + _time_for(command),
        on_failure=on_failure,
    )


def asserted_identity(
    command: SendMatrixAssertedIdentity, ghost: UserId, identity: UserId, now: float
) -> list[Outgoing]:
    """What tells a client that the ghost `identity` is on the line now."""
    return [
        Outgoing(
            call=command.call,
            room=command.room,
            ghost=ghost,
            type=event_type,
            content=content,
            transaction=f"{command.call}.{command.op}.{event_type}",
            deadline=now + _WHILE_SETTING_UP,
        )
        for event_type, content in write_asserted_identity(command, identity)
    ]


def notice(command: SendNotice, ghost: UserId, now: float, number: int) -> Outgoing:
    """A notice of the ghost; `number` tells it from the call's others."""
    return Outgoing(
        call=command.call,
        room=command.room,
        ghost=ghost,
        type="m.room.message",
        content={"msgtype": "m.notice", "body": command.text},
        transaction=f"{command.call}.notice.{number}",
        deadline=now + _NOTICE,
    )


def is_last(command: SendCallEvent) -> bool:
    """Whether the command ends the call on the Matrix side."""
    return isinstance(command, SendMatrixHangup | SendMatrixReject)


def _time_for(command: SendCallEvent) -> float:
    if isinstance(command, SendMatrixInvite | SendMatrixNegotiate):
        return command.lifetime
    return LAST_WORDS if is_last(command) else _WHILE_SETTING_UP
