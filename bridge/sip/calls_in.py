# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that come in, and what the far end of one asks of others. SIP thread only."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.causes import Cause
from bridge.call.events import SipInviteReceived, SipReferReceived
from bridge.call.ids import Address, LegId, OpId
from bridge.sip.account import Account
from bridge.sip.accounts import Accounts, Later
from bridge.sip.attempts import Attempts
from bridge.sip.dialled import dialled_in, diverted_by
from bridge.sip.endings import FULL, STOPPING, Refusal, refusal_of, unavailable
from bridge.sip.identity import FarParty, Normalise
from bridge.sip.leg import Leg
from bridge.sip.legs import Legs
from bridge.sip.listener import Listener
from bridge.sip.lookup import split_host_port
from bridge.sip.messages import Message, caller_of, parse
from bridge.sip.referrals import Referral
from bridge.sip.replaces import replaced
from bridge.sip.trunks import Peers, Route

log = structlog.get_logger(__name__)

_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500
_NO_SUCH_DIALOG: Final = 481
_DECLINED: Final = 603
_REFUSED_ALOUD: Final = 16
"""Calls beyond the limit that the core refuses, with a ladder; a storm is refused here."""


class CallsIn:
    """Reads INVITEs for the core, and refuses those that it need not hear of.

    `most`: legs at the same time.
    """

    def __init__(
        self,
        accounts: Accounts,
        peers: Peers,
        listener: Listener,
        legs: Legs,
        *,
        normalise: Normalise,
        call_later: Later,
        attempts: Attempts,
        most: int,
        stopping: Callable[[], bool],
    ) -> None:
        self._accounts = accounts
        self._attempts = attempts
        self._peers = peers
        self._listener = listener
        self._legs = legs
        self._normalise = normalise
        self._call_later = call_later
        self.most = most
        self._stopping = stopping

    def arrived(self, account: Account, prm: pj.OnIncomingCallParam) -> None:
        """An INVITE came from a trunk."""
        assert account.route
        invite = parse(prm.rdata.wholeMsg)
        leg = self._legs.new(LegId(f"in-{secrets.token_hex(8)}"), account.route.name)
        leg.accept(account, prm.callId, invite)
        call_id = replaced(invite)
        former = self._legs.of_call(call_id)
        refusal = self._refusal(account.route, invite)
        if refusal is None and call_id:
            refusal = self._not_replaced(account.route, former)
        if refusal:
            self._turn_away(leg, refusal, prm.rdata)
            return
        try:
            received = self._read(leg, account.route, invite)
        except Exception:
            log.exception("INVITE cannot be read", trunk=account.route.name)
            self._turn_away(leg, Refusal(_SERVER_ERROR, cause=Cause.ERROR), prm.rdata)
            return
        if former is not None:
            received = replace(received, replaces=former.id)
        if len(self._legs) > self.most:
            log.warning("too many calls", limit=self.most)
            received = replace(received, full=True)
        self._legs.place(leg)
        self._listener.happened(received)
        self._legs.catch_up(leg)

    def referred(self, leg: Leg, op: OpId, referral: Referral) -> None:
        """The far end of a leg asks for a transfer."""
        route, target = leg.route, referral.target
        own = route is not None and self._peers.owns(route, target.host)
        received = SipReferReceived(
            leg=leg.id,
            op=op,
            target=self._normalise(target.user, target.host),
            # A dialog that is to be replaced is where the REFER says, and nowhere else.
            uri=referral.written if own or referral.replaces else "",
            replaces=referral.replaces,
            referred_by=referral.referred_by,
        )
        self._listener.happened(received)

    def dialled(self, route: Route, request: Message) -> str:
        """What was dialled: canonical where it is a number, else as sent."""
        uri = dialled_in(route, request)
        address = self._normalise(uri.user, uri.host)
        return address.removeprefix("tel:") if address.startswith("tel:") else uri.user

    # --- inside -------------------------------------------------------------------------------

    def _refusal(self, route: Route, invite: Message) -> Refusal | None:
        if self._stopping():
            return unavailable(STOPPING)
        if len(self._legs) > self.most + _REFUSED_ALOUD:
            return unavailable(FULL, "Too many calls", Cause.NO_RESOURCES)
        if not self._safe(route, invite):
            log.warning("a call that has to be encrypted came without TLS", trunk=route.name)
            return Refusal(_FORBIDDEN, "TLS required", cause=Cause.NOT_ENCRYPTED)
        return refusal_of(invite, route.trunk)

    def _not_replaced(self, route: Route, former: Leg | None) -> Refusal | None:
        """Why an INVITE cannot take a call's place: only the trunk that has it may send one."""
        if former is None:
            return Refusal(_NO_SUCH_DIALOG)
        if former.trunk != route.name or not former.referrals.welcome:
            return Refusal(_DECLINED, cause=Cause.NOT_PERMITTED)
        full = len(self._legs) > self.most
        return unavailable(FULL, "Too many calls", Cause.NO_RESOURCES) if full else None

    def _safe(self, route: Route, invite: Message) -> bool:
        """Whether keys in an INVITE can have been read by nobody, where that matters."""
        if route.trunk.srtp != "required":
            return True
        via = invite.first("via").partition(" ")[0].rpartition("/")[2].lower()
        came_by = {each.transport for each in self._legs.waiting(invite.first("call-id"))}
        return (came_by or {via}) == {"tls"}

    def _turn_away(self, leg: Leg, refusal: Refusal, rdata: pj.SipRxData) -> None:
        """Refuse an INVITE that the core will not hear of."""
        leg.hush()
        self._legs.settled(leg.sip_call_id)
        host, _ = split_host_port(rdata.srcAddress)
        self._attempts.refused(rdata.wholeMsg, host, refusal.cause, refusal.status, leg.trunk)

        def send() -> None:
            leg.hang_up(refusal.status, refusal.reason, headers=refusal.headers)

        if self._stopping():
            send()  # Headers are lost within the callback of an INVITE, but nothing runs later.
        else:
            self._call_later(0.0, send)

    def _read(self, leg: Leg, route: Route, invite: Message) -> SipInviteReceived:
        caller = caller_of(invite, asserted=route.trunk.trust_identity)
        address = self._normalise(caller.user, caller.host)
        leg.far = FarParty(self._normalise, address, believed=route.trunk.trust_identity)
        return SipInviteReceived(
            leg=leg.id,
            trunk=route.name,
            caller=address,
            caller_name=caller.name,
            dialled=self.dialled(route, invite),
            diverted_by=self._diverted_by(invite),
            sdp=invite.sdp,
            sip_call_id=leg.sip_call_id,
            refers=invite.allows("REFER"),
        )

    def _diverted_by(self, request: Message) -> Address | None:
        uri = diverted_by(request)
        return self._normalise(uri.user, uri.host) if uri.user else None
