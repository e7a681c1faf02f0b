# SPDX-License-Identifier: GPL-3.0-or-later
"""Which programs may do what: those that have the one token read, those with the other write."""

from collections.abc import Callable
from enum import IntEnum

import structlog
from aiohttp import web

from bridge.web.access import same
from bridge.web.api.problems import Kind, Refused
from bridge.web.tries import Tries

log = structlog.get_logger(__name__)


class Scope(IntEnum):
    """What a token lets a program do; the second includes the first."""

    READ = 1
    WRITE = 2


class Tokens:
    """Compares in constant time; who sends some wrong ones may not try for a while.

    `read` and `write`: one of them may be empty, which opens nothing. `wall` tells seconds since
    the epoch.
    """

    def __init__(self, read: str, write: str, wall: Callable[[], float]) -> None:
        self._tokens = {Scope.READ: read, Scope.WRITE: write}
        self._tries = Tries(wall)

    def require(self, scope: Scope, request: web.Request) -> None:
        """Raises Refused unless the request shows a token that is good for this."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("Send it as Authorization: Bearer TOKEN.")
        if wait := self._tries.closed_for(request.remote):
            headers = {"Retry-After": f"{wait + 1:.0f}"}
            raise Refused(Kind.TOO_MANY, f"Wait {wait + 1:.0f} seconds.", headers=headers)
        granted = self._granted(token.strip())
        if granted is None:
            if self._tries.wrong(request.remote):
                log.warning("api: a wrong token", source=request.remote)
            raise _unauthorized("That is not the token.")
        self._tries.right(request.remote)
        if granted < scope:
            raise Refused(Kind.FORBIDDEN, "Wanted: the token of api.write_token.")

    def _granted(self, token: str) -> Scope | None:
        # Each is compared, whichever it is.
        fits = [scope for scope, mine in self._tokens.items() if same(token, mine) and mine]
        return max(fits, default=None)


def _unauthorized(detail: str) -> Refused:
    return Refused(Kind.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})
