# SPDX-License-Identifier: GPL-3.0-or-later
"""The legs that there are, and which of them a message belongs to. SIP thread only."""

import itertools
from collections.abc import Callable
from typing import Final

from bridge.call.events import SipEvent
from bridge.call.ids import LegId, TrunkName
from bridge.sip.attempts import refused_in
from bridge.sip.endpoint import Endpoint
from bridge.sip.leg import Leg
from bridge.sip.listener import Listener
from bridge.sip.tap import Tapped

_UNPLACED: Final = 64
"""Messages remembered until it is known whether they begin a call."""
_REMEMBERED: Final = 32.0
"""Seconds (64*T1 of RFC 3261) in which BYE's 200 and retransmissions come: of the ladder, too."""


class Legs:
    """By the core's name and by Call-ID.

    `wire`: joins a new leg to whoever is to hear of it. `left`: told of each leg that is over.
    `unheard`: told of each INVITE that the stack refused by itself, and the status.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        listener: Listener,
        *,
        wire: Callable[[Leg], None],
        left: Callable[[Leg], None],
        unheard: Callable[[Tapped, int], None],
    ) -> None:
        self._endpoint = endpoint
        self._listener = listener
        self._wire = wire
        self._left = left
        self._unheard = unheard
        self._legs: dict[LegId, Leg] = {}
        self._given_up: set[Leg] = set()
        """Went to a server that did not answer, and are another server's call by now."""
        self._by_call_id: dict[str, Leg] = {}
        self._ended_call_ids: set[str] = set()
        self._unplaced: list[tuple[str, Tapped]] = []
        self._settled: set[str] = set()
        """Call-IDs of INVITEs of this turn that we know what became of."""
        # Negative, so that they never meet the operations of the core.
        self._ops = itertools.count(-1, -1)

    def __len__(self) -> int:
        return len(self._legs)

    def all(self) -> list[Leg]:
        """Every leg that is not over."""
        return list(self._legs.values())

    def get(self, leg: LegId) -> Leg | None:
        """The leg of that name, if it is not over."""
        return self._legs.get(leg)

    def of_call(self, sip_call_id: str) -> Leg | None:
        """The leg of a Call-ID."""
        return self._by_call_id.get(sip_call_id)

    def holds(self, leg: Leg) -> bool:
        """Whether a leg is still what its name stands for."""
        return self._legs.get(leg.id) is leg

    def new(
        self, leg_id: LegId, trunk: TrunkName, report: Callable[[SipEvent], None] | None = None
    ) -> Leg:
        """A leg; one that had the name is given up. `report`: told of its events, not the core."""
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
        self._wire(leg)
        self._legs[leg_id] = leg
        return leg

    def place(self, leg: Leg) -> None:
        """Its Call-ID is known from now on."""
        self._by_call_id[leg.sip_call_id] = leg
        self._listener.began(leg.id, leg.sip_call_id)

    def is_live(self, call_id: str) -> bool:
        """Whether messages of that Call-ID are those of a call of ours."""
        return call_id in self._by_call_id or call_id in self._ended_call_ids

    def slots_in_use(self) -> set[int]:
        """The ids of the stack's calls that live."""
        legs = (*self._legs.values(), *self._given_up)
        return {leg.call.getId() for leg in legs if leg.call}

    # --- messages -----------------------------------------------------------------------------

    def tapped(self, message: Tapped) -> None:
        """Give a message to its leg; one that may begin a call waits until the turn is over."""
        call_id = message.call_id
        leg = self._by_call_id.get(call_id)
        if leg:
            self._pass_on(leg, message)
        elif call_id in self._ended_call_ids:
            self._listener.tapped(call_id, message.direction, message.text)
        elif len(self._unplaced) < _UNPLACED:
            self._unplaced.append((call_id, message))

    def catch_up(self, leg: Leg) -> None:
        """Give a leg the messages that waited for it."""
        for call_id, message in self._unplaced:
            if call_id == leg.sip_call_id:
                self._pass_on(leg, message)

    def waiting(self, call_id: str) -> list[Tapped]:
        """The messages of a Call-ID that wait."""
        return [message for name, message in self._unplaced if name == call_id]

    def settled(self, call_id: str) -> None:
        """The INVITE with that Call-ID was refused by us, and not by the stack."""
        self._settled.add(call_id)

    def end_turn(self) -> None:
        """What still waits begins no call."""
        if not self._unplaced:
            return
        messages = [message for name, message in self._unplaced if name not in self._settled]
        self._unplaced.clear()
        self._settled.clear()
        for invite, status in refused_in(messages):
            self._unheard(invite, status)

    def _pass_on(self, leg: Leg, message: Tapped) -> None:
        self._listener.tapped(leg.sip_call_id, message.direction, message.text)
        if message.sent:
            leg.sent(message.text, message.transport, message.peer)
        else:
            leg.tapped(message.text, message.transport, message.peer)

    # --- the end --------------------------------------------------------------------------------

    def _ended(self, leg: Leg) -> None:
        call = leg.release()
        if call:
            self._endpoint.bury(call)
        self._given_up.discard(leg)
        if self.holds(leg):
            del self._legs[leg.id]
            self._left(leg)
        call_id = leg.sip_call_id
        if self._by_call_id.pop(call_id, None):
            self._ended_call_ids.add(call_id)
            self._listener.ended(call_id)
            self._endpoint.call_later(_REMEMBERED, lambda: self._ended_call_ids.discard(call_id))
