# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls: those that go on, those that were, and those that programs start and end."""

import time
from datetime import UTC, datetime
from typing import Literal, cast

from bridge.call.ids import CallId, UserId
from bridge.call.view import CallView
from bridge.records import CallQuery, CallRecord
from bridge.web.api import models as m
from bridge.web.api.backend import Backend
from bridge.web.api.handlers.reply import Reply, missing
from bridge.web.api.problems import Kind, Refused
from bridge.web.verdict import outcome, talked


async def list_calls(backend: Backend) -> Reply:
    """Those that are not over."""
    records = {record.call: record for record in await backend.unfinished()}
    calls = [_living(view, lasted, records.get(view.call)) for view, lasted in backend.active()]
    return Reply(m.Calls(calls=calls))


async def get_call(backend: Backend, path: m.CallPath) -> Reply:
    """One, whether it is over or not."""
    call = CallId(path.call)
    record = await backend.call(call)
    for view, lasted in backend.active():
        if view.call == call:
            return Reply(_living(view, lasted, record))
    if record is None:
        raise missing("call")
    return Reply(_past(record))


async def list_records(backend: Backend, query: m.RecordsQuery) -> Reply:
    """Those that are looked for."""
    wanted = CallQuery(
        person=query.person,
        number=query.number,
        trunk=query.trunk,
        direction=query.direction,
        since=None if query.since is None else query.since.timestamp(),
        until=None if query.until is None else query.until.timestamp(),
        outcomes=() if query.outcome is None else (query.outcome,),
        after=None if query.after is None else CallId(query.after),
        limit=query.limit + 1,
    )
    found = list(await backend.search(wanted))
    shown = found[: query.limit]
    following = shown[-1].call if len(found) > len(shown) else None
    return Reply(m.Records(calls=[_past(record) for record in shown], next=following))


async def start_call(backend: Backend, body: m.CallRequest) -> Reply:
    """Ring a person, and dial the number when they answer."""
    view = backend.start(UserId(body.person), body.number)
    headers = {"Location": f"/api/v1/calls/{view.call}"}
    return Reply(_living(view, 0.0, None), 201, headers)


async def hang_up(backend: Backend, path: m.CallPath, body: m.HangUp) -> Reply:
    """End a call."""
    call = CallId(path.call)
    for view, lasted in backend.active():
        if view.call == call:
            backend.hang_up(call, body.by, body.why)
            return Reply(_living(view, lasted, None).model_copy(update={"state": "ending"}), 202)
    if await backend.call(call) is None:
        raise missing("call")
    raise Refused(Kind.CONFLICT, "The call is over.")


def _living(view: CallView, lasted: float, record: CallRecord | None) -> m.Call:
    """One that is not over: how it stands now, and what its record knows already."""
    since = time.time() - lasted
    known = record or CallRecord(
        call=view.call,
        direction=view.direction,
        person=view.person,
        address=view.address,
        trunk=view.trunk,
        started_at=since,
        answered_at=None if view.answered_at is None else since + view.answered_at - view.since,
    )
    state = cast(Literal["preparing", "ringing", "connected", "ending"], view.state)
    return _call(known, state)


def _past(record: CallRecord) -> m.Call:
    """As its record says."""
    if record.ended_at is not None:
        return _call(record, "ended")
    if record.answered_at is not None:
        return _call(record, "connected")
    return _call(record, "preparing" if record.rang_at is None else "ringing")


def _call(
    record: CallRecord, state: Literal["preparing", "ringing", "connected", "ending", "ended"]
) -> m.Call:
    lasted = talked(record)
    return m.Call(
        call=record.call,
        state=state,
        direction=record.direction,
        person=record.person,
        number=record.address.removeprefix("tel:"),
        trunk=record.trunk,
        rule=record.rule,
        started=_time(record.started_at),
        rang=None if record.rang_at is None else _time(record.rang_at),
        answered=None if record.answered_at is None else _time(record.answered_at),
        ended=None if record.ended_at is None else _time(record.ended_at),
        talked_s=None if lasted is None else round(lasted, 1),
        outcome=outcome(record),
        cause=record.cause,
        sip_status=record.status or None,
        ended_by=record.ended_by,
        detail=record.detail,
        times=record.times,
        source=record.source,
        message_s=None if record.message_s is None else round(record.message_s, 1),
        other_trunks=[
            m.Attempt(trunk=each.trunk, cause=each.cause, status=each.status, video=each.video)
            for each in record.attempts
        ],
        statistics=record.statistics,
    )


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
