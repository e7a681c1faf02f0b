# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Matrix adapter carries out."""

from dataclasses import dataclass

from bridge.call.commands.base import Command
from bridge.call.events import SdpType
from bridge.call.ids import Address, MatrixCallId, OpId, PartyId, RoomId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCommand(Command):
    """Carried out by the Matrix adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparePortal(MatrixCommand):
    """Make sure that `address` has a ghost and a portal with `person`, joined and ready to ring.

    Answered by `PortalReady` or `PortalFailed`.
    """

    op: OpId
    person: UserId
    address: Address
    display_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCallEvent(MatrixCommand):
    """Base of the `m.call.*` events that a ghost sends. `version` is 0 or 1.

    `op` comes back in `MatrixSendFailed` when the event could not be delivered in time; there is
    no event for success. Sent in order per room, retried while the call lives.
    """

    op: OpId
    room: RoomId
    address: Address
    call_id: MatrixCallId
    party: PartyId
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMatrixInvite(SendCallEvent):
    """`m.call.invite` with every candidate already in the SDP."""

    sdp: str
    lifetime: float
    invitee: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMatrixAnswer(SendCallEvent):
    """`m.call.answer` with every candidate already in the SDP."""

    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMatrixSelectAnswer(SendCallEvent):
    """`m.call.select_answer` naming the party whose answer we took (v1 only)."""

    selected: PartyId


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMatrixReject(SendCallEvent):
    """`m.call.reject` (v1 only). `reason` is `user_busy` or another reason of the hangup's list."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMatrixHangup(SendCallEvent):
    """`m.call.hangup`. `reason` is one of the specification's."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMatrixNegotiate(SendCallEvent):
    """`m.call.negotiate` (v1 only). `lifetime` in seconds."""

    type: SdpType
    sdp: str
    lifetime: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMatrixAssertedIdentity(SendCallEvent):
    """`m.call.asserted_identity`, and its unstable name (v1 only): who is on the line now."""

    identity: Address
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendNotice(MatrixCommand):
    """A sentence for the person, from the ghost, in the portal.

    `{time}` in it stands for the time of day `ago` seconds before the command, for the core knows
    no clock.
    """

    room: RoomId
    address: Address
    text: str
    ago: float = 0.0
