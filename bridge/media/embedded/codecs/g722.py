# SPDX-License-Identifier: GPL-3.0-or-later
"""G.722 at 64 kbit/s through FFmpeg: samples at 16 kHz, two of them in an octet."""

from typing import Literal

from av import CodecContext, Packet
from av.audio.codeccontext import AudioCodecContext

from bridge.media.embedded.codecs.base import SAMPLE_SIZE
from bridge.media.embedded.codecs.concealment import Concealment
from bridge.media.embedded.codecs.resampler import frame_of, samples_of

RATE = 16000


def _context(mode: Literal["r", "w"]) -> AudioCodecContext:
    context = CodecContext.create("g722", mode)
    context.sample_rate = RATE
    context.layout = "mono"
    context.format = "s16"
    return context


class G722Decoder:
    """G.722 to samples."""

    rate = RATE

    def __init__(self) -> None:
        self._context = _context("r")
        self._concealment = Concealment(self.rate)

    def decode(self, payload: bytes) -> bytes:
        """The samples of one packet."""
        if not payload:
            return b""  # To FFmpeg that would be the end of the stream.
        # No octet is invalid: there is nothing to refuse.
        frames = self._context.decode(Packet(payload))
        return self._concealment.heard(b"".join(samples_of(frame) for frame in frames))

    def conceal(self, samples: int, following: bytes) -> bytes:
        """What was heard last goes on, and fades."""
        return self._concealment.conceal(samples)

    def rest(self, samples: int) -> bytes:
        """Silence."""
        self._concealment.forget()
        return bytes(samples * SAMPLE_SIZE)

    def reset(self) -> None:
        """What comes next is of another sender."""
        self._concealment.forget()
        self._context = _context("r")


class G722Encoder:
    """Samples to G.722; `ptime` in milliseconds is that of every packet."""

    rate = RATE

    def __init__(self, ptime: int) -> None:
        self._context = _context("w")
        # FFmpeg would collect samples for packets of 20 ms.
        self._context.options = {"frame_size": str(RATE * ptime // 1000)}

    def encode(self, samples: bytes) -> bytes:
        """One octet for two samples."""
        packets = self._context.encode(frame_of(samples, RATE))
        return b"".join(bytes(packet) for packet in packets)

    def expect_loss(self, percent: int) -> None:
        """There is nothing that could be done against it."""
