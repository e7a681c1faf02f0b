# SPDX-License-Identifier: GPL-3.0-or-later
"""Offers within a dialog, ours and theirs, and what is in force meanwhile. SIP thread only."""

from collections.abc import Callable, Iterator
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.events import (
    SipEvent,
    SipProgressed,
    SipReinviteAnswered,
    SipReinviteFailed,
    SipReinviteReceived,
)
from bridge.call.ids import LegId, OpId
from bridge.errors import SdpError
from bridge.sdp import parser
from bridge.sdp.at_once import answer_at_once
from bridge.sip.messages import Message, parse, tag_of
from bridge.sip.params import add_headers, audio_only

log = structlog.get_logger(__name__)

_BUSY: Final = 491
_NOT_ACCEPTABLE: Final = 488
_SERVER_ERROR: Final = 500
_LATER: Final = (_BUSY, _SERVER_ERROR)
_PAUSE: Final = 0.5
"""Seconds until the core is told again of what it could not turn to."""
_RETRY_AFTER: Final = 2
"""Seconds for a far end that sends one re-INVITE after the other (RFC 3261 section 14.2)."""
_PROGRESS: Final = 183

Report = Callable[[SipEvent], None]
Later = Callable[[float, Callable[[], None]], None]


class Offers:
    """One dialog's session descriptions (RFC 3264), as far as pjsua2 leaves them to us."""

    def __init__(
        self,
        leg: LegId,
        ops: Iterator[int],
        report: Report,
        respond: Callable[[pj.CallOpParam], bool],
        later: Later,
    ) -> None:
        self.established = False
        """Whether the call was answered."""
        self.called = False
        """Whether it is the far end's call, whose offer we answer for good only with our 200."""
        self.local: str | None = None
        """What we send wherever the stack asks for a description."""
        self.remote: str | None = None
        """What the far end is known to want."""
        self._leg = leg
        self._ops = ops
        self._report = report
        self._respond = respond
        self._later = later
        self._log = log.bind(leg=leg)
        self._agreed: str | None = None
        """Ours, to return to if the offer under way is refused."""
        self._ours: OpId | None = None
        self._theirs: OpId | None = None
        self._waiting: str | None = None
        """Their offer that waits for our answer."""
        self._offered: str | None = None
        """In the last request that brought an offer, accepted or not."""
        self._sender = ""
        """Which branch of a forked call that request came from: its tag."""
        self._early: dict[str, str] = {}
        """What each branch said before the answer, by its tag."""
        self._adopted: dict[OpId, str] = {}
        self._awaits_ack = False

    # --- ours -------------------------------------------------------------------------------

    def make(self, call: pj.Call, op: OpId, sdp: str) -> None:
        """Offer something new."""
        self._agreed, self.local = self.local, sdp
        self._ours = op
        try:
            call.reinvite(audio_only())
        except pj.Error as error:
            # The stack refuses while a transaction of the other side is under way: glare, too.
            self._log.info("cannot send re-INVITE now", error=error.reason)
            self._failed(_BUSY)

    def answered(self, response: Message) -> None:
        """The far end responded to a re-INVITE of ours."""
        if self._ours is None or response.status < 200:
            return
        if response.status >= 300:
            self._failed(response.status)
            return
        op, self._ours = self._ours, None
        self.remote = response.sdp or self.remote
        self._report(SipReinviteAnswered(leg=self._leg, op=op, sdp=self.remote or ""))

    def _failed(self, status: int) -> None:
        if self._ours is None:
            return
        op, self._ours = self._ours, None
        self.local = self._agreed
        self._report(SipReinviteFailed(leg=self._leg, op=op, status=status))

    # --- answers to our INVITE ----------------------------------------------------------------

    def rang(self, response: Message) -> None:
        """A provisional response may bring an early answer; branches of a fork differ."""
        if response.sdp:
            self.remote = self._early[tag_of(response.first("to"))] = response.sdp

    def agreed(self, answer: Message) -> str | None:
        """What the 200 answers, or what its branch answered before (RFC 3261 section 13.2.1)."""
        tag = tag_of(answer.first("to"))
        self.remote = answer.sdp or self._early.get(tag) or self.remote
        self.established = True
        return self.remote

    # --- theirs -----------------------------------------------------------------------------

    def arrived(self, request: Message) -> None:
        """A re-INVITE or UPDATE came in; what it wants is asked next."""
        self._offered = request.sdp
        self._sender = tag_of(request.first("from"))
        self._awaits_ack = request.method == "INVITE" and request.sdp is None

    def is_refresh(self) -> bool:
        """Whether an offer is what is in use already: a session timer's (RFC 4028)."""
        return _same(self._offered, self.remote)

    def waits(self) -> bool:
        """Whether a re-INVITE's offer has to wait for the core's answer."""
        if self.is_refresh():
            return False
        self._theirs, self._waiting = OpId(next(self._ops)), self._offered
        self._report(SipReinviteReceived(leg=self._leg, op=self._theirs, sdp=self._offered))
        return True

    def answers_at_once(self) -> bool:
        """Whether an offer that cannot wait (RFC 3311 section 5.2) is accepted.

        The answer is then in `local`, and the core follows.
        """
        if self.is_refresh() or self._offered is None:
            return True
        if self.local is None or self.remote is None or (self.called and not self.established):
            return False
        try:
            ours, theirs = parser.parse(self.local), parser.parse(self.remote)
            offer = parser.parse(self._offered)
            agreed = answer_at_once(ours, theirs, offer)
        except SdpError as error:
            self._log.info("cannot answer at once", error=str(error))
            return False
        self.local = str(agreed.local)
        self._adopt(self._offered if agreed.remote == offer else str(agreed.remote))
        return True

    def accept(self, op: OpId, sdp: str) -> None:
        """Send 200 to their re-INVITE."""
        if self._adopted.pop(op, None) is not None or op != self._theirs:
            return
        self._theirs = None
        self.remote = self._waiting
        prm = pj.CallOpParam()
        prm.statusCode = pj.PJSIP_SC_OK
        prm.sdp.wholeSdp = self.local = sdp
        if not self._respond(prm):
            self._turn_down(_NOT_ACCEPTABLE)

    def refuse(self, op: OpId, status: int) -> None:
        """Refuse their re-INVITE; the call goes on as it was."""
        adopted = self._adopted.pop(op, None)
        if adopted is not None and status in _LATER:
            self._later(_PAUSE, lambda: self._tell_again(adopted))
        if op != self._theirs:
            return
        self._theirs = None
        self._turn_down(status)

    def acknowledged(self, text: str) -> None:
        """A message came in, which may be the ACK to an offer of ours."""
        if self._awaits_ack and text.startswith("ACK "):
            self._awaits_ack = False
            answer = parse(text).sdp
            if answer is not None and not _same(answer, self.remote):
                self._adopt(answer)

    def _turn_down(self, status: int) -> None:
        prm = pj.CallOpParam()
        prm.statusCode = status
        if status == _SERVER_ERROR:
            add_headers(prm, {"Retry-After": str(_RETRY_AFTER)})
        self._respond(prm)

    def _adopt(self, sdp: str) -> None:
        """Pass on what is agreed with the far end already.

        An offer in UPDATE, or the answer to what we had to offer in the 200 to an offerless
        re-INVITE: it reaches the core as if it were an offer, whose answer is dropped.
        """
        self.remote = sdp
        if self.established:
            self._tell(sdp)
            return
        self._early[self._sender] = sdp
        self._report(SipProgressed(leg=self._leg, status=_PROGRESS, sdp=sdp))

    def _tell(self, sdp: str) -> None:
        op = OpId(next(self._ops))
        self._adopted[op] = sdp
        self._report(SipReinviteReceived(leg=self._leg, op=op, sdp=sdp))

    def _tell_again(self, sdp: str) -> None:
        if sdp == self.remote:
            self._tell(sdp)


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and _content(one) == _content(other)


def _content(sdp: str) -> list[list[str]]:
    """What a description says, whoever counts its versions how (RFC 3264 section 8)."""
    return [line.split() for line in sdp.splitlines() if line[:2] != "o="]
