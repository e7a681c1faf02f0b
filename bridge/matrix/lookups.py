# SPDX-License-Identifier: GPL-3.0-or-later
"""The dial pad: third-party lookups, by which clients find the ghost of what somebody typed.

Application Service API, "Third-party networks". Element Web asks for `m.protocol.pstn`, iOS for
`im.vector.protocol.pstn`, Android for either. A homeserver does not say who asks: what is answered
is what anybody could reach, and whether they may call is decided when they do.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web

from bridge.call.ids import Address
from bridge.errors import RemoteError
from bridge.matrix.homeserver import Patience
from bridge.matrix.portals import Portals
from bridge.numbers import dialled
from bridge.ports import PortalStore

log = structlog.get_logger(__name__)

PROTOCOLS: Final = ("m.protocol.pstn", "im.vector.protocol.pstn")
PROTOCOL_PATH: Final = "/thirdparty/protocol/"
_PREFIXES: Final = ("/_matrix/app/v1", "/_matrix/app/unstable", "")
"""Today's paths, and those of before Application Service API 1.0, which some servers still use."""
_FIELD: Final = "m.id.phone"
_ANSWER_TIME: Final = 15.0
"""Seconds within which a ghost is made, or the lookup fails: somebody is watching."""
_MINUTE: Final = 60.0
NEW_GHOSTS: Final = 60
"""Ghosts that lookups make within a minute at most: anybody on the homeserver may ask."""

DESCRIPTION: Final[dict[str, Any]] = {
    "user_fields": [_FIELD],
    "location_fields": [],
    "icon": "",
    "field_types": {_FIELD: {"regexp": ".+", "placeholder": "+12025550123"}},
    # Clients list instances as directories of public rooms; there are none.
    "instances": [],
}
"""What a protocol looks like. Synapse wants the list and keeps the reply, or its lack, an hour."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """What was typed leads nowhere; `reason` is for the log."""

    reason: str


Dial = Callable[[str], Address | Unreachable]
"""Reads what somebody typed and says where it leads."""


class Lookups:
    """Answers the homeserver's questions. `authorised` tells whether it is the homeserver's."""

    def __init__(
        self,
        *,
        dial: Dial,
        portals: Portals,
        store: PortalStore,
        authorised: Callable[[web.Request], bool],
        patience: Patience,
    ) -> None:
        self._dial = dial
        self._portals = portals
        self._store = store
        self._authorised = authorised
        self._patience = patience
        self._made: deque[float] = deque()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve; before the application starts."""
        for prefix in _PREFIXES:
            router.add_get(prefix + PROTOCOL_PATH + "{protocol}", self._protocol)
            router.add_get(prefix + "/thirdparty/user/{protocol}", self._user)
            router.add_get(prefix + "/thirdparty/user", self._reverse)
            router.add_get(prefix + "/thirdparty/location/{protocol}", self._nowhere)
            router.add_get(prefix + "/thirdparty/location", self._nowhere)

    async def _protocol(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response(DESCRIPTION)

    async def _user(self, request: web.Request) -> web.Response:
        protocol = self._check(request)
        address = await self._find(request.query.get(_FIELD, ""))
        if address is None:
            return web.json_response([])
        return web.json_response([self._entry(protocol, address)])

    async def _reverse(self, request: web.Request) -> web.Response:
        self._check(request)
        address = self._portals.address_of(request.query.get("userid", ""))
        found = [] if address is None else [self._entry(PROTOCOLS[0], address)]
        return web.json_response(found)

    async def _nowhere(self, request: web.Request) -> web.Response:
        """No room is an address."""
        self._check(request)
        return web.json_response([])

    async def _find(self, text: str) -> Address | None:
        """The address that was typed, once its ghost is there; None if it leads nowhere."""
        reached = self._dial(text)
        if isinstance(reached, Unreachable):
            log.info("dial pad: leads nowhere", reason=reached.reason)
            return None
        if not await self._may_make(reached):
            log.warning("dial pad: too many new numbers within a minute", limit=NEW_GHOSTS)
            return None
        deadline = self._patience.clock() + _ANSWER_TIME
        try:
            async with asyncio.timeout(_ANSWER_TIME):
                ghost = await self._patience.persist(
                    lambda: self._portals.ensure_ghost(reached), lambda: deadline
                )
        except (RemoteError, TimeoutError) as error:
            log.warning("dial pad: no ghost", address=reached, reason=str(error) or "too slow")
            return None
        log.info("dial pad", address=reached, ghost=ghost)
        return reached

    async def _may_make(self, address: Address) -> bool:
        if await self._store.ghost_name(address) is not None:
            return True
        now = self._patience.clock()
        while self._made and self._made[0] <= now - _MINUTE:
            self._made.popleft()
        if len(self._made) >= NEW_GHOSTS:
            return False
        self._made.append(now)
        return True

    def _entry(self, protocol: str, address: Address) -> dict[str, Any]:
        return {
            "userid": self._portals.ghosts.user_id(address),
            "protocol": protocol,
            "fields": {_FIELD: dialled(address)},
        }

    def _check(self, request: web.Request) -> str:
        """The protocol asked for; raises the refusal of a stranger, or of a protocol not ours."""
        if not self._authorised(request):
            raise _refusal(web.HTTPUnauthorized, "M_UNKNOWN_TOKEN", "Invalid auth token")
        protocol = request.match_info.get("protocol", "")
        if protocol and protocol not in PROTOCOLS:
            raise _refusal(web.HTTPNotFound, "M_NOT_FOUND", f"No protocol {protocol[:64]}")
        return protocol


def _refusal(kind: type[web.HTTPError], errcode: str, message: str) -> web.HTTPError:
    body = web.json_response({"errcode": errcode, "error": message}).text
    return kind(text=body, content_type="application/json")
