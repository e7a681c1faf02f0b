# SPDX-License-Identifier: GPL-3.0-or-later
"""A homeserver that costs next to nothing: it agrees to everything, and keeps who is in which room.

Whoever is invited has joined at once. Events reach the application service as Synapse brings them:
in order, one transaction at a time, up to a hundred in each.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import aiohttp
from aiohttp import web

_BATCH: Final = 100
_CLIENT: Final = "/_matrix/client/"

Said = Callable[[str, str, str, dict[str, Any]], None]
"""Told of what the bridge's users say: room, sender, type, content."""


class Homeserver:
    """Application Service API and as much of the Client-Server API as the bridge wants."""

    def __init__(self, domain: str, bot: str, said: Said) -> None:
        self._domain = domain
        self._bot = f"@{bot}:{domain}"
        self._said = said
        self._numbers = itertools.count(1)
        self._members: dict[str, set[str]] = {}
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, port: int, bridge: str, token: str) -> None:
        """Listen, and bring events to the application service at `bridge`, as `token` allows."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self._sender = asyncio.create_task(self._bring(bridge, token))

    async def stop(self) -> None:
        """Stop listening."""
        if self._sender:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        if self._runner:
            await self._runner.cleanup()

    def say(
        self,
        room: str,
        sender: str,
        kind: str,
        content: dict[str, Any],
        state_key: str | None = None,
    ) -> None:
        """Have somebody of this homeserver send an event."""
        event = {
            "room_id": room,
            "sender": sender,
            "type": kind,
            "content": content,
            "event_id": f"$e{next(self._numbers)}:{self._domain}",
            "origin_server_ts": time.time_ns() // 1_000_000,
        }
        if state_key is not None:
            event["state_key"] = state_key
        self._queue.put_nowait(event)

    def members(self, room: str) -> frozenset[str]:
        """Who is in a room."""
        return frozenset(self._members.get(room, ()))

    def room_of(self, person: str, ghost: str) -> str:
        """The room of these two; if there is none, the person makes it and invites the ghost."""
        for room, members in self._members.items():
            if members == {person, ghost}:
                return room
        room = f"!r{next(self._numbers)}:{self._domain}"
        self._members[room] = {person, ghost}
        self.say(room, person, "m.room.member", {"membership": "invite"}, ghost)
        return room

    # --- to the bridge ------------------------------------------------------------------------

    async def _bring(self, bridge: str, token: str) -> None:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
            for number in itertools.count(1):
                events = [await self._queue.get()]
                while not self._queue.empty() and len(events) < _BATCH:
                    events.append(self._queue.get_nowait())
                now = time.time_ns() // 1_000_000
                for event in events:
                    event["unsigned"] = {"age": now - event["origin_server_ts"]}
                await _bring_until_taken(
                    http, f"{bridge}/_matrix/app/v1/transactions/{number}", {"events": events}
                )

    # --- from the bridge ----------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0].removeprefix(_CLIENT)
        parts = [unquote(part) for part in path.split("/")][1:]
        user = request.query.get("user_id", self._bot)
        body = await request.json() if request.can_read_body else {}
        match request.method, parts:
            case "PUT", ["rooms", room, "send", kind, transaction]:
                return self._send(room, user, kind, transaction, body)
            case "POST", ["createRoom"]:
                return self._create(user, body["invite"])
            case "GET", ["rooms", room, "joined_members"]:
                return web.json_response({"joined": {one: {} for one in self._members[room]}})
            case "GET", ["account", "whoami"]:
                return web.json_response({"user_id": user})
            case "GET", ["rooms", _, "state", *_] | ["user", _, "account_data", *_]:
                return web.json_response({"errcode": "M_NOT_FOUND", "error": "no"}, status=404)
        return web.json_response({})

    def _send(
        self, room: str, user: str, kind: str, transaction: str, content: dict[str, Any]
    ) -> web.Response:
        self._said(room, user, kind, content)
        return web.json_response({"event_id": f"$t{transaction}:{self._domain}"})

    def _create(self, user: str, invited: list[str]) -> web.Response:
        room = f"!r{next(self._numbers)}:{self._domain}"
        self._members[room] = {user, *invited}
        for person in invited:
            self.say(room, person, "m.room.member", {"membership": "join"}, person)
        return web.json_response({"room_id": room})


async def _bring_until_taken(http: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> None:
    while True:
        try:
            async with http.put(url, json=body) as reply:
                if reply.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.2)
