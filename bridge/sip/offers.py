# SPDX-License-Identifier: GPL-3.0-or-later
"""Offers within a dialog, ours and theirs, and what is in force meanwhile. SIP thread only."""

from collections.abc import Callable, Iterator
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.events import (
    SipEvent,
    SipReinviteAnswered,
    SipReinviteFailed,
    SipReinviteReceived,
)
from bridge.call.ids import LegId, OpId
from bridge.sip.messages import Message, parse
from bridge.sip.params import audio_only

log = structlog.get_logger(__name__)

_BUSY: Final = 491
_NOT_ACCEPTABLE: Final = 488

Report = Callable[[SipEvent], None]


class Offers:
    """One dialog's session descriptions (RFC 3264), as far as pjsua2 leaves them to us."""

    def __init__(
        self,
        leg: LegId,
        ops: Iterator[int],
        report: Report,
        respond: Callable[[pj.CallOpParam], bool],
    ) -> None:
        self.local: str | None = None
        """What we send wherever the stack asks for a description."""
        self.remote: str | None = None
        """What the far end is known to want."""
        self._leg = leg
        self._ops = ops
        self._report = report
        self._respond = respond
        self._log = log.bind(leg=leg)
        self._agreed: str | None = None
        """Ours, to return to if the offer under way is refused."""
        self._ours: OpId | None = None
        self._theirs: OpId | None = None
        self._offered: str | None = None
        """In the last request that brought an offer, accepted or not."""
        self._adopted: set[OpId] = set()
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

    # --- theirs -----------------------------------------------------------------------------

    def arrived(self, request: Message) -> None:
        """A re-INVITE or UPDATE came in; what it wants is asked next."""
        self._offered = request.sdp
        self._awaits_ack = request.method == "INVITE" and request.sdp is None

    def is_refresh(self) -> bool:
        """Whether an offer is what is in use already: a session timer's (RFC 4028)."""
        return _same(self._offered, self.remote)

    def waits(self) -> bool:
        """Whether a re-INVITE's offer has to wait for the core's answer."""
        if self.is_refresh():
            return False
        self._theirs = OpId(next(self._ops))
        self._report(SipReinviteReceived(leg=self._leg, op=self._theirs, sdp=self._offered))
        return True

    def accept(self, op: OpId, sdp: str) -> None:
        """Send 200 to their re-INVITE."""
        if op in self._adopted:
            self._adopted.discard(op)
            return
        if op != self._theirs:
            return
        self._theirs = None
        self.remote = self._offered
        prm = pj.CallOpParam()
        prm.statusCode = pj.PJSIP_SC_OK
        prm.sdp.wholeSdp = self.local = sdp
        if not self._respond(prm):
            self._turn_down(_NOT_ACCEPTABLE)

    def refuse(self, op: OpId, status: int) -> None:
        """Refuse their re-INVITE; the call goes on as it was."""
        self._adopted.discard(op)
        if op != self._theirs:
            return
        self._theirs = None
        self._turn_down(status)

    def acknowledged(self, text: str) -> None:
        """A message came in, which may be the ACK to an offer of ours."""
        if self._awaits_ack and text.startswith("ACK "):
            self._awaits_ack = False
            self._adopt(parse(text).sdp)

    def _turn_down(self, status: int) -> None:
        prm = pj.CallOpParam()
        prm.statusCode = status
        self._respond(prm)

    def _adopt(self, sdp: str | None) -> None:
        """Pass on what the ACK to an offerless re-INVITE answered.

        The stack has to offer at once, and offers what is in use; the far end's answer then reaches
        the core as if it had been an offer, and the core's answer to it has already been sent.
        """
        if sdp is None or _same(sdp, self.remote):
            return
        op = OpId(next(self._ops))
        self._adopted.add(op)
        self.remote = sdp
        self._report(SipReinviteReceived(leg=self._leg, op=op, sdp=sdp))


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.split() == other.split()
