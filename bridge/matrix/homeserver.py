# SPDX-License-Identifier: GPL-3.0-or-later
"""The few requests that the bridge makes of the homeserver, as the bot or as a ghost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mautrix.api import HTTPAPI, Method, Path, PathBuilder
from mautrix.appservice import AppService
from mautrix.errors import MatrixConnectionError, MatrixRequestError
from mautrix.types import UserID as MautrixUserId

from bridge.call.ids import RoomId, UserId
from bridge.errors import RemoteError, StoreUnavailable
from bridge.matrix import pacing
from bridge.records import IceServer

T = TypeVar("T")

_REQUEST_TIME: Final = 30.0
"""Seconds for a reply; making or joining rooms may take a busy homeserver long."""
_SEND_TIME: Final = 20.0
"""Seconds for sending an event, which is harmless to repeat and usually urgent.

A busy homeserver may well take ten; to ask it again by then would keep what follows waiting.
"""
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 4.0
_NOT_FOUND: Final = 404


class HomeserverError(RemoteError):
    """The homeserver did not do what it was asked."""


class Unavailable(HomeserverError):
    """It cannot be reached, is overloaded or broken just now: worth another attempt.

    `retry_after`: seconds until which that attempt is not welcome, if it said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(HomeserverError):
    """It understood, and will not do it. `errcode` is the Matrix error code, or empty."""

    def __init__(self, message: str, *, status: int, errcode: str) -> None:
        super().__init__(message)
        self.status = status
        self.errcode = errcode


@dataclass(frozen=True, slots=True)
class Patience:
    """Repeats what the homeserver, or the database, was not available for.

    Times are seconds of `clock`.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]

    async def persist(
        self, attempt: Callable[[], Awaitable[T]], deadline: Callable[[], float]
    ) -> T:
        """Attempt until it works or the deadline, which may move, has passed.

        Attempts at least once if the deadline is ahead, and no sooner than the homeserver wants.
        Raises `Unavailable` or `Refused`.
        """
        pause = _FIRST_PAUSE
        reason = "there was no time left for it"
        while self.clock() < deadline():
            try:
                return await attempt()
            except Unavailable as error:
                reason, wanted = str(error), error.retry_after or 0.0
            except StoreUnavailable as error:
                reason, wanted = str(error), 0.0
            left = deadline() - self.clock()
            if wanted >= left:
                break
            await self.sleep(max(wanted, min(pause, left)))
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise Unavailable(reason)


class Homeserver:
    """Client-Server API, through the application service's token, or another one's `token`."""

    def __init__(self, appservice: AppService, token: str = "") -> None:
        self._appservice = appservice
        self._token = token

    async def register(self, user: UserId) -> bool:
        """Make a user of our namespace; False, and harmless, if it exists."""
        name = user[1:].partition(":")[0]
        body = {
            "type": "m.login.application_service",
            "username": name,
            # No device and no token: we masquerade. MSC4190 even insists.
            "inhibit_login": True,
        }
        try:
            await self._bot(Method.POST, Path.v3.register, body)
        except Refused as error:
            if error.errcode != "M_USER_IN_USE":
                raise
            return False
        return True

    async def set_display_name(self, user: UserId, name: str) -> None:
        """What the user is called everywhere."""
        await self._as(user, Method.PUT, Path.v3.profile[user].displayname, {"displayname": name})

    async def exists(self, user: UserId) -> bool:
        """Whether there is such a user; where the homeserver does not say, there is."""
        try:
            await self._bot(Method.GET, Path.v3.profile[user])
        except Refused as error:
            return error.status != _NOT_FOUND
        return True

    async def whoami(self) -> UserId:
        """Who our token belongs to."""
        return UserId(_text(await self._bot(Method.GET, Path.v3.account.whoami), "user_id"))

    async def ping(self, appservice_id: str) -> None:
        """Make the homeserver call us, which also ends its back-off of queued transactions."""
        await self._bot(Method.POST, Path.v1.appservice[appservice_id].ping, {})

    async def create_room(self, user: UserId, body: Mapping[str, Any]) -> RoomId:
        """A new room of `user`."""
        return RoomId(_text(await self._as(user, Method.POST, Path.v3.createRoom, body), "room_id"))

    async def invite(self, room: RoomId, user: UserId, person: UserId) -> None:
        """`user` invites `person` to a direct chat; what POST /invite sends could not say that."""
        path = Path.v3.rooms[room].state["m.room.member"][person]
        await self._as(user, Method.PUT, path, {"membership": "invite", "is_direct": True})

    async def join(self, room: RoomId, user: UserId) -> None:
        """Accept an invitation."""
        await self._as(user, Method.POST, Path.v3.rooms[room].join, {})

    async def leave(self, room: RoomId, user: UserId, reason: str) -> None:
        """Leave, or refuse an invitation."""
        await self._as(user, Method.POST, Path.v3.rooms[room].leave, {"reason": reason})

    async def joined_members(self, room: RoomId, user: UserId) -> frozenset[UserId]:
        """Who has joined; only for a `user` who has."""
        reply = await self._as(user, Method.GET, Path.v3.rooms[room].joined_members)
        joined = reply.get("joined")
        return frozenset(map(UserId, joined)) if isinstance(joined, dict) else frozenset()

    async def joined_rooms(self, user: UserId) -> list[RoomId]:
        """Where `user` has joined."""
        reply = await self._as(user, Method.GET, Path.v3.joined_rooms)
        rooms = reply.get("joined_rooms")
        return [RoomId(each) for each in rooms] if isinstance(rooms, list) else []

    async def account_data(self, user: UserId, kind: str) -> Mapping[str, Any]:
        """What `user` keeps under this type; empty where there is nothing."""
        return await self._unless_missing(user, Path.v3.user[user].account_data[kind])

    async def set_account_data(self, user: UserId, kind: str, content: Mapping[str, Any]) -> None:
        """Replace what `user` keeps under this type."""
        await self._as(user, Method.PUT, Path.v3.user[user].account_data[kind], content)

    async def state(
        self, room: RoomId, user: UserId, event_type: str, state_key: str = ""
    ) -> Mapping[str, Any]:
        """The content of a state event; empty where there is none."""
        return await self._unless_missing(user, Path.v3.rooms[room].state[event_type][state_key])

    async def latest_events(self, room: RoomId, user: UserId, limit: int) -> list[Any]:
        """The newest raw events of the room, oldest first."""
        query = {"dir": "b", "limit": str(limit)}
        reply = await self._as(user, Method.GET, Path.v3.rooms[room].messages, query=query)
        chunk = reply.get("chunk")
        return chunk[::-1] if isinstance(chunk, list) else []

    async def turn_servers(self) -> tuple[tuple[IceServer, ...], float]:
        """What users are given for their calls, and for how many seconds it is good."""
        reply = await self._bot(Method.GET, Path.v3.voip.turnServer)
        uris, lasts = reply.get("uris"), reply.get("ttl")
        username, password = str(reply.get("username", "")), str(reply.get("password", ""))
        servers = tuple(
            IceServer(url=uri, username=username, password=password)
            for uri in (uris if isinstance(uris, list) else ())
            if isinstance(uri, str)
        )
        return servers, float(lasts) if isinstance(lasts, int | float) else 0.0

    async def protocols(self) -> frozenset[str]:
        """The third-party protocols that clients are told of."""
        return frozenset(await self._bot(Method.GET, Path.v3.thirdparty.protocols))

    async def send(
        self, room: RoomId, user: UserId, event_type: str, content: Mapping[str, Any], txn: str
    ) -> None:
        """Send an event; `txn` makes repetitions harmless."""
        path = Path.v3.rooms[room].send[event_type][txn]
        await self._as(user, Method.PUT, path, content, time=_SEND_TIME)

    async def mark_read(self, room: RoomId, user: UserId, event_id: str) -> None:
        """`user` has read the room as far as this event."""
        await self._as(user, Method.POST, Path.v3.rooms[room].receipt["m.read"][event_id], {})

    async def redact(
        self, room: RoomId, user: UserId, event_id: str, txn: str, reason: str
    ) -> None:
        """Delete somebody's event; `txn` makes repetitions harmless."""
        path = Path.v3.rooms[room].redact[event_id][txn]
        await self._as(user, Method.PUT, path, {"reason": reason})

    async def _bot(
        self, method: Method, path: PathBuilder, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        return await self._as(UserId(self._appservice.bot_mxid), method, path, body)

    async def _unless_missing(self, user: UserId, path: PathBuilder) -> Mapping[str, Any]:
        try:
            return await self._as(user, Method.GET, path)
        except Refused as error:
            if error.errcode == "M_NOT_FOUND":
                return {}
            raise

    async def _as(
        self,
        user: UserId,
        method: Method,
        path: PathBuilder,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        time: float | None = None,
    ) -> Mapping[str, Any]:
        pacing.watch(self._appservice.http_session)
        api = self._api(user)
        content = None if body is None else dict(body)
        time = _REQUEST_TIME if time is None else time
        async with translated(time):
            reply = await api.request(method, path, content, query_params=dict(query or {}))
        return reply if isinstance(reply, dict) else {}

    def _api(self, user: UserId) -> HTTPAPI:
        own = self._appservice.intent.api
        if self._token:
            return HTTPAPI(
                own.base_url,
                self._token,
                client_session=self._appservice.http_session,
                as_user_id=MautrixUserId(user),
                log=own.log,
            )
        bot = user == str(self._appservice.bot_mxid)
        api: HTTPAPI = own if bot else own.user(MautrixUserId(user))
        return api


@asynccontextmanager
async def translated(time: float) -> AsyncIterator[None]:
    """A request of mautrix that may take `time` seconds, and whose errors become ours."""
    try:
        async with asyncio.timeout(time):
            yield
    except TimeoutError as error:
        raise Unavailable(f"no reply within {time:.0f} s") from error
    except MatrixConnectionError as error:
        raise Unavailable(str(error)) from error
    except ValueError as error:
        raise Unavailable("the reply is not JSON") from error
    except MatrixRequestError as error:
        raise _translate(error) from error


def _translate(error: MatrixRequestError) -> HomeserverError:
    code, status = error.errcode or "", error.http_status
    message = f"HTTP {status} {code}: {error.message or 'no explanation'}"
    # M_BAD_STATUS, M_CONNECTION_FAILED: what a ping says about us, not the homeserver about itself.
    if status == 429 or (status >= 500 and not code.startswith(("M_BAD", "M_CONNECTION"))):
        return Unavailable(message, retry_after=pacing.retry_after())
    return Refused(message, status=status, errcode=code)


def _text(reply: Mapping[str, Any], key: str) -> str:
    value = reply.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(f"the reply lacks {key}", status=200, errcode="")
    return value
