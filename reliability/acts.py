# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens within a call: hold, keys, transfers by the telephone."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from reliability.dialog import Dialog, direction_of
from reliability.people import Person, PersonCall
from reliability.plan import Act, Planned
from reliability.telephone import CODEC, Telephone

_HELD: Final = 1.0
"""Seconds."""


class WentWrong(Exception):
    """Something did not happen that should have."""


@dataclass(slots=True)
class Ends:
    """The two ends of a call; who is at the telephone may change."""

    person: Person
    call: PersonCall
    phone: Telephone

    def hear_each_other(self, planned: Planned) -> bool:
        """Whether each hears what the other says."""
        at_phone = self.phone.ear.tone(CODEC).is_near(planned.person_hertz)
        return at_phone and self.call.ear.tone(planned.codec).is_near(planned.phone_hertz)

    def heard(self, planned: Planned) -> str:
        """What they hear, for people."""
        at_phone = self.phone.ear.tone(CODEC)
        at_person = self.call.ear.tone(planned.codec)
        return (
            f"the telephone hears {at_phone.hertz:.0f} Hz for {planned.person_hertz}, "
            f"the person {at_person.hertz:.0f} Hz for {planned.phone_hertz}"
        )


class Waiter(Protocol):
    """What acts need of the play that they are in."""

    async def due(self, check: Callable[[], Any], what: str) -> Any:
        """Wait until something is true."""

    def another(self) -> Telephone:
        """A telephone that has no call."""


async def play_act(act: Act, ends: Ends, waiter: Waiter) -> None:
    """Play one act to its end."""
    match act:
        case Act.PHONE_HOLDS:
            await _phone_holds(ends, waiter)
        case Act.PERSON_HOLDS:
            await _person_holds(ends, waiter)
        case Act.PHONE_PRESSES:
            ends.phone.press(key := secrets.choice("0123456789"))
            await waiter.due(lambda: key in ends.call.ear.keys, f"key {key} reaches the person")
            ends.call.ear.keys = ""
        case Act.PERSON_PRESSES:
            ends.call.press(key := secrets.choice("0123456789"))
            await waiter.due(lambda: key in ends.phone.ear.keys, f"key {key} reaches the telephone")
            ends.phone.ear.keys = ""
        case Act.PHONE_TRANSFERS:
            await _transfer(ends, waiter, "")
        case Act.PHONE_JOINS:
            await _transfer(ends, waiter, _asked_before())


async def _phone_holds(ends: Ends, waiter: Waiter) -> None:
    for direction in ("sendonly", "sendrecv"):
        asking = asyncio.create_task(_redescribed(ends.phone, direction))
        what = f"the telephone's re-INVITE ({direction}) is answered"
        try:
            await waiter.due(asking.done, what)
            if asking.result() != 200:
                raise WentWrong(f"{what} with {asking.result()}")
        finally:
            await _stopped(asking)
        await asyncio.sleep(_HELD)


async def _redescribed(phone: Telephone, direction: str) -> int:
    """re-INVITE; one that met the other side's is tried again (RFC 3261 section 14.1)."""
    status = await phone.redescribe(direction)
    if status != 491:
        return status
    await asyncio.sleep(1.0)
    return await _redescribed(phone, direction)


async def _person_holds(ends: Ends, waiter: Waiter) -> None:
    dialog = ends.phone.dialog
    assert dialog is not None
    for direction in ("sendonly", "sendrecv"):
        answered = asyncio.create_task(ends.call.hold(direction))
        try:
            await waiter.due(answered.done, f"the person's hold ({direction}) is answered")
            await waiter.due(
                partial(_is_told, dialog, direction),
                f"the telephone is told of the person's hold ({direction})",
            )
        finally:
            await _stopped(answered)
        await asyncio.sleep(_HELD)


def _is_told(dialog: Dialog, direction: str) -> bool:
    return direction_of(dialog.remote_sdp) == direction


async def _stopped(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _transfer(ends: Ends, waiter: Waiter, replaces: str) -> None:
    """REFER; the new telephone answers, and the old one is let go."""
    old, new = ends.phone.dialog, waiter.another()
    assert old is not None
    ringing = asyncio.create_task(new.rings(60))
    try:
        await asyncio.sleep(0)
        status = await old.refer(f"sip:{new.number}@{ends.phone.here}{replaces}")
        if status != 202:
            raise WentWrong(f"REFER is answered with {status}")
        await waiter.due(ringing.done, "the telephone rings to which the call is transferred")
        dialog = ringing.result()
        if bool(dialog.replaces) != bool(replaces):
            raise WentWrong("the INVITE does not say what it replaces")
        dialog.answer()
        ends.phone = new
        await waiter.due(old.ended.is_set, "the telephone that has transferred is let go")
    finally:
        await _stopped(ringing)


def _asked_before() -> str:
    """Names the dialog of the old telephone with the new one, which is the exchange's affair."""
    name, ours, theirs = (secrets.token_hex(4) for _ in range(3))
    return f"?Replaces={name}%3Bto-tag%3D{ours}%3Bfrom-tag%3D{theirs}"
