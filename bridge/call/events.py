# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts that the adapters report to the core, in the past tense.

Every event that answers a command carries the command's `op`. Times are seconds.
"""

from dataclasses import dataclass, field
from enum import Enum

from bridge.call.ids import (
    Address,
    CallId,
    LegId,
    MatrixCallId,
    MatrixCallKey,
    OpId,
    Party,
    RoomId,
    Side,
    TrunkName,
    UserId,
)


class SdpType(Enum):
    """The role of a session description in offer/answer (RFC 3264)."""

    OFFER = "offer"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a Matrix client said it can do. `negotiate`: it can answer `m.call.negotiate`.

    A client that sent neither `capabilities` nor stream metadata hangs up on a negotiate (nheko).
    """

    dtmf: bool = False
    transferee: bool = False
    negotiate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of everything the core is told."""


# --- Matrix leg -----------------------------------------------------------------------------


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
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixAnswerReceived(MatrixCallEvent):
    """`m.call.answer` to an invite of ours. `version` is the answering client's (0 or 1)."""

    version: int
    sdp: str
    capabilities: Capabilities = Capabilities()


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


# --- SIP leg --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SipEvent(Event):
    """Something that happened on a SIP leg."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class SipInviteReceived(SipEvent):
    """An INVITE from a known trunk. `dialled` is canonical where it is a number, else as sent.

    `sdp` is None for an INVITE without an offer. `refers`: as in `SipAnswered`. `diverted_by`: who
    forwarded the call to what was dialled, if somebody did.
    """

    trunk: TrunkName
    caller: Address
    caller_name: str
    dialled: str
    sdp: str | None
    sip_call_id: str
    refers: bool = False
    diverted_by: Address | None = None
    replaces: LegId | None = None
    """The leg whose place this one is to take (RFC 3891); the stack has found it to be ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipProgressed(SipEvent):
    """A provisional response (101 to 199) to our INVITE, with early SDP if it carried one."""

    status: int
    sdp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipAnswered(SipEvent):
    """A 200 to our INVITE. `refers`: its Allow header names REFER (RFC 3515)."""

    sdp: str
    refers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SipConfirmed(SipEvent):
    """The ACK to our 200. `sdp` is the answer when our 200 carried the offer, else None."""

    sdp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipCancelled(SipEvent):
    """The caller sent CANCEL before our final response. `cause` is its Reason header's Q.850 or
    SIP cause (200: answered elsewhere), 0 if none."""

    cause: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SipEnded(SipEvent):
    """The leg is over: refused, BYE in either direction done, timed out, or transport lost.

    `status` is the final SIP status (200 for an ordinary BYE), `q850` the Reason header's cause
    (0 if none), `remote` whether the far end ended it. Nothing follows on this leg. `retry_after`:
    seconds that the far end wants to be left alone (0 if it said none), `contacts`: where it says
    that it can be reached instead, with a status of 300 to 399, best first.
    """

    status: int
    reason: str = ""
    q850: int = 0
    remote: bool = True
    retry_after: int = 0
    contacts: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReinviteReceived(SipEvent):
    """A re-INVITE (or UPDATE with an offer) that waits for our answer; no SDP: we must offer."""

    op: OpId
    sdp: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReinviteAnswered(SipEvent):
    """Answers `SendSipReinvite`: a 200 with the far end's answer."""

    op: OpId
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReinviteFailed(SipEvent):
    """Answers `SendSipReinvite`: 491 is glare (RFC 3261 14.1), 481/408 ends the dialog."""

    op: OpId
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SipIdentityChanged(SipEvent):
    """Somebody else is on the line: what P-Asserted-Identity (RFC 3325) or Remote-Party-ID says in
    a re-INVITE, an UPDATE (RFC 5876) or a response to ours. `name` is empty where there is none."""

    address: Address
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipKeyPressed(SipEvent):
    """A key of the far end's keypad (`0` to `9`, `*`, `#`, `A` to `D`), by INFO; in seconds."""

    key: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReferReceived(SipEvent):
    """The far end asks us to call `target` instead of it (RFC 3515), and was told 202.

    What becomes of it is told by `NotifySip` with `op`.
    """

    op: OpId
    target: Address
    uri: str = ""
    """The target as it was written, where it belongs to the trunk itself; else empty."""
    replaces: str = ""
    """Value of the Replaces header that the call has to carry (RFC 3891)."""
    referred_by: str = ""
    """Value of the Referred-By header (RFC 3892)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReferProgressed(SipEvent):
    """Answers `ReferSip`, any number of times, but at most once with a `status` of 200 or more.

    Below 200: accepted (202), or the sipfrag of a NOTIFY (RFC 3515 2.4.5) says how far it is. 200
    to 299: the sipfrag says that the far end talks to the target. 300 and more: REFER was refused
    with it, or the sipfrag says so, or 408: the subscription ended without a result.
    """

    op: OpId
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SipDialogChanged(SipEvent):
    """What it takes to end this dialog after a crash, as opaque text to be kept in the record."""

    state: str


# --- media ----------------------------------------------------------------------------------


class MediaFault(Enum):
    """Why media could not be set up or was lost."""

    BAD_SDP = "bad_sdp"
    NO_COMMON_CODEC = "no_common_codec"
    NOT_ENCRYPTED = "not_encrypted"
    """One side insists on encryption that the other has not."""
    ICE_FAILED = "ice_failed"
    DTLS_FAILED = "dtls_failed"
    NO_RESOURCES = "no_resources"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaEvent(Event):
    """Something that happened to a call's media session."""

    call: CallId


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaOfferReady(MediaEvent):
    """Answers `OfferMedia`: the SDP to offer to the side opposite the one that offered.

    In a renegotiation the other side's description may need no change (an ICE restart, a new
    address): then `needed` is False, and `answer` holds the SDP to answer the offering side with at
    once (where that side offered nothing, our offer to it). `sdp` is then not used.
    """

    op: OpId
    sdp: str
    needed: bool = True
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaAnswerReady(MediaEvent):
    """Answers `AnswerMedia`: the SDP to send to the side opposite the one that answered.

    Usually the answer to that side's offer. Where that side had offered nothing (an INVITE without
    SDP), it is our offer to it, which its ACK will answer; the result of that last `AnswerMedia` is
    empty, for nobody waits for it.
    """

    op: OpId
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaJoined(MediaEvent):
    """Answers `JoinMedia`: an answer for each of the two offers."""

    op: OpId
    matrix_sdp: str
    sip_sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSwitched(MediaEvent):
    """Answers `SwitchMedia`. `sdp`: the answer, where the new peer offered.

    `needed`: the Matrix client has to be asked to send or receive again, or not to: the next
    `OfferMedia` of the SIP side, by the new peer's description, says what.
    """

    op: OpId
    sdp: str = ""
    needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFailed(MediaEvent):
    """Answers any media command that carries an op: it could not be done."""

    op: OpId
    fault: MediaFault
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaConnected(MediaEvent):
    """ICE and DTLS are up and audio can pass both ways.

    `matrix_codec`, `sip_codec` like `opus/48000/2`, `PCMU/8000`; relay when they are the same.
    """

    matrix_codec: str
    sip_codec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaKeyPressed(MediaEvent):
    """A key that the client pressed, which cannot reach the SIP leg's far end within the audio.

    `key` and `duration` as in `SipKeyPressed`. Told when the key was let go.
    """

    key: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLost(MediaEvent):
    """The media session failed after it was (or while it became) established."""

    side: Side
    fault: MediaFault
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaClosed(MediaEvent):
    """Answers `CloseMedia`: final statistics, plain values that a record can keep."""

    statistics: dict[str, int | float | str] = field(default_factory=dict)


# --- people ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChanged(Event):
    """What a person has set for themselves, all of it; also told for each person at the start.

    `dnd`: nothing rings. `forward`: who calls is told to call this instead. `account`: the trunk of
    their own SIP account, by which their calls leave, and whose calls ring them. `withhold`:
    whether they stay unknown when they call; None: as the configuration has it.
    """

    person: UserId
    dnd: bool = False
    forward: Address | None = None
    account: TrunkName | None = None
    withhold: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """An outgoing call that ended `ago` seconds ago, after so many `seconds` of talk."""

    person: UserId
    trunk: TrunkName
    seconds: float
    ago: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TalksRecalled(Event):
    """What was talked within the 24 hours before the bridge was started; told once, before calls.

    Times are as in `Talk`, since the core does not know what time of day it is.
    """

    talks: tuple[Talk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequested(Event):
    """A person asked to be connected with `address`: they are rung first, then it is called.

    `withhold`: whether they want to stay unknown to it, if they said so for this call.
    """

    person: UserId
    address: Address
    withhold: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HangupRequested(Event):
    """`by`, an admin, wants this call to end."""

    call: CallId
    by: UserId


# --- the process ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownRequested(Event):
    """The process is about to stop: end every call on both legs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFaulted(Event):
    """Something went wrong inside the bridge over this call, which cannot go on."""

    call: CallId
