# SPDX-License-Identifier: GPL-3.0-or-later
"""Tones: making them, writing them as WAV, and finding them in what was heard."""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Tone:
    """The strongest frequency of a piece of audio."""

    hertz: float
    rms: float
    """Of the whole piece, 0 to 1."""
    purity: float
    """Share of the energy within 30 Hz of the strongest frequency, 0 to 1."""

    def is_near(self, hertz: float, *, tolerance: float = 15.0) -> bool:
        """Whether this is plainly a tone of `hertz`, and not silence or noise."""
        return abs(self.hertz - hertz) <= tolerance and self.rms > 0.005 and self.purity > 0.5


SILENCE = Tone(0.0, 0.0, 0.0)


def sine(hertz: float, seconds: float, rate: int, *, amplitude: float = 0.3) -> Samples:
    """A tone as 16 bit samples."""
    times = np.arange(int(seconds * rate)) / rate
    return np.asarray(amplitude * 32767 * np.sin(2 * np.pi * hertz * times), dtype=np.int16)


def find_tone(samples: Samples, rate: int) -> Tone:
    """The strongest frequency in `samples`; silence where there is too little to tell."""
    if len(samples) < rate // 20:
        return SILENCE
    signal = samples.astype(np.float64) / 32768
    rms = float(np.sqrt(np.mean(signal**2)))
    if rms < 1e-4:
        return SILENCE
    energy = np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) ** 2
    frequencies = np.fft.rfftfreq(len(signal), 1 / rate)
    strongest = int(np.argmax(energy))
    near = np.abs(frequencies - frequencies[strongest]) <= 30
    purity = float(energy[near].sum() / energy.sum())
    return Tone(float(frequencies[strongest]), rms, purity)


def heard(samples: Samples, rate: int, hertz: float, *, window: float = 0.5) -> bool:
    """Whether any `window` seconds of `samples` are plainly a tone of `hertz`."""
    size = int(window * rate)
    return any(
        find_tone(samples[start : start + size], rate).is_near(hertz)
        for start in range(0, len(samples) - size + 1, size // 2)
    )


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write mono 16 bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def read_wav(path: Path) -> tuple[Samples, int]:
    """Read 16 bit PCM (the first channel), of a file that may still be being written."""
    data = path.read_bytes()
    header = data.find(b"data")
    form = data.find(b"fmt ")
    if header < 0 or form < 0:
        return np.zeros(0, np.int16), 8000
    channels = int.from_bytes(data[form + 10 : form + 12], "little")
    rate = int.from_bytes(data[form + 12 : form + 16], "little")
    body = data[header + 8 :]
    whole = len(body) - len(body) % (2 * channels)
    return np.frombuffer(body[:whole], np.int16)[::channels].copy(), rate
