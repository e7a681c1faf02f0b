# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers programs: by the table, each request read, allowed, and answered as it says."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache, partial
from typing import Any, Final

import structlog
from aiohttp import web

from bridge.errors import NotDone, StoreUnavailable, Unfit
from bridge.web.api import reading
from bridge.web.api.access import Scope, Tokens
from bridge.web.api.backend import Backend, NoCall
from bridge.web.api.document import document
from bridge.web.api.events import Events, Gap, frame
from bridge.web.api.models import EventsQuery
from bridge.web.api.problems import Kind, Refused, answer, of_http
from bridge.web.api.table import ENDPOINTS, PREFIX, Endpoint

log = structlog.get_logger(__name__)

STREAMS: Final = 20
"""Programs that follow the events at the same time."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The API of a bridge that may still be starting.

    `lasts`: seconds after which a stream ends, `heartbeat`: after which something is sent in any
    case.
    """

    def __init__(
        self,
        read_token: str,
        write_token: str,
        events: Events,
        *,
        wall: Callable[[], float] = time.time,
        lasts: float = 3600.0,
        heartbeat: float = 15.0,
    ) -> None:
        self._tokens = Tokens(read_token, write_token, wall)
        self._events = events
        self._lasts, self._heartbeat = lasts, heartbeat
        self._backend: Backend | None = None
        self.streams = 0
        """How many are open."""
        self._closing = False

    def open(self, backend: Backend) -> None:
        """From now on there is somebody to ask."""
        self._backend = backend

    def serve(self, application: web.Application) -> None:
        """Add the addresses of the API."""
        api = web.Application(middlewares=[_as_problems])
        api.router.add_route("GET", "/openapi.json", self._show_document)
        for endpoint in ENDPOINTS:
            # What has a name of its own comes before what may have any.
            handle = self._stream if endpoint.handler is None else self._answer
            api.router.add_route(endpoint.method, endpoint.path, partial(handle, endpoint))
        api.on_response_prepare.append(_protect)
        api.on_shutdown.append(self._close)
        application.add_subapp(PREFIX, api)

    async def _close(self, _: web.Application) -> None:
        self._closing = True
        self._events.wake()

    async def _show_document(self, request: web.Request) -> web.Response:
        """It says nothing that is not in the documentation, so that no token is needed."""
        return web.Response(text=_document(), content_type="application/json")

    async def _answer(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        given = await self._given(endpoint, request)
        assert endpoint.handler is not None
        reply = await endpoint.handler(self._opened, **given)
        if endpoint.scope is Scope.WRITE:
            log.info("api: done", what=endpoint.name, source=request.remote)
        if reply.body is None:
            return web.Response(status=reply.status, headers=reply.headers)
        return web.Response(
            status=reply.status,
            text=reply.body.model_dump_json() + "\n",
            content_type="application/json",
            headers=reply.headers,
        )

    async def _given(self, endpoint: Endpoint, request: web.Request) -> dict[str, Any]:
        """What the handler is told, read and allowed. Raises Refused."""
        self._tokens.require(endpoint.scope, request)
        given: dict[str, Any] = {}
        if endpoint.parameters is not None:
            given["path"] = reading.of_strings(endpoint.parameters, request.match_info.items())
        if endpoint.query is not None:
            given["query"] = reading.of_strings(endpoint.query, request.query.items())
        elif request.query:
            reading.refuse([(name, "is not known here") for name in request.query])
        if endpoint.body is not None:
            given["body"] = await reading.of_body(endpoint.body, request)
        return given

    @property
    def _opened(self) -> Backend:
        if self._backend is None:
            raise Refused(Kind.AWAY, "The bridge is starting; try again in a moment.")
        return self._backend

    # --- the stream -------------------------------------------------------------------------

    async def _stream(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        given = await self._given(endpoint, request)
        query: EventsQuery = given["query"]
        after = query.after or request.headers.get("Last-Event-ID", "")
        if self.streams >= STREAMS:
            raise Refused(Kind.AWAY, "Too many streams are open.")
        lasts = self._lasts if query.seconds is None else min(query.seconds, self._lasts)
        self.streams += 1
        try:
            response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
            response.content_type = "text/event-stream"
            response.charset = "utf-8"
            await response.prepare(request)
            async for part in self._parts(after, lasts):
                await response.write(part)
            await response.write_eof()
            return response
        except ConnectionResetError:
            return response  # Who listened has gone.
        finally:
            self.streams -= 1

    async def _parts(self, after: str, lasts: float) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        until = loop.time() + lasts
        place = self._events.place_of(after) if after else self._events.last
        if place is None:
            yield frame(Gap(), self._events.name(self._events.last))
            place = self._events.last
        yield b": here\n\n"
        while not self._closing:
            found, lost = self._events.since(place)
            if lost:
                yield frame(Gap(), self._events.name(self._events.last - len(found)))
            place = self._events.last - len(found)
            for event in found:
                place += 1
                yield frame(event, self._events.name(place))
            left = until - loop.time()
            if left <= 0:
                return
            await self._events.more(place, min(left, self._heartbeat))
            if place == self._events.last:
                yield b": still here\n\n"


@cache
def _document() -> str:
    """Made when somebody asks: it takes a moment."""
    return json.dumps(document(ENDPOINTS), indent=1) + "\n"


@web.middleware
async def _as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Everything that goes wrong is said in the same form."""
    try:
        return await handler(request)
    except Refused as refused:
        return answer(refused)
    except NoCall as error:
        return answer(Refused(Kind.CONFLICT, str(error), cause=error.cause.value))
    except Unfit as error:
        return answer(Refused(Kind.CONFLICT, str(error), errors=error.errors))
    except NotDone as error:
        return answer(Refused(Kind.CONFLICT, str(error)))
    except StoreUnavailable:
        return answer(Refused(Kind.AWAY, "The database does not answer."))
    except web.HTTPException as error:
        return answer(of_http(error))
    except Exception:
        log.exception("api: a request failed", method=request.method, path=request.path)
        return answer(Refused(Kind.FAULT, "The bridge's log says more."))


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers[name] = value
