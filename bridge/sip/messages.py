# SPDX-License-Identifier: GPL-3.0-or-later
"""SIP messages as text: read just far enough to say who calls, why it ended, and what SDP came.

Whether a message is well formed was judged by the SIP stack before it reaches these functions, so
they never raise: what is missing is empty.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

_COMPACT: Final = {
    "c": "content-type",
    "f": "from",
    "i": "call-id",
    "b": "referred-by",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "t": "to",
    "v": "via",
    "x": "session-expires",
}
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_BREAK: Final = re.compile(r"[\r\n]")
_BLANK_LINE: Final = re.compile(r"\r?\n\r?\n")
_LIST_ITEM: Final = re.compile(
    r'(?:"(?:[^"\\]|\\.)*+\\?(?:"|\Z)|<[^>]*+(?:>|\Z)|[^,"<]++)++', re.DOTALL
)
"""What is quoted and never ends goes on to the end: else, each quote would be tried anew."""
_BOUNDARY: Final = re.compile(r'boundary="?([^";,]+)', re.IGNORECASE)
_NAME_ADDR: Final = re.compile(
    r'\s*+(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"\s*+|(?P<plain>[^<"]*+))<(?P<uri>[^>]*)>(?P<rest>.*)',
    re.DOTALL,
)
_URI: Final = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.\-]*):(?:(?P<user>[^@]*)@)?"
    r"(?P<host>\[[^\]]*\]|[^:;?>]*)(?::(?:(?P<port>[0-9]{1,5})(?![0-9])|[0-9]*))?(?P<params>[^?]*)"
)
_REASON: Final = re.compile(
    r"\s*(?P<protocol>[\w.\-]+)\s*;.*?\bcause\s*=\s*(?P<cause>\d{1,3})", re.I
)
_ASSERTED: Final = ("p-asserted-identity", "remote-party-id")
_HIDDEN: Final = ("full", "name", "uri")
_NOWHERE: Final = "anonymous.invalid"
_WITHHELD: Final = frozenset({"anonymous", "private", "restricted"})
_NAMELESS: Final = _WITHHELD | {"", "unavailable", "unknown"}


@dataclass(frozen=True, slots=True)
class Message:
    """A request or response. Header names are in lower case and in their long form."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @property
    def method(self) -> str:
        """The request's method; empty for a response."""
        return "" if self.status else self.start.partition(" ")[0]

    @property
    def status(self) -> int:
        """The response's status; 0 for a request."""
        version, _, rest = self.start.partition(" ")
        code = rest[:3]
        return int(code) if version == "SIP/2.0" and code.isdecimal() else 0

    @property
    def reason(self) -> str:
        """The response's reason phrase."""
        return self.start.partition(" ")[2][4:].strip() if self.status else ""

    @property
    def request_uri(self) -> str:
        """The request's URI; empty for a response."""
        return "" if self.status else self.start.partition(" ")[2].rpartition(" ")[0].strip()

    @property
    def cseq(self) -> tuple[int, str]:
        """Sequence number and method."""
        number, _, method = self.first("cseq").partition(" ")
        return (int(number) if number.isdecimal() and len(number) <= 10 else 0), method.strip()

    @property
    def sdp(self) -> str | None:
        """The session description, also from within a multipart body (RFC 5621)."""
        kind = self.first("content-type").lower()
        if kind.startswith("multipart/"):
            return self._sdp_part()
        return self.body if kind.startswith("application/sdp") and self.body else None

    def first(self, name: str) -> str:
        """The first header of that name, or an empty string."""
        return next((value for key, value in self.headers if key == name), "")

    def every(self, name: str) -> Iterator[str]:
        """Every value of a header that may be repeated or hold a list."""
        for key, value in self.headers:
            if key == name:
                yield from split_list(value)

    def allows(self, method: str) -> bool:
        """Whether its Allow header names the method (RFC 3261 20.5)."""
        return method in self.every("allow")

    def requires(self, extension: str) -> bool:
        """Whether its Require header names the extension (RFC 3261 20.32)."""
        return extension in self.every("require")

    def _sdp_part(self) -> str | None:
        boundary = _BOUNDARY.search(self.first("content-type"))
        if not boundary:
            return None
        for part in self.body.split(f"--{boundary[1]}")[1:]:
            head, body = _split(part.lstrip("\r\n"))
            if re.search(r"^content-type:\s*application/sdp", head, re.IGNORECASE | re.MULTILINE):
                return body.rstrip("\r\n") + "\r\n"
        return None


@dataclass(frozen=True, slots=True)
class Uri:
    """A SIP, SIPS or tel URI. A tel URI's number is its user."""

    scheme: str
    user: str
    host: str
    port: int | None = None
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NameAddr:
    """What From, To, Contact and identity headers hold."""

    name: str
    uri: str
    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. No user: the caller wishes to stay unknown, or cannot be named."""

    user: str = ""
    host: str = ""
    name: str = ""


def clean(text: str) -> str:
    """`text` from the stack, whose bytes that are not UTF-8 came as lone surrogates (PEP 383)."""
    if text.isascii():
        return text
    return text.encode(errors="surrogateescape").decode(errors="replace")


def parse(text: str) -> Message:
    """Take a message apart."""
    head, body = _split(clean(text))
    # What else may be called the end of a line can stand in a name, and begins no header there.
    start, *lines = _FOLD.sub(" ", head).split("\r\n" if "\r\n" in head else "\n")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.strip().lower()
        if colon:
            headers.append((_COMPACT.get(key, key), _BREAK.sub(" ", value.strip())))
    return Message(start.strip(), tuple(headers), body)


def split_list(value: str) -> list[str]:
    """Parts of a comma-separated header, minding quotes and angle brackets."""
    return [item.strip() for item in _LIST_ITEM.findall(value) if item.strip()]


def parse_name_addr(value: str) -> NameAddr:
    """`"Name" <uri>;param=value` and `uri;param=value` (RFC 3261 section 20)."""
    match = _NAME_ADDR.match(value)
    if not match:
        uri, _, rest = value.strip().partition(";")
        return NameAddr("", uri, _params(rest))
    quoted = match["quoted"]
    name = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match["plain"].strip()
    return NameAddr(name, match["uri"].strip(), _params(match["rest"]))


def parse_uri(text: str) -> Uri:
    """The parts of a URI; everything empty if it is not one."""
    text = text.strip()
    if text[:4].lower() == "tel:":
        number, _, rest = text[4:].partition(";")
        return Uri("tel", number, "", None, _params(rest))
    match = _URI.match(text)
    if not match:
        return Uri("", "", "")
    user = (match["user"] or "").partition(":")[0]
    port = int(match["port"]) if match["port"] else None
    host = match["host"].strip("[]").lower()
    return Uri(match["scheme"].lower(), user, host, port, _params(match["params"]))


def caller_of(invite: Message, *, asserted: bool = True) -> Caller:
    """Who calls: P-Asserted-Identity (RFC 3325), else Remote-Party-ID, else From.

    Privacy (RFC 3323) wins over all three. `asserted`: whether the first two are believed.
    """
    headers = (*_ASSERTED, "from") if asserted else ("from",)
    return _party_in(invite, headers)


def asserted_in(message: Message) -> Caller:
    """The party that P-Asserted-Identity or Remote-Party-ID names, in a request or a response."""
    return _party_in(message, _ASSERTED)


def causes_of(message: Message) -> dict[str, int]:
    """Reason headers (RFC 3326): protocol in lower case (`q.850`, `sip`) to cause."""
    found: dict[str, int] = {}
    for value in message.every("reason"):
        match = _REASON.match(value)
        if match:
            found.setdefault(match["protocol"].lower(), int(match["cause"]))
    return found


def seconds_of(value: str) -> int:
    """What Retry-After (RFC 3261 20.33) and Session-Expires (RFC 4028 4) begin with; 0 without."""
    number = value.partition("(")[0].partition(";")[0].strip()
    return int(number) if number.isdecimal() and len(number) < 10 else 0


def tag_of(value: str) -> str:
    """The tag of a From or To header."""
    return parse_name_addr(value).params.get("tag", "")


def quoted(name: str) -> str:
    """A display name as a quoted string, without anything that could end it or the header."""
    clean = "".join(ch for ch in name if ch.isprintable() and ch not in '"\\')
    return f'"{clean}" ' if clean else ""


def _split(text: str) -> tuple[str, str]:
    gap = _BLANK_LINE.search(text)
    return (text[: gap.start()], text[gap.end() :]) if gap else (text, "")


def _params(text: str) -> dict[str, str]:
    params = {}
    for item in text.split(";"):
        name, _, value = item.partition("=")
        if name.strip():
            params[name.strip().lower()] = value.strip().strip('"')
    return params


def _party_in(message: Message, headers: Iterable[str]) -> Caller:
    if _wants_privacy(message):
        return Caller()
    for header in headers:
        for value in message.every(header):
            identity = parse_name_addr(value)
            uri = parse_uri(identity.uri)
            if uri.host == _NOWHERE or uri.user.lower() in _NAMELESS:
                continue
            return Caller(uri.user, uri.host, identity.name)
    return Caller()


def _wants_privacy(message: Message) -> bool:
    wishes = {wish.strip().lower() for wish in message.first("privacy").split(";")}
    if wishes & {"id", "user", "header"}:
        return True
    party = message.first("remote-party-id")
    if party and parse_name_addr(party).params.get("privacy", "off").lower() in _HIDDEN:
        return True
    if "none" in wishes or message.status:
        return False
    # RFC 3323 section 4.1.1.3: who does not trust the network to hide them writes this into From.
    uri = parse_uri(parse_name_addr(message.first("from")).uri)
    return uri.host == _NOWHERE or uri.user.lower() in _WITHHELD
