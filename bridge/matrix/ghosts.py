# SPDX-License-Identifier: GPL-3.0-or-later
"""Ghosts: one Matrix user for each telephone number or SIP address.

An address and a localpart stand for each other one to one. After the prefix a localpart has

* the digits of an E.164 number: `tel:+12025550123` is `sip_12025550123`;
* `tel.` and the rest of a local number: `tel:100` is `sip_tel.100`;
* the whole of a SIP address without its scheme: `sip:door@pbx.example.org` is
  `sip_door=40pbx.example.org`.

Bytes outside `a-z 0-9 . _ -` are `=` and two hexadecimal digits, as in the specification's appendix
"Mapping from other character sets". `+` stays escaped because it came late (Matrix 1.8).
"""

import re
from dataclasses import dataclass
from typing import Final

from bridge.call.ids import ANONYMOUS, Address, UserId
from bridge.errors import RemoteError
from bridge.numbers import international, shorten

MAX_USER_ID: Final = 255
"""Bytes that a Matrix user id may have (appendix "User Identifiers")."""
_MAX_CALLER_NAME: Final = 100
_LOCAL_NUMBER: Final = "tel."
_AT: Final = "=40"
_E164: Final = re.compile(r"[0-9]+")
_ENCODED: Final = re.compile(r"(?:[a-z0-9._-]|=[0-9a-f]{2})+")
_ESCAPE: Final = re.compile(r"=([0-9a-f]{2})")
_NEEDS_ESCAPE: Final = re.compile(rb"[^a-z0-9._-]")
_NOT_FOR_NAMES: Final = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


class AddressTooLongError(RemoteError):
    """The address does not fit into a Matrix user id."""


@dataclass(frozen=True, slots=True)
class Ghosts:
    """The ghosts of one homeserver: their user ids and what they are called."""

    prefix: str
    domain: str

    def user_id(self, address: Address) -> UserId:
        """The ghost of a canonical address. Raises `AddressTooLongError`."""
        user = f"@{self.prefix}{_encode(address)}:{self.domain}"
        if len(user.encode()) > MAX_USER_ID:
            raise AddressTooLongError(
                f"{shorten(address)[:40]}… makes a Matrix user id of {len(user.encode())} bytes; "
                f"{MAX_USER_ID} are allowed",
                remedy="Call or be called by a shorter SIP address.",
            )
        return UserId(user)

    def address(self, user: str) -> Address | None:
        """The address whose ghost `user` is; None for anybody else."""
        start, end = f"@{self.prefix}", f":{self.domain}"
        if not user.startswith(start) or not user.endswith(end):
            return None
        return _decode(user[len(start) : -len(end)])

    def owns(self, user: str) -> bool:
        """Whether `user` lies in the namespace that is ours alone."""
        return user.startswith(f"@{self.prefix}") and user.endswith(f":{self.domain}")


def display_name(address: Address, caller_name: str = "") -> str:
    """What a ghost is called: `+1 202-555-0123`, or `Reception (+1 202-555-0123)`."""
    if address == ANONYMOUS:
        return "Anonymous"  # Whoever it is: all of them share this ghost.
    number = international(address)
    # Direction overrides would let a caller's name dress up as another number.
    name = " ".join(_NOT_FOR_NAMES.sub(" ", caller_name).split())[:_MAX_CALLER_NAME].strip()
    if not name or _is_same(name, number) or _is_same(name, address):
        return number
    return f"{name} ({number})"


def _is_same(name: str, number: str) -> bool:
    return _essence(name) == _essence(number)


def _essence(text: str) -> str:
    return re.sub(r"[^\w]", "", text.removeprefix("tel:").removeprefix("sip:")).lower()


def _encode(address: Address) -> str:
    scheme, _, rest = address.partition(":")
    if scheme == "tel" and rest.startswith("+") and _E164.fullmatch(rest[1:]):
        return rest[1:]
    if scheme == "tel" and rest:
        return _LOCAL_NUMBER + _escape(rest)
    if scheme == "sip" and "@" in rest:
        return _escape(rest)
    raise ValueError(f"not a canonical address: {shorten(address)!r}")


def _decode(encoded: str) -> Address | None:
    if not _ENCODED.fullmatch(encoded):
        return None
    address = _guess(encoded)
    # One spelling each: `=61` for `a`, say, is nobody.
    return address if address is not None and _encode(address) == encoded else None


def _guess(encoded: str) -> Address | None:
    if _E164.fullmatch(encoded):
        return Address(f"tel:+{encoded}")
    try:
        if _AT in encoded:
            return Address(f"sip:{_unescape(encoded)}")
        if encoded.startswith(_LOCAL_NUMBER) and encoded != _LOCAL_NUMBER:
            return Address(f"tel:{_unescape(encoded.removeprefix(_LOCAL_NUMBER))}")
    except UnicodeDecodeError:
        pass
    return None


def _escape(text: str) -> str:
    return _NEEDS_ESCAPE.sub(lambda match: b"=%02x" % match[0][0], text.encode()).decode()


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1").decode()
