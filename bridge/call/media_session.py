# SPDX-License-Identifier: GPL-3.0-or-later
"""The media session as the call sees it: the first offer and answer, and the end.

Descriptions are opaque text: the engine is told what one side said, and says what to tell the
other.
"""

from bridge.call.cause_mapping import from_fault
from bridge.call.causes import Cause
from bridge.call.commands import (
    AnswerMedia,
    BridgeMedia,
    CloseMedia,
    JoinMedia,
    OfferMedia,
    PlayKey,
    RefreshPicture,
)
from bridge.call.events import (
    MediaAnswerReady,
    MediaClosed,
    MediaConnected,
    MediaEvent,
    MediaFailed,
    MediaJoined,
    MediaLost,
    MediaOfferReady,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.call.leg import Over
from bridge.call.machine import Effects, Machine
from bridge.call.states import (
    EARLY,
    FROM_MATRIX,
    FROM_SIP,
    TO_OFFERLESS_INVITE,
    MediaState,
    SetupGlare,
)
from bridge.call.tables import MEDIA
from bridge.call.terms import Terms

_FROM = {Side.MATRIX: FROM_MATRIX, Side.SIP: FROM_SIP}


class MediaSession(Machine):
    """What the engine was asked, and what it made of it."""

    def __init__(self, effects: Effects, call: CallId) -> None:
        super().__init__(MEDIA, MediaState.NONE, effects)
        self.to_matrix = ""
        """What to tell the Matrix side: an offer or an answer, as the state says."""
        self.to_sip = ""
        """What to tell the SIP side."""
        self.offers_video = False
        """Whether what was offered last has video in it."""
        self._call = call
        self._op: OpId | None = None
        self._early = ""
        """The early media that the engine was told of last."""
        self._newer: str | None = None
        """Early media that came while the engine was busy with other."""
        self._connected = False
        self.near: CallId | None = None
        """Another call of the person's, which this one may be put through to."""

    # --- what the call wants --------------------------------------------------------------

    def bridge(self, other: CallId) -> None:
        """The SIP peer of another call takes the client's place."""
        self.says(BridgeMedia(call=self._call, other=other))

    def offer(
        self, side: Side, sdp: str | None, terms: Terms, *, audio_alone: bool = False
    ) -> None:
        """`side` offered."""
        self.says(
            OfferMedia(
                call=self._call,
                op=self._next(),
                side=side,
                sdp=sdp,
                terms=terms,
                near=self.near,
                audio_alone=audio_alone,
            ),
            _FROM[side],
        )

    def answer(self, side: Side, sdp: str) -> None:
        """`side` answered."""
        self.says(AnswerMedia(call=self._call, op=self._next(), side=side, sdp=sdp), _FROM[side])

    def answer_offerless(self, sdp: str) -> None:
        """Matrix answered, and SIP, which offered nothing, is now to get an offer from us."""
        answer = AnswerMedia(call=self._call, op=self._next(), side=Side.MATRIX, sdp=sdp)
        self.says(answer, TO_OFFERLESS_INVITE)

    def answer_early(self, sdp: str) -> None:
        """SIP sent early media: the last that did is heard, until somebody answers (RFC 3960)."""
        if self.state in (MediaState.SIP_OFFER, MediaState.EARLY):
            self._ask_early(sdp)
        else:  # The engine is busy with what came before.
            self._newer = sdp

    def _ask_early(self, sdp: str) -> None:
        if sdp == self._early:
            return
        self._early = sdp
        op = self._next()
        answer = AnswerMedia(call=self._call, op=op, side=Side.SIP, sdp=sdp, provisional=True)
        self.says(answer, EARLY)

    def join(self, matrix_sdp: str, sip_sdp: str, terms: Terms) -> None:
        """Both sides offered."""
        self.says(
            JoinMedia(
                call=self._call,
                op=self._next(),
                matrix_sdp=matrix_sdp,
                sip_sdp=sip_sdp,
                terms=terms,
            )
        )

    def play(self, key: str, duration: float) -> None:
        """SIP pressed a key. One that is pressed before there is audio is lost."""
        if self.state is MediaState.CONNECTED:
            self.says(PlayKey(call=self._call, key=key, duration=duration))

    def refresh_picture(self) -> None:
        """SIP wants a whole picture. There is none before anything passes."""
        if self.state is MediaState.CONNECTED:
            self.says(RefreshPicture(call=self._call))

    @property
    def can_restart(self) -> bool:
        """Whether nothing was answered yet, so that two calls can become one."""
        return SetupGlare in MEDIA[self.state]

    @property
    def offer_stands(self) -> bool:
        """Whether what SIP was offered can be offered to somebody else."""
        return self.state is MediaState.SIP_OFFER

    def restart(self) -> None:
        """Two calls became one, or another trunk wants another offer: what was offered is void."""
        self._op = self._newer = None
        self._early = ""
        self.hears(SetupGlare)

    def close(self) -> None:
        """End the session, if there is one."""
        if self.state is MediaState.NONE:
            self.enter(MediaState.CLOSED)
        else:
            self._op = None
            self.says(CloseMedia(call=self._call))

    # --- what comes in --------------------------------------------------------------------

    def handle(self, event: MediaEvent) -> Over | None:
        """Take an event of this session; results of what was given up are ignored."""
        match event:
            case MediaConnected():
                self._connected = True
                self.hears(MediaConnected)
            case MediaLost(fault=fault) if self.state is not MediaState.CLOSING:
                return Over(cause=from_fault(fault), by="media")
            case MediaClosed():
                self.hears(MediaClosed)
            case MediaOfferReady(op=op) if op == self._op:
                self.offers_video = event.video
                self._written(MediaOfferReady, event.sdp)
            case MediaAnswerReady(op=op) if op == self._op:
                self._written(MediaAnswerReady, event.sdp)
            case MediaJoined(op=op) if op == self._op:
                self.to_matrix, self.to_sip = event.matrix_sdp, event.sip_sdp
                self._agreed(MediaJoined)
            case MediaFailed(op=op, fault=fault) if op == self._op:
                # Early media is a courtesy: without it, the answer is waited for.
                if not self.hears(MediaFailed):
                    return Over(cause=from_fault(fault), by="media")
                self._take_newer()
        return None

    def expire(self) -> Over | None:
        """The engine, or ICE, took too long."""
        if self.state is MediaState.CLOSING:
            self.enter(MediaState.CLOSED)
            return None
        self.rest()
        agreed = self.state is MediaState.AGREED
        return Over(cause=Cause.ICE_TIMEOUT if agreed else Cause.MEDIA_FAILED, by="media")

    # --- inside ---------------------------------------------------------------------------

    def _next(self) -> OpId:
        self._op = self._effects.op()
        return self._op

    def _written(self, event: type, sdp: str) -> None:
        for_sip = self.state in (MediaState.MAKING_SIP_OFFER, MediaState.MAKING_SIP_ANSWER)
        if for_sip:
            self.to_sip = sdp
        else:
            self.to_matrix = sdp
        self._agreed(event)

    def _agreed(self, event: type) -> None:
        self._op = None
        if self.hears(event) and self._connected:
            self.hears(MediaConnected)
        self._take_newer()

    def _take_newer(self) -> None:
        newer, self._newer = self._newer, None
        if newer is not None:
            self._ask_early(newer)
