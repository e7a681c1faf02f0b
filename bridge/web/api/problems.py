# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a request is not done, for the program that sent it (RFC 9457)."""

from collections.abc import Mapping, Sequence
from enum import Enum
from http import HTTPStatus

from aiohttp import web

from bridge.web.api.models import FieldProblem, Problem

CONTENT_TYPE = "application/problem+json"


class Kind(Enum):
    """Kinds of problems: the end of `type`, the status and the title."""

    MALFORMED = ("malformed", 400, "The body is no JSON")
    UNAUTHORIZED = ("unauthorized", 401, "The token is wanted")
    FORBIDDEN = ("forbidden", 403, "This token may only read")
    NOT_FOUND = ("not-found", 404, "There is no such thing")
    NOT_ALLOWED = ("method-not-allowed", 405, "That cannot be done here")
    CONFLICT = ("conflict", 409, "It contradicts how things stand")
    TOO_LARGE = ("too-large", 413, "The body is too large")
    NO_JSON = ("unsupported-media-type", 415, "The body has to be JSON")
    INVALID = ("invalid", 422, "The request is not as the document says")
    TOO_MANY = ("too-many-tries", 429, "There were too many wrong tokens")
    FAULT = ("fault", 500, "The bridge did something wrong")
    AWAY = ("unavailable", 503, "That is not possible now")

    def __init__(self, end: str, status: int, title: str) -> None:
        self.type = f"urn:matrix-sip:problem:{end}"
        self.status = status
        self.title = title


BY_STATUS: Mapping[int, Kind] = {kind.status: kind for kind in Kind}


class Refused(Exception):
    """A request that is not done. `errors`: fields and what is wrong with each."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        cause: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.headers = headers or {}
        self.problem = Problem(
            type=kind.type,
            title=kind.title,
            status=kind.status,
            detail=detail,
            errors=[FieldProblem(field=field, detail=text) for field, text in errors],
            cause=cause,
        )


def answer(refused: Refused) -> web.Response:
    """What is sent."""
    return web.Response(
        status=refused.kind.status,
        text=refused.problem.model_dump_json(exclude_defaults=True) + "\n",
        content_type=CONTENT_TYPE,
        headers=refused.headers,
    )


def of_http(error: web.HTTPException) -> Refused:
    """The same for what aiohttp found."""
    kind = BY_STATUS.get(error.status, Kind.FAULT if error.status >= 500 else Kind.MALFORMED)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Refused(kind, HTTPStatus(error.status).phrase + ".", headers=headers)
