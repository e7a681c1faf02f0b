# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio files, through FFmpeg: any are read, Ogg Opus is written. All of it blocks."""

from itertools import chain

from av import AudioFrame, AudioResampler, FFmpegError
from av import open as open_file

from bridge.errors import LocalError
from bridge.media.embedded.codecs.base import SAMPLE_SIZE

LONGEST = 600
"""Seconds that are read of a file."""


def read_samples(file: str, rate: int) -> bytes:
    """A file's sound as 16-bit mono samples, so many per second. Raises LocalError."""
    samples = bytearray()
    most = LONGEST * rate * SAMPLE_SIZE
    try:
        with open_file(file) as container:
            resampler = AudioResampler(format="s16", layout="mono", rate=rate)
            # Behind the last frame, there is what the resampler holds back.
            for frame in chain(container.decode(audio=0), (None,)):
                for made in resampler.resample(frame):
                    samples += bytes(made.planes[0])[: made.samples * SAMPLE_SIZE]
                if len(samples) >= most:
                    break
    except (FFmpegError, OSError, IndexError) as error:
        raise LocalError(f"{file} cannot be played: {error}") from error
    return bytes(samples[:most])


class OggOpus:
    """A file that is written (RFC 7845): 16-bit mono samples in, `rate` of them per second."""

    def __init__(self, file: str, rate: int) -> None:
        """Raises LocalError."""
        self.rate = rate
        self._written = 0
        try:
            self._container = open_file(file, "w", format="ogg")
            self._stream = self._container.add_stream("libopus", rate=rate, layout="mono")
        except (FFmpegError, OSError) as error:
            raise LocalError(f"{file} cannot be written: {error}") from error

    def write(self, samples: bytes) -> None:
        """Add to it."""
        count = len(samples) // SAMPLE_SIZE
        if not count:
            return
        frame = AudioFrame(format="s16", layout="mono", samples=count)
        frame.planes[0].update(samples)
        frame.sample_rate = self.rate
        frame.pts = self._written
        self._written += count
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Complete it."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
