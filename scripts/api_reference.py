# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference page of the API, and its document, written from `bridge/web/api/table.py`."""

import json
import re
from collections.abc import Iterator
from typing import get_args, get_origin

from pydantic.fields import FieldInfo

from bridge.config import describe
from bridge.config.base import Section
from bridge.web.api import models as m
from bridge.web.api.access import Scope
from bridge.web.api.document import document
from bridge.web.api.events import EVENTS
from bridge.web.api.problems import Kind
from bridge.web.api.table import ENDPOINTS, PREFIX, Endpoint

_HEAD = f"""\
# The API

Written by `scripts/write_reference.py` from `bridge/web/api/table.py` and the models there.

For programs that provision the bridge; [how to use it](../how-to/provisioning.md). All addresses
begin with `{PREFIX}`, on the listener of `web`. The same as an OpenAPI 3.1 document:
[openapi.json](openapi.json), which a bridge serves at `{PREFIX}/openapi.json`.

Bodies are JSON, in and out. What a document does not know, in a body or a query, is refused. Times
are as RFC 3339 has them, those that are answered in UTC.
"""
_PROBLEMS = """\
## Problems

Answers with a status from 400 on are `application/problem+json` (RFC 9457): `type`, `title`,
`status`, `detail`; `errors` with `field` and `detail` (what is wrong, and what is wanted) where
parts of the request are to blame; and `cause` where a call cannot be, as in [causes](causes.md).

| status | `type` | meaning |
|---|---|---|
"""
_LISTS = "Lists of them are in `accounts`, `routes`, `permissions` or `calls` of what is answered."
_OBJECTS = (m.Account, m.OutboundRoute, m.InboundRoute, m.Explained, m.PermissionEntry, m.Call)
_LINE = re.compile(r" matching \^\[\^\\u0000\S+")
_EVENTS = """\
## Events

`GET /events` answers with server-sent events: `id`, `event` (the type) and `data`, which is JSON. A
program that comes back with the last `id`, as `Last-Event-ID` or `?after=`, gets what it missed:
the last 1000 events are kept, until the bridge is started anew. Where some are lost, the first
event is a `gap`. While nothing happens, a comment comes every 15 seconds; after an hour a stream
ends.

"""


def api_reference() -> str:
    """The page."""
    lines = [_HEAD, "| request | wants | what |", "|---|---|---|"]
    lines += [_row(endpoint) for endpoint in ENDPOINTS]
    for endpoint in ENDPOINTS:
        lines += ["", *_section(endpoint)]
    lines += ["", "## Objects", "", _LISTS]
    for model in _OBJECTS:
        lines += ["", f"### {model.__name__}", "", _first(model), "", *_fields(model)]
    lines += ["", _EVENTS.rstrip()]
    for event in EVENTS:
        types = describe.field_wanted(event.model_fields["type"])
        lines += ["", f"### {types}", "", _first(event)]
        if len(event.model_fields) > 1:
            lines += ["", *_fields(event, leave_out="type")]
    rows = [f"| {kind.status} | `{kind.type}` | {kind.title}. |" for kind in Kind]
    lines += ["", _PROBLEMS.rstrip(), *rows]
    return "\n".join(lines) + "\n"


def api_document() -> str:
    """The OpenAPI document."""
    return json.dumps(document(ENDPOINTS), indent=1) + "\n"


def _row(endpoint: Endpoint) -> str:
    token = "either token" if endpoint.scope is Scope.READ else "`write_token`"
    link = f"[`{endpoint.method} {endpoint.path}`](#{_anchor(endpoint)})"
    return f"| {link} | {token} | {endpoint.summary} |"


def _anchor(endpoint: Endpoint) -> str:
    heading = f"{endpoint.method} {endpoint.path}".lower().replace(" ", "-")
    return "".join(each for each in heading if each.isalnum() or each in "-_")


def _section(endpoint: Endpoint) -> Iterator[str]:
    yield f"## {endpoint.method} {endpoint.path}"
    yield ""
    yield f"{endpoint.summary}." + (f" {endpoint.about}" if endpoint.about else "")
    for heading, model in (("query", endpoint.query), ("body", endpoint.body)):
        if model:
            yield from ("", *_fields(model, heading))
    answers = [
        f"{status}" + (f" `{model.__name__}`" if model else "")
        for status, model in endpoint.answers.items()
    ]
    problems = " ".join(str(kind.status) for kind in endpoint.kinds)
    yield from ("", f"Answers {', '.join(answers)}; problems {problems}.")


def _fields(model: type[Section], heading: str = "field", leave_out: str = "") -> Iterator[str]:
    yield from (f"| {heading} | wanted | meaning |", "|---|---|---|")
    for name, field in model.model_fields.items():
        if name == leave_out:
            continue
        wanted = _LINE.sub("", _wanted(field)).replace("|", "\\|")
        needed = "" if not field.is_required() or heading == "field" else "; required"
        yield f"| `{name}` | {wanted}{needed} | {_told(field)} |"


def _wanted(field: FieldInfo) -> str:
    """Of a list, what is in it."""
    if get_origin(field.annotation) is not list:
        return describe.field_wanted(field)
    (inner,) = get_args(field.annotation)
    if isinstance(inner, type) and issubclass(inner, Section):
        return f"list of `{inner.__name__}`"
    return f"list of {describe.wanted(inner)}"


def _told(field: FieldInfo) -> str:
    return str(field.description or "").replace("|", "\\|")


def _first(model: type[Section]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
