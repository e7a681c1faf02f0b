# SPDX-License-Identifier: GPL-3.0-or-later
"""Telephone numbers and SIP addresses: read what people and peers write, show it, hide it in logs.

A canonical `Address` is one of

* `tel:+12025550123`: a number in E.164;
* `tel:100`, `tel:*43`: a number that means something to one trunk only (extension, service code);
* `sip:door@pbx.example.org`: the host in lower case, no parameters, no default port.
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from bridge.call.ids import Address

_LOOKS_LIKE_NUMBER: Final = re.compile(r"\+?[\d\s().\-/\u2010-\u2015\u00b7*#]+")
_DECORATION: Final = re.compile(r"[\s().\-/\u2010-\u2015\u00b7]")
_LOCAL: Final = re.compile(r"[0-9*#]{1,20}")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9.\-_]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_SHORTEST_PUBLIC: Final = 7
_LONG_NUMBER: Final = re.compile(r"\+?[0-9]{3,}(?=[0-9]{2}(?![0-9]))")
# RFC 3261 section 25.1: unreserved and user-unreserved, what a user part carries unescaped.
_USER_SAFE: Final = "-_.!~*'()&=+$,?/"


def read_number(text: str, region: str) -> Address | None:
    """The telephone number that `text` writes, as `region` (ISO 3166) dials it; None if it is none.

    What cannot be a public number there, but is all digits, `*` and `#`, is a local one.
    """
    text = text.strip()
    text = text[4:] if text[:4].lower() == "tel:" else text
    text = text.partition(";")[0].strip()
    if not _LOOKS_LIKE_NUMBER.fullmatch(text):
        return None
    public = _read_public(text, region)
    if public is not None:
        return public
    local = _DECORATION.sub("", text)
    return Address(f"tel:{local}") if _LOCAL.fullmatch(local) else None


def read_address(text: str, region: str) -> Address | None:
    """The number or SIP URI that a person wrote; None if it is neither."""
    text = text.strip()
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in ("sip", "sips"):
        return _read_sip(rest, region)
    if "@" in text:
        return _read_sip(text, region)
    return read_number(text, region)


def from_sip(user: str, host: str, region: str) -> Address:
    """Who a From or a Request-URI names: a number if its user part is one, else a SIP address.

    `user` is still %-escaped. Always gives an address: a caller must never be lost over its name.
    """
    number = read_number(unquote(user), region)
    if number is not None:
        return number
    host = host.strip().lower()
    return Address(f"sip:{_escape_user(user) or 'anonymous'}@{host or 'anonymous.invalid'}")


def is_canonical(address: Address, region: str) -> bool:
    """Whether `address` is how a number or SIP address is written here, rather than a disguise.

    Rules go by the one spelling: `tel:01144…` would be `tel:+44…` to the trunk, not to them.
    """
    scheme, _, rest = address.partition(":")
    return read_address(rest if scheme == "tel" else address, region) == address


def international(address: Address) -> str:
    """For display: `+1 202-555-0123`, `100`, `door@pbx.example.org`."""
    return _format(address, PhoneNumberFormat.INTERNATIONAL)


def national(address: Address, region: str) -> str:
    """For display in `region`: `(202) 555-0123` there, the international form elsewhere."""
    number = _parse_e164(address)
    if number is not None and phonenumbers.country_code_for_region(region) == number.country_code:
        return _format(address, PhoneNumberFormat.NATIONAL)
    return international(address)


def dialled(address: Address) -> str:
    """What goes into a Request-URI: `+12025550123`, `100`, or `door@pbx.example.org`."""
    return address.partition(":")[2]


def shorten(text: str) -> str:
    """`text` with every number of five digits or more cut to its last two: `tel:…23`."""
    return _LONG_NUMBER.sub("…", text)


def _read_public(text: str, region: str) -> Address | None:
    if "*" in text or "#" in text or phonenumbers.is_emergency_number(text, region):
        return None
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    # Numbering plans grow faster than libraries are updated, so a possible number is enough; but
    # where numbers may be short (Germany), every extension would be possible.
    short = not text.startswith("+") and sum(map(str.isdigit, text)) < _SHORTEST_PUBLIC
    good = phonenumbers.is_valid_number if short else phonenumbers.is_possible_number
    if not good(number):
        return None
    return Address("tel:" + phonenumbers.format_number(number, PhoneNumberFormat.E164))


def _read_sip(text: str, region: str) -> Address | None:
    # A user part may itself hold `;` (RFC 3261 section 19.1.6), so the host starts at the last `@`.
    user, at, rest = text.rpartition("@")
    host, _, parameters = rest.partition(";")
    host = host.partition("?")[0].lower().removesuffix(":5060")
    user = user.partition(":")[0]
    if not at or not user or not _HOST.fullmatch(host):
        return None
    if "user=phone" in parameters.lower().split(";"):
        number = read_number(unquote(user), region)
        if number is not None:
            return number
    escaped = _escape_user(user)
    return Address(f"sip:{escaped}@{host}") if escaped else None


def _escape_user(user: str) -> str:
    """One spelling for each user part: escapes only where RFC 3261 wants them."""
    return quote(unquote(user).partition(";")[0].strip(), safe=_USER_SAFE)


@lru_cache(maxsize=1024)
def _format(address: Address, style: int) -> str:
    number = _parse_e164(address)
    if number is None:
        return dialled(address)
    return phonenumbers.format_number(number, style)


def _parse_e164(address: Address) -> phonenumbers.PhoneNumber | None:
    if not address.startswith("tel:+"):
        return None
    try:
        return phonenumbers.parse(dialled(address))
    except NumberParseException:
        return None
