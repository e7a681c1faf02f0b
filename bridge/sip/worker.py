# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens on the SIP thread: trunks, legs, and the commands carried out on them."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.causes import Cause
from bridge.call.ids import TrunkName
from bridge.config import Sip
from bridge.records import SipText
from bridge.sip.account import Account, Callbacks
from bridge.sip.accounts import Accounts
from bridge.sip.attempts import Attempts, cause_of, parties_by
from bridge.sip.callers import origin_of
from bridge.sip.calls_in import CallsIn
from bridge.sip.calls_out import CallsOut
from bridge.sip.connections import Connections
from bridge.sip.delivery import Delivery
from bridge.sip.door import Door
from bridge.sip.endings import STOPPING, unavailable
from bridge.sip.endpoint import Endpoint
from bridge.sip.identity import Normalise
from bridge.sip.leg import Leg
from bridge.sip.legs import Legs
from bridge.sip.listener import Listener
from bridge.sip.lookup import Target, split_host_port
from bridge.sip.mailbox import read_mailbox
from bridge.sip.messages import Message, caller_of, clean, parse
from bridge.sip.names import Names
from bridge.sip.orders import Orders
from bridge.sip.pager import Answered, Pager
from bridge.sip.registrar import Pause
from bridge.sip.strangers import Reason, Strangers
from bridge.sip.tap import Tapped
from bridge.sip.trunks import Peers, Registration, RegistrationState, Route
from bridge.sip.unused import EVERY, Unused
from bridge.sip.walk import Walk

log = structlog.get_logger(__name__)

_FORBIDDEN: Final = 403
_UNAVAILABLE: Final = 503
_OK: Final = 200
_FAREWELL: Final = 0.5
"""Seconds that BYE and its kind get to be retransmitted or challenged when the process stops."""
_LEAVING: Final = 2.0
"""Seconds that registrars get to answer when we unregister."""


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
        self._peers = peers
        self._listener = listener
        self._normalise = normalise
        self._admits = admits
        self._strangers = strangers
        self._attempts = Attempts(
            listener.refused_at_once,
            strangers.call_refused,
            parties_by(peers, normalise),
            lambda delay, action: self._endpoint.call_later(delay, action),
        )
        self._door = Door.of(
            sip.strangers,
            peers,
            strangers,
            lambda call_id: self._legs.is_live(call_id),
            informed=self._informed,
            closing=self._closing,
            heard=lambda number: self._connections.heard(number),
            welcome=lambda number: self._connections.closed(number),
            call_refused=self._attempts.refused,
        )
        self._connections = Connections(
            knows=peers.knows,
            refused=self._door.refused,
            close=lambda number: self._endpoint.close(number),
            call_later=lambda delay, action: self._endpoint.call_later(delay, action),
        )
        self._endpoint = Endpoint(
            sip,
            select=self._select,
            tapped=self._tapped,
            judge=self._door.judge,
            malformed=self._door.malformed,
            watch=self._connections,
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
        self._closes_at: float | None = None
        self._legs = Legs(
            self._endpoint,
            listener,
            wire=self._wire,
            left=lambda leg: self._calls_out.left(leg),
            unheard=self._unheard,
        )
        self._unused = Unused(
            lambda: self._endpoint.own,
            self._accounts.transports,
            lambda: [leg.id for leg in self._legs.all()],
            self._endpoint.shut,
        )
        self._calls_in = CallsIn(
            self._accounts,
            peers,
            listener,
            self._legs,
            normalise=normalise,
            call_later=self._endpoint.call_later,
            attempts=self._attempts,
            most=sip.max_calls,
            stopping=lambda: self._stopping,
        )
        self._calls_out = CallsOut(
            self._accounts,
            peers,
            listener,
            self._legs,
            normalise=normalise,
            call_later=self._endpoint.call_later,
            most=sip.max_calls,
        )
        self.carry_out = Orders(self._legs, self._calls_out, listener).carry_out
        """Takes a command of the core's; what concerns a leg that has ended is dropped."""

    def start(self, routes: Iterable[Route], names: int) -> None:
        """Raises ConfigurationError or LocalError. `names`: port of the name server to ask."""
        self._endpoint.start(names)
        self._accounts.open_strangers(
            Callbacks(self._refuse, self._pager.refuse, self._pager.sent, lambda *_: None)
        )
        for route in routes:
            self.add(route)
        self._look_after_transports()

    def _look_after_transports(self) -> None:
        self._unused.look()
        self._endpoint.call_later(EVERY, self._look_after_transports)

    def add(self, route: Route) -> None:
        """Use another trunk. Raises LocalError."""
        self._accounts.add(route, self._callbacks(route))

    def change(self, route: Route, targets: Sequence[Target]) -> None:
        """Have a trunk's settings be others. Raises ConfigurationError or LocalError."""
        self._accounts.change(route, self._callbacks(route), targets)

    def _callbacks(self, route: Route) -> Callbacks:
        if route.trunk.register and route.protocol != "udp":
            self._endpoint.keep_alive(route.trunk.keep_alive)
        return Callbacks(
            self._calls_in.arrived, self._pager.received, self._pager.sent, self._mailbox
        )

    def remove(self, trunk: TrunkName, done: Callable[[bool], None]) -> None:
        """Unregister, and tell whether that was answered; calls by the trunk go on."""
        self._accounts.remove(trunk, done)

    def retire(self, trunk: TrunkName, done: Callable[[bool], None]) -> None:
        """Unregister when the trunk has no calls any more."""

        def busy(trunk: TrunkName) -> bool:
            return any(leg.trunk == trunk for leg in self._legs.all())

        self._accounts.retire(trunk, busy, done)

    def use(self, sip: Sip) -> None:
        """Have other settings count, as far as that is possible while the stack runs."""
        self._door.manner = sip.strangers
        self._calls_in.most = self._calls_out.most = sip.max_calls

    def renew(self, listeners: Sequence[int]) -> None:
        """Certificates of these listeners were renewed; by their place in `sip.transports`."""
        for number in listeners:
            self._endpoint.renew(number)

    def follow(self) -> None:
        """The trunks' servers may have moved."""
        self._accounts.follow()

    def poll(self) -> None:
        """Let the stack work for up to 10 ms."""
        self._endpoint.poll(self._legs.slots_in_use)
        self._legs.end_turn()

    def drain(self, seconds: float) -> None:
        """Tell whoever asks that there are no new calls: in so many seconds at most, it stops."""
        self._closes_at = time.monotonic() + seconds

    def stop(self) -> None:
        """Hang up, unregister, destroy; who calls meanwhile is refused."""
        self._stopping = True
        if self._legs:
            for leg in self._legs.all():
                ringing = leg.ringing_here
                headers = unavailable(STOPPING).headers if ringing else None
                leg.hang_up(_UNAVAILABLE if ringing else _OK, headers=headers)
            self._endpoint.drain(_FAREWELL, lambda: False)
        self._accounts.leave()
        self._endpoint.drain(_LEAVING, self._accounts.left)
        self._accounts.close()
        self._attempts.flush()
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

        def send(account: Account, told: Answered) -> None:
            assert account.route is not None
            us = origin_of(account.route, caller, withheld=withheld)
            to = account.route.target(target)
            self._pager.send(account, to, us.origin, us.headers, text, told)

        account = partial(self._accounts.get, trunk)
        walk = Walk(account, self._endpoint.call_later, trunk=trunk, method="MESSAGE")
        Delivery(walk, send, answered).begin()

    # --- what comes in ----------------------------------------------------------------------

    def _select(self, rdata: pj.SipRxData) -> int | None:
        """The account of a request; without one, pjsua would take whichever looks nearest."""
        try:
            trunk = self._peers.trunk_of(parse(rdata.wholeMsg), rdata.srcAddress)
        except Exception:
            log.exception("request cannot be read")
            trunk = None
        return self._accounts.index(trunk)

    def _informed(self, sip_call_id: str, data: bytes) -> bool | None:
        """Whether an INFO within a call is understood, which it then is; None: no such call."""
        leg = self._legs.of_call(sip_call_id)
        if leg is None:
            return None
        text = data.decode("utf-8", "surrogateescape")
        self._listener.tapped(sip_call_id, "received", clean(text))
        return leg.informed(parse(text))

    def _text(self, account: Account, request: Message, text: str) -> int:
        if account.route is None:
            return _UNAVAILABLE
        caller = caller_of(request, asserted=account.route.trunk.trust_identity)
        received = SipText(
            trunk=account.route.name,
            caller=self._normalise(caller.user, caller.host),
            caller_name=caller.name,
            dialled=self._calls_in.dialled(account.route, request),
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

    def _refuse(self, account: Account, prm: pj.OnIncomingCallParam) -> None:
        call = pj.Call(account, prm.callId)
        self._endpoint.bury(call)
        answer = pj.CallOpParam()
        answer.statusCode = _FORBIDDEN
        self._turned_away(prm.rdata.srcAddress, "INVITE")
        text, (host, _) = prm.rdata.wholeMsg, split_host_port(prm.rdata.srcAddress)
        self._attempts.refused(text, host, Cause.STRANGER, _FORBIDDEN)
        self._legs.settled(parse(text).first("call-id"))
        call.hangup(answer)

    def _unheard(self, invite: Tapped, status: int) -> None:
        """The stack refused a call by itself."""
        host, _ = split_host_port(invite.peer)
        trunk = self._peers.trunk_of(parse(invite.text), invite.peer)
        cause = cause_of(status) if trunk else Cause.STRANGER
        self._attempts.refused(invite.text, host, cause, status, trunk)

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
        self._legs.tapped(message)

    def _closing(self) -> int:
        """Seconds after which whoever wants to call may ask again; 0: there is no need to wait."""
        if self._closes_at is None and not self._stopping:
            return 0
        return max(STOPPING, ceil((self._closes_at or 0.0) - time.monotonic()))

    # --- legs -------------------------------------------------------------------------------

    def _wire(self, leg: Leg) -> None:
        """Join a new leg to whoever is to hear of what its far end wants."""
        leg.address_of = lambda uri: self._normalise(uri.user, uri.host)
        leg.texted = lambda prm: self._texted(leg.trunk, prm)
        leg.referred = lambda op, referral: self._calls_in.referred(leg, op, referral)
        account = self._accounts.get(leg.trunk)
        leg.route = account.route if account else None
        leg.referrals.welcome = leg.route is not None and leg.route.trunk.transfers == "accept"

    def _texted(self, trunk: TrunkName, prm: pj.OnInstantMessageParam) -> None:
        account = self._accounts.get(trunk)
        if account:
            self._pager.received_in_call(account, prm)

    def _report(self, trunk: TrunkName, registration: Registration) -> None:
        self._peers.registered(trunk, registration.state is RegistrationState.REGISTERED)
        self._listener.registration(trunk, registration)
