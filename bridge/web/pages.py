# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin page: what is asked for by address, and by whom."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from aiohttp import web

from bridge.call.ids import CallId
from bridge.errors import NotDone
from bridge.ports import Office
from bridge.records import CallRecord
from bridge.web.access import LASTS, Access
from bridge.web.charts import HEIGHT, WIDTH, charts_of
from bridge.web.descriptions import agreement_of
from bridge.web.exports import call_json, csv_of, json_of
from bridge.web.reading import MOST, PAGE, Asked, NotUnderstood
from bridge.web.rungs import rungs_of, svg_of, text_of
from bridge.web.templating import Templates
from bridge.web.tries import Tries
from bridge.web.verdict import ends

log = structlog.get_logger(__name__)

COOKIE: Final = "matrix_sip_admin"
STREAMS: Final = 20
"""Pages that are kept up to date at the same time."""
RUNGS: Final = 400
"""Messages of a call that are shown: of more than that, the first and the last ones."""
_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_DRAWING: Final = "default-src 'none'; style-src 'unsafe-inline'"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """Answers browsers that have shown the token, and programs that send it (`Bearer`).

    `actions`: whether calls may be ended. `pace`: seconds between two looks at what has changed,
    `idle`: after which one looks in any case.
    """

    def __init__(
        self,
        token: str,
        *,
        actions: bool = False,
        wall: Callable[[], float] = time.time,
        pace: float = 1.0,
        idle: float = 5.0,
    ) -> None:
        self._opened: Office | None = None
        self._access = Access(token, wall)
        self._tries = Tries(wall)
        self._actions = actions
        self._wall = wall
        self._pace, self._idle = pace, idle
        self._templates = Templates()
        self._streams = 0
        self._closing = asyncio.Event()

    @property
    def _office(self) -> Office:
        if self._opened is None:
            raise web.HTTPServiceUnavailable(text="The bridge is starting; try again in a moment.")
        return self._opened

    def open(self, office: Office) -> None:
        """From now on there is something to show."""
        self._opened = office

    def serve(self, application: web.Application) -> None:
        """Add the addresses of the page."""
        add = application.router.add_route
        add("GET", "/static/{name}", self._show_static)
        add("GET", "/login", self._show_login)
        add("POST", "/login", self._log_in)
        add("POST", "/logout", self._private(self._log_out))
        add("GET", "/", self._private(self._show_overview))
        add("GET", "/live", self._private(self._follow_overview))
        add("GET", "/calls", self._private(self._show_calls))
        add("GET", r"/calls.{form:csv|json}", self._private(self._export_calls))
        add("GET", r"/calls/{call}.{form:json|txt|svg}", self._private(self._export_call))
        add("GET", "/calls/{call}/live", self._private(self._follow_call))
        add("POST", "/calls/{call}/end", self._private(self._end_call))
        add("GET", "/calls/{call}", self._private(self._show_call))
        application.on_response_prepare.append(_protect)

        async def close(_: web.Application) -> None:
            self._closing.set()

        application.on_shutdown.append(close)

    # --- who asks ---------------------------------------------------------------------------

    def _private(self, handler: Handler) -> Handler:
        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            header = request.headers.get("Authorization", "")
            if header:
                return await handler(request) if self._shown(request, header) else _unauthorized()
            if self._access.admits(request.cookies.get(COOKIE, "")):
                return await handler(request)
            if request.method != "GET" or request.path.endswith("/live"):
                return _unauthorized()
            raise web.HTTPSeeOther(f"/login?{urlencode({'next': request.path_qs})}")

        return guarded

    def _shown(self, request: web.Request, header: str) -> bool:
        """Whether a program sends the token."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or self._tries.closed_for(request.remote):
            return False
        return self._right(request, token.strip())

    def _right(self, request: web.Request, token: str) -> bool:
        if self._access.opens(token):
            self._tries.right(request.remote)
            return True
        if self._tries.wrong(request.remote):
            log.warning("admin page: a wrong token", source=request.remote)
        return False

    async def _show_login(self, request: web.Request) -> web.Response:
        return self._login_page(next_page=_own(request.query.get("next", "/")))

    async def _log_in(self, request: web.Request) -> web.Response:
        form = await request.post()
        target = _own(str(form.get("next", "")))
        if wait := self._tries.closed_for(request.remote):
            problem = f"There were too many wrong tokens. Please wait {wait:.0f} seconds."
            page = self._login_page(problem, next_page=target, status=429)
            page.headers["Retry-After"] = f"{wait + 1:.0f}"
            return page
        if not self._right(request, str(form.get("token", ""))):
            return self._login_page("That is not the token.", next_page=target, status=403)
        log.info("admin page: logged in", source=request.remote)
        answer = web.Response(status=303, headers={"Location": target})
        answer.set_cookie(
            COOKIE,
            self._access.session(),
            max_age=int(LASTS),
            httponly=True,
            samesite="Strict",
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
            path="/",
        )
        return answer

    async def _log_out(self, request: web.Request) -> web.Response:
        await self._require_stamp(request)
        answer = web.Response(status=303, headers={"Location": "/login"})
        answer.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return answer

    def _login_page(
        self, problem: str = "", *, next_page: str = "/", status: int = 200
    ) -> web.Response:
        return self._html("login.html", {"problem": problem, "next": next_page}, status=status)

    async def _require_stamp(self, request: web.Request) -> None:
        """Only a page of ours may send a form. Raises HTTPForbidden."""
        form = await request.post()
        session = request.cookies.get(COOKIE, "")
        if not self._access.stamped(session, str(form.get("stamp", ""))):
            raise web.HTTPForbidden(text="This form is from another session; load the page again.")

    # --- pages ------------------------------------------------------------------------------

    async def _show_overview(self, request: web.Request) -> web.Response:
        return self._html("overview.html", await self._overview(), request)

    async def _overview(self) -> dict[str, Any]:
        now = self._wall()
        day_ago = time.strftime("%Y-%m-%dT%H:%M", time.localtime(now - 86400))
        return {"all": await self._office.overview(), "day_ago": day_ago, "here": "overview"}

    async def _show_calls(self, request: web.Request) -> web.Response:
        asked = Asked.of(request.query)
        values: dict[str, Any] = {"asked": asked, "here": "calls", "same": asked.address(after="")}
        try:
            records = list(await self._office.search(asked.query(PAGE + 1)))
        except NotUnderstood as error:
            values.update(problem=str(error), records=[], following="")
            return self._html("calls.html", values, request, status=400)
        more = len(records) > PAGE
        records = records[:PAGE]
        following = asked.address(after=records[-1].call) if more else ""
        return self._html(
            "calls.html", {**values, "records": records, "following": following}, request
        )

    async def _show_call(self, request: web.Request) -> web.Response:
        record = await self._record(request)
        return self._html("call.html", await self._call(record, request), request)

    async def _call(self, record: CallRecord, request: web.Request) -> dict[str, Any]:
        entries = list(await self._office.ladder(record.call))
        samples = await self._office.quality(record.call)
        left_out = max(0, len(entries) - RUNGS)
        # Calls do not wait while thousands of messages, which one peer may send, are put in order.
        entries[RUNGS // 2 : RUNGS // 2 + left_out] = []
        return {
            "record": record,
            "rungs": rungs_of(record, entries),
            "left_out": left_out,
            "charts": charts_of(record.started_at, samples),
            "agreement": agreement_of(record, entries),
            "may_end": self._actions,
            "width": WIDTH,
            "height": HEIGHT,
            "here": "calls",
            "stamp": self._stamp(request),
        }

    async def _end_call(self, request: web.Request) -> web.StreamResponse:
        await self._require_stamp(request)
        call = CallId(request.match_info["call"])
        if not self._actions:
            raise web.HTTPForbidden(text="web.actions is false: this page only shows.")
        try:
            self._office.hang_up(call)
        except NotDone as error:
            values = {"heading": "Not done", "text": str(error), "back": "/calls"}
            return self._html("message.html", values, request, status=409)
        return web.Response(status=303, headers={"Location": f"/calls/{call}"})

    async def _record(self, request: web.Request) -> CallRecord:
        record = await self._office.call(CallId(request.match_info["call"]))
        if record is None:
            raise web.HTTPNotFound(text="There is no such call, or it is not kept any more.")
        return record

    # --- to take along ----------------------------------------------------------------------

    async def _export_calls(self, request: web.Request) -> web.Response:
        try:
            query = Asked.of(request.query).query(MOST)
        except NotUnderstood as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        records = await self._office.search(query)
        if request.match_info["form"] == "csv":
            return _file("calls.csv", "text/csv", csv_of(records))
        return _file("calls.json", "application/json", json_of(records))

    async def _export_call(self, request: web.Request) -> web.Response:
        record = await self._record(request)
        entries = await self._office.ladder(record.call)
        form = request.match_info["form"]
        name = f"call-{record.call}.{form}"
        if form == "json":
            samples = await self._office.quality(record.call)
            return _file(name, "application/json", call_json(record, entries, samples))
        if form == "txt":
            return _file(name, "text/plain", text_of(record, entries))
        title = f"{' calls '.join(ends(record))} (call {record.call})"
        return _file(name, "image/svg+xml", svg_of(record, entries, title), policy=_DRAWING)

    # --- live -------------------------------------------------------------------------------

    async def _follow_overview(self, request: web.Request) -> web.StreamResponse:
        async def part() -> tuple[str, bool]:
            return self._templates.render("overview_part.html", await self._overview()), False

        return await self._stream(request, part)

    async def _follow_call(self, request: web.Request) -> web.StreamResponse:
        await self._record(request)

        async def part() -> tuple[str, bool]:
            record = await self._record(request)
            values = await self._call(record, request)
            # What was measured comes after the end.
            over = record.ended_at is not None and bool(record.statistics)
            return self._templates.render("call_part.html", values), over

        return await self._stream(request, part)

    async def _stream(
        self, request: web.Request, part: Callable[[], Awaitable[tuple[str, bool]]]
    ) -> web.StreamResponse:
        """Server-sent events: the middle of the page, whenever it has changed."""
        if self._streams >= STREAMS:
            raise web.HTTPServiceUnavailable(text="Too many pages are open.")
        self._streams += 1
        try:
            answer = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
            answer.content_type = "text/event-stream"
            await answer.prepare(request)
            async for event in self._events(request, part):
                await answer.write(event)
            return answer
        except ConnectionResetError:
            return answer  # Who looked has gone.
        finally:
            self._streams -= 1

    async def _events(
        self, request: web.Request, part: Callable[[], Awaitable[tuple[str, bool]]]
    ) -> AsyncIterator[bytes]:
        shown = None
        with self._office.watch() as changed:
            while not self._closing.is_set():
                changed.clear()
                html, over = await part()
                yield b": still here\n\n" if html == shown else _event("part", html)
                shown = html
                if over:
                    yield _event("over", "")
                    return
                if not self._still_admitted(request):
                    return
                await self._wait(changed)

    def _still_admitted(self, request: web.Request) -> bool:
        session = request.cookies.get(COOKIE)
        return session is None or self._access.admits(session)

    async def _wait(self, changed: asyncio.Event) -> None:
        """Until something has changed, at the earliest after `pace`, or the bridge stops."""
        closing = asyncio.create_task(self._closing.wait())
        changing = asyncio.create_task(changed.wait())
        try:
            await asyncio.wait({closing}, timeout=self._pace)
            await asyncio.wait(
                {closing, changing}, timeout=self._idle, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            closing.cancel()
            changing.cancel()

    # --- inside -----------------------------------------------------------------------------

    async def _show_static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _TYPES:
            raise web.HTTPNotFound
        body = (_STATIC / name).read_bytes()
        return web.Response(body=body, content_type=_TYPES[name], charset="utf-8")

    def _stamp(self, request: web.Request | None) -> str:
        session = request.cookies.get(COOKIE) if request is not None else None
        return self._access.stamp(session) if session else ""

    def _html(
        self,
        name: str,
        values: Mapping[str, Any],
        request: web.Request | None = None,
        *,
        status: int = 200,
    ) -> web.Response:
        text = self._templates.render(name, {"stamp": self._stamp(request), **values})
        return web.Response(text=text, content_type="text/html", status=status)


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _own(address: str) -> str:
    """An address on this page; the overview for any other."""
    elsewhere = not address.startswith("/") or address[1:2] in ("/", "\\")
    return "/" if elsewhere or not address.isprintable() else address


def _unauthorized() -> web.Response:
    return web.Response(
        status=401, text="The token is wanted.\n", headers={"WWW-Authenticate": "Bearer"}
    )


def _file(name: str, kind: str, text: str, policy: str | None = None) -> web.Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if policy:
        headers["Content-Security-Policy"] = policy
    return web.Response(text=text, content_type=kind, charset="utf-8", headers=headers)


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
