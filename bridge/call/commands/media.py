# SPDX-License-Identifier: GPL-3.0-or-later
"""What the media engine carries out."""

from dataclasses import dataclass

from bridge.call.commands.base import Command
from bridge.call.ids import CallId, OpId, Side
from bridge.call.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCommand(Command):
    """Carried out by the media engine. The session is made by the first command of a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferMedia(MediaCommand):
    """`side` offered `sdp`; what do we offer the other side? Answered by `MediaOfferReady`.

    With `sdp` None, `side` offered nothing (INVITE without SDP): the engine offers all it can. An
    empty one of the Matrix side says that there is no client, as in `JoinMedia`. In an established
    session this is a renegotiation (hold, resume, codec, ICE restart). Before anything was agreed,
    a new offer from either side replaces the one that was pending. `terms`: the trunk's; None: as
    before. `near`: a call that this one may be bridged with (`BridgeMedia`), which is easier
    where both are carried by the same process. `audio_alone`: whatever `side` has beside it is not
    offered this time.
    """

    op: OpId
    side: Side
    sdp: str | None
    terms: Terms | None = None
    near: CallId | None = None
    audio_alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMedia(MediaCommand):
    """`side` answered our offer with `sdp`. Answered by `MediaAnswerReady` for the other side.

    `provisional`: an early answer (18x); a later one replaces it. `refused`: `side` refuses a
    renegotiation, or cannot take part in it; `sdp` is then the last description it sent, and
    nothing changes there.
    """

    op: OpId
    side: Side
    sdp: str
    provisional: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinMedia(MediaCommand):
    """Both sides have offered (setup glare): answer both. Answered by `MediaJoined`.

    Replaces whatever offer was pending on either side. `terms` as in `OfferMedia`. Where
    `matrix_sdp` is empty, there is no client, and none will come: what SIP says can be recorded,
    and files be played to it; keys that it presses are told (`MediaKeyPressed`).
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
class RefreshPicture(MediaCommand):
    """The SIP peer wants a whole picture: have the client send one, if it sends video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSuccessor(MediaCommand):
    """Another SIP peer may take the present one's place; what do we offer it?

    Answered by `MediaOfferReady`. Until `SwitchMedia` the present one goes on as it is, and may
    renegotiate. `terms` and `audio_alone` as in `OfferMedia`.
    """

    op: OpId
    terms: Terms | None = None
    audio_alone: bool = False


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
class BridgeMedia(MediaCommand):
    """The SIP peer of `other` takes the Matrix client's place, for good.

    Each of the two calls is told of the other. What their SIP peers send and hear then is between
    them, whatever codec and encryption each has; until both are agreed on, the one that is hears
    that it rings. Descriptions of the Matrix side are empty from then on. There is no result; where
    it cannot be done, `MediaLost` says so of the SIP side.
    """

    other: CallId


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayAudio(MediaCommand):
    """Let `side` hear a file in place of what would pass there, from its beginning.

    Any format that FFmpeg reads; at most ten minutes of it. Answered by `MediaPlayed` when it is
    over. What is played already gives way.
    """

    op: OpId
    side: Side
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAudio(MediaCommand):
    """Write what `side` says into a file (Ogg Opus), which is made anew.

    Answered by `MediaRecorded` when it is over: by `EndAudio`, with the session, after `longest`
    seconds, or when nothing was heard for `silence` seconds; None: it goes on.
    """

    op: OpId
    side: Side
    file: str
    longest: float | None = None
    silence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndAudio(MediaCommand):
    """Play nothing more to `side`, and record nothing more of it."""

    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRemoteCandidates(MediaCommand):
    """ICE candidates that the Matrix client trickled; an empty one ends them."""

    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMedia(MediaCommand):
    """End the session and free its sockets. Answered by `MediaClosed`."""
