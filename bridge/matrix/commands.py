# SPDX-License-Identifier: GPL-3.0-or-later
"""What the core wants of the Matrix side, carried out."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from bridge.call.commands import (
    MatrixCommand,
    PreparePortal,
    SendCallEvent,
    SendMatrixAssertedIdentity,
    SendNotice,
)
from bridge.call.events import Event, MatrixSendFailed, PersonInvited, PortalFailed, PortalReady
from bridge.call.ids import RoomId
from bridge.errors import BridgeError
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.homeserver import HomeserverError, Patience
from bridge.matrix.outbox import Outbox, asserted_identity, call_event, is_last, notice
from bridge.matrix.portals import NoSuchPerson, Portals
from bridge.ports import Emit

log = structlog.get_logger(__name__)


class Commands:
    """Carries out commands, in order per room; `spawn` runs what takes its time.

    `join_time` gives the seconds that a person may take to accept the invitation to a new portal.
    """

    def __init__(
        self,
        *,
        ghosts: Ghosts,
        portals: Portals,
        outbox: Outbox,
        patience: Patience,
        emit: Emit,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        join_time: Callable[[], float],
    ) -> None:
        self._ghosts = ghosts
        self._portals = portals
        self._outbox = outbox
        self._patience = patience
        self._emit = emit
        self._spawn = spawn
        self._join_time = join_time
        self._notices = itertools.count()

    def do(self, command: MatrixCommand) -> None:
        """Queue a command; order is kept per room."""
        match command:
            case PreparePortal():
                self._spawn(self._prepare(command))
            case SendMatrixAssertedIdentity():
                self._spawn(self._identify(command))
            case SendCallEvent():
                self._send(command)
            case SendNotice():
                ghost = self._ghosts.user_id(command.address)
                now, number = self._patience.clock(), next(self._notices)
                self._outbox.put(notice(command, ghost, now, number))

    def _send(self, command: SendCallEvent) -> None:
        def failed(reason: str) -> None:
            self._portals.changed(command.room)  # An admin may have closed the room.
            self._emit(MatrixSendFailed(call=command.call, op=command.op, reason=reason))

        ghost = self._ghosts.user_id(command.address)
        event = call_event(command, ghost, self._patience.clock(), failed)
        if is_last(command):
            self._outbox.end(event)
        else:
            self._outbox.put(event)

    async def _identify(self, command: SendMatrixAssertedIdentity) -> None:
        """The other party needs a ghost first: clients may open a chat with it."""
        try:
            other = await self._portals.ensure_ghost(command.identity, command.name)
        except (HomeserverError, ValueError) as error:
            log.warning("identity not told", call=command.call, reason=str(error))
            return
        ghost, now = self._ghosts.user_id(command.address), self._patience.clock()
        for event in asserted_identity(command, ghost, other, now):
            self._outbox.put(event)

    async def _prepare(self, command: PreparePortal) -> None:
        bound = log.bind(call=command.call, person=command.person)

        def invited(room: RoomId) -> None:
            bound.info("waiting for the person to join the portal", room=room)
            self._emit(PersonInvited(call=command.call, op=command.op, room=room))

        event: Event
        try:
            async with asyncio.timeout(self._join_time()):
                room = await self._portals.prepare(
                    command.person, command.address, command.display_name, invited
                )
            event = PortalReady(call=command.call, op=command.op, room=room)
            bound.info("portal ready", room=room, address=command.address)
        except TimeoutError:
            reason = "The person has not accepted the invitation to the room."
            event = PortalFailed(call=command.call, op=command.op, reason=reason)
        except BridgeError as error:
            unknown = isinstance(error, NoSuchPerson)
            event = PortalFailed(
                call=command.call, op=command.op, reason=str(error), unknown=unknown
            )
        except Exception:
            bound.exception("portal could not be prepared")
            reason = "The bridge failed to prepare the room."
            event = PortalFailed(call=command.call, op=command.op, reason=reason)
        if isinstance(event, PortalFailed):
            bound.warning("no portal", reason=event.reason)
        self._emit(event)
