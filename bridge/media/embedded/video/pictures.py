# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a packet of video belongs to a picture that needs none before it, by codec.

Packets are whole RTP packets without CSRCs and extensions. What is garbled is no such picture.
"""

from collections.abc import Callable, Mapping
from typing import Final

from bridge.media.embedded.rtp import HEADER_SIZE
from bridge.media.embedded.srtp import Packet

BeginsPicture = Callable[[bytes | Packet], bool]

_IDR, _SPS = 5, 7
_WHOLE: Final = frozenset({_IDR, _SPS})
"""Types of NAL units that such a picture begins with: its slices, or the parameters before them."""
_STAP_A, _STAP_B, _FU_A, _FU_B = 24, 25, 28, 29


def vp8_begins_picture(packet: bytes | Packet) -> bool:
    """Whether a key frame begins here (RFC 7741 4.2, 4.3)."""
    size = len(packet)
    if size <= HEADER_SIZE:
        return False
    first = packet[HEADER_SIZE]
    if first & 0x17 != 0x10:  # Not the start of the frame's first partition.
        return False
    at = HEADER_SIZE + 1
    if first & 0x80:
        if at >= size:
            return False
        extension = packet[at]
        at += 1
        if extension & 0x80:
            at += 2 if at < size and packet[at] & 0x80 else 1
        at += bool(extension & 0x40) + bool(extension & 0x30)
    return at < size and not packet[at] & 0x01


def h264_begins_picture(packet: bytes | Packet) -> bool:
    """Whether there is an IDR slice, or the parameters that go before one (RFC 6184 5.4)."""
    size = len(packet)
    if size <= HEADER_SIZE:
        return False
    kind = packet[HEADER_SIZE] & 0x1F
    if kind in _WHOLE:
        return True
    if kind == _FU_A or kind == _FU_B:
        at = HEADER_SIZE + 1
        return at < size and packet[at] & 0x80 != 0 and packet[at] & 0x1F == _IDR
    if kind == _STAP_A or kind == _STAP_B:
        return _aggregates_picture(packet, HEADER_SIZE + (1 if kind == _STAP_A else 3))
    return False


def _aggregates_picture(packet: bytes | Packet, at: int) -> bool:
    while at + 2 < len(packet):
        if packet[at + 2] & 0x1F in _WHOLE:
            return True
        at += 2 + (packet[at] << 8 | packet[at + 1])
    return False


BEGINS_PICTURE: Final[Mapping[str, BeginsPicture]] = {
    "VP8": vp8_begins_picture,
    "H264": h264_begins_picture,
}
"""By the codec's name in descriptions."""
