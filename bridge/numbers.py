# SPDX-License-Identifier: GPL-3.0-or-later
"""Telephone numbers and SIP addresses: read what people and peers write, show it, hide it in logs.

A canonical `Address` is one of

* `tel:+12025550123`: a number in E.164;
* `tel:100`, `tel:*43`: a number that means something to one trunk only (extension, service code);
* `sip:door@pbx.example.org`: the host in lower case, no parameters, no default port.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat, ValidationResult

from bridge.call.ids import Address
from bridge.call.rules import NumberFormat

_LOOKS_LIKE_NUMBER: Final = re.compile(r"[(\[\s]*\+?[\d\s()\[\].\-/\u2010-\u2015\u2212\u00b7*#]+")
_DECORATION: Final = re.compile(r"[\s()\[\].\-/\u2010-\u2015\u2212\u00b7]")
_LOCAL: Final = re.compile(r"[0-9*#]{1,20}")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9.\-_]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_SHORTEST_PUBLIC: Final = 7
_LONGEST_TEXT: Final = 512
_AFTERWARDS: Final = re.compile(
    r"(?<=\d)\s*(?:,+|(?:x|ext(?:ension)?)[.:]?)\s*[\d*#][\d*#,\s]*", re.IGNORECASE
)
"""An extension that is to be keyed in once somebody has answered."""
_LONGEST_DIALLED: Final = 40
"""Digits: E.164 has 15, and what stands before it is short. No trunk dials more."""
_SERVICE_CODE: Final = re.compile(r"[*#]{1,2}[0-9]{2}(?:[0-9]?[*#])?(?=[+0-9])")
"""What goes in front of a number to withhold one's own or to divert, say: `*67`, `#31#`, `*21*`."""
_MAYBE_DIALLED: Final = re.compile(r"[+0-9*#]+")
_LONG_NUMBER: Final = re.compile(r"\+?[0-9]{3,}(?=[0-9]{2}(?![0-9]))")
# RFC 3261 section 25.1: unreserved and user-unreserved, what a user part carries unescaped.
_USER_SAFE: Final = "-_.!~*'()&=+$,?/"


def read_number(text: str, region: str) -> Address | None:
    """The telephone number that `text` writes, as `region` (ISO 3166) dials it; None if it is none.

    What cannot be a public number there, but is all digits, `*` and `#`, is a local one.
    """
    text = _plain(text)
    text = _read_tel(text[4:]) if text[:4].lower() == "tel:" else text.partition(";")[0].strip()
    if not _LOOKS_LIKE_NUMBER.fullmatch(text):
        return None
    public = _read_public(text, region)
    if public is not None:
        return public
    local = _DECORATION.sub("", text)
    return Address(f"tel:{local}") if _LOCAL.fullmatch(local) else None


def read_address(text: str, region: str) -> Address | None:
    """The number or SIP URI that a person wrote; None if it is neither.

    An extension behind a number (`ext. 5`, `,,5`) is left out: it is for the keypad, afterwards.
    """
    if len(text) > _LONGEST_TEXT:
        return None
    text = _plain(text)
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in ("sip", "sips"):
        return _read_sip(rest, region)
    if "@" in text:
        return _read_sip(text, region)
    return read_number(_without_extension(text), region)


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


def meanings(dialled: str, region: str, outside_lines: Sequence[str] = ()) -> frozenset[str]:
    """Every number that a trunk may take `dialled` (a user part) for, itself included.

    That is E.164 with or without its plus, a national number, and what follows a service code or
    one of the `outside_lines`: digits by which a PBX gives a line. Empty for what is no number.
    """
    found: set[str] = set()
    digits = _DECORATION.sub("", _plain(dialled))
    waiting = [digits] if len(digits) <= _LONGEST_DIALLED else []
    while waiting:
        number = waiting.pop()
        if number in found or not _MAYBE_DIALLED.fullmatch(number):
            continue
        found.add(number)
        waiting += _public_meanings(number, region)
        waiting += _behind(number, outside_lines)
    return frozenset(found)


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


def written(number: str, style: NumberFormat, region: str) -> str:
    """`number` (`+12025550123`) in a format, as `region` dials; all but E.164 is unchanged."""
    parsed = _parse_e164(Address(f"tel:{number}"))
    if parsed is None or style is NumberFormat.E164:
        return number
    digits = number.removeprefix("+")
    if style is NumberFormat.PLAIN:
        return digits
    if style is NumberFormat.NATIONAL:
        own = phonenumbers.country_code_for_region(region) == parsed.country_code
        if own:
            dialled = phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)
            return _DECORATION.sub("", dialled)
    return _abroad(region) + digits


def without_code(
    address: Address, region: str, hiding: Sequence[str], showing: Sequence[str]
) -> tuple[Address, bool | None]:
    """A number without the code in front of it that is for this one call: whether it hides (True)
    or shows (False) the caller's number; None if there is none of these codes."""
    number = dialled(address) if address.startswith("tel:") else ""
    for codes, hides in ((hiding, True), (showing, False)):
        for code in codes:
            rest = read_number(number[len(code) :], region) if number.startswith(code) else None
            if rest is not None:
                return rest, hides
    return address, None


def _abroad(region: str) -> str:
    """What the region dials in front of a country code."""
    known = PhoneMetadata.metadata_for_region(region)
    prefix = (known.preferred_international_prefix or known.international_prefix) if known else None
    return prefix if prefix and prefix.isdecimal() else "00"


def shorten(text: str) -> str:
    """`text` with every number of five digits or more cut to its last two: `tel:…23`."""
    return _LONG_NUMBER.sub("…", text)


def _plain(text: str) -> str:
    """`text` in ASCII as far as input methods and address books have turned it into other forms."""
    return "".join(map(_plain_character, text)).strip()


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    if "\uff01" <= character <= "\uff5e":  # full-width forms
        return chr(ord(character) - 0xFEE0)
    if unicodedata.category(character) == "Cf":  # marks of direction, soft hyphens
        return ""
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def _read_tel(text: str) -> str:
    """The number of a `tel:` URI; a local one may say what it is local to (RFC 3966, 5.1.5)."""
    number, _, parameters = unquote(text).partition(";")
    number = number.strip().lstrip("/")
    for parameter in parameters.split(";"):
        name, _, context = parameter.partition("=")
        if name.lower() == "phone-context" and context.startswith("+") and number[:1] != "+":
            return context + number
    return number


def _without_extension(text: str) -> str:
    found = _AFTERWARDS.search(text)
    return text[: found.start()] if found and found.end() == len(text) else text


def _public_meanings(number: str, region: str) -> Iterator[str]:
    public = _read_public(number, region)
    if public is not None:
        yield dialled(public)
    if number.isdigit() and _parse_possible("+" + number) is not None:
        yield "+" + number


def _behind(number: str, outside_lines: Sequence[str]) -> Iterator[str]:
    code = _SERVICE_CODE.match(number)
    if code is not None:
        yield number[code.end() :].rstrip("*#")
    for line in outside_lines:
        if line and number.startswith(line):
            yield number[len(line) :]


def _read_public(text: str, region: str) -> Address | None:
    """In E.164; None if `text` is an emergency number, a code, or no public number there."""
    if "*" in text or "#" in text or phonenumbers.is_emergency_number(text, region):
        return None
    number = _parse_as_dialled(text, region)
    digits = _DECORATION.sub("", text)
    if digits.startswith("00") and not (number and phonenumbers.is_valid_number(number)):
        # The prefix that ITU-T E.164 recommends is dialled, and sent by peers, everywhere.
        number = _parse_possible("+" + digits[2:]) or number
    if number is None:
        return None
    return Address("tel:" + phonenumbers.format_number(number, PhoneNumberFormat.E164))


def _parse_as_dialled(text: str, region: str) -> phonenumbers.PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    # Numbering plans grow faster than libraries are updated, so a possible number is enough; but
    # where numbers may be short (Germany), every extension would be possible.
    short = not text.startswith("+") and sum(map(str.isdigit, text)) < _SHORTEST_PUBLIC
    good = phonenumbers.is_valid_number if short else phonenumbers.is_possible_number
    return number if good(number) else None


def _parse_possible(text: str) -> phonenumbers.PhoneNumber | None:
    """A number in E.164 that could be dialled from abroad."""
    try:
        number = phonenumbers.parse(text)
    except NumberParseException:
        return None
    reason = phonenumbers.is_possible_number_with_reason(number)
    return number if reason == ValidationResult.IS_POSSIBLE else None


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
