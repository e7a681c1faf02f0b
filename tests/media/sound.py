# SPDX-License-Identifier: GPL-3.0-or-later
"""Tones as payloads of the codecs, coded by FFmpeg and libopus: not by what is tested."""

import fractions
from array import array
from collections.abc import Iterable

import av

from bridge.sdp.agreement import LegMedia
from bridge.sdp.codecs import Codec
from bridge.sdp.description import MediaDirection
from tests.simulators.audio import Tone, find_tone, sine

_NAMES = {"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw", "G722": "g722", "opus": "libopus"}
_RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000, "opus": 48000}


def tone(codec: str, hertz: float, packets: int = 50) -> list[bytes]:
    """Payloads of 20 ms each with a tone in them."""
    rate = _RATES[codec]
    frame_size = rate // 50
    samples = sine(hertz, (packets + 1) / 50, rate)
    context = av.CodecContext.create(_NAMES[codec], "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate = rate
    context.layout = "mono"
    context.format = "s16"
    context.time_base = fractions.Fraction(1, rate)
    if codec == "opus":
        context.bit_rate = 32000
    payloads: list[bytes] = []
    for number in range(packets + 1):
        frame = av.AudioFrame(format="s16", layout="mono", samples=frame_size)
        start = number * frame_size
        frame.planes[0].update(samples[start : start + frame_size].tobytes())
        frame.sample_rate = rate
        frame.pts = start
        frame.time_base = fractions.Fraction(1, rate)
        payloads += [bytes(packet) for packet in context.encode(frame)]
    return payloads[:packets]


def heard(codec: str, payloads: Iterable[bytes]) -> Tone:
    """The tone that is in payloads."""
    rate = _RATES[codec]
    context = av.CodecContext.create("libopus" if codec == "opus" else _NAMES[codec], "r")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate = rate
    context.layout = "mono"
    samples = array("h")
    for payload in payloads:
        for frame in context.decode(av.Packet(payload)):
            samples.frombytes(bytes(frame.planes[0])[: frame.samples * 2])
    return find_tone(samples, rate)


def agreed(codec: Codec, kind: int) -> LegMedia:
    """A leg that agreed on a codec."""
    return LegMedia(
        codec=codec,
        payload_type=kind,
        receive={kind: codec},
        event=None,
        event_payload_type=None,
        ptime=20,
        parameters="useinbandfec=1",
        direction=MediaDirection.SENDRECV,
        address=("192.0.2.1", 4000),
        rtcp_address=("192.0.2.1", 4001),
        rtcp_mux=False,
    )
