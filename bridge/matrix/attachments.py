# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in messages, encrypted where their room is (AES-CTR, as the specification has it)."""

from collections.abc import Mapping
from typing import Any, Final

from bridge.call.ids import UserId
from bridge.errors import NotDone
from bridge.matrix.repository import Repository, TooLarge, size_of

_BINARY: Final = "application/octet-stream"
_TOO_LARGE: Final = "That file is too large."
_UNREADABLE: Final = "I cannot read that file."


async def attach(
    repository: Repository, user: UserId, data: bytes, kind: str, *, encrypted: bool
) -> dict[str, Any]:
    """Upload a file; gives what names it in a message. Raises `HomeserverError`."""
    if not encrypted:
        return {"url": await repository.upload(user, data, kind)}
    from mautrix.crypto.attachments import encrypt_attachment

    sealed, named = encrypt_attachment(data)
    address = await repository.upload(user, sealed, _BINARY)
    return {"file": {**named.serialize(), "url": address}}


async def fetch(repository: Repository, content: Mapping[str, Any], most: int) -> bytes:
    """The file of a message. Raises `HomeserverError`, or NotDone with a sentence."""
    if size_of(content) > most:
        raise NotDone(_TOO_LARGE)
    file = content.get("file")
    address = file.get("url") if isinstance(file, dict) else content.get("url")
    if not isinstance(address, str):
        raise NotDone(_UNREADABLE)
    try:
        data = await repository.download(address, most)
    except TooLarge as error:
        raise NotDone(_TOO_LARGE) from error
    return _opened(data, file) if isinstance(file, dict) else data


def _opened(data: bytes, file: Mapping[str, Any]) -> bytes:
    from mautrix.crypto.attachments import decrypt_attachment
    from mautrix.errors import DecryptionError

    try:
        return decrypt_attachment(data, file["key"]["k"], file["hashes"]["sha256"], file["iv"])
    except (DecryptionError, KeyError, TypeError, ValueError) as error:
        raise NotDone(_UNREADABLE) from error
