# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets at rest: sealed with a key that is in the configuration, not in the database."""

import asyncio
import base64
import secrets
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from mautrix.util.async_db import Database

from bridge.errors import ConfigurationError, LocalError

_VERSION: Final = "1:"
_NONCE: Final = 12
_SALT: Final = 16
# A key made by generate-config needs no stretching; a password that somebody typed does.
_SCRYPT_COST: Final = 2**14
_CHECK: Final = "matrix-sip"
_QUERY: Final = "SELECT salt, sealed FROM secret_check"


class UnsealError(LocalError):
    """A sealed text was changed, or belongs to another place or another key."""


class Sealer:
    """Seals texts (AES-256-GCM, NIST SP 800-38D) under a key that was stretched already."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(self._derive("seal", 32))

    def seal(self, text: str, place: str = "") -> str:
        """The text, unreadable without the key. `place` names where it is kept: it opens there
        alone, so that nobody who can write to the database moves secrets around.
        """
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, text.encode(), place.encode())
        return _VERSION + base64.urlsafe_b64encode(nonce + sealed).decode()

    def unseal(self, sealed: str, place: str = "") -> str:
        """What was sealed for this place. Raises `UnsealError`."""
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(_VERSION))
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], place.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise UnsealError(
                "a secret in the database cannot be read",
                remedy="database.secret_key must be the one that it was sealed with.",
            ) from error

    def derive(self, purpose: str) -> str:
        """A key for something else, as text; always the same for a purpose."""
        return base64.urlsafe_b64encode(self._derive(f"purpose {purpose}", 32)).decode()

    def _derive(self, info: str, length: int) -> bytes:
        # RFC 5869: keys that reveal nothing about each other.
        return HKDF(SHA256(), length, salt=None, info=info.encode()).derive(self._key)


async def open_sealer(database: Database, secret_key: str) -> Sealer:
    """The sealer of this database. Raises `ConfigurationError` if the key is another than before.

    A sealed check value is kept, so that a wrong key shows at the start and not in a call.
    """
    row = await database.fetchrow(_QUERY)
    if row is None:
        salt = secrets.token_bytes(_SALT)
        check = Sealer(await _stretch(secret_key, salt)).seal(_CHECK, "check")
        # Two processes may start at once: what is in the database counts.
        await database.execute(
            "INSERT INTO secret_check (id, salt, sealed) VALUES (1, $1, $2) "
            "ON CONFLICT (id) DO NOTHING",
            salt.hex(),
            check,
        )
        row = await database.fetchrow(_QUERY)
    if row is None:
        raise LocalError("the database does not keep what is written to it")
    return await _verified(row, secret_key)


async def check_key(database: Database, secret_key: str) -> None:
    """Whether this key opens the database; any will do for one in which nothing was sealed yet.

    Raises `ConfigurationError`.
    """
    row = await database.fetchrow(_QUERY)
    if row is not None:
        await _verified(row, secret_key)


async def _verified(row: Mapping[str, str], secret_key: str) -> Sealer:
    sealer = Sealer(await _stretch(secret_key, bytes.fromhex(row["salt"])))
    try:
        sealer.unseal(row["sealed"], "check")
    except UnsealError as error:
        raise ConfigurationError(
            "database.secret_key is not the key that the secrets in the database are sealed with",
            remedy="Set database.secret_key to the earlier value. If that is lost, encrypted rooms"
            " and SIP accounts cannot be recovered: start with an empty database.",
        ) from error
    return sealer


async def _stretch(secret_key: str, salt: bytes) -> bytes:
    # RFC 7914 section 2; takes 50 ms and 16 MiB, hence the thread.
    scrypt = Scrypt(salt=salt, length=32, n=_SCRYPT_COST, r=8, p=1)
    return await asyncio.to_thread(scrypt.derive, secret_key.encode())
