# SPDX-License-Identifier: GPL-3.0-or-later
"""All endpoints of the API, as data: the server serves this, and the document says the same."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from bridge.config import Section
from bridge.web.api import models as m
from bridge.web.api.access import Scope
from bridge.web.api.handlers import accounts, calls, permissions, routes
from bridge.web.api.handlers.reply import Reply
from bridge.web.api.problems import Kind

PREFIX: Final = "/api/v1"
Handler = Callable[..., Awaitable[Reply]]
"""Takes the backend, and by name what the endpoint's models have read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One of them. `handler`: None for the stream, which the server itself writes."""

    method: Literal["GET", "PUT", "POST", "DELETE"]
    path: str
    name: str
    """Its `operationId`."""
    summary: str
    about: str = ""
    handler: Handler | None
    scope: Scope = Scope.READ
    parameters: type[Section] | None = None
    """What stands in the path."""
    query: type[Section] | None = None
    body: type[Section] | None = None
    answers: Mapping[int, type[Section] | None] = field(default_factory=dict)
    errors: Sequence[Kind] = ()
    """Those that not every endpoint may have."""
    links: Sequence[tuple[str, str]] = ()
    """Endpoints that what is answered leads to: by name, with the parameter that both have."""

    @property
    def tag(self) -> str:
        """What it is about."""
        return self.path.split("/")[1]

    @property
    def kinds(self) -> Sequence[Kind]:
        """All problems that it may answer with."""
        every = [Kind.UNAUTHORIZED, Kind.TOO_MANY, Kind.FAULT, Kind.AWAY, *self.errors]
        if self.scope is Scope.WRITE:
            every.append(Kind.FORBIDDEN)
        if self.body:
            every += [Kind.MALFORMED, Kind.TOO_LARGE, Kind.NO_JSON]
        if self.body or self.query or self.parameters:
            every.append(Kind.INVALID)
        return sorted(every, key=lambda kind: kind.status)


_RULES: Final = (
    "Rules are tried in order: first those set here, by priority and name, then those of the "
    "configuration, which are to read only. One that was set here and does not fit the "
    "configuration any more is not `in_force`, and its `problems` say why."
)
_LOGIN: Final = (
    "The same as the bot's `login`: the server must be one of `accounts.servers`, and the person "
    "one who may have calls. The account is tried first, which takes as long as the registrar "
    "does, at most 20 seconds; if it refuses, that is the answer, and the account of before is "
    "kept."
)
_PUT_RULE: Final = (
    "In force at once, for calls that begin from now on; kept in the database. A rule that "
    "contradicts the settings (no such trunk, somebody who may not be called) is a conflict."
)


def _of_rules(
    kind: Literal["outbound", "inbound"],
    summary: str,
    calls: str,
    handlers: tuple[Handler, Handler, Handler, Handler],
    models: tuple[type[Section], type[Section], type[Section]],
) -> Sequence[Endpoint]:
    """Those of one kind of rules.

    `handlers`: to list, get, put and delete; `models`: of all, one, and what is set.
    """
    list_them, get, put, delete = handlers
    every, one, settings = models
    path, named = f"/routes/{kind}", f"/routes/{kind}/{{name}}"
    return (
        Endpoint(
            method="GET",
            path=path,
            name=f"list_{kind}",
            summary=summary,
            about=_RULES,
            handler=list_them,
            answers={200: every},
        ),
        Endpoint(
            method="GET",
            path=named,
            name=f"get_{kind}",
            summary="One rule",
            handler=get,
            parameters=m.RulePath,
            answers={200: one},
            errors=[Kind.NOT_FOUND],
        ),
        Endpoint(
            method="PUT",
            path=named,
            name=f"put_{kind}",
            summary=f"Set a rule for {calls}",
            about=_PUT_RULE,
            handler=put,
            scope=Scope.WRITE,
            parameters=m.RulePath,
            body=settings,
            answers={200: one, 201: one},
            errors=[Kind.CONFLICT],
            links=[(f"{verb}_{kind}", "name") for verb in ("get", "delete")],
        ),
        Endpoint(
            method="DELETE",
            path=named,
            name=f"delete_{kind}",
            summary="Delete a rule that was set here",
            handler=delete,
            scope=Scope.WRITE,
            parameters=m.RulePath,
            answers={204: None},
            errors=[Kind.NOT_FOUND, Kind.CONFLICT],
        ),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/accounts",
        name="list_accounts",
        summary="People's own SIP accounts",
        handler=accounts.list_accounts,
        answers={200: m.Accounts},
    ),
    Endpoint(
        method="GET",
        path="/accounts/{person}",
        name="get_account",
        summary="One person's account, and how its registration stands",
        handler=accounts.get_account,
        parameters=m.PersonPath,
        answers={200: m.Account},
        errors=[Kind.NOT_FOUND],
    ),
    Endpoint(
        method="PUT",
        path="/accounts/{person}",
        name="put_account",
        summary="Log a person in to a SIP account",
        about=_LOGIN,
        handler=accounts.put_account,
        scope=Scope.WRITE,
        parameters=m.PersonPath,
        body=m.AccountSettings,
        answers={200: m.Account, 201: m.Account},
        errors=[Kind.NOT_FOUND, Kind.CONFLICT],
        links=[("get_account", "person"), ("delete_account", "person")],
    ),
    Endpoint(
        method="DELETE",
        path="/accounts/{person}",
        name="delete_account",
        summary="Log a person out, and forget the account",
        handler=accounts.delete_account,
        scope=Scope.WRITE,
        parameters=m.PersonPath,
        answers={204: None},
        errors=[Kind.NOT_FOUND],
    ),
    *_of_rules(
        "outbound",
        "Where calls from Matrix go",
        "calls from Matrix",
        (
            routes.list_outbound,
            routes.get_outbound,
            routes.put_outbound,
            routes.delete_outbound,
        ),
        (m.OutboundRoutes, m.OutboundRoute, m.OutboundSettings),
    ),
    *_of_rules(
        "inbound",
        "Whom calls from SIP ring",
        "calls from SIP",
        (
            routes.list_inbound,
            routes.get_inbound,
            routes.put_inbound,
            routes.delete_inbound,
        ),
        (m.InboundRoutes, m.InboundRoute, m.InboundSettings),
    ),
    Endpoint(
        method="GET",
        path="/routes/explain",
        name="explain_route",
        summary="Which rules a call would meet, and what would become of it",
        about="Nobody is called: the same as `matrix-sip route`.",
        handler=routes.explain_route,
        query=m.ExplainQuery,
        answers={200: m.Explained},
        errors=[Kind.CONFLICT],
    ),
    Endpoint(
        method="GET",
        path="/permissions",
        name="list_permissions",
        summary="Who may do what",
        about="Of those in force, the most exact one counts for a person: that for their Matrix "
        "id, else for their server, else for `*`. What is set here counts instead of what the "
        "configuration says for the very same entry.",
        handler=permissions.list_permissions,
        answers={200: m.Permissions},
    ),
    Endpoint(
        method="GET",
        path="/permissions/{who}",
        name="get_permission",
        summary="The entry that is in force for a Matrix id, a server name, or `*`",
        handler=permissions.get_permission,
        parameters=m.WhoPath,
        answers={200: m.PermissionEntry},
        errors=[Kind.NOT_FOUND],
    ),
    Endpoint(
        method="PUT",
        path="/permissions/{who}",
        name="put_permission",
        summary="Set what somebody may do",
        about="In force at once, for calls that begin from now on.",
        handler=permissions.put_permission,
        scope=Scope.WRITE,
        parameters=m.WhoPath,
        body=m.PermissionSettings,
        answers={200: m.PermissionEntry, 201: m.PermissionEntry},
        links=[("get_permission", "who"), ("delete_permission", "who")],
    ),
    Endpoint(
        method="DELETE",
        path="/permissions/{who}",
        name="delete_permission",
        summary="Delete what was set here: the configuration counts again",
        handler=permissions.delete_permission,
        scope=Scope.WRITE,
        parameters=m.WhoPath,
        answers={204: None},
        errors=[Kind.NOT_FOUND],
    ),
    Endpoint(
        method="GET",
        path="/calls",
        name="list_calls",
        summary="Calls that are not over",
        handler=calls.list_calls,
        answers={200: m.Calls},
    ),
    Endpoint(
        method="POST",
        path="/calls",
        name="start_call",
        summary="Start a call",
        about="The person is rung by a call from the number; as soon as they answer, the number "
        "is dialled, and they hear it ring. It counts, and is limited, as if they had placed it. "
        "Who may not call it, or has a call with it, gets a conflict, whose `cause` says why.",
        handler=calls.start_call,
        scope=Scope.WRITE,
        body=m.CallRequest,
        answers={201: m.Call},
        errors=[Kind.CONFLICT],
        links=[("get_call", "call"), ("hang_up", "call")],
    ),
    Endpoint(
        method="GET",
        path="/calls/{call}",
        name="get_call",
        summary="One call, also after its end",
        handler=calls.get_call,
        parameters=m.CallPath,
        answers={200: m.Call},
        errors=[Kind.NOT_FOUND],
    ),
    Endpoint(
        method="POST",
        path="/calls/{call}/hangup",
        name="hang_up",
        summary="End a call on both sides",
        about="Who does, and why, goes into its record (`detail`). It may take a moment until it "
        "has ended.",
        handler=calls.hang_up,
        scope=Scope.WRITE,
        parameters=m.CallPath,
        body=m.HangUp,
        answers={202: m.Call},
        errors=[Kind.NOT_FOUND, Kind.CONFLICT],
    ),
    Endpoint(
        method="GET",
        path="/records",
        name="list_records",
        summary="Calls that were looked for",
        about="The same filters as the admin page and its exports. With `next` of one answer as "
        "`after`, the following is answered.",
        handler=calls.list_records,
        query=m.RecordsQuery,
        answers={200: m.Records},
    ),
    Endpoint(
        method="GET",
        path="/events",
        name="follow_events",
        summary="What happens, as it happens",
        about="Server-sent events. `data` is JSON, one of the schemas CallEvent, CallEnded, "
        "TrunkEvent, AccountEvent and Gap; `id` is for coming back (`Last-Event-ID`, or `after`): "
        "the last 1000 are kept. If some are lost, the first is a `gap`. A comment comes every 15 "
        "seconds when nothing else does.",
        handler=None,
        query=m.EventsQuery,
        answers={200: None},
    ),
)
