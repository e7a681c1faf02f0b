# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that nobody waits for, and a homeserver that is a few dictionaries."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from mautrix.api import Method, PathBuilder

from bridge.call.ids import RoomId, UserId
from bridge.matrix.homeserver import Homeserver, HomeserverError, Refused
from bridge.matrix.repository import Repository, TooLarge

BOT = UserId("@sipbot:example.org")


class FakeClock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.on_sleep: Callable[[float], None] = lambda _: None

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep(seconds)
        await asyncio.sleep(0)


@dataclass
class FakeRoom:
    """What the homeserver knows of a room."""

    members: dict[str, str] = field(default_factory=dict)
    join_rule: str = "invite"
    successor: str | None = None
    """What its tombstone names, if it has one."""
    events: list[dict[str, Any]] = field(default_factory=list)

    def has(self, user: str) -> bool:
        """Whether the user has joined."""
        return self.members.get(user) == "join"


@dataclass(frozen=True)
class Request:
    """One request that was made and succeeded."""

    user: str
    method: str
    path: str
    body: Mapping[str, Any]


class FakeHomeserver(Homeserver):
    """Answers requests as Synapse does, as far as the adapter can tell."""

    def __init__(self) -> None:
        self.users: set[str] = set()
        self.names: dict[str, str] = {}
        self.rooms: dict[str, FakeRoom] = {}
        self.requests: list[Request] = []
        self.failures: list[HomeserverError] = []
        """Raised, one by one, instead of answering."""
        self.auto_accept: set[str] = set()
        self.nobody: set[str] = set()
        """People who accept every invitation at once."""
        self.direct: dict[str, Mapping[str, Any]] = {}
        """`m.direct` of each person."""

    def sent(self, room: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Types and contents of the events sent into a room."""
        start = f"rooms/{room}/send/"
        return [
            (request.path.removeprefix(start).split("/")[0], request.body)
            for request in self.requests
            if request.path.startswith(start)
        ]

    async def _as(
        self,
        user: UserId,
        method: Method,
        path: PathBuilder,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        time: float | None = None,
    ) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        where = unquote(str(path)).removeprefix("_matrix/client/v3/")
        reply = self._answer(user, method.name, where, body or {})
        self.requests.append(Request(user, method.name, where, body or {}))
        return reply

    async def _bot(
        self, method: Method, path: PathBuilder, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        return await self._as(BOT, method, path, body)

    def _answer(
        self, user: str, method: str, path: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        if path == "register":
            return self._register(f"@{body['username']}:example.org")
        if user not in self.users and user != BOT:
            raise refused("M_FORBIDDEN", "Application service has not registered this user")
        if match := re.fullmatch(r"profile/(.+)/displayname", path):
            self.names[match[1]] = body["displayname"]
            return {}
        if match := re.fullmatch(r"profile/(.+)", path):
            if match[1] in self.nobody:
                raise Refused("Profile was not found", status=404, errcode="M_NOT_FOUND")
            return {}
        if path == "createRoom":
            return self._create(user, body)
        if path == "joined_rooms":
            return {"joined_rooms": [r for r, at in self.rooms.items() if at.has(user)]}
        if path == f"user/{user}/account_data/m.direct":
            return self._direct(user, method, body)
        match = re.fullmatch(r"rooms/([^/]+)/(\w+)/?(.*)", path)
        assert match, f"no such endpoint: {path}"
        room = self.rooms.get(match[1]) or FakeRoom()
        return self._in_room(user, room, match[2], match[3], body)

    def _direct(self, user: str, method: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if method == "PUT":
            self.direct[user] = body
        elif user not in self.direct:
            raise refused("M_NOT_FOUND", "Account data not found")
        return self.direct[user]

    def _register(self, user: str) -> Mapping[str, Any]:
        if user in self.users:
            raise refused("M_USER_IN_USE", "User ID already taken.")
        self.users.add(user)
        return {"user_id": user}

    def _create(self, user: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        room = f"!made{len(self.rooms)}"
        self.rooms[room] = FakeRoom({user: "join"})
        for person in body["invite"]:
            self._invite(self.rooms[room], person)
        return {"room_id": room}

    def _invite(self, room: FakeRoom, person: str) -> Mapping[str, Any]:
        room.members[person] = "join" if person in self.auto_accept else "invite"
        return {}

    def _in_room(
        self, user: str, room: FakeRoom, what: str, rest: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        wanted = ("join", "invite") if what in ("join", "leave") else ("join",)
        if room.members.get(user) not in wanted:
            raise refused("M_FORBIDDEN", f"User {user} not in room")
        match what:
            case "join" | "leave":
                room.members[user] = what
            case "state" if "membership" in body:
                self._invite(room, rest.removeprefix("m.room.member/"))
            case "joined_members":
                return {"joined": {m: {} for m, how in room.members.items() if how == "join"}}
            case "messages":
                return {"chunk": room.events[::-1]}
            case "state":
                return self._state(room, rest)
            case "send":
                return {"event_id": f"$sent{len(self.requests)}"}
        return {}

    def _state(self, room: FakeRoom, rest: str) -> Mapping[str, Any]:
        event_type, _, key = rest.partition("/")
        if event_type == "m.room.join_rules":
            return {"join_rule": room.join_rule}
        if event_type == "m.room.tombstone" and room.successor is not None:
            return {"body": "Moved.", "replacement_room": room.successor}
        if event_type == "m.room.member" and key in room.members:
            return {"membership": room.members[key]}
        raise refused("M_NOT_FOUND", "Event not found.")


class FakeRepository(Repository):
    """Files in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.kinds: dict[str, tuple[str, str]] = {}
        """By whom, and as what."""
        self.failures: list[HomeserverError] = []
        self.size: int | None = 50_000

    async def limit(self) -> int | None:
        return self.size

    async def upload(self, user: UserId, data: bytes, kind: str) -> str:
        address = f"mxc://example.org/{len(self.files)}"
        self.files[address], self.kinds[address] = data, (user, kind)
        return address

    async def download(self, address: str, most: int) -> bytes:
        if self.failures:
            raise self.failures.pop(0)
        data = self.files[address]
        if len(data) > most:
            raise TooLarge("too large")
        return data


def refused(errcode: str, message: str) -> Refused:
    """A homeserver's refusal."""
    return Refused(message, status=403, errcode=errcode)


def room_event(
    event_type: str,
    content: object,
    *,
    event_id: str = "$1",
    room: str = "!r",
    sender: str = "@alice:example.org",
    state_key: str | None = None,
    age: object = 100,
) -> dict[str, Any]:
    """A raw event as a transaction carries it."""
    event = {
        "type": event_type,
        "room_id": room,
        "event_id": event_id,
        "sender": sender,
        "content": content,
        "origin_server_ts": 0,
        "unsigned": {"age": age},
    }
    return event if state_key is None else {**event, "state_key": state_key}


def member(user: str, membership: str, **more: Any) -> dict[str, Any]:
    """A membership event."""
    return room_event("m.room.member", {"membership": membership}, state_key=user, **more)


ROOM = RoomId("!r")
