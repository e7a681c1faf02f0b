# SPDX-License-Identifier: GPL-3.0-or-later
"""The homeserver's media repository: files up and down."""

import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import ClientError
from mautrix.api import HTTPAPI, Method, Path
from mautrix.appservice import AppService
from mautrix.types import UserID as MautrixUserId

from bridge.call.ids import UserId
from bridge.matrix import pacing
from bridge.matrix.homeserver import HomeserverError, Refused, Unavailable, translated

_TIME: Final = 120.0
"""Seconds for a file."""
_MXC: Final = re.compile(r"mxc://([^/\s]+)/([A-Za-z0-9_-]+)")
_UPLOAD: Final = "/_matrix/media/v3/upload"


class TooLarge(HomeserverError):
    """A file is larger than it may be."""


class Repository:
    """Files of the homeserver, through the application service's token."""

    def __init__(self, appservice: AppService) -> None:
        self._appservice = appservice

    async def limit(self) -> int | None:
        """Octets that a file may have (`m.upload.size`); None if it does not say."""
        api = self._appservice.intent.api
        for path in (Path.v1.media.config, "/_matrix/media/v3/config"):
            try:
                async with translated(_TIME):
                    reply = await api.request(Method.GET, path)
            except Refused:  # Before Matrix 1.11, only the second is there.
                continue
            size = reply.get("m.upload.size") if isinstance(reply, dict) else None
            return size if isinstance(size, int) and size > 0 else None
        return None

    async def upload(self, user: UserId, data: bytes, kind: str) -> str:
        """Keep a file of `user`; gives its `mxc:` address. Raises `HomeserverError`."""
        pacing.watch(self._appservice.http_session)
        api: HTTPAPI = self._appservice.intent.api.user(MautrixUserId(user))
        async with translated(_TIME):
            reply = await api.request(Method.POST, _UPLOAD, data, headers={"Content-Type": kind})
        address = reply.get("content_uri") if isinstance(reply, dict) else None
        if not isinstance(address, str):
            raise Refused("the reply lacks content_uri", status=200, errcode="")
        return address

    async def download(self, address: str, most: int) -> bytes:
        """A file of at most so many octets. Raises `HomeserverError`, `TooLarge` among them."""
        named = _MXC.fullmatch(address)
        if named is None:
            raise Refused(f"{address!r} is not the address of a file", status=400, errcode="")
        server, media = named.groups()
        try:
            return await self._get(f"/_matrix/client/v1/media/download/{server}/{media}", most)
        except Refused:  # Before Matrix 1.11, files needed no token.
            return await self._get(f"/_matrix/media/v3/download/{server}/{media}", most)

    async def _get(self, path: str, most: int) -> bytes:
        api = self._appservice.intent.api
        headers = {"Authorization": f"Bearer {api.token}"}
        try:
            async with (
                translated(_TIME),
                self._appservice.http_session.get(
                    api.base_url.with_path(path), headers=headers
                ) as response,
            ):
                if response.status != 200:
                    raise _refusal(response.status)
                data = bytearray()
                async for part in response.content.iter_any():
                    data += part
                    if len(data) > most:
                        raise TooLarge(f"more than {most} octets")
                return bytes(data)
        except ClientError as error:
            raise Unavailable(str(error)) from error


def _refusal(status: int) -> HomeserverError:
    message = f"HTTP {status}"
    if status == 429 or status >= 500:
        return Unavailable(message)
    return Refused(message, status=status, errcode="")


def size_of(content: Mapping[str, Any]) -> int:
    """How large a message says that its file is; 0 if it does not."""
    info = content.get("info")
    size = info.get("size") if isinstance(info, dict) else None
    return size if isinstance(size, int) else 0
