# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens, kept for a while and streamed to programs as server-sent events.

Every stream reads from the same bounded buffer: a program that is slow, or was away, costs nothing,
and is told when something is not there any more.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from bridge.call.ids import Direction
from bridge.call.outcomes import Outcome
from bridge.config import Section

KEPT: Final = 1000
"""Events that a program may have missed, and still gets."""


class CallEvent(Section):
    """A call has come a step further."""

    type: Literal["call.started", "call.ringing", "call.answered"] = Field(..., description="What.")
    at: datetime = Field(..., description="When.")
    call: str = Field(..., description="The call's id.")
    direction: Direction = Field(..., description="Who placed it.")
    person: str = Field(..., description="Matrix id of the person; empty: nobody here.")
    number: str = Field(..., description="The telephone's number, or its SIP address.")
    trunk: str = Field(..., description="The trunk that carries it.")


class CallEnded(Section):
    """A call is over."""

    type: Literal["call.ended"] = Field("call.ended", description="What.")
    at: datetime = Field(..., description="When.")
    call: str = Field(..., description="The call's id.")
    direction: Direction = Field(..., description="Who placed it.")
    person: str = Field(..., description="Matrix id of the person; empty: nobody here.")
    number: str = Field(..., description="The telephone's number, or its SIP address.")
    trunk: str = Field(..., description="The trunk that carried it.")
    outcome: Outcome = Field(..., description="Whose doing its end was.")
    cause: str = Field(..., description="Why it ended, as in the table of causes.")
    sip_status: int | None = Field(..., description="SIP status with which it ended.")
    ended_by: str = Field(..., description="matrix, sip, media or bridge.")
    detail: str = Field(..., description="More about its end: who ended it, and why.")
    talked_s: float | None = Field(..., description="Seconds between answer and end.")


class TrunkEvent(Section):
    """A trunk of the configuration can carry calls from now on, or cannot."""

    type: Literal["trunk.registered", "trunk.lost"] = Field(..., description="What.")
    at: datetime = Field(..., description="When.")
    trunk: str = Field(..., description="Its name.")
    status: int = Field(..., description="SIP status of its last answer; 0: none.")
    reason: str = Field(..., description="What it said with it.")


class AccountEvent(Section):
    """A person's own account is another, is gone, or stands otherwise."""

    type: Literal["account.changed", "account.removed", "account.registered", "account.lost"] = (
        Field(..., description="What.")
    )
    at: datetime = Field(..., description="When.")
    person: str = Field(..., description="Whose it is.")
    status: int = Field(0, description="SIP status of the registrar's last answer; 0: none.")
    reason: str = Field("", description="What the registrar said with it.")


class Gap(Section):
    """Some events are not there any more, so that it has to be looked up how things stand."""

    type: Literal["gap"] = Field("gap", description="What.")


Event = CallEvent | CallEnded | TrunkEvent | AccountEvent | Gap
EVENTS: Final = (CallEvent, CallEnded, TrunkEvent, AccountEvent, Gap)


class Events:
    """Those of a run, which `nonce` names: what an id of another run was, nobody knows."""

    def __init__(self, nonce: str, kept: int = KEPT) -> None:
        self._nonce = nonce
        self._kept: deque[Event] = deque(maxlen=kept)
        self._last = 0
        self._waiting: set[asyncio.Event] = set()

    def publish(self, event: Event) -> None:
        """Tell everybody, now or when they ask."""
        self._kept.append(event)
        self._last += 1
        for waiting in self._waiting:
            waiting.set()

    @property
    def last(self) -> int:
        """The number of the newest event; 0: there was none."""
        return self._last

    def place_of(self, name: str) -> int | None:
        """The number of the event that is called so; None if there is no such event any more."""
        nonce, _, number = name.rpartition("-")
        if nonce != self._nonce or not (number.isascii() and number.isdigit()):
            return None
        # So long a number is nobody's, and too long for `int`.
        place = int(number[:18])
        return place if self._oldest - 1 <= place <= self._last else None

    def since(self, place: int) -> tuple[Sequence[Event], bool]:
        """What came after the event of that number; and whether some of it is lost."""
        missing = place < self._oldest - 1
        behind = min(self._last - place, len(self._kept))
        return list(self._kept)[len(self._kept) - behind :], missing

    async def more(self, place: int, patience: float) -> None:
        """Wait for an event after that one, for so many seconds at most."""
        if place < self._last:
            return
        waiting = asyncio.Event()
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(patience):
                await waiting.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(waiting)

    def name(self, place: int) -> str:
        """What the event of that number is called."""
        return f"{self._nonce}-{place}"

    def wake(self) -> None:
        """Have everybody who waits look around: the bridge stops."""
        for waiting in self._waiting:
            waiting.set()

    @property
    def _oldest(self) -> int:
        return self._last - len(self._kept) + 1


def frame(event: Event, name: str) -> bytes:
    """How it is sent."""
    # A line that is no JSON could be read for another: JSON has no line breaks of its own here.
    return f"id: {name}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n".encode()
