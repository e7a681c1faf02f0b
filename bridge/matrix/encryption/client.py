# SPDX-License-Identifier: GPL-3.0-or-later
"""How mautrix's Olm machine speaks to the homeserver as one of our users."""

from typing import Any, Final

from mautrix.api import HTTPAPI, Method, Path
from mautrix.appservice import AppService
from mautrix.client import ClientAPI
from mautrix.types import DeviceID
from mautrix.types import UserID as MautrixUserId

from bridge.call.ids import UserId
from bridge.matrix.homeserver import translated

_TIME: Final = 15.0
"""Seconds for a reply; keys of people elsewhere come from their homeservers."""


class _Api(HTTPAPI):
    """Errors become ours, and nothing waits for ever."""

    async def request(self, *args: Any, **kwargs: Any) -> Any:
        """As mautrix; raises `Unavailable` or `Refused`."""
        async with translated(_TIME):
            return await super().request(*args, **kwargs)


def device_api(appservice: AppService, user: UserId, device: str) -> HTTPAPI:
    """Requests as a user and device of ours, on the connections that all of them share."""
    return _Api(
        appservice.intent.api.base_url,
        appservice.as_token,
        client_session=appservice.http_session,
        log=appservice.intent.api.log,
        as_user_id=MautrixUserId(user),
        # mautrix sends it as `device_id` too, the only name that Synapse heeds (MSC4326).
        as_device_id=DeviceID(device),  # type: ignore[arg-type]  # mautrix says UserID
    )


class DeviceClient(ClientAPI):
    """A user and a device of ours."""

    def __init__(self, api: HTTPAPI, user: UserId, device: str) -> None:
        super().__init__(MautrixUserId(user), DeviceID(device), api=api)

    async def make_device(self, name: str) -> None:
        """Make this device (MSC4190); harmless if it exists."""
        api = self.api
        before, api.as_device_id = api.as_device_id, None  # Nobody can act as what is not there.
        try:
            await api.request(Method.PUT, Path.v3.devices[self.device_id], {"display_name": name})
        finally:
            api.as_device_id = before

    def add_event_handler(self, *_: Any, **__: Any) -> None:
        """mautrix's machine listens to a sync; ours is told what comes with transactions."""

    def dispatch_event(self, *_: Any, **__: Any) -> None:
        """Olm messages that are not keys concern nobody."""
