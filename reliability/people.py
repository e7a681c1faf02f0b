# SPDX-License-Identifier: GPL-3.0-or-later
"""People in Matrix who call and are called: `m.call.*` (version 1) with audio, packet by packet."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, cast

from reliability.sound import Ear, Metronome, Mouth
from tests.simulators.matrix_client import Content, MatrixClient, MatrixError, RoomEvent
from tests.simulators.webrtc import Remote, WebRtcPeer

LIFETIME: Final = 60.0
"""Seconds that a call of a person rings."""
_KEYS: Final = {"opus": (110, 48000), "PCMU": (101, 8000)}
"""Payload type of keys and their clock, by the codec that goes with them."""
_FORMATS: Final = {"opus": (111, 110), "PCMU": (0, 101)}
_EVENTS: Final = frozenset({101, 110})
_PARTY: Final = "client"


class Account(Protocol):
    """What a person does on their homeserver."""

    @property
    def user_id(self) -> str:
        """Who they are."""

    def listen(self, listener: Callable[[RoomEvent], None]) -> None:
        """Call `listener` with every room event that arrives, from now on."""

    async def send(self, room: str, event_type: str, content: Content) -> str:
        """Send an event; repeated while the homeserver is away."""

    async def room_with(self, other: str) -> str:
        """A room with a ghost, who has joined it."""


class SynapseAccount(MatrixClient):
    """One on a real homeserver."""

    async def room_with(self, other: str) -> str:
        """The room that there is, or a new one."""
        known = self.rooms_with(other)
        return known[0] if known else await self.direct_room(other)


class PersonCall:
    """One call, from the person's side."""

    def __init__(self, person: "Person", room: str, call_id: str, codec: str, hertz: int) -> None:
        """`codec`: the only one that the client knows; `hertz`: what is said."""
        self.call_id = call_id
        self.room = room
        self.codec = codec
        self.peer = WebRtcPeer()
        self.ear = Ear(_EVENTS)
        self.ended_by = ""
        """Type and reason of what ended it; `us` if that came from here."""
        self.answered = asyncio.Event()
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure = ""
        """Why no audio could be set up."""
        self.negotiated: list[str] = []
        """Directions that the other side offered within the call."""
        self._person = person
        self._hertz = hertz
        self._closed = False
        self._offer = ""
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._mouth: Mouth | None = None
        self.peer.on_packet = self._heard

    # --- what a person does ---------------------------------------------------------------------

    async def place(self) -> None:
        """Call."""
        sdp = await self.peer.offer(_FORMATS[self.codec])
        await self._say(
            "m.call.invite",
            lifetime=round(LIFETIME * 1000),
            offer={"type": "offer", "sdp": sdp},
            capabilities={"m.call.dtmf": False, "m.call.transferee": False},
        )

    async def answer(self) -> None:
        """Take the call that rings."""
        sdp = await self.peer.answer(self._offer, knows=_FORMATS[self.codec])
        await self._say("m.call.answer", answer={"type": "answer", "sdp": sdp})
        self.answered.set()
        self._person.spawn(self._connect(self._offer))

    async def reject(self) -> None:
        """Do not take it."""
        self._over("us")
        await self._say("m.call.reject", reason="user_hangup")

    async def hang_up(self) -> None:
        """End it, or give it up before it is answered."""
        self._over("us")
        await self._say("m.call.hangup", reason="user_hangup")

    async def hold(self, direction: str) -> str:
        """Offer another direction; the one that was answered."""
        sdp = await self.peer.offer(_FORMATS[self.codec], direction=direction)
        description = {"type": "offer", "sdp": sdp}
        await self._say("m.call.negotiate", description=description, lifetime=10_000)
        return Remote.read(await self._answers.get()).direction

    async def transfer(self, user: str) -> None:
        """Have the telephone talk with somebody else, and leave the call."""
        await self._say(
            "m.call.replaces",
            replacement_id=secrets.token_hex(4),
            create_call=secrets.token_hex(4),
            target_user={"id": user, "display_name": "Somebody", "avatar_url": None},
        )

    def press(self, key: str) -> None:
        """Press a key."""
        assert self._mouth is not None
        self._mouth.press(key)

    async def close(self) -> None:
        """Let go of the audio, without a word."""
        if self._closed:
            return
        self._closed = True
        if self._mouth is not None:
            self._person.metronome.remove(self._mouth)
        with contextlib.suppress(ConnectionError, OSError):
            await self.peer.close()

    # --- what comes -----------------------------------------------------------------------------

    async def receive(self, event: RoomEvent) -> None:
        """An event of this call that the other side sent."""
        content = event.content
        match event.type:
            case "m.call.invite":
                self._offer = content["offer"]["sdp"]
            case "m.call.answer" if not self.answered.is_set():
                self.answered.set()
                party = content.get("party_id")
                await self._say("m.call.select_answer", selected_party_id=party)
                self._person.spawn(self._connect(content["answer"]["sdp"]))
            case "m.call.negotiate" if content["description"]["type"] == "offer":
                await self._negotiate(content["description"]["sdp"])
            case "m.call.negotiate":
                self._answers.put_nowait(content["description"]["sdp"])
            case "m.call.reject" | "m.call.hangup":
                self._over(f"{event.type} {content.get('reason', '')}".strip())

    async def _negotiate(self, offer: str) -> None:
        theirs = Remote.read(offer).direction
        self.negotiated.append(theirs)
        ours = {"sendonly": "recvonly", "recvonly": "sendonly"}.get(theirs, theirs)
        sdp = await self.peer.answer(offer, knows=_FORMATS[self.codec], direction=ours)
        description = {"type": "answer", "sdp": sdp}
        await self._say("m.call.negotiate", description=description, lifetime=10_000)

    async def _connect(self, sdp: str) -> None:
        try:
            async with asyncio.timeout(20):
                await self.peer.connect(sdp)
        except (ConnectionError, TimeoutError) as error:
            self.failure = repr(error)
            return
        if self.ended.is_set():
            return
        events, clock = _KEYS[self.codec]
        self._mouth = Mouth(
            self.codec,
            self._hertz,
            self.peer.sender(self.codec),
            self.peer.send,
            events=events,
            clock=clock,
        )
        self._person.metronome.add(self._mouth)
        self.connected.set()

    def _heard(self, packet: Any) -> None:
        self.ear.take(packet)
        self.peer.received.packets.clear()
        self.peer.received.rtcp.clear()

    async def _say(self, kind: str, **content: Any) -> None:
        common = {"call_id": self.call_id, "party_id": _PARTY, "version": "1"}
        await self._person.account.send(self.room, kind, {**common, **content})

    def _over(self, by: str) -> None:
        if self.ended.is_set():
            return
        self.ended_by = by
        self.ended.set()
        self._person.left(self)


class Person:
    """Somebody with a client. Whoever waits for a call gets the next that rings from a ghost."""

    def __init__(self, account: Account, metronome: Metronome) -> None:
        self.account = account
        self.metronome = metronome
        self.read: list[tuple[float, str, str]] = []
        """Messages, with monotonic seconds and who wrote them."""
        self.unexpected: list[str] = []
        """Calls that rang although nobody waited for them, by their ghost."""
        self.troubles: list[str] = []
        """What the homeserver did not let them do."""
        self._awaited: dict[str, tuple[str, int, asyncio.Future[PersonCall]]] = {}
        self._calls: dict[str, PersonCall] = {}
        self._events: asyncio.Queue[RoomEvent] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        account.listen(self._events.put_nowait)
        self.spawn(self._work())

    @property
    def user_id(self) -> str:
        """Who they are."""
        return self.account.user_id

    @property
    def live(self) -> list[PersonCall]:
        """Calls that are not over."""
        return list(self._calls.values())

    async def call(self, ghost: str, codec: str, hertz: int) -> PersonCall:
        """Call a telephone."""
        room = await self.account.room_with(ghost)
        name = f"{time.time_ns()}{secrets.token_hex(4)}"
        call = self._calls[name] = PersonCall(self, room, name, codec, hertz)
        await call.place()
        return call

    def expect(self, ghost: str, codec: str, hertz: int) -> asyncio.Future[PersonCall]:
        """The next call from a telephone, when it rings."""
        found: asyncio.Future[PersonCall] = asyncio.get_running_loop().create_future()
        self._awaited[ghost] = (codec, hertz, found)
        return found

    def left(self, call: PersonCall) -> None:
        """A call is over."""
        self._calls.pop(call.call_id, None)
        self.spawn(call.close())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Let go of everything."""
        await asyncio.gather(*(call.close() for call in self.live))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            event = await self._events.get()
            if event.sender == self.user_id:
                continue
            if event.type == "m.room.message":
                body = str(event.content.get("body", ""))
                self.read.append((event.seen_at, event.sender, body))
            elif event.type.startswith("m.call."):
                try:
                    await self._call_event(event)
                except (TimeoutError, MatrixError) as error:
                    self.troubles.append(f"{event.type}: {error}")

    async def _call_event(self, event: RoomEvent) -> None:
        name = cast(str, event.content["call_id"])
        call = self._calls.get(name)
        if call is not None:
            await call.receive(event)
            return
        if event.type != "m.call.invite":
            return
        codec, hertz, waiting = self._awaited.pop(event.sender, ("", 0, None))
        if waiting is None or waiting.done():
            self.unexpected.append(event.sender)
            return
        call = self._calls[name] = PersonCall(self, event.room, name, codec, hertz)
        await call.receive(event)
        waiting.set_result(call)
