# SPDX-License-Identifier: GPL-3.0-or-later
"""A Matrix client that calls: `m.call.*` by the specification, v1 or v0, with real audio.

Client-Server API, "Voice over IP". What real clients do otherwise is for the browser to show.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Self

from tests.simulators.matrix_client import Content, MatrixClient, RoomEvent
from tests.simulators.voice import CODECS, Voice
from tests.simulators.waiting import PATIENCE, until

LIFETIME_MS = 60_000


class State(Enum):
    """How far a call has come."""

    INVITED = auto()
    RINGING = auto()
    ANSWERED = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """An event of a call, as this client saw it."""

    at: float
    """Monotonic seconds."""
    direction: str
    """`in` or `out`."""
    type: str
    content: Content


class MatrixCall:
    """One call of a `MatrixPhone`."""

    def __init__(self, phone: "MatrixPhone", room: str, call_id: str, version: int) -> None:
        self.room = room
        self.call_id = call_id
        self.version = version
        self.state = State.INVITED
        self.ended_by = ""
        """The type of the event that ended it, with its reason: `m.call.hangup user_hangup`."""
        self.steps: list[Step] = []
        self.voice = phone.new_voice()
        self.codec = ""
        """The first codec of the answer: what both ends send."""
        self.opponent: str | None = None
        """Party id of the other side, once it is known."""
        self._phone = phone
        self._offer = ""

    async def place(self) -> None:
        """Send the invite."""
        offer = await self.voice.offer()
        content: dict[str, Any] = {
            "lifetime": LIFETIME_MS,
            "offer": {"type": "offer", "sdp": offer},
        }
        if self._phone.renegotiates:
            content["capabilities"] = {"m.call.dtmf": False, "m.call.transferee": False}
        await self.send("m.call.invite", content)

    async def answer(self) -> None:
        """Answer what rings."""
        sdp = await self.voice.answer(self._offer)
        self.codec = first_codec(sdp)
        self.state = State.ANSWERED
        await self.send("m.call.answer", {"answer": {"type": "answer", "sdp": sdp}})

    async def reject(self, reason: str = "") -> None:
        """Decline what rings; v0 knows only the hangup."""
        self._end("m.call.reject")
        if self.version == 0:
            await self.send("m.call.hangup", {})
        else:
            await self.send("m.call.reject", {"reason": reason} if reason else {})
        await self.voice.close()

    async def hang_up(self, reason: str = "user_hangup") -> None:
        """End the call, or cancel it before it is answered."""
        self._end("m.call.hangup")
        await self.send("m.call.hangup", {"reason": reason})
        await self.voice.close()

    async def reaches(self, state: State, *, within: float = PATIENCE) -> None:
        """Wait until the call has come to `state`."""
        await until(
            lambda: self.state is state,
            within=within,
            what=f"the Matrix call became {state.name} (it is {self.state.name} {self.ended_by})",
        )

    async def connected(self, *, within: float = PATIENCE) -> None:
        """Wait until it is answered and its audio can flow."""
        await self.reaches(State.ANSWERED, within=within)
        await self.voice.connected(within=within)

    async def ended(self, *, within: float = PATIENCE) -> str:
        """Wait until it is over; returns what ended it."""
        await self.reaches(State.ENDED, within=within)
        return self.ended_by

    async def send(self, event_type: str, content: Content) -> None:
        """Send an event of this call with the fields that all of them have."""
        own: dict[str, Any] = {"call_id": self.call_id, "version": 0}
        if self.version == 1:
            own |= {"version": "1", "party_id": self._phone.party}
        self.steps.append(Step(time.monotonic(), "out", event_type, content))
        await self._phone.client.send(self.room, event_type, own | dict(content))

    async def receive(self, event: RoomEvent) -> None:
        """An event of this call that the other side sent."""
        self.steps.append(Step(event.seen_at, "in", event.type, event.content))
        party = event.content.get("party_id")
        match event.type:
            case "m.call.invite":
                self._offer = event.content["offer"]["sdp"]
                self.opponent = party
                self.state = State.RINGING
            case "m.call.answer" if self.state is State.INVITED:
                await self._answered(event.content, party)
            case "m.call.select_answer":
                if event.content["selected_party_id"] != self._phone.party:
                    await self._ended("answered elsewhere")
            case "m.call.negotiate" if not self._phone.renegotiates:
                await self.hang_up("unknown_error")
            case "m.call.reject" if self.state is State.INVITED:
                await self._ended(f"m.call.reject {event.content.get('reason', '')}".strip())
            case "m.call.hangup" if self.state is not State.ENDED:
                await self._ended(f"m.call.hangup {event.content.get('reason', '')}".strip())

    async def close(self) -> None:
        """Let go of the audio without telling anyone."""
        await self.voice.close()

    async def _answered(self, content: Content, party: str | None) -> None:
        self.state = State.ANSWERED
        self.opponent = party
        sdp = content["answer"]["sdp"]
        self.codec = first_codec(sdp)
        await self.voice.accept(sdp)
        if self.version == 1:
            await self.send("m.call.select_answer", {"selected_party_id": party})

    async def _ended(self, what: str) -> None:
        self._end(what)
        await self.voice.close()

    def _end(self, what: str) -> None:
        self.state = State.ENDED
        self.ended_by = what


class MatrixPhone:
    """A person with a Matrix client that can call."""

    def __init__(
        self,
        client: MatrixClient,
        *,
        version: int = 1,
        says: int = 440,
        codecs: Sequence[str] = CODECS,
        renegotiates: bool = True,
    ) -> None:
        """`renegotiates`: False is as nheko, which hangs up when it is asked to."""
        self.client = client
        self.renegotiates = renegotiates
        self.party = secrets.token_hex(5)
        self.calls: list[MatrixCall] = []
        self._version = version
        self._says = says
        self.codecs = codecs
        """What it offers and takes, from the next call on."""
        self._incoming: asyncio.Queue[RoomEvent] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.client.listen(self._incoming.put_nowait)
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await asyncio.gather(*(call.close() for call in self.calls))

    @property
    def user_id(self) -> str:
        """Who we are."""
        return self.client.user_id

    def new_voice(self) -> Voice:
        """The audio of one more call."""
        return Voice(says=self._says, codecs=self.codecs)

    def prepare(self, room: str, call_id: str = "") -> MatrixCall:
        """A call that has not been placed yet."""
        call = MatrixCall(
            self, room, call_id or f"{time.time_ns()}{secrets.token_hex(4)}", self._version
        )
        self.calls.append(call)
        return call

    async def call(self, room: str) -> MatrixCall:
        """Call who is in `room`."""
        call = self.prepare(room)
        await call.place()
        return call

    async def rings(self, *, count: int = 1, within: float = PATIENCE) -> MatrixCall:
        """Wait for the `count`th call that ever came in."""

        def found() -> list[MatrixCall]:
            incoming = [
                call for call in self.calls if call.steps and call.steps[0].direction == "in"
            ]
            return incoming[count - 1 :]

        return (await until(found, within=within, what=f"call {count} rang at {self.user_id}"))[0]

    async def _work(self) -> None:
        while True:
            event = await self._incoming.get()
            if event.type.startswith("m.call.") and event.sender != self.user_id:
                await self._route(event)

    async def _route(self, event: RoomEvent) -> None:
        call_id = event.content["call_id"]
        for call in self.calls:
            if (call.room, call.call_id) == (event.room, call_id):
                await call.receive(event)
                return
        if event.type == "m.call.invite":
            await self._invited(event)

    async def _invited(self, event: RoomEvent) -> None:
        """Rings, unless a call of ours in this room wins ("Glare")."""
        ours = [one for one in self.calls if one.room == event.room and one.state is State.INVITED]
        version = min(self._version, _version(event.content["version"]))
        call = MatrixCall(self, event.room, event.content["call_id"], version)
        if any(one.call_id < call.call_id for one in ours):
            await call.close()
            return
        self.calls.append(call)
        await call.receive(event)
        for one in ours:
            await one.hang_up()
        if ours:
            await call.answer()


def _version(value: object) -> int:
    return 0 if type(value) is int and value == 0 else 1


def first_codec(sdp: str) -> str:
    """The name of the first audio codec of a description."""
    formats = next(line for line in sdp.splitlines() if line.startswith("m=audio")).split()[3:]
    for line in sdp.splitlines():
        if line.startswith(f"a=rtpmap:{formats[0]} "):
            return line.split(" ", 1)[1].split("/")[0]
    return {"0": "PCMU", "8": "PCMA", "9": "G722"}[formats[0]]
