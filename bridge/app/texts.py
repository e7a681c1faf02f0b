# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts between portals and telephones: `m.room.message` and SIP MESSAGE (RFC 3428)."""

import re
import secrets
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from bridge.app.pace import Pace
from bridge.call.causes import MEANINGS
from bridge.call.dialplan import OutboundRoute
from bridge.call.ids import Address, RoomId, TrunkName, UserId
from bridge.call.policy import Refusal
from bridge.errors import BridgeError
from bridge.matrix.lanes import Lanes
from bridge.ports import TextRooms
from bridge.records import SipText, Typed

log = structlog.get_logger(__name__)

LATE: Final = 3600.0
"""Seconds after which a text is not sent any more."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_TOO_LARGE: Final = 513
_ACCEPTED: Final = 202
"""We pass a text on, which is not to have delivered it (RFC 3428 section 7)."""
_NOT_FOUND: Final = 404
_UNABLE: Final = frozenset({405, 415, 420, 488, 501, 505, 606})
_UNKNOWN: Final = frozenset({404, 410, 484, 604})

_CALLS_ONLY: Final = "This number can be called, but not texted: what is written here is not sent."
_NO_TEXTS: Final = "This number takes no texts: nothing that is written here arrives there."
_NOT_IN_SERVICE: Final = "Your text was not delivered: this number is not in service."
_FAILED: Final = (
    "Your text was not delivered: the telephone network did not take it ({status})."
    " When texts go through again, you will read it here."
)
_AGAIN: Final = "Texts go through again."
_TOO_MANY: Final = "You write too fast: this was not sent. Please wait a minute."
_TOO_LONG: Final = "This is too long for one text, and was not sent. Please write it in parts."
_TOO_LATE: Final = "The bridge was away when you wrote this, and did not send it."
_NOT_TEXT: Final = "Only text can be sent to a telephone: this was not."
_CORRECTED: Final = "A text that was sent cannot be changed: the other side keeps what it got."


class Sender(Protocol):
    """The SIP endpoint, as far as texts go."""

    async def send_message(
        self, trunk: TrunkName, target: str, text: str, caller: str = "", *, withheld: bool = False
    ) -> int:
        """Send a text; gives the final status. Raises `BridgeError`."""


class Routes(Protocol):
    """The switchboard, as far as texts go."""

    def route_out(self, person: UserId, address: Address) -> OutboundRoute | Refusal:
        """Where a text leaves."""

    def route_in(self, trunk: TrunkName, dialled: str) -> tuple[UserId, ...] | Refusal:
        """Whom a text is for."""


class Texts:
    """Takes texts from both sides. `supports` tells whether a trunk takes SIP MESSAGE."""

    def __init__(
        self,
        routes: Routes,
        rooms: TextRooms,
        sender: Sender,
        *,
        supports: Callable[[TrunkName], bool],
        per_minute: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routes = routes
        self._rooms = rooms
        self._sender = sender
        self._supports = supports
        self._pace = Pace(per_minute, clock)
        self._out: Lanes[RoomId, Typed] = Lanes(self._send)
        self._in: Lanes[Address, SipText] = Lanes(self._deliver)
        self._trouble: dict[RoomId, str] = {}
        """Why texts of a portal do not arrive, as its person was told."""
        self._told: set[tuple[RoomId, str]] = set()

    def typed(self, typed: Typed) -> None:
        """A person wrote something into a portal."""
        self._out.put(typed.portal.room, typed)

    def admits(self, text: SipText) -> int:
        """The status to answer a text with; callable on any thread."""
        people = self._routes.route_in(text.trunk, text.dialled)
        if not isinstance(people, Refusal):
            return _ACCEPTED
        log.warning(
            "text for nobody",
            trunk=text.trunk,
            caller=text.caller,
            dialled=text.dialled,
            reason=people.cause.value,
            detail=people.detail,
        )
        return _NOT_FOUND

    def received(self, text: SipText) -> None:
        """A trunk brought a text."""
        self._in.put(text.caller, text)

    async def drained(self) -> None:
        """Wait until everything is sent and delivered."""
        await self._out.drained()
        await self._in.drained()

    async def close(self) -> None:
        """Drop what waits."""
        await self._out.close()
        await self._in.close()

    # --- to the telephone -------------------------------------------------------------------

    async def _send(self, typed: Typed) -> None:
        bound = log.bind(room=typed.portal.room, person=typed.portal.person)
        route = self._routes.route_out(typed.portal.person, typed.portal.address)
        if isinstance(route, Refusal):
            bound.info("text refused", reason=route.cause.value)
            await self._fails(typed, f"This was not sent. {MEANINGS[route.cause].sentence}")
        elif not self._supports(route.trunk):
            await self._fails(typed, _CALLS_ONLY)
        elif typed.correction:
            await self._tell_once(typed, _CORRECTED)
        elif typed.text is None:
            await self._tell_once(typed, _NOT_TEXT)
        elif typed.age > LATE:
            await self._tell(typed, _TOO_LATE)
        elif not self._pace.allows(typed.portal.person):
            bound.warning("text refused", reason="too many")
            await self._fails(typed, _TOO_MANY)
        elif typed.text:
            await self._pass_on(typed, typed.text, route)

    async def _pass_on(self, typed: Typed, text: str, route: OutboundRoute) -> None:
        bound = log.bind(
            room=typed.portal.room, person=typed.portal.person, trunk=route.trunk, bytes=len(text)
        )
        try:
            status = await self._sender.send_message(
                route.trunk, route.target, text, route.caller, withheld=route.withheld
            )
        except BridgeError as error:
            bound.warning("text not sent", reason=str(error))
            await self._fails(typed, _FAILED.format(status="it is not connected"))
            return
        if 200 <= status < 300:
            bound.info("text sent", status=status)
            await self._mark(typed)
            await self._works(typed)
            return
        bound.warning("text not taken", status=status)
        if status == _TOO_LARGE:  # the adapter itself says so where a text does not fit
            await self._tell(typed, _TOO_LONG)
        else:
            await self._fails(typed, _why(status))

    async def _mark(self, typed: Typed) -> None:
        try:
            await self._rooms.mark_read(typed.portal, typed.event_id)
        except BridgeError as error:
            log.info("read marker not set", room=typed.portal.room, reason=str(error))

    async def _works(self, typed: Typed) -> None:
        if self._trouble.pop(typed.portal.room, None) not in (None, _TOO_MANY):
            await self._tell(typed, _AGAIN)

    async def _fails(self, typed: Typed, reason: str) -> None:
        """Say so, unless that is what was said last."""
        if self._trouble.get(typed.portal.room) == reason:
            return
        self._trouble[typed.portal.room] = reason
        await self._tell(typed, reason)

    async def _tell_once(self, typed: Typed, sentence: str) -> None:
        if (typed.portal.room, sentence) not in self._told:
            self._told.add((typed.portal.room, sentence))
            await self._tell(typed, sentence)

    async def _tell(self, typed: Typed, sentence: str) -> None:
        try:
            await self._rooms.tell(typed.portal, sentence, f"text.{typed.event_id}")
        except BridgeError as error:
            log.warning("notice not sent", room=typed.portal.room, reason=str(error))

    # --- to the person ----------------------------------------------------------------------

    async def _deliver(self, text: SipText) -> None:
        bound = log.bind(trunk=text.trunk, caller=text.caller, dialled=text.dialled)
        people = self._routes.route_in(text.trunk, text.dialled)
        if isinstance(people, Refusal):
            return  # settings changed since it was admitted
        if not self._pace.allows(text.caller):
            bound.warning("text dropped: too many within a minute")
            return
        words = _CONTROL.sub("", text.text.replace("\r\n", "\n")).strip()
        if not words:
            return
        for person in people:
            try:
                await self._rooms.deliver_text(
                    person, text.caller, text.caller_name, words, f"text.{secrets.token_hex(8)}"
                )
            except BridgeError as error:
                bound.warning("text not delivered", person=person, reason=str(error))
            else:
                bound.info("text delivered", person=person, bytes=len(words.encode()))


def _why(status: int) -> str:
    if status in _UNABLE:
        return _NO_TEXTS
    return _NOT_IN_SERVICE if status in _UNKNOWN else _FAILED.format(status=f"SIP {status}")
