# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes from the Matrix leg."""

from dataclasses import dataclass

from bridge.call.events.base import NOTHING_SAID, Capabilities, Event, SdpType
from bridge.call.ids import (
    Address,
    CallId,
    MatrixCallId,
    MatrixCallKey,
    OpId,
    Party,
    RoomId,
    UserId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCallEvent(Event):
    """An `m.call.*` event that a person's client sent into a portal (never our own echo)."""

    room: RoomId
    call_id: MatrixCallId
    sender: Party

    @property
    def key(self) -> MatrixCallKey:
        """The Matrix call that this event belongs to."""
        return MatrixCallKey(self.room, self.call_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixInviteReceived(MatrixCallEvent):
    """`m.call.invite`. `address` is the ghost's; `lifetime` and `age` judge whether it still rings.

    `version` is 0 or 1 (VoIP v0 / v1).
    """

    address: Address
    version: int
    sdp: str
    lifetime: float
    age: float
    capabilities: Capabilities = NOTHING_SAID


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixAnswerReceived(MatrixCallEvent):
    """`m.call.answer` to an invite of ours. `version` is the answering client's (0 or 1)."""

    version: int
    sdp: str
    capabilities: Capabilities = NOTHING_SAID


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCandidatesReceived(MatrixCallEvent):
    """`m.call.candidates`. An empty string among them is the end of candidates."""

    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSelectAnswerReceived(MatrixCallEvent):
    """`m.call.select_answer`: the caller chose `selected` among the parties that answered."""

    selected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRejectReceived(MatrixCallEvent):
    """`m.call.reject`. `reason` as sent, or empty."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixHangupReceived(MatrixCallEvent):
    """`m.call.hangup`. `reason` as sent, in snake case; missing means `user_hangup`."""

    reason: str = "user_hangup"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixNegotiateReceived(MatrixCallEvent):
    """`m.call.negotiate`: a new offer, or the answer to ours. `lifetime` as sent."""

    type: SdpType
    sdp: str
    lifetime: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixReplacesReceived(MatrixCallEvent):
    """`m.call.replaces`: the client transfers the call, and most clients then leave it in silence.

    `target` is the address of the ghost to which it goes; None: it is not to go to a ghost of ours,
    but to a `person`, if that is anybody. `waits`: the other party is to be called by the target
    (`await_call`), and not to call it.
    """

    target: Address | None
    person: UserId | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixMuteChanged(MatrixCallEvent):
    """Stream metadata (in any event) says that the client muted or unmuted its microphone."""

    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixMemberLeft(Event):
    """A person left a portal, was kicked or banned: as good as a hangup of every call in it."""

    room: RoomId
    user: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonInvited(Event):
    """On the way to `PortalReady`: the room is there, and the person has yet to join it."""

    call: CallId
    op: OpId
    room: RoomId


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalReady(Event):
    """Answers `PreparePortal`: the room has exactly the ghost and the person, both joined."""

    call: CallId
    op: OpId
    room: RoomId


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalFailed(Event):
    """Answers `PreparePortal`: no room in which this person could ring. `reason` is a sentence.

    `unknown`: because there is no such person.
    """

    call: CallId
    op: OpId
    reason: str
    unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSendFailed(Event):
    """A call event could not be delivered to the homeserver while it still mattered."""

    call: CallId
    op: OpId
    reason: str
