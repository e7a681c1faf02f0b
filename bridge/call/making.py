# SPDX-License-Identifier: GPL-3.0-or-later
"""New legs: named so that no two are the same, and told how long they may last."""

from collections.abc import Mapping, Sequence

from bridge.call.causes import Cause
from bridge.call.dialplan import OutboundRoute
from bridge.call.events import MatrixInviteReceived, SipInviteReceived, SipReferReceived
from bridge.call.group import RingGroup
from bridge.call.ids import Address, CallId, LegId, MatrixCallId, PartyId, UserId
from bridge.call.leg import PersonLeg
from bridge.call.limits import Allowances
from bridge.call.machine import Effects
from bridge.call.matrix_leg import MatrixLeg
from bridge.call.other_telephone import OtherTelephone
from bridge.call.placing import Placing
from bridge.call.sip_leg import SipLeg
from bridge.call.states import MatrixState


class LegMaker:
    """Makes the legs of calls. `nonce`: unique to a run. `party`: ours in every Matrix call."""

    def __init__(self, effects: Effects, limits: Allowances, *, nonce: str, party: PartyId) -> None:
        self._effects = effects
        self._limits = limits
        self._nonce = nonce
        self._party = party
        self._made = 0

    def name(self) -> CallId:
        """The name of a new call."""
        self._made += 1
        return CallId(f"{self._nonce}-{self._made}")

    def outgoing(
        self, call: CallId, person: UserId, route: OutboundRoute, *, we_offer: bool = False
    ) -> SipLeg:
        """The SIP leg of a call that a person places."""
        # Whichever trunk carries it, the call lasts no longer than the strictest of them allows.
        longest = min(self._limits.longest(way.trunk, person) for way in route.ways)
        leg = LegId(f"{call}-out")
        placing = Placing.of(route, leg, we_offer=we_offer)
        return SipLeg.calling(self._effects, call, placing, longest=longest)

    def referred(
        self, call: CallId, person: UserId, route: OutboundRoute, referral: SipReferReceived
    ) -> SipLeg:
        """The SIP leg to whom the far end refers a call."""
        self._made += 1
        name = LegId(f"{call}-out-{self._made}")
        longest = self._limits.longest(route.trunk, person)
        placing = Placing.of(route, name, referral=referral)
        return SipLeg.calling(self._effects, call, placing, longest=longest)

    def promised(self, call: CallId, whose: SipLeg) -> SipLeg:
        """The SIP leg of a call that is to have the far end of another."""
        return SipLeg.promised(self._effects, call, LegId(f"{call}-out"), whose)

    def incoming(self, call: CallId, event: SipInviteReceived) -> SipLeg:
        """The SIP leg of a call that came in."""
        longest = self._limits.longest(event.trunk)
        return SipLeg.called(self._effects, call, event, longest=longest)

    def called(self, call: CallId, event: MatrixInviteReceived) -> MatrixLeg:
        """The Matrix leg of a call that a person places."""
        return MatrixLeg.called(self._effects, call, self._party, event)

    def beside(self, call: CallId, person: UserId, address: Address) -> MatrixLeg:
        """Stands for the far end of another call of a person's."""
        return OtherTelephone(
            self._effects,
            MatrixState.INVITED,
            call=call,
            us=self._party,
            person=person,
            address=address,
            call_id=MatrixCallId(""),
            version=0,
        )

    def ringing(
        self,
        call: CallId,
        people: Sequence[UserId],
        address: Address,
        absent: Mapping[UserId, Cause],
    ) -> PersonLeg:
        """The leg of a call that rings at these people; nobody's, if there are none."""
        legs = [self.calling(call, person, address) for person in people or [UserId("")]]
        return legs[0] if len(legs) == 1 else RingGroup(self._effects, call, legs, absent)

    def calling(self, call: CallId, person: UserId, address: Address) -> MatrixLeg:
        """The Matrix leg of a call to a person."""
        return MatrixLeg(
            self._effects,
            MatrixState.PREPARING,
            call=call,
            us=self._party,
            person=person,
            address=address,
            call_id=MatrixCallId(f"~{self._nonce}{self._made}"),
        )
