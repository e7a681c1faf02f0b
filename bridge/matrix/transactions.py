# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the homeserver's transactions arrive."""

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from mautrix.appservice import AppService, ASStateStore
from mautrix.client.state_store import MemoryStateStore
from mautrix.types import DeviceID, DeviceLists, DeviceOTKCount
from mautrix.types import UserID as MautrixUserId

from bridge import config
from bridge.call.ids import UserId
from bridge.errors import StoreUnavailable
from bridge.matrix.encryption.seam import KeyTraffic
from bridge.matrix.lookups import PROTOCOL_PATH

log = structlog.get_logger(__name__)

_LARGEST_TRANSACTION: Final = 64 << 20
"""Bytes: a hundred events of 64 KiB, and what else may come along. aiohttp allows 1 MiB."""


async def _nothing(_: KeyTraffic) -> None:
    pass


class _StateStore(MemoryStateStore, ASStateStore):
    """mautrix insists on one; the bridge asks the homeserver instead of trusting it."""

    def __init__(self) -> None:
        MemoryStateStore.__init__(self)
        ASStateStore.__init__(self)


class _Forgetful(set[str]):
    """Transaction ids, forgotten at once.

    mautrix drops a transaction whose id it has seen in this run. Synapse on SQLite counts from 1
    again after each of its own restarts, so that would be new events. Repeated ones are known by
    their event ids.
    """

    def add(self, transaction: str, /) -> None:
        pass


class Transactions(AppService):
    """An application service that hands on events raw, in order, and acknowledges them after that.

    mautrix would parse them (and so lose the negotiate events of some clients, and every `age`)
    and run a task for each (and so lose their order).
    """

    def __init__(
        self,
        homeserver: config.Homeserver,
        appservice: config.AppService,
        receive: Callable[[list[Any]], Awaitable[None]],
        query_user: Callable[[str], Awaitable[dict[str, Any] | None]],
        receive_keys: Callable[[KeyTraffic], Awaitable[None]] = _nothing,
    ) -> None:
        with warnings.catch_warnings():
            # mautrix passes a loop to aiohttp, which has deprecated that.
            warnings.simplefilter("ignore", DeprecationWarning)
            super().__init__(
                homeserver.address,
                homeserver.domain,
                appservice.as_token.get_secret_value(),
                appservice.hs_token.get_secret_value(),
                appservice.bot_localpart,
                appservice.id,
                loop=asyncio.get_running_loop(),
                log=logging.getLogger("mau.appservice"),
                query_user=cast(Any, query_user),  # mautrix's hint is not what it calls
                state_store=_StateStore(),
                encryption_events=True,
                aiohttp_params={
                    "client_max_size": _LARGEST_TRANSACTION,
                    "middlewares": [self._turn_away],
                },
            )
        self.transactions = _Forgetful()
        self._receive = receive
        self._receive_keys = receive_keys
        self._failed: set[str] = set()
        self._taking = False

    def take(self) -> None:
        """From now on take transactions and questions; before, the homeserver has to wait."""
        self._taking = True

    def turn_away(self) -> None:
        """Take no more transactions; the homeserver will bring them again after the restart."""
        self._taking = False

    def authorised(self, request: web.Request) -> bool:
        """Whether a request is the homeserver's: it has the token."""
        return self._check_token(request)

    async def handle_transaction(
        self,
        txn_id: str,
        *,
        events: list[Any],
        extra_data: Any,
        ephemeral: list[Any] | None = None,
        to_device: list[Any] | None = None,
        otk_counts: dict[MautrixUserId, dict[DeviceID, DeviceOTKCount]] | None = None,
        device_lists: DeviceLists | None = None,
    ) -> Any:
        """Called by mautrix for each transaction. Keys come first: the events may need them."""
        traffic = KeyTraffic(
            to_device=[each for each in to_device or () if isinstance(each, dict)],
            changed=[UserId(str(each)) for each in (device_lists.changed if device_lists else ())],
            one_time_keys={
                UserId(str(user)): {str(d): n.signed_curve25519 for d, n in devices.items()}
                for user, devices in (otk_counts or {}).items()
            },
        )
        try:
            await self._receive_keys(traffic)
        except StoreUnavailable as error:
            self._failed.add(txn_id)
            log.warning("keys not kept; the homeserver has to bring them again", reason=str(error))
            return {}
        except Exception:
            # The same would go wrong the next time, and nothing else would ever come.
            log.exception("keys could not be taken")
        await self._receive(events)
        return {}

    async def _http_handle_transaction(self, request: web.Request) -> web.Response:
        """mautrix acknowledges whatever happens; a key that was not kept must come again."""
        response: web.Response = await super()._http_handle_transaction(request)
        transaction = request.match_info["transaction_id"]
        if transaction in self._failed:
            self._failed.discard(transaction)
            raise web.HTTPServiceUnavailable
        return response

    @web.middleware
    async def _turn_away(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Synapse would take a missing description for a lack of the dial pad, for an hour.
        if not self._taking and PROTOCOL_PATH not in request.path:
            raise web.HTTPServiceUnavailable
        return await handler(request)
