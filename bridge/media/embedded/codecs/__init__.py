# SPDX-License-Identifier: GPL-3.0-or-later
"""The codecs of the transcoder, by the names that session descriptions use."""

from bridge.errors import LocalError
from bridge.media.embedded.codecs.base import Decoder, Encoder
from bridge.media.embedded.codecs.g711 import G711Decoder, G711Encoder
from bridge.media.embedded.codecs.g722 import G722Decoder, G722Encoder
from bridge.media.embedded.codecs.opus import BITRATE, PACKET_TIMES, OpusDecoder, OpusEncoder
from bridge.sdp.codecs import G722, OPUS, PCMA, PCMU, Codec

__all__ = (
    "BITRATE",
    "Decoder",
    "Encoder",
    "make_decoder",
    "make_encoder",
    "packet_time_for",
    "rate_for",
)

RATES = {G722: 16000, PCMU: 8000, PCMA: 8000}
"""Samples per second; Opus takes the rate of the codec on the other side."""
OPUS_RATE = 16000
"""Samples per second where Opus is on both sides."""


def rate_for(codec: Codec, other: Codec) -> int:
    """Samples per second to decode or encode at, given the codec at the other end."""
    return RATES.get(codec) or RATES.get(other, OPUS_RATE)


def make_decoder(codec: Codec, rate: int) -> Decoder:
    """A decoder; the rate matters to Opus only."""
    if codec == OPUS:
        return OpusDecoder(rate)
    if codec == G722:
        return G722Decoder()
    if codec in RATES:
        return G711Decoder(codec.name)
    raise LocalError(f"No decoder for {codec}")


def packet_time_for(codec: Codec, wanted: int) -> int:
    """Milliseconds to put in a packet: as wanted, or the longest below that the codec has."""
    if codec != OPUS:
        return wanted
    return max(time for time in PACKET_TIMES if time <= max(wanted, PACKET_TIMES[0]))


def make_encoder(
    codec: Codec, rate: int, ptime: int, parameters: str = "", bitrate: int = BITRATE
) -> Encoder:
    """An encoder for packets of `ptime` milliseconds.

    The rate, the receiver's `a=fmtp` (`parameters`) and the bits per second matter to Opus only.
    """
    if codec == OPUS:
        return OpusEncoder(rate, parameters, bitrate)
    if codec == G722:
        return G722Encoder(ptime)
    if codec in RATES:
        return G711Encoder(codec.name)
    raise LocalError(f"No encoder for {codec}")
