# SPDX-License-Identifier: GPL-3.0-or-later
"""What the core is told of one session."""

from time import monotonic

import structlog

from bridge.call.events import (
    MediaConnected,
    MediaFault,
    MediaKeyPressed,
    MediaLost,
    MediaPictureWanted,
    MediaVideoChanged,
)
from bridge.call.ids import CallId, Side
from bridge.ports import Emit
from bridge.sdp.codecs import Codec

logger = structlog.get_logger(__name__)


class News:
    """Tells each thing once, and when it came about."""

    def __init__(self, call: CallId, emit: Emit) -> None:
        self.answered_at = 0.0
        """When both sides were first agreed on; 0: not yet."""
        self._call = call
        self._emit = emit
        self._log = logger.bind(call=call)
        self._connected_at = 0.0
        self._video = ""

    def agreed(self) -> None:
        """Both sides have agreed on something."""
        self.answered_at = self.answered_at or monotonic()

    def connected(self, matrix: Codec, sip: Codec) -> None:
        """Audio can pass."""
        if self._connected_at:
            return
        self._connected_at = monotonic()
        codecs = str(matrix), str(sip)
        seconds = self.connect_seconds
        self._log.info("media connected", matrix=codecs[0], sip=codecs[1], seconds=seconds)
        self._emit(MediaConnected(call=self._call, matrix_codec=codecs[0], sip_codec=codecs[1]))

    @property
    def connect_seconds(self) -> float | None:
        """How long it took from what was agreed to audio that can pass, if it ever could."""
        if not self._connected_at or not self.answered_at:
            return None
        return round(self._connected_at - self.answered_at, 3)

    def video(self, codec: str) -> None:
        """This passes of video; nothing, if empty."""
        if codec != self._video:
            self._video = codec
            self._emit(MediaVideoChanged(call=self._call, codec=codec))

    def picture_wanted(self) -> None:
        """The client wants a whole picture."""
        self._emit(MediaPictureWanted(call=self._call))

    def key(self, key: str, duration: float) -> None:
        """A key was pressed that cannot pass within the audio."""
        self._emit(MediaKeyPressed(call=self._call, key=key, duration=round(duration, 3)))

    def lost(self, fault: MediaFault, detail: str) -> None:
        """The client cannot be reached, or not any more."""
        self._log.warning("media lost", side="matrix", fault=fault.value, detail=detail)
        self._emit(MediaLost(call=self._call, side=Side.MATRIX, fault=fault, detail=detail))

    def blind(self) -> None:
        """What the SIP peer sends cannot be decrypted; the core hears of that as silence."""
        self._log.warning(
            "what the SIP peer sends cannot be decrypted: it uses another key than it said"
        )
