# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate on the bridge's way to the homeserver: requests wait before it, are refused, or take long.

The homeserver's own way to the bridge stays open. So the bridge can be made to be still preparing
something when it hears of something else.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from tests.simulators.processes import free_port

_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
"""Headers that are between two neighbours only (RFC 9110 7.6.1), or are written anew."""


@dataclass(slots=True)
class _Refusal:
    what: re.Pattern[str]
    left: int
    status: int
    retry_after: float


@dataclass(frozen=True, slots=True)
class Passage:
    """A request that was asked of the gate."""

    at: float
    """Monotonic seconds at which it came."""
    what: str
    """Method and path."""
    status: int
    """What it was answered; 0 as long as it was not."""


class Gate:
    """An HTTP proxy on loopback that can hold back, refuse, and slow down what clients ask."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.waiting = 0
        """How many requests are held back."""
        self.log: list[Passage] = []
        self._target = f"http://127.0.0.1:{target_port}"
        self._open = asyncio.Event()
        self._open.set()
        self._closed_to = re.compile("")
        self._refusals: list[_Refusal] = []
        self._delay = 0.0
        self._runner: web.AppRunner | None = None
        self._http: ClientSession | None = None

    @property
    def url(self) -> str:
        """Where to send requests."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start to listen."""
        self._http = ClientSession(auto_decompress=False, timeout=ClientTimeout(total=120))
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Close every connection."""
        self._open.set()
        if self._runner:
            await self._runner.cleanup()
        if self._http:
            await self._http.close()

    @contextlib.contextmanager
    def closed(self, to: str = "") -> Iterator[None]:
        """Hold back what is asked meanwhile, if this pattern is found in its method and path.

        What the bridge still had to do of something earlier passes then, and blocks nothing.
        """
        self._closed_to = re.compile(to)
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    @contextlib.contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Let the homeserver's answers take this long, although it acts at once."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    def refuse(
        self, what: str, *, times: int = 1, status: int = 429, retry_after: float = 1.0
    ) -> Callable[[], None]:
        """Refuse the next requests whose method and path this pattern is found in.

        What is returned ends that before its time.
        """
        refusal = _Refusal(re.compile(what), times, status, retry_after)
        self._refusals.append(refusal)
        return lambda: setattr(refusal, "left", 0)

    def asked(self, what: str) -> list[Passage]:
        """The requests whose method and path this pattern is found in, oldest first."""
        return [each for each in self.log if re.search(what, each.what)]

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        what, at = f"{request.method} {request.path}", time.monotonic()
        if self._closed_to.search(what):
            await self._opened()
        response = self._refused(what) or await self._forward(request)
        self.log.append(Passage(at, what, response.status))
        if self._delay:
            await asyncio.sleep(self._delay)
        return response

    async def _opened(self) -> None:
        self.waiting += 1
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1

    def _refused(self, what: str) -> web.Response | None:
        for refusal in self._refusals:
            if refusal.left and refusal.what.search(what):
                refusal.left -= 1
                body = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests"}
                wait = {"retry_after_ms": round(refusal.retry_after * 1000)}
                return web.json_response({**body, **wait}, status=refusal.status)
        return None

    async def _forward(self, request: web.Request) -> web.Response:
        assert self._http is not None
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        try:
            async with self._http.request(
                request.method,
                self._target + request.raw_path,
                headers=headers,
                data=await request.read(),
                allow_redirects=False,
            ) as reply:
                kept = {k: v for k, v in reply.headers.items() if k.lower() not in _HOP}
                return web.Response(body=await reply.read(), status=reply.status, headers=kept)
        except ClientError:
            return web.Response(status=502, text="Bad Gateway")
