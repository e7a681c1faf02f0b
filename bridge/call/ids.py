# SPDX-License-Identifier: GPL-3.0-or-later
"""Identifiers that the core passes around without looking inside."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, NewType

CallId = NewType("CallId", str)
"""One bridged call, named by the bridge: in every log line and record."""
OpId = NewType("OpId", int)
"""Ties a command to the event that brings its result; unique within a run."""
LegId = NewType("LegId", str)
"""A SIP leg: chosen by the SIP adapter for an incoming INVITE, by the core for an outgoing one."""
Address = NewType("Address", str)
"""A telephone or SIP party in canonical form: `tel:+12025550123` or `sip:door@pbx.example.org`."""
TrunkName = NewType("TrunkName", str)
"""A configured SIP peer."""
UserId = NewType("UserId", str)
"""A Matrix user id: `@person:example.org`."""
RoomId = NewType("RoomId", str)
"""A Matrix room id."""
PartyId = NewType("PartyId", str)
"""A device's part of a call's party (VoIP v1); empty for a v0 client, which has none."""
MatrixCallId = NewType("MatrixCallId", str)
"""The `call_id` of `m.call.*` events; unique within a room only."""

ANONYMOUS: Final = Address("sip:anonymous@anonymous.invalid")
"""Every caller who withholds their number (RFC 3261 8.1.1.3, RFC 3323 4.1.1.3)."""


class Side(Enum):
    """The two sides of a call's media session."""

    MATRIX = "matrix"
    SIP = "sip"

    @property
    def other(self) -> "Side":
        """The opposite side."""
        return Side.SIP if self is Side.MATRIX else Side.MATRIX


class Direction(Enum):
    """Who placed the call."""

    TO_SIP = "to_sip"
    TO_MATRIX = "to_matrix"


@dataclass(frozen=True, slots=True)
class Party:
    """A participant of a Matrix VoIP call: (user id, party id)."""

    user: UserId
    party: PartyId


@dataclass(frozen=True, slots=True)
class MatrixCallKey:
    """What tells one Matrix call from another: call ids are unique within a room only."""

    room: RoomId
    call_id: MatrixCallId
