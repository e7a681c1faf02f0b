# SPDX-License-Identifier: GPL-3.0-or-later
"""How the end of a call is told: what goes out with it, and what a peer said. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bridge.call.causes import Cause
from bridge.call.events import SipEnded
from bridge.call.ids import Address, LegId
from bridge.config import Trunk
from bridge.sip.messages import Message, Uri, causes_of, parse_name_addr, parse_uri, seconds_of

AddressOf = Callable[[Uri], Address]

_ELSEWHERE: Final = 26
_RECOVERY: Final = 102
"""Q.850: recovery on timer expiry."""
_OF_SIP: Final = {408: _RECOVERY, 481: _RECOVERY, 486: 17, 600: 17, 603: 21}
_CONTACTS: Final = 5
"""As many as are tried at most."""
FULL: Final = 10
STOPPING: Final = 30
"""Seconds after which a caller may try again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final response to an INVITE that the core does not hear of."""

    status: int
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cause: Cause = Cause.BAD_REQUEST


def refusal_of(invite: Message, trunk: Trunk) -> Refusal | None:
    """Why an INVITE cannot become a call, whatever it wants."""
    if invite.first("max-forwards") == "0":
        # A call goes on from here, and may come back by a forward (RFC 7332 section 4).
        return Refusal(483)
    expires = seconds_of(invite.first("session-expires"))
    if trunk.session_timers != "off" and 0 < expires < trunk.session_interval_min:
        return Refusal(422, "", {"Min-SE": str(trunk.session_interval_min)})
    return None


def unavailable(seconds: int, reason: str = "", cause: Cause = Cause.SHUTDOWN) -> Refusal:
    """503: the caller may try again in so many seconds."""
    return Refusal(503, reason, headers_of(retry_after=seconds), cause)


def headers_of(*, q850: int = 0, contact: str = "", retry_after: int = 0) -> dict[str, str]:
    """Headers that say why (RFC 3326, RFC 6432), where to call instead, and when again."""
    headers = {}
    if q850:
        headers["Reason"] = f"Q.850;cause={q850}"
        if q850 == _ELSEWHERE:  # What telephones look for before they tell of a missed call.
            headers["Reason"] += ', SIP;cause=200;text="Call completed elsewhere"'
    if contact:
        headers["Contact"] = f"<{contact}>"
    if retry_after:
        headers["Retry-After"] = str(retry_after)
    return headers


def hung_up_here(leg: LegId, response: Message) -> SipEnded:
    """The end that a response to a BYE of the stack's means: it was not refreshed, or unknown."""
    gone = response.status >= 300
    return SipEnded(
        leg=leg,
        status=response.status if gone else 408,
        reason=response.reason if gone else "Session expired",
        q850=_RECOVERY,
    )


def refused(leg: LegId, response: Message, address_of: AddressOf) -> SipEnded:
    """The end that a final response to our INVITE, or to a later request, means."""
    contacts = tuple(_contacts(response, address_of)) if response.status // 100 == 3 else ()
    return SipEnded(
        leg=leg,
        status=response.status,
        reason=response.reason,
        q850=causes_of(response).get("q.850", 0),
        retry_after=seconds_of(response.first("retry-after")),
        contacts=contacts[:_CONTACTS],
    )


def left(leg: LegId, bye: Message) -> SipEnded:
    """The end that BYE means: what went wrong, if it says so (RFC 3398 section 8.2.6)."""
    causes = causes_of(bye)
    sip = causes.get("sip", 0)
    q850 = causes.get("q.850") or _OF_SIP.get(sip, _RECOVERY if sip >= 500 else 0)
    return SipEnded(leg=leg, status=200, reason="", q850=q850)


def _contacts(response: Message, address_of: AddressOf) -> Iterator[Address]:
    """Where to call instead, best first (RFC 3261 section 8.1.3.4)."""
    found = [parse_name_addr(value) for value in response.every("contact")]
    for contact in sorted(found, key=lambda each: _quality(each.params.get("q", "")), reverse=True):
        uri = parse_uri(contact.uri)
        if uri.scheme in ("sip", "sips", "tel") and uri.user:
            yield address_of(uri)


def _quality(text: str) -> float:
    whole, _, part = text.partition(".")
    if whole not in ("0", "1") or not (part == "" or part.isdecimal()):
        return 1.0
    return min(float(f"{whole}.{part or 0}"), 1.0)
