# SPDX-License-Identifier: GPL-3.0-or-later
"""Effects that the core wants, in the imperative. Adapters carry them out in order, per call.

A command with an `op` is answered by exactly one event that carries the same `op`, unless the call
ended first. Times are seconds unless a name says otherwise.
"""

from dataclasses import dataclass

from bridge.call.events import SdpType
from bridge.call.ids import (
    Address,
    CallId,
    Direction,
    LegId,
    MatrixCallId,
    OpId,
    PartyId,
    RoomId,
    Side,
    TrunkName,
    UserId,
)
from bridge.call.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base of everything the core asks for."""

    call: CallId


# --- Matrix ---------------------------------------------------------------------------------


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
    """`m.call.invite` with every candidate already in the SDP.

    `transferable`: the far end lets itself be transferred, so `m.call.replaces` has an effect.
    """

    sdp: str
    transferable: bool = False
    lifetime: float
    invitee: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMatrixAnswer(SendCallEvent):
    """`m.call.answer` with every candidate already in the SDP; else as `SendMatrixInvite`."""

    sdp: str
    transferable: bool = False


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


# --- SIP ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SipCommand(Command):
    """Carried out by the SIP adapter."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSipInvite(SipCommand):
    """INVITE `target` (a number as the trunk wants it, or a whole SIP URI) through `trunk`.

    `caller` is the number shown; empty: the trunk's own. `withheld`: the far end is not to learn
    it (RFC 3323). `spare`: another trunk can carry the call, so do not try one that is known not to
    work, but report the end at once.
    """

    trunk: TrunkName
    target: str
    caller: str
    caller_name: str
    sdp: str
    withheld: bool = False
    spare: bool = False
    replaces: str = ""
    """Value of the Replaces header, where the call is to take another's place (RFC 3891)."""
    referred_by: str = ""
    """Value of the Referred-By header, where somebody asked for the call (RFC 3892)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSipProgress(SipCommand):
    """A provisional response: 180, 181, 183 (with `sdp`: early media)."""

    status: int
    sdp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSip(SipCommand):
    """200 to the INVITE. `sdp` is our answer, or our offer when the INVITE had none."""

    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSip(SipCommand):
    """A final response of 300 or more to the INVITE. `reason` may replace the status phrase.

    With a 302, `contact` is where to call instead: like `SendSipInvite.target`, a number as the
    leg's trunk wants it, or a whole SIP URI.
    """

    status: int
    reason: str = ""
    contact: str = ""
    q850: int = 0
    """For the Reason header (RFC 6432), if it is not 0."""
    retry_after: int = 0
    """Seconds after which to call again; 0: not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSip(SipCommand):
    """CANCEL our INVITE. If a 200 crossed it, ACK and BYE (RFC 3261 9.1).

    With a Reason header if `q850` is not 0; 26 says as well that it was answered elsewhere.
    """

    q850: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ByeSip(SipCommand):
    """BYE in an established dialog, with a Reason header if `q850` is not 0."""

    q850: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSipReinvite(SipCommand):
    """re-INVITE with a new offer; answered by `SipReinviteAnswered` or `SipReinviteFailed`."""

    op: OpId
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSipReinvite(SipCommand):
    """200 to the re-INVITE that brought `op`."""

    op: OpId
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSipReinvite(SipCommand):
    """A final refusal (488, 491, 500) of the re-INVITE that brought `op`; the call goes on."""

    op: OpId
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSipKey(SipCommand):
    """INFO that says which key was pressed: `key` and `duration` as in `SipKeyPressed`."""

    key: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferSip(SipCommand):
    """REFER: the far end is to call `target`, which is as in `SendSipInvite` (RFC 3515).

    With `replaces`, the call that it makes takes the place of that leg's dialog (RFC 5589 7.1, RFC
    3891). Answered by `SipReferProgressed`; the dialog goes on until BYE.
    """

    op: OpId
    target: str
    replaces: LegId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySip(SipCommand):
    """NOTIFY: what became of the REFER that brought `op` (RFC 3515 2.4.5). 200 and more ends it."""

    op: OpId
    status: int


# --- media ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCommand(Command):
    """Carried out by the media engine. The session is made by the first command of a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferMedia(MediaCommand):
    """`side` offered `sdp`; what do we offer the other side? Answered by `MediaOfferReady`.

    With `sdp` None, `side` offered nothing (INVITE without SDP): the engine offers all it can. In
    an established session this is a renegotiation (hold, resume, codec, ICE restart). Before
    anything was agreed, a new offer from either side replaces the one that was pending.
    `terms`: the trunk's; None: as before.
    """

    op: OpId
    side: Side
    sdp: str | None
    terms: Terms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMedia(MediaCommand):
    """`side` answered our offer with `sdp`. Answered by `MediaAnswerReady` for the other side.

    `provisional`: an early answer (18x); a later one replaces it. In a renegotiation that `side`
    refuses or cannot take part in, `sdp` is the last description it sent: nothing changes there.
    """

    op: OpId
    side: Side
    sdp: str
    provisional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinMedia(MediaCommand):
    """Both sides have offered (setup glare): answer both. Answered by `MediaJoined`.

    Replaces whatever offer was pending on either side. `terms` as in `OfferMedia`.
    """

    op: OpId
    matrix_sdp: str
    sip_sdp: str
    terms: Terms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackMedia(MediaCommand):
    """The renegotiation under way was refused: return to what was agreed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayKey(MediaCommand):
    """Let the client have a key press within the audio, if it understands that (RFC 4733)."""

    key: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSuccessor(MediaCommand):
    """Another SIP peer may take the present one's place; what do we offer it?

    Answered by `MediaOfferReady`. Until `SwitchMedia` the present one goes on as it is, and may
    renegotiate. `terms` as in `OfferMedia`.
    """

    op: OpId
    terms: Terms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchMedia(MediaCommand):
    """Talk with the SIP peer that described itself by `sdp` instead of the present one.

    `offered`: it is an offer, with `terms` as in `OfferMedia`; else it answers what
    `OfferSuccessor` gave. Answered by `MediaSwitched`: an offer that was pending on either side is
    then void, and what the Matrix client agreed to stays in force. If it fails, everything stays as
    it is.
    """

    op: OpId
    sdp: str
    offered: bool = False
    terms: Terms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSuccessor(MediaCommand):
    """Nobody takes the present SIP peer's place after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRemoteCandidates(MediaCommand):
    """ICE candidates that the Matrix client trickled; an empty one ends them."""

    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMedia(MediaCommand):
    """End the session and free its sockets. Answered by `MediaClosed`."""


# --- records --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCommand(Command):
    """Carried out by the call store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStart(StoreCommand):
    """A call began. `diverted_by` as in `SipInviteReceived`."""

    direction: Direction
    person: UserId
    address: Address
    trunk: TrunkName
    diverted_by: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ringing:
    """An invite of ours that rings at one of several people: what it takes to end it."""

    person: UserId
    room: RoomId
    matrix_call_id: MatrixCallId
    party: PartyId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLegs(StoreCommand):
    """The legs of the call, as they became known: what it takes to end them after a crash.

    Fields that are not known (yet) are None and leave the record as it is. `ringing`: where else it
    rings, while the call rings at several people.
    """

    person: UserId | None = None
    ringing: tuple[Ringing, ...] | None = None
    room: RoomId | None = None
    matrix_call_id: MatrixCallId | None = None
    matrix_version: int | None = None
    party: PartyId | None = None
    sip_call_id: str | None = None
    sip_dialog: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A trunk that could not carry the call. `cause` and `status` as in `RecordEnd`."""

    trunk: TrunkName
    cause: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAttempts(StoreCommand):
    """Another trunk is tried: `trunk`, after these could not carry the call."""

    trunk: TrunkName
    failed: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAnswer(StoreCommand):
    """Both legs are connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEnd(StoreCommand):
    """The call is over. `cause` is a value of `bridge.call.causes.Cause`, `status` SIP's or 0."""

    cause: str
    status: int
    ended_by: str
    """`matrix`, `sip`, `media` or `bridge`."""
    detail: str = ""
    """More about a refusal, for the admin: which rules were tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStatistics(StoreCommand):
    """What the media session measured, at its end."""

    statistics: dict[str, int | float | str]
