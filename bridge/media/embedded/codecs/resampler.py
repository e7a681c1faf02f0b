# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes the rate of samples, between G.722 and G.711, through FFmpeg."""

from av import AudioFrame, AudioResampler

from bridge.media.embedded.codecs.base import SAMPLE_SIZE


def frame_of(samples: bytes, rate: int) -> AudioFrame:
    """The samples as FFmpeg takes them."""
    frame = AudioFrame(format="s16", layout="mono", samples=len(samples) // SAMPLE_SIZE)
    frame.sample_rate = rate
    frame.planes[0].update(samples)
    return frame


def samples_of(frame: AudioFrame) -> bytes:
    """The samples of a frame, without the padding at its end."""
    return bytes(memoryview(frame.planes[0])[: frame.samples * SAMPLE_SIZE])


class Resampler:
    """From one rate to another; holds back a few samples, so sizes vary at the beginning."""

    def __init__(self, rate: int, target: int) -> None:
        self._rate = rate
        self._target = target
        self._resampler = AudioResampler(format="s16", layout="mono", rate=target)

    def resample(self, samples: bytes) -> bytes:
        """What is ready of these samples and those before."""
        frames = self._resampler.resample(frame_of(samples, self._rate))
        return b"".join(samples_of(frame) for frame in frames)

    def drain(self) -> bytes:
        """What was held back. What comes next has nothing to do with it."""
        frames = self._resampler.resample(None)
        self._resampler = AudioResampler(format="s16", layout="mono", rate=self._target)
        return b"".join(samples_of(frame) for frame in frames)
