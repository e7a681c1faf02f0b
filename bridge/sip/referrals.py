# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers that the far end asks for: REFER within a call (RFC 3515). SIP thread only.

pjsua would call the target itself and at once: by the account that the request came by, with a
description that it wants there and then. So the request is answered before pjsua turns to it:
pjsua tells of the transaction first, and a transaction takes no second final response. From then on
nobody but us knows of the subscription, and NOTIFY is sent like any other request.
"""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import pjsua2 as pj
import structlog

from bridge.call.ids import OpId
from bridge.sip.messages import Message, Uri, parse_name_addr, parse_uri
from bridge.sip.params import header_list
from bridge.sip.pjlib import library

log = structlog.get_logger(__name__)

_ACCEPTED: Final = 202
_SCHEMES: Final = ("sip", "sips", "tel")
_LASTS: Final = 300
"""Seconds that a subscription is said to last; it ends with the transfer."""
_PHRASES: Final = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    503: "Service Unavailable",
    603: "Decline",
}


@dataclass(frozen=True, slots=True)
class Referral:
    """What a REFER says. `written`: the target's URI without its headers."""

    target: Uri
    written: str
    replaces: str
    referred_by: str


Referred = Callable[[OpId, Referral], None]


class Referrals:
    """The REFERs of one leg, and what is told of them."""

    def __init__(self, referred: Referred, ops: Iterator[int]) -> None:
        self.welcome = False
        """Whether the far end may transfer us."""
        self._referred = referred
        self._ops = ops
        self._subscriptions: dict[OpId, str] = {}
        """What the Event header of each one's NOTIFY says."""
        self._heard = 0

    def asked(self, request: Message, rdata: pj.SipRxData) -> None:
        """A REFER came in. One that is not answered here is declined by the stack."""
        referral = read_referral(request)
        if not self.welcome or referral is None or not _accept(rdata):
            return
        op = OpId(next(self._ops))
        # Only the first REFER of a dialog may do without a number (RFC 3515 section 2.4.6).
        self._subscriptions[op] = f"refer;id={request.cseq[0]}" if self._heard else "refer"
        self._heard += 1
        self._referred(op, referral)

    def notify(self, call: pj.Call, op: OpId, status: int) -> None:
        """Tell what became of a REFER."""
        last = status >= 200
        event = self._subscriptions.pop(op, None) if last else self._subscriptions.get(op)
        if event is None:
            return
        state = "terminated;reason=noresource" if last else f"active;expires={_LASTS}"
        prm = pj.CallSendRequestParam()
        prm.method = "NOTIFY"
        for header in header_list({"Event": event, "Subscription-State": state}):
            prm.txOption.headers.append(header)
        prm.txOption.contentType = "message/sipfrag;version=2.0"
        prm.txOption.msgBody = f"SIP/2.0 {status} {_phrase(status)}\r\n"
        try:
            call.sendRequest(prm)
        except pj.Error as error:
            log.info("cannot send NOTIFY", error=error.reason)


def read_referral(request: Message) -> Referral | None:
    """What a REFER says; None if that is not somebody to call."""
    written = parse_name_addr(request.first("refer-to")).uri
    address, _, headers = written.partition("?")
    target = parse_uri(address)
    if target.scheme not in _SCHEMES or not target.user:
        return None
    if target.params.get("method", "INVITE").upper() != "INVITE":
        return None
    replaces = _header(headers, "replaces")
    if not replaces.isprintable():
        return None
    return Referral(target, address, replaces, request.first("referred-by"))


def _header(headers: str, wanted: str) -> str:
    """The value of a header in a URI (RFC 3261 section 19.1.1)."""
    for item in headers.split("&"):
        name, _, value = item.partition("=")
        if name.lower() == wanted:
            return unquote(value)
    return ""


def _accept(rdata: pj.SipRxData) -> bool:
    """Send 202; whether that could be done."""
    pjsip = library()
    find, respond = pjsip.pjsip_rdata_get_dlg, pjsip.pjsip_dlg_respond
    find.argtypes, find.restype = [ctypes.c_void_p], ctypes.c_void_p
    respond.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, *[ctypes.c_void_p] * 3]
    respond.restype = ctypes.c_int
    request = int(rdata.pjRxData)
    dialog = find(request)
    return bool(dialog) and respond(dialog, request, _ACCEPTED, None, None, None) == 0


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Failed" if status >= 300 else "Progress")
