# SPDX-License-Identifier: GPL-3.0-or-later
"""Consent (RFC 7675): the checks that go on for as long as a call does, in both directions.

aioice does them as it does any other: a message is taken apart into objects and answered by
objects, and asking is a task with two timers. Here, what is as it was but for its number is
compared, signed and sent. Whatever differs is for aioice.
"""

import hmac
import os
import struct
from dataclasses import dataclass
from zlib import crc32

from aioice import stun

INTERVAL = 5.0
"""Seconds between two checks on the average (RFC 7675 5.1)."""
EXPIRY = 30.0
"""Seconds without an answer, after which nothing may be sent any more (RFC 7675 5.1)."""

REQUEST, RESPONSE = b"\x00\x01", b"\x01\x01"
"""How messages begin: Binding, as a request and as a response to one (RFC 8489 5)."""
_HEAD = struct.Struct("!2sHI12s")
"""The header: type, octets after the header, cookie, transaction."""
_INTEGRITY, _FINGERPRINT = b"\x00\x08\x00\x14", b"\x80\x28\x00\x04"
"""How the last two attributes begin, which have 20 and 4 octets (RFC 8489 14.5 and 14.7)."""
_ENDING = stun.INTEGRITY_LENGTH + stun.FINGERPRINT_LENGTH
_MAPPED = b"\x00\x20"
"""XOR-MAPPED-ADDRESS (RFC 8489 14.2)."""


def signed(kind: bytes, transaction: bytes, attributes: bytes, key: bytes) -> bytes:
    """A message with MESSAGE-INTEGRITY by `key`, and FINGERPRINT."""
    code = _code(kind, transaction, attributes, key)
    size = len(attributes) + _ENDING
    text = _HEAD.pack(kind, size, stun.COOKIE, transaction) + attributes + _INTEGRITY + code
    return text + _FINGERPRINT + _checksum(text)


def is_signed(message: bytes, key: bytes) -> bool:
    """Whether it ends like what `signed` makes, and is right."""
    if (
        len(message) < stun.HEADER_LENGTH + _ENDING
        or message[2:4] != (len(message) - stun.HEADER_LENGTH).to_bytes(2, "big")
        or message[-_ENDING:][:4] != _INTEGRITY
        or message[-8:-4] != _FINGERPRINT
        or message[-4:] != _checksum(message[:-8])
    ):
        return False
    code = _code(message[:2], message[8:20], attributes_of(message), key)
    return hmac.compare_digest(code, message[-28:-8])


def attributes_of(message: bytes) -> bytes:
    """What `signed` was given, of a message that ends like that."""
    return message[stun.HEADER_LENGTH : -_ENDING]


def _code(kind: bytes, transaction: bytes, attributes: bytes, key: bytes) -> bytes:
    """The code counts itself, but nothing behind it (RFC 8489 14.5)."""
    size = len(attributes) + stun.INTEGRITY_LENGTH
    text = _HEAD.pack(kind, size, stun.COOKIE, transaction) + attributes
    return hmac.digest(key, text, "sha1")


def _checksum(text: bytes) -> bytes:
    return (crc32(text) ^ stun.FINGERPRINT_XOR).to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Answered:
    """A check of the client's that aioice has answered, and would answer again."""

    address: tuple[str, int]
    controlling: bool
    """Our role then."""
    attributes: bytes
    """What it signed."""
    mapped: bytes
    """What we answered, if that is no matter of the transaction: the address, by IPv4."""

    @classmethod
    def of(cls, message: bytes, address: tuple[str, int], *, controlling: bool) -> "Answered":
        """A check that was just answered."""
        mapped = b"" if ":" in address[0] else _mapped(address, message[8:20])
        return cls(address, controlling, attributes_of(message), mapped)

    def fits(self, address: tuple[str, int], *, controlling: bool) -> bool:
        """Whether there and in this role it would be answered the same way."""
        return address == self.address and controlling == self.controlling

    def answer(self, message: bytes, key: bytes) -> bytes:
        """What to answer to the same check with another number; nothing, if it is not the same."""
        if (
            message[:2] != REQUEST
            or attributes_of(message) != self.attributes
            or not is_signed(message, key)
        ):
            return b""
        transaction = message[8:20]
        mapped = self.mapped or _mapped(self.address, transaction)
        return signed(RESPONSE, transaction, mapped, key)


def _mapped(address: tuple[str, int], transaction: bytes) -> bytes:
    """The attribute, as a whole."""
    value = stun.pack_xor_address(address, transaction)
    return _MAPPED + len(value).to_bytes(2, "big") + value


class Consent:
    """What the client has answered to our checks. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._until = 0.0
        self._key = b""
        self._asked: dict[bytes, float] = {}
        """Transactions that an answer may come to, and when they began."""

    def renew(self, now: float) -> None:
        """The client has answered."""
        self._until = now + EXPIRY

    def lasts(self, now: float) -> bool:
        """Whether we may send."""
        return now < self._until

    def ask(self, attributes: bytes, key: bytes, now: float) -> bytes:
        """The next check. An answer counts if it is signed with `key`."""
        transaction = os.urandom(12)
        self._key = key
        self._asked = {each: at for each, at in self._asked.items() if now < at + EXPIRY}
        self._asked[transaction] = now
        return signed(REQUEST, transaction, attributes, key)

    def take(self, message: bytes, now: float) -> bool:
        """Whether it is an answer to a check of ours; if it is signed, it counts."""
        transaction = message[8:20]
        if message[:2] != RESPONSE or transaction not in self._asked:
            return False
        key = self._key
        # There are other endings than ours, which aioice can tell; what it raises is told.
        if is_signed(message, key) or stun.parse_message(message).check_message_integrity(key):
            del self._asked[transaction]
            self.renew(now)
        return True
