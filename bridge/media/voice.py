# SPDX-License-Identifier: GPL-3.0-or-later
"""Voice messages and greetings, as files. All of it blocks: it is for threads."""

import math
import os
import wave
from array import array
from io import BytesIO
from pathlib import Path
from typing import Final

from bridge.errors import LocalError
from bridge.media.embedded.codecs.base import SAMPLE_SIZE
from bridge.media.embedded.files import OggOpus, loud_seconds, read_samples
from bridge.voicemail import Voice

RATE: Final = 16000
"""Samples per second of all that is dealt with here."""
BARS: Final = 100
"""Values of a waveform."""
_LOUDEST: Final = 1024
_LEAST_BITRATE: Final = 6000
_OVERHEAD: Final = 0.8
"""Share of a file that is sound, and not the container's, where there is little of it."""
_SMALLEST: Final = 2000
"""Octets below which nothing is left of a message."""
_FORMATS: Final = "ogg,mp3,wav,mov,matroska,flac,aac"
_FADE: Final = 0.01
_AMPLITUDE: Final = 6000
_GREETING: Final = ((0, 0.6), (523, 0.2), (0, 0.1), (659, 0.2), (0, 0.1), (784, 0.4), (0, 0.5))
"""Hertz and seconds: three tones that rise."""
_BEEP: Final = ((0, 0.1), (1000, 0.4))


def read_voice(file: str, *, shortest: float, most: int | None) -> Voice | None:
    """A recording as a voice message of at most so many octets; None if there is nothing in it.

    `shortest`: seconds of sound that are something. Raises LocalError.
    """
    samples = read_samples(file, RATE)
    if loud_seconds(samples, RATE) < shortest:
        return None
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise LocalError(f"{file} cannot be read: {error}") from error
    aim = most or 0
    while most is not None and len(data) > most and aim > _SMALLEST:
        data, samples = _smaller(f"{file}.small", samples, aim)
        aim = aim * 3 // 4
    return Voice(data=data, seconds=_seconds(samples), waveform=waveform(samples))


def _smaller(file: str, samples: bytes, most: int) -> tuple[bytes, bytes]:
    """Of less quality; or if that is not enough, shorter."""
    bits = most * 8 * _OVERHEAD
    bitrate = int(bits / _seconds(samples))
    if bitrate < _LEAST_BITRATE:
        bitrate = _LEAST_BITRATE
        samples = samples[: int(bits / bitrate * RATE) * SAMPLE_SIZE]
    written = OggOpus(file, RATE, bitrate)
    written.write(samples)
    written.close()
    try:
        return Path(file).read_bytes(), samples
    finally:
        os.unlink(file)


def waveform(samples: bytes) -> tuple[int, ...]:
    """How loud 16-bit samples are from beginning to end, as clients draw it (MSC1767)."""
    every = array("h", samples)
    size = max(1, math.ceil(len(every) / BARS))
    peaks = [
        max(max(part), -min(part))
        for part in (every[at : at + size] for at in range(0, len(every), size))
    ]
    loudest = max(peaks, default=0) or 1
    return tuple(peak * _LOUDEST // loudest for peak in peaks)


def write_greeting(audio: bytes, file: Path, *, longest: float) -> float:
    """Keep what a person wants callers to hear, whatever format it has; gives its seconds.

    Raises LocalError if there is no sound in it, or more than `longest` seconds.
    """
    samples = read_samples(BytesIO(audio), RATE, longest=longest + 1, formats=_FORMATS)
    seconds = _seconds(samples)
    if not loud_seconds(samples, RATE):
        raise LocalError("There is nothing to be heard in it.")
    if seconds > longest:
        raise LocalError(f"It is too long: {longest:.0f} seconds are the most.")
    _write(file, samples)
    return seconds


def write_tones(greeting: Path, beep: Path) -> None:
    """Write what callers hear who hear nobody. Raises LocalError."""
    _write(greeting, _tones(_GREETING))
    _write(beep, _tones(_BEEP))


def _tones(score: tuple[tuple[int, float], ...]) -> bytes:
    samples = array("h")
    for hertz, seconds in score:
        count = round(seconds * RATE)
        step = 2 * math.pi * hertz / RATE
        for n in range(count):
            loudness = _AMPLITUDE * min(1.0, n / (_FADE * RATE), (count - n) / (_FADE * RATE))
            samples.append(round(loudness * math.sin(n * step)))
    return samples.tobytes()


def _write(file: Path, samples: bytes) -> None:
    """Write all of a file, or leave what there was."""
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with wave.open(str(part), "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(SAMPLE_SIZE)
            written.setframerate(RATE)
            written.writeframes(samples)
        part.replace(file)
    except OSError as error:
        raise LocalError(f"{file} cannot be written: {error}") from error


def _seconds(samples: bytes) -> float:
    return len(samples) / SAMPLE_SIZE / RATE
