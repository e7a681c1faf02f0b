# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio files, through FFmpeg: any are read, Ogg Opus is written. All of it blocks."""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO

from av import AudioFrame, AudioResampler, FFmpegError
from av import open as open_file

from bridge.errors import LocalError
from bridge.media.embedded.codecs.base import SAMPLE_SIZE

LONGEST = 600
"""Seconds that are read of a file."""
BITRATE = 24000
"""Bits per second that are written: a voice in wideband."""
_FRAME = 50
"""Of which a second has so many: in each of them something is heard, or nothing."""
_LOUD = 700
"""Amplitude from which on it is: more than a line's noise, less than a quiet voice."""


def read_samples(
    file: str | BinaryIO, rate: int, *, longest: float = LONGEST, formats: str = ""
) -> bytes:
    """A file's sound as 16-bit mono samples, so many per second. Raises LocalError.

    Of its first `longest` seconds. `formats`: those of FFmpeg that may be read; empty: any, for
    files of our own alone: some lead to other files, and to the network.
    """
    samples = bytearray()
    most = round(longest * rate) * SAMPLE_SIZE
    options = {"format_whitelist": formats} if formats else {}
    try:
        with open_file(file, "r", options=options) as container:
            resampler = AudioResampler(format="s16", layout="mono", rate=rate)
            # Behind the last frame, there is what the resampler holds back.
            for frame in chain(container.decode(audio=0), (None,)):
                for made in resampler.resample(frame):
                    samples += bytes(made.planes[0])[: made.samples * SAMPLE_SIZE]
                if len(samples) >= most:
                    break
    except (FFmpegError, OSError, IndexError) as error:
        name = file if isinstance(file, str) else "this"
        raise LocalError(f"{name} cannot be played: {error}") from error
    return bytes(samples[:most])


class OggOpus:
    """A file that is written (RFC 7845): 16-bit mono samples in, `rate` of them per second."""

    def __init__(self, file: str, rate: int, bitrate: int = BITRATE) -> None:
        """Raises LocalError."""
        self.rate = rate
        self._written = 0
        try:
            # Every second or so, what there is gets into the file: it may have no end.
            self._container = open_file(file, "w", format="ogg", options={"flush_packets": "1"})
            self._stream = self._container.add_stream("libopus", rate=rate, layout="mono")
            self._stream.bit_rate = bitrate
        except (FFmpegError, OSError) as error:
            raise LocalError(f"{file} cannot be written: {error}") from error
        self._file = file

    def write(self, samples: bytes) -> None:
        """Add to it. Raises LocalError."""
        count = len(samples) // SAMPLE_SIZE
        if not count:
            return
        frame = AudioFrame(format="s16", layout="mono", samples=count)
        frame.planes[0].update(samples)
        frame.sample_rate = self.rate
        frame.pts = self._written
        self._written += count
        self._encode(frame)

    def close(self) -> None:
        """Complete it. Raises LocalError."""
        with self._explained():
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()

    def _encode(self, frame: AudioFrame) -> None:
        with self._explained():
            self._container.mux(self._stream.encode(frame))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (FFmpegError, OSError) as error:
            raise LocalError(f"{self._file} cannot be written: {error}") from error


def loud_seconds(samples: bytes, rate: int) -> float:
    """For how long something is to be heard in 16-bit mono samples."""
    every = array("h", samples)
    size = rate // _FRAME
    frames = (every[at : at + size] for at in range(0, len(every), size))
    return sum(max(max(frame), -min(frame)) >= _LOUD for frame in frames) / _FRAME
