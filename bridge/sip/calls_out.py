# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that we place: by which account, at which of its servers, as whom. SIP thread only."""

import secrets
from typing import Final

from bridge.call.commands import SendSipInvite
from bridge.call.events import SipEnded
from bridge.call.ids import LegId
from bridge.sip.account import Account
from bridge.sip.accounts import Accounts, Later
from bridge.sip.callers import origin_of
from bridge.sip.hunt import Hunt
from bridge.sip.identity import FarParty, Normalise
from bridge.sip.leg import Leg
from bridge.sip.legs import Legs
from bridge.sip.listener import Listener
from bridge.sip.messages import parse_uri
from bridge.sip.trunks import Peers, Route
from bridge.sip.walk import Walk

_UNAVAILABLE: Final = 503
_NO_RESOURCES: Final = 47
_FULL: Final = "Too many calls"


class CallsOut:
    """Each call hunts for a server that answers. `most`: legs at the same time."""

    def __init__(
        self,
        accounts: Accounts,
        peers: Peers,
        listener: Listener,
        legs: Legs,
        *,
        normalise: Normalise,
        call_later: Later,
        most: int,
    ) -> None:
        self._accounts = accounts
        self._peers = peers
        self._listener = listener
        self._legs = legs
        self._normalise = normalise
        self._call_later = call_later
        self.most = most
        self._hunts: dict[LegId, Hunt] = {}

    def invite(self, command: SendSipInvite) -> None:
        """Place a call, or tell why it cannot be."""
        account = self._accounts.get(command.trunk)
        route = account.route if account else None
        reason = self._why_not(command, account)
        if account is None or route is None or reason:
            q850 = _NO_RESOURCES if reason == _FULL else 0
            ended = SipEnded(
                leg=command.leg, status=_UNAVAILABLE, reason=reason, q850=q850, remote=False
            )
            self._listener.happened(ended)
            return
        hunt = Hunt(
            command.leg,
            Walk(lambda: self._accounts.get(command.trunk), self._call_later, leg=command.leg),
            lambda hunt, account: self._attempt(command, account, route, hunt),
            self._listener.happened,
            self._call_later,
            route.trunk.answer_within,
        )
        self._hunts[command.leg] = hunt
        hunt.begin()

    def cancel(self, leg: LegId) -> bool:
        """End a call that is between two servers; False if it is at one, or none of these."""
        hunt = self._hunts.get(leg)
        if hunt is None or not hunt.between:
            return False
        self._hunts.pop(leg).cancel()
        return True

    def left(self, leg: Leg) -> None:
        """A leg is over, and so is its call, unless that goes on to the next server."""
        hunt = self._hunts.get(leg.id)
        if hunt and not hunt.between:
            del self._hunts[leg.id]

    def _why_not(self, command: SendSipInvite, account: Account | None) -> str:
        """Why the call cannot leave by its trunk; empty if it can."""
        if account is None:
            return "No such trunk"
        if not account.reachable:
            return "Unknown server"
        if command.spare and not self._peers.is_registered(command.trunk):
            return "Not registered"
        return _FULL if len(self._legs) >= self.most else ""

    def _attempt(self, command: SendSipInvite, account: Account, route: Route, hunt: Hunt) -> Leg:
        leg = self._legs.new(command.leg, command.trunk, hunt.happened)
        leg.sip_call_id = secrets.token_hex(16)
        self._legs.place(leg)
        us = origin_of(route, command.caller, command.caller_name, withheld=command.withheld)
        further = {"Replaces": command.replaces, "Referred-By": command.referred_by}
        headers = us.headers | {name: value for name, value in further.items() if value}
        target = route.target(command.target)
        uri = parse_uri(target)
        far = self._normalise(uri.user, uri.host)
        leg.far = FarParty(self._normalise, far, believed=route.trunk.trust_identity)
        leg.invite(account, target, us.origin, headers, command.sdp)
        return leg
