# SPDX-License-Identifier: GPL-3.0-or-later
"""Opus through libopus, called directly.

libopus codes and decodes at the telephone's own rate (8 or 16 kHz), so nothing has to be resampled;
FFmpeg's wrapper can neither conceal loss nor use the redundancy that packets carry. The library is
loaded with PyDLL: its calls take 10 to 100 microseconds, less than it costs to win the interpreter
lock back from another thread.
"""

import ctypes
import re
from functools import cache

from bridge.errors import LocalError, RemoteError
from bridge.media.embedded.codecs.base import SAMPLE_SIZE

_VOIP = 2048
_SET_BITRATE = 4002
_SET_COMPLEXITY = 4010
_SET_INBAND_FEC = 4012
_SET_PACKET_LOSS = 4014

BITRATE = 32000
"""Bits per second, where the settings say nothing else."""
LEAST_BITRATE = 6000
_COMPLEXITY = {8000: 2, 16000: 6}
"""By rate. Telephones' narrow band sounds no better by more: PESQ of synthetic voices differs by
less than 0.02 from 2 to 10, which costs four times as much. Wideband is better by 0.35 with 6 than
with 2, and by 0.02 with 10, for half as much again.
"""
MOST_LOSS = 30
"""Per cent: redundancy for more than that leaves too little for the sound."""
PACKET_TIMES = (10, 20, 40, 60)
"""Milliseconds of sound that a packet can carry, of those that telephones ask for."""
LONGEST_PACKET_MS = 120
_LARGEST_PACKET = 1275

_SONAMES = ("libopus.so.0", "libopus.0.dylib", "libopus-0.dll")


@cache
def library() -> ctypes.PyDLL:
    """libopus. Raises LocalError where it is not installed."""
    for name in _SONAMES:
        try:
            return _declared(ctypes.PyDLL(name))
        except OSError:
            continue
    raise LocalError(
        "The Opus library (libopus) is not installed",
        remedy="Install it: the package is libopus0 on Debian, opus elsewhere.",
    )


def _declared(opus: ctypes.PyDLL) -> ctypes.PyDLL:
    pointer, number, octets = ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p
    opus.opus_encoder_get_size.argtypes = [number]
    opus.opus_decoder_get_size.argtypes = [number]
    opus.opus_encoder_init.argtypes = [pointer, number, number, number]
    opus.opus_decoder_init.argtypes = [pointer, number, number]
    opus.opus_encode.argtypes = [pointer, octets, number, pointer, number]
    opus.opus_decode.argtypes = [pointer, octets, number, pointer, number, number]
    opus.opus_strerror.restype = octets
    return opus


def _reason(opus: ctypes.PyDLL, error: int) -> str:
    text: bytes = opus.opus_strerror(error)
    return text.decode()


class OpusDecoder:
    """Opus to mono samples at `rate` (8000, 12000, 16000, 24000 or 48000)."""

    def __init__(self, rate: int) -> None:
        opus = library()
        self.rate = rate
        self._opus = opus
        # The state lives in memory of ours: there is nothing to free.
        self._state = ctypes.create_string_buffer(opus.opus_decoder_get_size(1))
        self.reset()
        self._capacity = rate * LONGEST_PACKET_MS // 1000
        self._samples = ctypes.create_string_buffer(self._capacity * SAMPLE_SIZE)
        self._view = memoryview(self._samples).cast("B")
        self._decode = opus.opus_decode

    def reset(self) -> None:
        """What comes next is of another sender."""
        error = self._opus.opus_decoder_init(self._state, self.rate, 1)
        if error:
            raise LocalError(f"Opus cannot decode at {self.rate} Hz: {_reason(self._opus, error)}")

    def decode(self, payload: bytes) -> bytes:
        """The samples of one packet."""
        return self._run(payload, self._capacity, redundancy=False)

    def conceal(self, samples: int, following: bytes) -> bytes:
        """From the redundancy in the following packet where it reaches, else extrapolated."""
        return self._pieces(samples, following)

    def rest(self, samples: int) -> bytes:
        """Comfort noise, when the sender said that it would pause; else a fading extrapolation."""
        return self._pieces(samples, b"")

    def _pieces(self, samples: int, following: bytes) -> bytes:
        """Extrapolate in steps the library can do: multiples of 2.5 ms, `_capacity` at most."""
        step = self.rate // 400
        whole = samples // step * step
        made = bytearray()
        while whole > self._capacity:
            made += self._run(b"", self._capacity, redundancy=False)
            whole -= self._capacity
        if whole:
            made += self._run(following, whole, redundancy=bool(following))
        return bytes(made).ljust(samples * SAMPLE_SIZE, b"\0")

    def _run(self, payload: bytes, samples: int, *, redundancy: bool) -> bytes:
        # No payload (NULL) asks for concealment.
        count: int = self._decode(
            self._state, payload or None, len(payload), self._samples, samples, redundancy
        )
        if count < 0:
            raise RemoteError(
                f"An Opus packet that cannot be decoded: {_reason(self._opus, count)}"
            )
        return bytes(self._view[: count * SAMPLE_SIZE])


def _bitrate(wanted: int, parameters: str) -> int:
    """Bits per second: ours, or the receiver's upper bound (`maxaveragebitrate`) if less."""
    bound = re.search(r"\bmaxaveragebitrate=([0-9]{4,6})\b", parameters, re.ASCII)
    return max(min(wanted, int(bound[1])), LEAST_BITRATE) if bound else wanted


class OpusEncoder:
    """Mono samples at `rate` (8000 or 16000) to Opus, with redundancy if the receiver uses it."""

    def __init__(self, rate: int, parameters: str = "", bitrate: int = BITRATE) -> None:
        """`parameters`: what the receiver asked for (`a=fmtp`, RFC 7587 section 6.1)."""
        opus = library()
        self.rate = rate
        self._state = ctypes.create_string_buffer(opus.opus_encoder_get_size(1))
        error = opus.opus_encoder_init(self._state, rate, 1, _VOIP)
        if error:
            raise LocalError(f"Opus cannot encode at {rate} Hz: {_reason(opus, error)}")
        self._opus = opus
        self._set(_SET_BITRATE, _bitrate(bitrate, parameters))
        self._set(_SET_COMPLEXITY, _COMPLEXITY[rate])
        self._set(_SET_INBAND_FEC, "useinbandfec=1" in parameters)
        self._packet = ctypes.create_string_buffer(_LARGEST_PACKET)
        self._view = memoryview(self._packet).cast("B")
        self._encode = opus.opus_encode

    def _set(self, request: int, value: int) -> None:
        # A C function with a variable number of arguments: ctypes must not guess their types.
        self._opus.opus_encoder_ctl(self._state, ctypes.c_int(request), ctypes.c_int32(value))

    def expect_loss(self, percent: int) -> None:
        """Spend bits on redundancy for it (RFC 6716 section 2.1.7); none while nothing is lost."""
        self._set(_SET_PACKET_LOSS, min(percent, MOST_LOSS))

    def encode(self, samples: bytes) -> bytes:
        """One packet; 10, 20, 40 or 60 ms of samples."""
        size: int = self._encode(
            self._state, samples, len(samples) // SAMPLE_SIZE, self._packet, _LARGEST_PACKET
        )
        if size < 0:
            raise LocalError(f"Opus cannot encode: {_reason(self._opus, size)}")
        return bytes(self._view[:size])
