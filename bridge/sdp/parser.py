# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads session descriptions, forgiving what can do no harm."""

import re
from collections.abc import Callable
from typing import Any, cast

from bridge.errors import SdpError
from bridge.sdp.description import (
    Attribute,
    Bandwidth,
    Connection,
    Crypto,
    Family,
    Feedback,
    Fingerprint,
    Fmtp,
    Group,
    Media,
    MediaDirection,
    Origin,
    Rtcp,
    RtpMap,
    SessionDescription,
    Setup,
    SourceAttribute,
)

_LINE_END = re.compile(r"\r\n?|\n")
_SECRETS = re.compile(r"(a=crypto:|a=ice-pwd:|k=).*")
_INHERITED = ("direction", "ice_ufrag", "ice_pwd", "ice_options", "fingerprints", "setup")

Draft = dict[str, Any]
"""Fields of a description; what repeats is still a list, for a tuple would be copied each time."""


class _Malformed(ValueError):
    """Says why a line cannot be read; the caller knows which line it is."""


def parse(text: str) -> SessionDescription:
    """Read a session description; SdpError names the line that cannot be used, and why.

    Bare line feeds, blank lines, spaces at the end of lines, a missing last line end, and lines or
    attributes that mean nothing here are accepted. Lines of no use for media (`i=`, `k=`, …) are
    dropped.
    """
    session: Draft = {"attributes": []}
    sections: list[Draft] = []
    seen_version = False
    for number, raw in enumerate(_LINE_END.split(text), start=1):
        line = raw.rstrip(" \t")
        if not line:
            continue
        try:
            if line[1:2] != "=":
                raise _Malformed("not of the form <letter>=<value>")
            if not seen_version and line != "v=0":
                raise _Malformed("a session description starts with v=0")
            seen_version = True
            _read_line(line[0], line[2:], session, sections)
        except _Malformed as problem:
            raise SdpError(f"SDP line {number} ({_without_secret(line)}): {problem}") from None
    if "origin" not in session:
        raise SdpError("SDP without an o= line")
    return _assemble(_frozen(session), [_frozen(section) for section in sections])


def _frozen(draft: Draft) -> Draft:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in draft.items()
    }


def _without_secret(line: str) -> str:
    shown = _SECRETS.sub(r"\1…", line)
    return shown if len(shown) <= 120 else f"{shown[:120]}…"


def _assemble(session: Draft, sections: list[Draft]) -> SessionDescription:
    inherited = {name: session.pop(name) for name in _INHERITED if name in session}
    inherited["end_of_candidates"] = session.pop("end_of_candidates", False)
    if "connection" in session:
        inherited["connection"] = session["connection"]
    inherited["bandwidths"] = session.pop("bandwidths", ())
    media = tuple(Media(**(inherited | section)) for section in sections)
    return SessionDescription(media=media, **session)


def _read_line(letter: str, value: str, session: Draft, sections: list[Draft]) -> None:
    draft = sections[-1] if sections else session
    if letter == "m":
        sections.append(_media(value))
    elif letter == "a":
        _attribute(value, draft, in_media=bool(sections))
    elif letter == "c":
        draft.setdefault("connection", _connection(value))
    elif letter == "b":
        _bandwidth(draft, value)
    elif letter == "o":
        session.setdefault("origin", _origin(value))
    elif letter == "s" and not sections:
        session["name"] = value or "-"


def _number(text: str, highest: int, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > highest:
        raise _Malformed(f"{what} must be a number from 0 to {highest}")
    return int(text)


def _words(value: str, least: int, wanted: str) -> list[str]:
    words = value.split()
    if len(words) < least:
        raise _Malformed(f"wants {wanted}")
    return words


def _family(net: str, family: str) -> Family:
    if net != "IN" or family not in ("IP4", "IP6"):
        raise _Malformed("only addresses of the Internet are understood: IN IP4 or IN IP6")
    return cast(Family, family)


def _connection(value: str) -> Connection:
    net, family, address, *_ = _words(value, 3, "<net type> <address type> <address>")
    return Connection(address, _family(net, family))


def _bandwidth(draft: Draft, value: str) -> None:
    """A limit that cannot be read is as good as absent."""
    modifier, _, number = value.partition(":")
    if modifier in ("AS", "TIAS") and re.fullmatch(r"[0-9]{1,10}", number, re.ASCII):
        _append(draft, "bandwidths", Bandwidth(modifier, int(number)))


def _origin(value: str) -> Origin:
    words = _words(value, 6, "<user> <id> <version> <net type> <address type> <address>")
    # User names with spaces in them occur; what follows them does not vary.
    identifier, version, net, family, address = words[-5:]
    username = " ".join(words[:-5])
    return Origin(identifier, version, address, _family(net, family), username)


def _media(value: str) -> Draft:
    kind, port, protocol, *formats = _words(value, 4, "<media> <port> <protocol> <format> …")
    return {
        "kind": kind,
        "port": _number(port.partition("/")[0], 65535, "the port"),
        "protocol": protocol,
        "formats": tuple(formats),
        "attributes": [],
    }


def _attribute(text: str, draft: Draft, *, in_media: bool) -> None:
    name, colon, value = text.partition(":")
    handlers = _MEDIA_ATTRIBUTES if in_media else _SESSION_ATTRIBUTES
    handler = handlers.get(name)
    if handler is None or not handler(draft, value.strip()):
        draft["attributes"].append(Attribute(name, value if colon else None))


Handler = Callable[[Draft, str], bool]
"""Puts a value into the draft; False leaves the attribute among the others, as it was written."""


def _append(draft: Draft, field: str, value: object) -> bool:
    draft.setdefault(field, []).append(value)
    return True


def _listed(field: str) -> Handler:
    return lambda draft, value: bool(value) and _append(draft, field, value)


def _text(field: str) -> Handler:
    def handle(draft: Draft, value: str) -> bool:
        if not value or field in draft:
            return False
        draft[field] = value
        return True

    return handle


def _flag(field: str) -> Handler:
    def handle(draft: Draft, _: str) -> bool:
        draft[field] = True
        return True

    return handle


def _milliseconds(field: str) -> Handler:
    def handle(draft: Draft, value: str) -> bool:
        # A hint: what cannot be read is as good as absent.
        if field in draft or not re.fullmatch(r"[1-9][0-9]{0,3}", value, re.ASCII):
            return False
        draft[field] = int(value)
        return True

    return handle


def _direction(direction: MediaDirection) -> Handler:
    def handle(draft: Draft, _: str) -> bool:
        draft["direction"] = direction
        return True

    return handle


def _rtpmap(draft: Draft, value: str) -> bool:
    payload_type, encoding, *_ = _words(value, 2, "<payload type> <name>/<clock>[/<channels>]")
    name, *numbers = encoding.split("/")
    if not name or len(numbers) not in (1, 2):
        raise _Malformed("wants <payload type> <name>/<clock>[/<channels>]")
    clock = _number(numbers[0], 2**31, "the clock rate")
    channels = _number(numbers[1], 255, "the number of channels") if numbers[1:] else 1
    number = _number(payload_type, 127, "the payload type")
    return _append(draft, "rtpmaps", RtpMap(number, name, clock, channels or 1))


def _fmtp(draft: Draft, value: str) -> bool:
    payload_type, _, parameters = value.partition(" ")
    parameters = parameters.strip()
    return bool(parameters) and _append(draft, "fmtps", Fmtp(payload_type, parameters))


def _feedback(draft: Draft, value: str) -> bool:
    kind, _, said = value.partition(" ")
    if kind != "*" and not re.fullmatch(r"[0-9]{1,3}", kind, re.ASCII):
        return False
    number = None if kind == "*" else int(kind)
    return bool(said) and _append(draft, "feedback", Feedback(number, " ".join(said.split())))


def _rtcp(draft: Draft, value: str) -> bool:
    port, *address = _words(value, 1, "<port> [<net type> <address type> <address>]")
    connection = _connection(" ".join(address)) if address else None
    draft["rtcp"] = Rtcp(_number(port, 65535, "the port"), connection)
    return True


def _ice_options(draft: Draft, value: str) -> bool:
    draft["ice_options"] = tuple(value.split())
    return True


def _fingerprint(draft: Draft, value: str) -> bool:
    algorithm, fingerprint, *_ = _words(value, 2, "<hash function> <fingerprint>")
    return _append(draft, "fingerprints", Fingerprint(algorithm.lower(), fingerprint.upper()))


def _setup(draft: Draft, value: str) -> bool:
    try:
        draft["setup"] = Setup(value)
    except ValueError:
        raise _Malformed("wants active, passive, actpass or holdconn") from None
    return True


def _crypto(draft: Draft, value: str) -> bool:
    tag, suite, key, *rest = _words(value, 3, "<tag> <suite> <key> …")
    number = _number(tag, 999_999_999, "the tag")
    return _append(draft, "crypto", Crypto(number, suite, key, " ".join(rest)))


def _source(draft: Draft, value: str) -> bool:
    ssrc, _, attribute = value.partition(" ")
    name, colon, text = attribute.strip().partition(":")
    if not name:
        raise _Malformed("wants <ssrc> <attribute>[:<value>]")
    number = _number(ssrc, 2**32 - 1, "the source")
    return _append(draft, "sources", SourceAttribute(number, name, text if colon else None))


def _group(draft: Draft, value: str) -> bool:
    semantics, *mids = _words(value, 1, "<semantics> <mid> …")
    return _append(draft, "groups", Group(semantics, tuple(mids)))


_SHARED_ATTRIBUTES: dict[str, Handler] = {
    **{direction.value: _direction(direction) for direction in MediaDirection},
    "ice-ufrag": _text("ice_ufrag"),
    "ice-pwd": _text("ice_pwd"),
    "ice-options": _ice_options,
    "end-of-candidates": _flag("end_of_candidates"),
    "fingerprint": _fingerprint,
    "setup": _setup,
}
_SESSION_ATTRIBUTES = _SHARED_ATTRIBUTES | {"group": _group, "ice-lite": _flag("ice_lite")}
_MEDIA_ATTRIBUTES = _SHARED_ATTRIBUTES | {
    "rtpmap": _rtpmap,
    "fmtp": _fmtp,
    "rtcp-fb": _feedback,
    "ptime": _milliseconds("ptime"),
    "maxptime": _milliseconds("maxptime"),
    "mid": _text("mid"),
    "bundle-only": _flag("bundle_only"),
    "rtcp": _rtcp,
    "rtcp-mux": _flag("rtcp_mux"),
    "candidate": _listed("candidates"),
    "crypto": _crypto,
    "msid": _listed("msids"),
    "ssrc": _source,
    "extmap": _listed("extmaps"),
}
