# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens on the SIP thread: trunks, legs, and the commands carried out on them."""

import itertools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Protocol

import pjsua2 as pj
import structlog

from bridge.call.commands import (
    AnswerSip,
    AnswerSipReinvite,
    ByeSip,
    CancelSip,
    NotifySip,
    ReferSip,
    RejectSip,
    RejectSipReinvite,
    SendSipInvite,
    SendSipKey,
    SendSipProgress,
    SendSipReinvite,
    SipCommand,
)
from bridge.call.events import (
    SipEnded,
    SipEvent,
    SipInviteReceived,
    SipReferProgressed,
    SipReferReceived,
)
from bridge.call.ids import Address, LegId, OpId, TrunkName
from bridge.config import Sip
from bridge.ports import Mailbox, SipText
from bridge.sip.account import Account, Callbacks
from bridge.sip.accounts import Accounts
from bridge.sip.callers import origin_of
from bridge.sip.dialled import dialled_in, diverted_by
from bridge.sip.door import Door
from bridge.sip.endings import (
    FULL,
    STOPPING,
    Refusal,
    headers_of,
    refusal_of,
    unavailable,
)
from bridge.sip.endpoint import Endpoint
from bridge.sip.hunt import Hunt
from bridge.sip.identity import FarParty, Normalise
from bridge.sip.keypad import PLAIN, RELAY
from bridge.sip.leg import Leg
from bridge.sip.lookup import Target, split_host_port
from bridge.sip.mailbox import read_mailbox
from bridge.sip.messages import Message, caller_of, clean, parse, parse_uri
from bridge.sip.names import Names
from bridge.sip.pager import Answered, Pager
from bridge.sip.params import audio_only
from bridge.sip.referrals import Referral
from bridge.sip.registrar import Pause
from bridge.sip.strangers import Reason, Strangers
from bridge.sip.successors import Decisions
from bridge.sip.tap import Tapped
from bridge.sip.trunks import Peers, Registration, RegistrationState, Route

log = structlog.get_logger(__name__)

_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500
_UNAVAILABLE: Final = 503
_CANCELLED: Final = 487
_OK: Final = 200
_FAREWELL: Final = 0.5
"""Seconds that BYE and its kind get to be retransmitted or challenged when the process stops."""
_LEAVING: Final = 2.0
"""Seconds that registrars get to answer when we unregister."""
_UNPLACED: Final = 64
"""Messages remembered until it is known whether they begin a call."""


Report = Callable[[SipEvent], None]


class Listener(Protocol):
    """Told what happens, on the SIP thread."""

    def happened(self, event: SipEvent) -> None:
        """Something for the core."""

    def began(self, leg: LegId, sip_call_id: str) -> None:
        """A leg has a Call-ID; told before anything else of it."""

    def ended(self, sip_call_id: str) -> None:
        """The leg is over; its last messages may still come."""

    def tapped(self, sip_call_id: str, direction: str, text: str) -> None:
        """A message of a leg."""

    def seen(self, message: Tapped) -> None:
        """Any message at all."""

    def registration(self, trunk: TrunkName, registration: Registration) -> None:
        """A registration changed."""

    def text(self, text: SipText) -> None:
        """A text came from a trunk, and was admitted."""

    def mailbox(self, mailbox: Mailbox) -> None:
        """A server told what waits in the mailbox of an account."""

    decisions: Decisions
    """Where what the core says can be waited for."""


class Worker:
    """Everything that touches pjsua2."""

    def __init__(
        self,
        sip: Sip,
        peers: Peers,
        *,
        listener: Listener,
        strangers: Strangers,
        normalise: Normalise,
        admits: Callable[[SipText], int],
        pause: Pause,
        names: Names,
    ) -> None:
        self._sip = sip
        self._peers = peers
        self._listener = listener
        self._normalise = normalise
        self._admits = admits
        self._strangers = strangers
        door = Door.of(
            sip.strangers,
            peers,
            strangers,
            self._is_live,
            informed=self._informed,
            closing=lambda: self._stopping,
        )
        self._endpoint = Endpoint(
            sip,
            select=self._select,
            tapped=self._tapped,
            judge=door.judge,
            malformed=door.malformed,
        )
        self._names = names
        self._accounts = Accounts(
            sip,
            peers,
            report=self._report,
            call_later=self._endpoint.call_later,
            pause=pause,
            transport=self._transport_to,
        )
        self._pager = Pager(self._text, self._turned_away)
        self._stopping = False
        self._legs: dict[LegId, Leg] = {}
        self._hunts: dict[LegId, Hunt] = {}
        """Of calls out."""
        self._given_up: set[Leg] = set()
        """Went to a server that did not answer, and are another server's call by now."""
        self._by_call_id: dict[str, Leg] = {}
        self._ended_call_ids: set[str] = set()
        self._unplaced: list[tuple[str, Tapped]] = []
        # Negative, so that they never meet the operations of the core.
        self._ops = itertools.count(-1, -1)

    def start(self, routes: Iterable[Route], names: int) -> None:
        """Raises ConfigurationError or LocalError. `names`: port of the name server to ask."""
        self._endpoint.start(names)
        self._accounts.open_strangers(
            Callbacks(self._refuse, self._pager.refuse, self._pager.sent, lambda *_: None)
        )
        for route in routes:
            self.add(route)

    def add(self, route: Route) -> None:
        """Use another trunk. Raises LocalError."""
        callbacks = Callbacks(self._incoming, self._pager.received, self._pager.sent, self._mailbox)
        self._accounts.add(route, callbacks)

    def remove(self, trunk: TrunkName, done: Callable[[bool], None]) -> None:
        """Unregister, and tell whether that was answered; calls by the trunk go on."""
        self._accounts.remove(trunk, done)

    def follow(self) -> None:
        """The trunks' servers may have moved."""
        self._accounts.follow()

    def poll(self) -> None:
        """Let the stack work for up to 10 ms."""
        self._endpoint.poll(self._slots_in_use)
        self._unplaced.clear()

    def stop(self) -> None:
        """Hang up, unregister, destroy; who calls meanwhile is refused."""
        self._stopping = True
        if self._legs:
            for leg in list(self._legs.values()):
                ringing = leg.ringing_here
                headers = unavailable(STOPPING).headers if ringing else None
                leg.hang_up(_UNAVAILABLE if ringing else _OK, headers=headers)
            self._endpoint.drain(_FAREWELL, lambda: False)
        self._accounts.leave()
        self._endpoint.drain(_LEAVING, self._accounts.left)
        self._accounts.close()
        self._endpoint.stop()

    def send_text(
        self,
        trunk: TrunkName,
        target: str,
        text: str,
        caller: str,
        answered: Answered,
        *,
        withheld: bool = False,
    ) -> None:
        """MESSAGE a number or SIP URI by a trunk; its final status is told."""
        account = self._accounts.get(trunk)
        if account is None or account.route is None or not account.reachable:
            answered(_UNAVAILABLE)
            return
        route = account.route
        us = origin_of(route, caller, withheld=withheld)
        self._pager.send(account, route.target(target), us.origin, us.headers, text, answered)

    # --- commands ---------------------------------------------------------------------------

    def carry_out(self, command: SipCommand) -> None:
        """Do it now. What concerns a leg that has ended is dropped."""
        if isinstance(command, SendSipInvite):
            self._invite(command)
            return
        leg = self._legs.get(command.leg)
        hunt = self._hunts.get(command.leg)
        if hunt and hunt.between and isinstance(command, CancelSip):
            self._hunts.pop(command.leg).cancel()
            return
        if leg is None:
            log.debug("leg has ended", call=command.call, command=type(command).__name__)
            return
        self._apply(command, leg)

    def _apply(self, command: SipCommand, leg: Leg) -> None:
        match command:
            case SendSipProgress():
                leg.progress(command.status, command.sdp)
            case AnswerSip():
                leg.answer(command.sdp)
            case RejectSip():
                self._reject(command, leg)
            case CancelSip():
                leg.hang_up(_CANCELLED, q850=command.q850)
            case ByeSip():
                leg.hang_up(_OK, q850=command.q850)
            case SendSipKey():
                leg.press(command.key, command.duration, self._key_body(leg))
            case ReferSip():
                self._refer(command, leg)
            case NotifySip():
                leg.notify(command.op, command.status)
            case SendSipReinvite():
                leg.reinvite(command.op, command.sdp)
            case AnswerSipReinvite():
                leg.offers.accept(command.op, command.sdp)
            case RejectSipReinvite():
                leg.offers.refuse(command.op, command.status)
            case _:
                raise TypeError(f"unknown SIP command {type(command).__name__}")

    def _why_not(self, command: SendSipInvite, account: Account | None) -> str:
        """Why the call cannot leave by its trunk; empty if it can."""
        if account is None:
            return "No such trunk"
        if not account.reachable:
            return "Unknown server"
        if command.spare and not self._peers.is_registered(command.trunk):
            return "Not registered"
        return "Too many calls" if len(self._legs) >= self._sip.max_calls else ""

    def _reject(self, command: RejectSip, leg: Leg) -> None:
        account = self._accounts.get(leg.trunk)
        route = account.route if account else None
        headers = headers_of(
            q850=command.q850,
            contact=route.target(command.contact) if route and command.contact else "",
            retry_after=command.retry_after,
        )
        leg.hang_up(command.status, command.reason, q850=command.q850, headers=headers)

    def _key_body(self, leg: Leg) -> str:
        """How the leg's trunk wants keys to be written."""
        account = self._accounts.get(leg.trunk)
        plain = account and account.route and account.route.trunk.dtmf == "dtmf"
        return PLAIN if plain else RELAY

    def _refer(self, command: ReferSip, leg: Leg) -> None:
        account = self._accounts.get(leg.trunk)
        route = account.route if account else None
        other = self._legs.get(command.replaces) if command.replaces else None
        if route is None or (command.replaces and other is None):
            failed = SipReferProgressed(leg=leg.id, op=command.op, status=_UNAVAILABLE)
            self._listener.happened(failed)
            return
        leg.refer(command.op, route.target(command.target), other)

    def _invite(self, command: SendSipInvite) -> None:
        account = self._accounts.get(command.trunk)
        route = account.route if account else None
        reason = self._why_not(command, account)
        if account is None or route is None or reason:
            ended = SipEnded(leg=command.leg, status=_UNAVAILABLE, reason=reason, remote=False)
            self._listener.happened(ended)
            return
        hunt = Hunt(
            command.leg,
            lambda: self._accounts.get(command.trunk),
            lambda hunt, account: self._attempt(command, account, route, hunt),
            self._listener.happened,
            self._endpoint.call_later,
            route.trunk.answer_within,
        )
        self._hunts[command.leg] = hunt
        hunt.begin()

    def _attempt(self, command: SendSipInvite, account: Account, route: Route, hunt: Hunt) -> Leg:
        leg = self._new_leg(command.leg, command.trunk, hunt.happened)
        leg.sip_call_id = secrets.token_hex(16)
        self._place(leg)
        us = origin_of(route, command.caller, command.caller_name, withheld=command.withheld)
        further = {"Replaces": command.replaces, "Referred-By": command.referred_by}
        headers = us.headers | {name: value for name, value in further.items() if value}
        target = route.target(command.target)
        uri = parse_uri(target)
        leg.far = self._far_party(route, self._normalise(uri.user, uri.host))
        leg.invite(account, target, us.origin, headers, command.sdp)
        return leg

    # --- what comes in ----------------------------------------------------------------------

    def _select(self, rdata: pj.SipRxData) -> int | None:
        """The account of a request; without one, pjsua would take whichever looks nearest."""
        try:
            trunk = self._peers.trunk_of(parse(rdata.wholeMsg), rdata.srcAddress)
        except Exception:
            log.exception("request cannot be read")
            trunk = None
        return self._accounts.index(trunk)

    def _incoming(self, account: Account, prm: pj.OnIncomingCallParam) -> None:
        assert account.route
        invite = parse(prm.rdata.wholeMsg)
        leg = self._new_leg(LegId(f"in-{secrets.token_hex(8)}"), account.route.name)
        leg.accept(account, prm.callId, invite)
        refusal = self._refusal(account.route, invite)
        if refusal:
            self._turn_away(leg, refusal)
            return
        try:
            received = self._invite_received(leg, account.route, invite)
        except Exception:
            log.exception("INVITE cannot be read", trunk=account.route.name)
            self._turn_away(leg, Refusal(_SERVER_ERROR))
            return
        self._place(leg)
        self._listener.happened(received)
        for call_id, message in self._unplaced:
            if call_id == leg.sip_call_id:
                self._pass_on(leg, message)

    def _informed(self, sip_call_id: str, data: bytes) -> bool | None:
        """Whether an INFO within a call is understood, which it then is; None: no such call."""
        leg = self._by_call_id.get(sip_call_id)
        if leg is None:
            return None
        text = data.decode("utf-8", "surrogateescape")
        self._listener.tapped(sip_call_id, "received", clean(text))
        return leg.informed(parse(text))

    def _safe(self, route: Route, invite: Message) -> bool:
        """Whether keys in an INVITE can have been read by nobody, where that matters."""
        if route.trunk.srtp != "required":
            return True
        name = invite.first("call-id")
        via = invite.first("via").partition(" ")[0].rpartition("/")[2].lower()
        came_by = {tapped.transport for call_id, tapped in self._unplaced if call_id == name}
        return (came_by or {via}) == {"tls"}

    def _referred(self, leg: Leg, op: OpId, referral: Referral) -> None:
        """The far end of a leg asks for a transfer."""
        account, target = self._accounts.get(leg.trunk), referral.target
        route = account.route if account else None
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

    def _replacing(self, leg: Leg, prm: pj.OnCallReplaceRequestParam) -> None:
        """An INVITE is to take the place of a leg; only the trunk that has it may send one."""
        account = self._accounts.get(leg.trunk)
        invite = parse(prm.rdata.wholeMsg)
        known = self._peers.trunk_of(invite, prm.rdata.srcAddress) == leg.trunk
        if account is None or account.route is None or not known or not leg.referrals.welcome:
            return
        if self._stopping or len(self._legs) >= self._sip.max_calls:
            prm.statusCode = pj.PJSIP_SC_SERVICE_UNAVAILABLE
            return
        successor = self._new_leg(LegId(f"in-{secrets.token_hex(8)}"), leg.trunk)
        successor.accept(account, None, invite)
        self._place(successor)
        received = self._invite_received(successor, account.route, invite)
        self._listener.decisions.expect(successor.id)
        self._listener.happened(replace(received, replaces=leg.id))
        decision = self._listener.decisions.wait(successor.id)
        if isinstance(decision, AnswerSip):
            successor.offers.local = decision.sdp
            prm.newCall = successor.call
            prm.opt = audio_only().opt
            prm.statusCode = pj.PJSIP_SC_OK
            return
        prm.statusCode = decision.status if decision else _SERVER_ERROR
        successor.refused(int(prm.statusCode))

    def _text(self, account: Account, request: Message, text: str) -> int:
        if account.route is None:
            return _UNAVAILABLE
        caller = caller_of(request, asserted=account.route.trunk.trust_identity)
        received = SipText(
            trunk=account.route.name,
            caller=self._normalise(caller.user, caller.host),
            caller_name=caller.name,
            dialled=self._dialled(account.route, request),
            text=text,
        )
        status = self._admits(received)
        if 200 <= status < 300:
            self._listener.text(received)
        return status

    def _mailbox(self, account: Account, prm: pj.OnMwiInfoParam) -> None:
        """A NOTIFY, also one that nobody asked for: many a PBX sends those."""
        if account.route is None:
            return
        mailbox = read_mailbox(account.route.name, parse(prm.rdata.wholeMsg))
        if mailbox:
            self._listener.mailbox(mailbox)

    def _refusal(self, route: Route, invite: Message) -> Refusal | None:
        if self._stopping:
            return unavailable(STOPPING)
        if len(self._legs) > self._sip.max_calls:
            log.warning("too many calls", limit=self._sip.max_calls)
            return unavailable(FULL, "Too many calls")
        if not self._safe(route, invite):
            log.warning("a call that has to be encrypted came without TLS", trunk=route.name)
            return Refusal(_FORBIDDEN, "TLS required")
        return refusal_of(invite, route.trunk)

    def _turn_away(self, leg: Leg, refusal: Refusal) -> None:
        """Refuse an INVITE that the core will not hear of."""
        leg.hush()

        def send() -> None:
            leg.hang_up(refusal.status, refusal.reason, headers=refusal.headers)

        if self._stopping:
            send()  # Headers are lost within the callback of an INVITE, but nothing runs later.
        else:
            self._endpoint.call_later(0.0, send)

    def _invite_received(self, leg: Leg, route: Route, invite: Message) -> SipInviteReceived:
        caller = caller_of(invite, asserted=route.trunk.trust_identity)
        address = self._normalise(caller.user, caller.host)
        leg.far = self._far_party(route, address)
        return SipInviteReceived(
            leg=leg.id,
            trunk=route.name,
            caller=address,
            caller_name=caller.name,
            dialled=self._dialled(route, invite),
            diverted_by=self._diverted_by(invite),
            sdp=invite.sdp,
            sip_call_id=leg.sip_call_id,
            refers=invite.allows("REFER"),
        )

    def _dialled(self, route: Route, request: Message) -> str:
        uri = dialled_in(route, request)
        address = self._normalise(uri.user, uri.host)
        return address.removeprefix("tel:") if address.startswith("tel:") else uri.user

    def _diverted_by(self, request: Message) -> Address | None:
        uri = diverted_by(request)
        return self._normalise(uri.user, uri.host) if uri.user else None

    def _refuse(self, account: Account, prm: pj.OnIncomingCallParam) -> None:
        call = pj.Call(account, prm.callId)
        self._endpoint.bury(call)
        answer = pj.CallOpParam()
        answer.statusCode = pj.PJSIP_SC_FORBIDDEN
        self._turned_away(prm.rdata.srcAddress, "INVITE")
        call.hangup(answer)

    def _turned_away(self, source: str, method: str) -> None:
        """A stranger came past the door: by what belongs to a call of ours, or was a trunk's."""
        self._strangers.refused(split_host_port(source)[0], Reason.STRANGER, method)

    def _transport_to(self, route: Route, target: Target) -> int:
        if target.protocol == "tls":
            self._names.point(route.tls_name, target.address)
        return self._endpoint.transport_to(route, target)

    def _tapped(self, message: Tapped) -> None:
        self._listener.seen(message)
        self._accounts.seen(message)
        call_id = message.call_id
        leg = self._by_call_id.get(call_id)
        if leg:
            self._pass_on(leg, message)
        elif call_id in self._ended_call_ids:
            self._listener.tapped(call_id, message.direction, message.text)
        elif len(self._unplaced) < _UNPLACED:
            self._unplaced.append((call_id, message))

    def _pass_on(self, leg: Leg, message: Tapped) -> None:
        self._listener.tapped(leg.sip_call_id, message.direction, message.text)
        if not message.sent:
            leg.tapped(message.text, message.transport, message.peer)

    # --- legs -------------------------------------------------------------------------------

    def _new_leg(
        self, leg_id: LegId, trunk: TrunkName, report: Callable[[SipEvent], None] | None = None
    ) -> Leg:
        if former := self._legs.get(leg_id):
            self._given_up.add(former)
        leg = Leg(
            leg_id,
            trunk,
            report or self._listener.happened,
            self._ended,
            self._ops,
            self._endpoint.call_later,
        )
        leg.address_of = lambda uri: self._normalise(uri.user, uri.host)
        leg.texted = lambda prm: self._texted(trunk, prm)
        leg.referred = lambda op, referral: self._referred(leg, op, referral)
        leg.replacing = lambda prm: self._replacing(leg, prm)
        account = self._accounts.get(trunk)
        if account is not None and account.route is not None:
            leg.referrals.welcome = account.route.trunk.transfers == "accept"
        self._legs[leg_id] = leg
        return leg

    def _texted(self, trunk: TrunkName, prm: pj.OnInstantMessageParam) -> None:
        account = self._accounts.get(trunk)
        if account:
            self._pager.received_in_call(account, prm)

    def _far_party(self, route: Route, known: Address) -> FarParty:
        return FarParty(self._normalise, known, believed=route.trunk.trust_identity)

    def _place(self, leg: Leg) -> None:
        self._by_call_id[leg.sip_call_id] = leg
        self._listener.began(leg.id, leg.sip_call_id)

    def _is_live(self, call_id: str) -> bool:
        return call_id in self._by_call_id or call_id in self._ended_call_ids

    def _slots_in_use(self) -> set[int]:
        legs = (*self._legs.values(), *self._given_up)
        return {leg.call.getId() for leg in legs if leg.call}

    def _ended(self, leg: Leg) -> None:
        call = leg.release()
        if call:
            self._endpoint.bury(call)
        self._given_up.discard(leg)
        if self._legs.get(leg.id) is leg:
            del self._legs[leg.id]
            hunt = self._hunts.get(leg.id)
            if hunt and not hunt.between:
                del self._hunts[leg.id]
        if self._by_call_id.pop(leg.sip_call_id, None):
            # BYE's 200 and retransmissions belong to the ladder, too (RFC 3261: 64*T1 at most).
            call_id = leg.sip_call_id
            self._ended_call_ids.add(call_id)
            self._listener.ended(call_id)
            self._endpoint.call_later(32, lambda: self._ended_call_ids.discard(call_id))

    def _report(self, trunk: TrunkName, registration: Registration) -> None:
        self._peers.registered(trunk, registration.state is RegistrationState.REGISTERED)
        self._listener.registration(trunk, registration)
