# SPDX-License-Identifier: GPL-3.0-or-later
"""Which number a request is for, and which one it was forwarded from."""

from collections.abc import Callable, Mapping
from typing import Final

from bridge.sip.messages import Message, NameAddr, Uri, parse_name_addr, parse_uri, tag_of
from bridge.sip.trunks import Route

_NOWHERE: Final = Uri("", "", "")
_HIDDEN: Final = ("full", "uri")


def dialled_in(route: Route, request: Message) -> Uri:
    """The number dialled, where the trunk says it: see `Trunk.dialled_from`."""
    found = (_SOURCES[source](request) for source in route.trunk.dialled_from)
    return next((uri for uri in found if uri.user), None) or _usual(route, request)


def diverted_by(request: Message) -> Uri:
    """Who forwarded the call to us last; nowhere if nobody did, or does not want to be known.

    By Diversion (RFC 5806), or else History-Info (RFC 7044).
    """
    top = next(request.every("diversion"), "")
    if not top:
        return _by_history(request)
    party = parse_name_addr(top)
    hidden = party.params.get("privacy", "off").lower() in _HIDDEN
    return _NOWHERE if hidden else parse_uri(party.uri)


def _usual(route: Route, request: Message) -> Uri:
    uri = parse_uri(request.request_uri)
    registered = uri.params.get("line") == route.line or not uri.user
    if (route.trunk.register and registered) or tag_of(request.first("to")):
        # Sent to our registered Contact, or to that of a call: the number is in To.
        return _in_header("to")(request)
    return uri


def _in_header(name: str) -> Callable[[Message], Uri]:
    return lambda request: parse_uri(parse_name_addr(request.first(name)).uri)


def _by_history(request: Message) -> Uri:
    """The target that was given up for another one (`mp`), or that failed (Reason)."""
    entries = [parse_name_addr(value) for value in request.every("history-info")]
    for entry in reversed(entries):
        before = next((each for each in entries if _index(each) == entry.params.get("mp")), None)
        if before is not None:
            return _shown(before)
    failed = [entry for entry in entries[:-1] if "reason=" in entry.uri.lower()]
    return _shown(failed[-1]) if failed else _NOWHERE


def _shown(entry: NameAddr) -> Uri:
    return _NOWHERE if "privacy=history" in entry.uri.lower() else parse_uri(entry.uri)


def _index(entry: NameAddr) -> str:
    return entry.params.get("index", "")


_SOURCES: Final[Mapping[str, Callable[[Message], Uri]]] = {
    "request_uri": lambda request: parse_uri(request.request_uri),
    "to": _in_header("to"),
    "p_called_party_id": _in_header("p-called-party-id"),
    "diversion": _in_header("diversion"),
    "history_info": _by_history,
}
