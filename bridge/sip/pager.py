# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts in pager mode: SIP MESSAGE outside of calls (RFC 3428). SIP thread only."""

from collections import deque
from collections.abc import Callable
from typing import Final

import pjsua2 as pj
import structlog

from bridge.sip.account import Account
from bridge.sip.messages import Message, parse
from bridge.sip.params import header_list
from bridge.sip.texts import TYPE, decoded

log = structlog.get_logger(__name__)

_FORBIDDEN: Final = 403
_UNSUPPORTED: Final = 415
_UNAVAILABLE: Final = 503
# RFC 3261 section 8.2.3 wants to be told what we take. The stack's way to answer has no place for
# headers, but writes the phrase as it is.
_WANTED: Final = f"Unsupported Media Type\r\nAccept: {TYPE}"
Answered = Callable[[int], None]
"""Told the final status of a text."""
Received = Callable[[Account, Message, str], int]
"""Told of a text: the account, the request and what it says; gives the status to answer with."""


class Pager:
    """Sends texts and waits for their answers; takes texts, if they are texts."""

    def __init__(self, received: Received, refused: Callable[[str, str], None]) -> None:
        self._received = received
        self._refused = refused
        self._waiting: dict[tuple[str, str], deque[Answered]] = {}

    def send(
        self,
        account: Account,
        target: str,
        origin: str,
        headers: dict[str, str],
        text: str,
        answered: Answered,
    ) -> None:
        """MESSAGE `target` (a URI), as `origin` (the value of From)."""
        waiting = self._waiting.setdefault((target, text), deque())
        waiting.append(answered)
        try:
            _send(account, target, origin, headers, text)
        except pj.Error as error:
            log.warning("cannot send MESSAGE", error=error.reason)
            # It may have been reported by then.
            if answered in waiting:
                waiting.remove(answered)
                answered(_UNAVAILABLE)

    def sent(self, account: Account, prm: pj.OnInstantMessageStatusParam) -> None:
        """A text was answered, or nobody did (408)."""
        # The stack gives back what it was given. Of two that are the same, the first comes first.
        key = (prm.toUri, prm.msgBody)
        waiting = self._waiting.get(key)
        if not waiting:
            return
        waiting.popleft()(int(prm.code))
        if not waiting:
            del self._waiting[key]

    def received(self, account: Account, prm: pj.OnInstantMessageParam) -> None:
        """A text came from a trunk."""
        request = parse(prm.rdata.wholeMsg)
        if prm.contentType.lower() != TYPE:
            _respond(account, prm, _UNSUPPORTED, _WANTED)
            return
        # At once: the stack lets go of the transaction when its connection is lost.
        _respond(account, prm, self._received(account, request, decoded(prm.msgBody, request)))

    def received_in_call(self, account: Account, prm: pj.OnInstantMessageParam) -> None:
        """A text came within a call; the stack has taken it, whatever it is."""
        if prm.contentType.lower() == TYPE:
            request = parse(prm.rdata.wholeMsg)
            self._received(account, request, decoded(prm.msgBody, request))

    def refuse(self, account: Account, prm: pj.OnInstantMessageParam) -> None:
        """A text came from a stranger."""
        _respond(account, prm, _FORBIDDEN)
        self._refused(prm.rdata.srcAddress, "MESSAGE")


def _send(account: Account, target: str, origin: str, headers: dict[str, str], text: str) -> None:
    settings = pj.BuddyConfig()
    settings.uri = target
    settings.subscribe = False
    # pjsua2 sends texts to buddies only, and forgets them with the object.
    buddy = pj.Buddy()
    buddy.create(account, settings)
    prm = pj.SendInstantMessageParam()
    prm.contentType = TYPE
    prm.content = text
    prm.txOption.localUri = origin
    for header in header_list(headers):
        prm.txOption.headers.append(header)
    buddy.sendInstantMessage(prm)


def _respond(
    account: Account, prm: pj.OnInstantMessageParam, status: int, reason: str = ""
) -> None:
    response = pj.SendResponseParam()
    response.code = status
    response.reason = reason
    response.deferredResponse = pj.DeferredResponse(prm)
    try:
        account.sendResponse(response)
    except pj.Error as error:
        log.warning("cannot answer MESSAGE", status=status, error=error.reason)
