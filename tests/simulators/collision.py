# SPDX-License-Identifier: GPL-3.0-or-later
"""A person and a telephone that call each other at about the same moment.

It is played as people would: who is rung answers, and the person's client follows whatever call
it has. What is wanted is one call that is connected, heard at both ends.
"""

import asyncio
from dataclasses import dataclass

from tests.simulators.baresip import Phone
from tests.simulators.browser import MICROPHONE_HERTZ, BrowserClient
from tests.simulators.waiting import until, until_async

_TELEPHONE_HERTZ = 1000


@dataclass(frozen=True, slots=True)
class Collision:
    """What came of it."""

    offset: float
    """Seconds by which the telephone dialled after the person."""
    connected: tuple[str, ...]
    """Ids of the client's calls that are connected."""
    survivor: str
    """Whose call it is: `theirs` is the bridge's."""
    legs: int
    """Calls that the telephone has."""
    seconds: float
    """From the later of both actions until both heard the other."""


async def collide(
    client: BrowserClient, room: str, phone: Phone, uri: str, offset: float
) -> Collision:
    """Dial and place with `offset` seconds between; raises TimeoutError if nothing connects."""

    async def place() -> None:
        await asyncio.sleep(max(0.0, -offset))
        # One that rings already is answered instead, as a person would.
        await client.do("placeOrAnswer", room)

    async def dial() -> None:
        await asyncio.sleep(max(0.0, offset))
        await phone.dial(uri)

    await asyncio.gather(place(), dial())
    clock = asyncio.get_running_loop().time
    start = clock()

    async def talking() -> bool:
        seen = await client.snapshot()
        if seen.state == "ringing":
            await client.do("answer")
        return seen.state == "connected" and seen.hears(_TELEPHONE_HERTZ)

    try:
        await until_async(talking, what="the client hears the telephone", every=0.05)
    except TimeoutError as error:
        error.add_note(f"its calls: {await client.do('callStates')}")
        raise
    await phone.hears(MICROPHONE_HERTZ)
    seconds = clock() - start
    await until(lambda: phone_legs(phone) == 1, what="the telephone has one call")
    states = await client.do("callStates")
    connected = tuple(call for call, state, _ in states if state == "connected")
    return Collision(
        offset=offset,
        connected=connected,
        survivor="theirs" if connected[0].startswith("~") else "ours",
        legs=phone_legs(phone),
        seconds=seconds,
    )


def phone_legs(phone: Phone) -> int:
    """The connected calls of a telephone; what it was refused (`486 Busy Here`) was never one."""
    closed = [one for one in phone.seen("CALL_CLOSED") if not one.parameter[:3].isdecimal()]
    return len(phone.seen("CALL_ESTABLISHED")) - len(closed)
