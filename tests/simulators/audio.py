# SPDX-License-Identifier: GPL-3.0-or-later
"""Tones: making them, writing them as WAV, and finding them in what was heard.

Without numpy, which neither the bridge nor its demo needs otherwise.
"""

import cmath
import math
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

Samples: TypeAlias = "array[int]"
"""16 bit samples (typecode `h`)."""

_ANALYSED_RATE = 8000
_NEAR = 30.0
_AUDIBLE = 0.005


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
        return abs(self.hertz - hertz) <= tolerance and self.rms > _AUDIBLE and self.purity > 0.5


SILENCE = Tone(0.0, 0.0, 0.0)


def sine(hertz: float, seconds: float, rate: int, *, amplitude: float = 0.3) -> Samples:
    """A tone as 16 bit samples."""
    return array("h", _sine(hertz, int(seconds * rate), rate, amplitude))


@cache
def _sine(hertz: float, count: int, rate: int, amplitude: float) -> bytes:
    step = 2 * math.pi * hertz / rate
    peak = amplitude * 32767
    return array("h", (int(peak * math.sin(step * n)) for n in range(count))).tobytes()


def repeated(samples: Samples, times: int) -> Samples:
    """Each sample so many times over: for as many channels, or a multiple of the rate."""
    if times == 1:
        return samples
    found = array("h", bytes(2 * times * len(samples)))
    for place in range(times):
        found[place::times] = samples
    return found


def speechlike(seconds: float, rate: int) -> Samples:
    """Syllables of a buzzing voice with pauses between its words, for measures made for speech."""
    phase = 0.0
    samples = array("h")
    for n in range(int(seconds * rate)):
        t = n / rate
        pitch = 120 + 25 * math.sin(2 * math.pi * 0.7 * t) + 10 * math.sin(2 * math.pi * 3.1 * t)
        phase += 2 * math.pi * pitch / rate
        formant = 700 + 400 * math.sin(2 * math.pi * 1.3 * t)
        buzz = sum(
            math.sin(k * phase) * (0.15 + math.exp(-(((k * pitch - formant) / 300) ** 2)))
            for k in range(1, 20)
        )
        syllable = max(0.0, math.sin(2 * math.pi * 2 * t))
        word = 1.0 if t % 2.0 < 1.5 else 0.0
        samples.append(int(2500 * buzz * syllable * word))
    return samples


def find_tone(samples: Samples, rate: int) -> Tone:
    """The strongest frequency (below 4 kHz) of the last half second at most of `samples`.

    Silence where there is too little to tell, under 64 ms.
    """
    signal = _at_analysed_rate(samples[-rate // 2 :], rate)
    size = 1 << (len(signal).bit_length() - 1) if signal else 0
    if size < 512:
        return SILENCE
    signal = signal[-size:]
    rms = math.sqrt(sum(value * value for value in signal) / size)
    if rms < 1e-4:
        return SILENCE
    window = _window(size)
    spectrum = _fourier([value * weight for value, weight in zip(signal, window, strict=True)])
    energy = [abs(value) ** 2 for value in spectrum[: size // 2]]
    strongest = max(range(len(energy)), key=energy.__getitem__)
    reach = math.ceil(_NEAR * size / _ANALYSED_RATE)
    near = energy[max(0, strongest - reach) : strongest + reach + 1]
    return Tone(strongest * _ANALYSED_RATE / size, rms, sum(near) / sum(energy))


def _at_analysed_rate(samples: Samples, rate: int) -> list[float]:
    """Scaled to 1, and averaged down from a multiple of 8 kHz: good enough below 2 kHz."""
    step = rate // _ANALYSED_RATE
    return [
        sum(samples[n : n + step]) / (step * 32768) for n in range(0, len(samples) - step + 1, step)
    ]


@cache
def _window(size: int) -> list[float]:
    return [0.5 - 0.5 * math.cos(2 * math.pi * n / size) for n in range(size)]


@cache
def _turns(size: int) -> list[complex]:
    return [cmath.rect(1, -2 * math.pi * k / size) for k in range(size // 2)]


def _fourier(values: Sequence[complex]) -> list[complex]:
    """Radix-2 fast Fourier transform; the length is a power of two."""
    size = len(values)
    if size == 1:
        return [values[0]]
    even, odd = _fourier(values[::2]), _fourier(values[1::2])
    turned = [turn * value for turn, value in zip(_turns(size), odd, strict=True)]
    pairs = list(zip(even, turned, strict=True))
    return [a + b for a, b in pairs] + [a - b for a, b in pairs]


def write_wav(
    path: Path, samples: Samples, rate: int, *, channels: int = 1, times: int = 1
) -> None:
    """Write 16 bit PCM: `samples`, `times` over, the same on every channel."""
    spread = repeated(samples, channels)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(spread.tobytes() * times)


def read_wav(path: Path) -> tuple[Samples, int]:
    """Read 16 bit PCM (the first channel) and its rate, from a file that may still grow."""
    data = path.read_bytes()
    form, body = data.find(b"fmt "), data.find(b"data")
    if form < 0 or body < 0:
        return array("h"), _ANALYSED_RATE
    channels = int.from_bytes(data[form + 10 : form + 12], "little")
    rate = int.from_bytes(data[form + 12 : form + 16], "little")
    content = data[body + 8 :]
    whole = len(content) - len(content) % (2 * channels)
    return array("h", content[:whole])[::channels], rate
