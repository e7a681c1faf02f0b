# SPDX-License-Identifier: GPL-3.0-or-later
"""A Matrix client with the little that a caller needs: sync, rooms, events, the dial pad."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from tests.simulators.synapse import Credentials
from tests.simulators.waiting import until, until_async

Content = Mapping[str, Any]
Listener = Callable[["RoomEvent"], None]


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """An event as `/sync` delivered it."""

    room: str
    type: str
    sender: str
    content: Content
    state_key: str | None
    event_id: str
    seen_at: float
    """Monotonic seconds at which we saw it."""


@dataclass(slots=True)
class _Room:
    membership: str
    members: dict[str, str] = field(default_factory=dict)
    inviter: str | None = None


class MatrixError(Exception):
    """The homeserver's refusal."""

    def __init__(self, status: int, body: Content) -> None:
        super().__init__(f"{status} {body.get('errcode')}: {body.get('error')}")
        self.status = status
        self.errcode = body.get("errcode")


class MatrixClient:
    """One device of one user. Joins the rooms it is invited to, as a person would."""

    def __init__(self, url: str, credentials: Credentials, *, auto_join: bool = True) -> None:
        self.credentials = credentials
        self.events: list[RoomEvent] = []
        self.receipts: set[tuple[str, str]] = set()
        """Events, and who has read as far as that."""
        """Every room event seen since the start, in order."""
        self._auto_join = auto_join
        self._rooms: dict[str, _Room] = {}
        self._listeners: list[Listener] = []
        self._transactions = itertools.count()
        self._http = aiohttp.ClientSession(
            base_url=url,
            headers={"Authorization": f"Bearer {credentials.access_token}"},
            timeout=aiohttp.ClientTimeout(total=60),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._since: str | None = None

    @property
    def user_id(self) -> str:
        """Who we are."""
        return self.credentials.user_id

    async def __aenter__(self) -> Self:
        await self._sync_once(timeout_ms=0)
        self._spawn(self._sync_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every room event that arrives, from now on."""
        self._listeners.append(listener)

    async def request(self, method: str, path: str, body: Content | None = None) -> Any:
        """One request to the client-server API; `path` starts after `/_matrix/client/v3`."""
        async with self._http.request(method, f"/_matrix/client/v3{path}", json=body) as reply:
            answer = await reply.json()
            if reply.status != 200:
                raise MatrixError(reply.status, answer)
            return answer

    async def upload(self, data: bytes, kind: str) -> str:
        """Keep a file; gives its address."""
        headers, path = {"Content-Type": kind}, "/_matrix/media/v3/upload"
        async with self._http.post(path, data=data, headers=headers) as reply:
            return str((await reply.json())["content_uri"])

    async def download(self, address: str) -> bytes:
        """A file that somebody has kept."""
        path = address.removeprefix("mxc:/")
        async with self._http.get(f"/_matrix/client/v1/media/download{path}") as reply:
            assert reply.status == 200, await reply.text()
            return await reply.read()

    async def send(self, room: str, event_type: str, content: Content) -> str:
        """Send a message event; retried while the homeserver is away. Returns its event id."""
        transaction = f"{time.time_ns()}.{next(self._transactions)}"
        path = f"/rooms/{quote(room)}/send/{event_type}/{transaction}"

        async def attempt() -> str:
            with contextlib.suppress(aiohttp.ClientError):
                return str((await self.request("PUT", path, content))["event_id"])
            return ""

        return await until_async(attempt, what=f"{event_type} was sent", every=0.2)

    async def dial_pad(self, number: str) -> str:
        """The Matrix user that stands for what was typed into a client's dial pad."""
        found = await self.request(
            "GET", f"/thirdparty/user/m.protocol.pstn?m.id.phone={quote(number, safe='')}"
        )
        if not found:
            raise LookupError(f"the dial pad knows nobody at {number}")
        return str(found[0]["userid"])

    async def direct_room(self, other: str) -> str:
        """A new room with `other`, who has joined it when this returns."""
        made = await self.request(
            "POST",
            "/createRoom",
            {"is_direct": True, "preset": "trusted_private_chat", "invite": [other]},
        )
        room = str(made["room_id"])
        await until(
            lambda: self.members(room) == {self.user_id, other},
            what=f"{other} joined the room",
        )
        return room

    async def leave(self, room: str) -> None:
        """Leave a room."""
        await self.request("POST", f"/rooms/{quote(room)}/leave", {})

    def members(self, room: str) -> set[str]:
        """Who has joined `room`, as far as we were told."""
        known = self._rooms.get(room)
        if not known:
            return set()
        return {user for user, membership in known.members.items() if membership == "join"}

    def rooms_with(self, other: str) -> list[str]:
        """Rooms that we and `other` have joined."""
        return [room for room in self._rooms if {self.user_id, other} <= self.members(room)]

    def rooms(self) -> list[str]:
        """Rooms that we have joined."""
        return [room for room, known in self._rooms.items() if known.membership == "join"]

    def seen(self, event_type: str, *, room: str | None = None) -> list[RoomEvent]:
        """Events of a type that others sent."""
        return [
            event
            for event in self.events
            if event.type == event_type
            and event.sender != self.user_id
            and room in (None, event.room)
        ]

    def invitations(self) -> list[str]:
        """Rooms that we are invited to and have not joined."""
        return [room for room, known in self._rooms.items() if known.membership == "invite"]

    async def _sync_forever(self) -> None:
        while True:
            try:
                await self._sync_once(timeout_ms=30000)
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.1)  # the homeserver is away; clients try again

    async def _sync_once(self, *, timeout_ms: int) -> None:
        since = f"&since={self._since}" if self._since else ""
        answer = await self.request("GET", f"/sync?timeout={timeout_ms}{since}")
        self._since = answer["next_batch"]
        await self._understand(answer)
        rooms = answer.get("rooms", {})
        for room_id, invited in rooms.get("invite", {}).items():
            self._invited(room_id, invited)
        for room_id, joined in rooms.get("join", {}).items():
            self._joined(room_id, joined)
        for room_id in rooms.get("leave", {}):
            self._rooms[room_id] = _Room("leave")

    async def _understand(self, answer: dict[str, Any]) -> None:
        """Make what a sync brought readable, in place."""

    def _invited(self, room_id: str, invited: Content) -> None:
        self._rooms[room_id] = _Room("invite")
        if self._auto_join:
            self._spawn(self._join(room_id))

    async def _join(self, room_id: str) -> None:
        await self.request("POST", f"/rooms/{quote(room_id)}/join", {})

    def _joined(self, room_id: str, joined: Content) -> None:
        room = self._rooms.get(room_id)
        if room is None or room.membership != "join":
            room = self._rooms[room_id] = _Room("join")
        state = joined.get("state", {}).get("events", [])
        timeline = joined.get("timeline", {}).get("events", [])
        for raw in (*state, *timeline):
            if raw["type"] == "m.room.member":
                room.members[raw["state_key"]] = raw["content"]["membership"]
        for raw in timeline:
            self._deliver(room_id, raw)
        for raw in joined.get("ephemeral", {}).get("events", []):
            if raw["type"] == "m.receipt":
                self._receipts(raw["content"])

    def _receipts(self, content: Content) -> None:
        for event_id, kinds in content.items():
            self.receipts |= {(event_id, user) for user in kinds.get("m.read", {})}

    def _deliver(self, room_id: str, raw: Content) -> None:
        event = RoomEvent(
            room_id,
            raw["type"],
            raw["sender"],
            raw["content"],
            raw.get("state_key"),
            raw["event_id"],
            time.monotonic(),
        )
        self.events.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
