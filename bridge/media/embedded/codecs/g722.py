# SPDX-License-Identifier: GPL-3.0-or-later
"""G.722 at 64 kbit/s through FFmpeg: samples at 16 kHz, two of them in an octet."""

from typing import Literal

from av import CodecContext, FFmpegError, Packet
from av.audio.codeccontext import AudioCodecContext

from bridge.errors import RemoteError
from bridge.media.embedded.codecs.base import SAMPLE_SIZE, Repetition
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
        self._repetition = Repetition()

    def decode(self, payload: bytes) -> bytes:
        """The samples of one packet."""
        try:
            frames = self._context.decode(Packet(payload))
        except FFmpegError as error:
            raise RemoteError(f"A G.722 packet that cannot be decoded: {error}") from error
        decoded = b"".join(samples_of(frame) for frame in frames)
        self._repetition.heard(decoded)
        return decoded

    def conceal(self, samples: int, following: bytes) -> bytes:
        """The last packet again, fading."""
        return self._repetition.conceal(samples)

    def rest(self, samples: int) -> bytes:
        """Silence."""
        return bytes(samples * SAMPLE_SIZE)


class G722Encoder:
    """Samples to G.722."""

    rate = RATE

    def __init__(self) -> None:
        self._context = _context("w")

    def encode(self, samples: bytes) -> bytes:
        """One octet for two samples."""
        packets = self._context.encode(frame_of(samples, RATE))
        return b"".join(bytes(packet) for packet in packets)
