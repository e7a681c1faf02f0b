# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes from the media session."""

from dataclasses import dataclass, field
from enum import Enum

from bridge.call.events.base import Event
from bridge.call.ids import CallId, OpId, Side
from bridge.call.quality import Measured


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
    video: bool = False
    """Whether video is offered with it."""


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
class MediaVideoChanged(MediaEvent):
    """Video is relayed from now on by `codec` (`VP8/90000`), or by another; empty: no more."""

    codec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPictureWanted(MediaEvent):
    """The client wants a whole picture, which the SIP peer can be asked for by INFO alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaKeyPressed(MediaEvent):
    """A key that the client pressed, which cannot reach the SIP leg's far end within the audio.

    Where there is no client (`JoinMedia`), one that the far end pressed within the audio.
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
class MediaSilent(MediaEvent):
    """Nothing has come from `side` for some `seconds`, although it has agreed to send.

    Told anew when more of that becomes known: what follows is about the time since it fell silent.
    """

    side: Side
    seconds: float
    heard: bool
    """Whether something came from it before."""
    hurdle: MediaFault | None = None
    """What is still under way, where audio cannot pass yet: ICE, or DTLS."""
    strangers: int = 0
    """Packets that came from addresses which have no part in the call."""
    undecipherable: int = 0
    """Packets of that side under another key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaAudible(MediaEvent):
    """After `MediaSilent`: something comes again, or need not (on hold)."""

    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaMeasured(MediaEvent):
    """What was measured on both sides since the one before; every few seconds."""

    matrix: Measured
    sip: Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPlayed(MediaEvent):
    """Answers `PlayAudio`: that many `seconds` were played, to the end or until it had to stop."""

    op: OpId
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRecorded(MediaEvent):
    """Answers `RecordAudio`: the file is complete, and that many `seconds` long.

    `sound`: in how many of them something was to be heard.
    """

    op: OpId
    seconds: float
    sound: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaClosed(MediaEvent):
    """Answers `CloseMedia`: final statistics, plain values that a record can keep."""

    statistics: dict[str, int | float | str] = field(default_factory=dict)
