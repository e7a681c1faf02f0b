# SPDX-License-Identifier: GPL-3.0-or-later
"""One SIP leg: a pjsua2 call, told and reported in the core's words. For the SIP thread only."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.events import (
    SipAnswered,
    SipCancelled,
    SipConfirmed,
    SipDialogChanged,
    SipEnded,
    SipHeard,
    SipIdentityChanged,
    SipKeyPressed,
    SipPictureWanted,
    SipProgressed,
    SipReferProgressed,
)
from bridge.call.ids import Address, LegId, OpId, TrunkName
from bridge.sip.call import Call
from bridge.sip.endings import AddressOf, headers_of, hung_up_here, left, refused
from bridge.sip.identity import FarParty
from bridge.sip.keypad import Infos, body_of
from bridge.sip.messages import Message, causes_of, parse, parse_name_addr
from bridge.sip.offers import Later, Offers, Report
from bridge.sip.params import add_headers, audio_only, message_in
from bridge.sip.pictures import ASK, CONTROL, asks_for_picture
from bridge.sip.refer import Transfer
from bridge.sip.referrals import Referral, Referrals
from bridge.sip.remains import Remains
from bridge.sip.transactions import send_no_more
from bridge.sip.trunks import Route

log = structlog.get_logger(__name__)

_NOT_ACCEPTABLE: Final = 488
_CANCELLED: Final = 487


class Leg:
    """What pjsua2 does not keep of a leg, and the events that its callbacks amount to."""

    def __init__(
        self,
        leg: LegId,
        trunk: TrunkName,
        report: Report,
        ended: Callable[["Leg"], None],
        ops: Iterator[int],
        later: Later,
    ) -> None:
        self.id = leg
        self.trunk = trunk
        self.sip_call_id = ""
        self.call: Call | None = None
        self.far: FarParty | None = None
        self.route: Route | None = None
        """The trunk as it was when the leg began."""
        self.texted: Callable[[pj.OnInstantMessageParam], None] = lambda prm: None
        """Told of MESSAGEs within the call, which the stack has answered with 200."""
        self.address_of: AddressOf = lambda uri: Address("")
        self.transfer = Transfer(self._transferring)
        self.referrals = Referrals(lambda op, referral: self.referred(op, referral), ops)
        self.referred: Callable[[OpId, Referral], None] = lambda op, referral: None
        """Told of REFERs that were accepted."""
        self._report = report
        self._ended = ended
        self.offers = Offers(leg, ops, lambda event: self._report(event), self._respond, later)
        self._log = log.bind(leg=leg, trunk=trunk)
        self._invite: Message | None = None
        """The INVITE that the far end sent; None if we sent it."""
        self._remains = Remains(trunk, self._outlives)
        self._progressed_with_sdp = False
        self._cancel: Message | None = None
        self._our_end: SipEnded | None = None
        self._infos = Infos(self._send_info)

    # --- commands ---------------------------------------------------------------------------

    def invite(
        self, account: pj.Account, target: str, origin: str, headers: dict[str, str], sdp: str
    ) -> None:
        """Send the INVITE."""
        self.offers.local = sdp
        prm = audio_only()
        prm.opt.customCallId = self.sip_call_id
        prm.txOption.localUri = origin
        add_headers(prm, headers)
        self.call = Call(account, self)
        try:
            self.call.makeCall(target, prm)
        except pj.Error as error:
            self._log.warning("cannot send INVITE", error=error.reason)
            self._end(SipEnded(leg=self.id, status=503, reason=error.reason, remote=False))

    def accept(self, account: pj.Account, call_id: int, invite: Message) -> None:
        """Take over a call that came in."""
        self._invite = invite
        self.offers.called, self.offers.remote = True, invite.sdp
        self.sip_call_id = invite.first("call-id")
        self.call = Call(account, self, call_id)

    def notify(self, op: OpId, status: int) -> None:
        """Tell the far end what became of its REFER."""
        if self.call:
            self.referrals.notify(self.call, op, status)

    def progress(self, status: int, sdp: str | None) -> None:
        """Send a provisional response."""
        if self._invite and self._invite.sdp is None and self._invite.requires("100rel"):
            # It would have to carry our offer (RFC 3262 section 5), which there is not yet.
            return
        prm = pj.CallOpParam()
        # An offer of ours may not go into an unreliable provisional response (RFC 3264, RFC 3262).
        early = sdp if self._invite and self._invite.sdp and not self._progressed_with_sdp else None
        prm.statusCode = status if early or status != 183 else 180
        if early:
            self.offers.local = prm.sdp.wholeSdp = early
            self._progressed_with_sdp = True
        self._respond(prm)

    def answer(self, sdp: str) -> None:
        """Send 200 to the INVITE."""
        prm = pj.CallOpParam()
        if self._invite and self._invite.sdp is None:
            # pjsua2 wants no description here: it asks for our offer in onCallSdpCreated.
            prm = audio_only()
        elif not self._progressed_with_sdp:
            # After an early answer the 200 has to repeat it (RFC 3261 13.2.1), which pjsip does.
            prm.sdp.wholeSdp = sdp
        self.offers.local = sdp
        prm.statusCode = pj.PJSIP_SC_OK
        if not self._respond(prm):
            self.hang_up(_NOT_ACCEPTABLE)

    def hang_up(
        self,
        status: int,
        reason: str = "",
        *,
        q850: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse, cancel or end the call: whichever its state calls for.

        If a 200 crosses our CANCEL, the stack sends ACK and BYE (RFC 3261 section 9.1).
        """
        if not self.call or self._our_end:
            return
        self._our_end = SipEnded(leg=self.id, status=status, reason=reason, q850=q850, remote=False)
        prm = pj.CallOpParam()
        prm.reason = reason
        if status >= 300 and self._invite and not self._established:
            prm.statusCode = status
        wanted = dict(headers if headers is not None else headers_of(q850=q850))
        if self._invite and "Contact" in wanted:
            us = parse_name_addr(self._invite.first("to")).uri
            wanted["Diversion"] = f"<{us}>;reason=unconditional"  # RFC 5806
        add_headers(prm, wanted)
        try:
            self.call.hangup(prm)
        except pj.Error as error:
            self._log.warning("cannot hang up", error=error.reason)
            self._end(self._our_end)

    def reinvite(self, op: OpId, sdp: str) -> None:
        """Offer something new."""
        if self.call:
            self.offers.make(self.call, op, sdp)

    def refer(self, op: OpId, target: str, other: "Leg | None" = None) -> None:
        """Ask the far end to call `target`, or to take over the call of `other`."""
        call, replaced = self.call, other.call if other else None
        if call is None:
            return

        def send() -> None:
            if replaced is not None:
                call.xferReplaces(replaced, pj.CallOpParam())
            else:
                call.xfer(f"<{target}>", pj.CallOpParam())

        self.transfer.ask(op, send)

    # --- what pjsua2 tells ------------------------------------------------------------------

    def state_changed(self, info: pj.CallInfo, event: pj.SipEvent) -> None:
        """The INVITE session went on to another state."""
        message = message_in(event)
        if info.state == pj.PJSIP_INV_STATE_CONNECTING and not self._invite:
            self._answered(message)
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED and self._invite:
            self._confirmed(message)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._disconnected(info, message)

    def press(self, key: str, duration: float, kind: str) -> None:
        """Send INFO with a key."""
        self._infos.say(kind, body_of(key, duration, kind))

    def ask_for_picture(self) -> None:
        """Send INFO that wants a whole picture."""
        self._infos.say(CONTROL, ASK)

    def ask_if_there(self) -> None:
        """Send OPTIONS within the call, for any answer."""
        self._send("OPTIONS")

    def informed(self, request: Message) -> bool:
        """Whether an INFO of the far end's can be understood; what it says is reported."""
        if asks_for_picture(request):
            self._report(SipPictureWanted(leg=self.id))
            return True
        understood, pressed = self._infos.heard(request)
        if pressed:
            key, duration = pressed
            self._report(SipKeyPressed(leg=self.id, key=key, duration=duration))
        return understood

    def transaction_changed(self, change: pj.TsxStateEvent) -> None:
        """A transaction within the call went on."""
        if change.tsx.method == "INFO" and change.tsx.role == pj.PJSIP_ROLE_UAC and _over(change):
            self._infos.answered()
        if change.type != pj.PJSIP_EVENT_RX_MSG:
            return
        message = parse(change.src.rdata.wholeMsg)
        method = change.tsx.method
        if method == "CANCEL" and message.method == "CANCEL":
            self._cancel = message
        elif message.method == "UPDATE" or (message.method == "INVITE" and self._established):
            self.offers.arrived(message)
            if self._established:
                self._identify(message)
        elif method == "REFER" and message.method == "REFER":
            if self._established:
                self.referrals.asked(message, change.src.rdata)
        elif method == "INVITE" and message.status and self._established:
            self.offers.answered(message)
            self._identify(message)
        elif method == "INVITE" and 100 < message.status < 200:
            self.offers.rang(message)
            self._remains.rang()
            self._report(SipProgressed(leg=self.id, status=message.status, sdp=message.sdp))

    def tapped(self, text: str, transport: str, peer: str) -> None:
        """A message of this call came in."""
        self._remains.received(transport, peer)
        self.offers.acknowledged(text)
        if self._established:
            self._report(SipHeard(leg=self.id))

    def sent(self, text: str, transport: str, peer: str) -> None:
        """A message of this call went out: what would end it while it rings is kept."""
        if not self._established:
            self._remains.sent(text, transport, peer, self._invite)

    @property
    def _established(self) -> bool:
        return self.offers.established

    @property
    def ringing_here(self) -> bool:
        """Whether their INVITE still waits for our final response."""
        return self._invite is not None and not self._established

    @property
    def heard(self) -> bool:
        """Whether any message of this call has come in."""
        return self._remains.heard

    @property
    def ending(self) -> bool:
        """Whether it was told to end."""
        return self._our_end is not None

    def give_up(self, status: int) -> None:
        """Have nobody called who has not said a word so far, and report nothing more.

        Should an answer come yet, the stack ends what it began (RFC 3261 section 9.1).
        """
        self.hush()
        self.hang_up(status, "")
        send_no_more(self._remains.placed)

    def hush(self) -> None:
        """Report nothing more."""
        self._report = lambda event: None

    def release(self) -> Call | None:
        """Let go of pjsua2's call, and give it to whoever buries it."""
        self.hush()
        call, self.call = self.call, None
        if call:
            call.leg = None
        return call

    # --- inside -----------------------------------------------------------------------------

    def _answered(self, answer: Message | None) -> None:
        sdp = self.offers.agreed(answer) if answer else None
        if answer is None or sdp is None:
            self._log.warning("200 without a session description")
            self.hang_up(_NOT_ACCEPTABLE, "No session description")
            return
        self._report(SipAnswered(leg=self.id, sdp=sdp, refers=answer.allows("REFER")))
        self._identify(answer)
        self._remains.answered(answer)

    def _confirmed(self, ack: Message | None) -> None:
        assert self._invite
        answer = ack.sdp if ack and self._invite.sdp is None else None
        self.offers.established = True
        self.offers.remote = answer or self.offers.remote
        self._report(SipConfirmed(leg=self.id, sdp=answer))
        if ack:
            self._remains.confirmed(self._invite, ack)

    def _disconnected(self, info: pj.CallInfo, message: Message | None) -> None:
        if self._our_end:
            self._end(self._our_end)
            return
        if self._cancel:
            causes = causes_of(self._cancel)
            cause = 200 if causes.get("sip") == 200 else causes.get("q.850", causes.get("sip", 0))
            self._report(SipCancelled(leg=self.id, cause=cause))
            q850 = causes.get("q.850", 0)
            self._end(SipEnded(leg=self.id, status=_CANCELLED, reason="Cancelled", q850=q850))
            return
        if message and message.method == "BYE":
            self._end(left(self.id, message))
        elif message and message.status and message.cseq[1] == "BYE":
            self._end(hung_up_here(self.id, message))
        elif message and message.status:
            self._end(refused(self.id, message, self.address_of))
        else:
            # It timed out, or the stack refused what the far end wanted.
            self._end(
                SipEnded(
                    leg=self.id,
                    status=int(info.lastStatusCode),
                    reason=info.lastReason,
                    remote=message is not None or not self.ringing_here,
                )
            )

    def _end(self, event: SipEnded) -> None:
        if not self.call:
            return
        self._report(event)
        self._ended(self)

    def _send_info(self, kind: str, body: str) -> bool:
        return self._send("INFO", kind, body)

    def _send(self, method: str, kind: str = "", body: str = "") -> bool:
        if not self.call:
            return False
        prm = pj.CallSendRequestParam()
        prm.method = method
        prm.txOption.contentType = kind
        prm.txOption.msgBody = body
        try:
            self.call.sendRequest(prm)
        except pj.Error as error:
            self._log.warning("cannot send a request", method=method, error=error.reason)
            return False
        return True

    def _respond(self, prm: pj.CallOpParam) -> bool:
        if not self.call:
            return True
        try:
            self.call.answer(prm)
        except pj.Error as error:
            self._log.warning("cannot respond", status=int(prm.statusCode), error=error.reason)
            return False
        return True

    def _identify(self, message: Message) -> None:
        changed = self.far.heard(message) if self.far else None
        if changed:
            address, name = changed
            self._report(SipIdentityChanged(leg=self.id, address=address, name=name))

    def _transferring(self, op: OpId, status: int) -> None:
        self._report(SipReferProgressed(leg=self.id, op=op, status=status))

    def _outlives(self, state: str) -> None:
        self._report(SipDialogChanged(leg=self.id, state=state))


def _over(change: pj.TsxStateEvent) -> bool:
    """Whether a transaction is over just now: answered, or timed out, or lost."""
    if change.tsx.state == pj.PJSIP_TSX_STATE_COMPLETED:
        return True
    lost = change.tsx.state == pj.PJSIP_TSX_STATE_TERMINATED
    return lost and change.prevState != pj.PJSIP_TSX_STATE_COMPLETED
