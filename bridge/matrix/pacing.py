# SPDX-License-Identifier: GPL-3.0-or-later
"""For how long the homeserver wants to be left alone, where it says so.

mautrix keeps neither headers nor bodies of refusals, so they are looked at as they come in: the
header `Retry-After` (RFC 9110 10.2.3), which the Matrix specification has since 1.10, or else the
field `retry_after_ms` of a 429, which older homeservers send.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from typing import Any, Final

from aiohttp import ClientSession, TraceConfig, TraceRequestEndParams
from aiohttp.client_exceptions import ClientError

_LIMITED: Final = 429
_BUSY: Final = (_LIMITED, 503)
_asked: Final[ContextVar[float | None]] = ContextVar("retry_after", default=None)


def watch(session: ClientSession) -> None:
    """Take notes of every reply to this session; harmless if it is done already."""
    if _tracing not in session.trace_configs:
        session.trace_configs.append(_tracing)


def retry_after() -> float | None:
    """Seconds that the last reply, within this task, asked to wait; None if it did not."""
    return _asked.get()


def read_retry_after(headers: Mapping[str, str], body: object, now: float) -> float | None:
    """Seconds to wait from `now`, seconds since the epoch; None if neither says."""
    milliseconds = body.get("retry_after_ms") if isinstance(body, dict) else None
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool):
        return max(0.0, milliseconds / 1000)
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal() and said.isascii():
        return float(said[:9])
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except (ValueError, OverflowError):
        return None


async def _started(*_: object) -> None:
    _asked.set(None)


async def _ended(_session: ClientSession, _context: Any, reply: TraceRequestEndParams) -> None:
    response = reply.response
    if response.status not in _BUSY:
        return
    try:
        body = await response.json(content_type=None) if response.status == _LIMITED else None
    except (ValueError, ClientError):
        body = None
    _asked.set(read_retry_after(response.headers, body, time.time()))


_tracing: Final = TraceConfig()
_tracing.on_request_start.append(_started)
_tracing.on_request_end.append(_ended)
_tracing.freeze()
