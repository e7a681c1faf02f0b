# SPDX-License-Identifier: GPL-3.0-or-later
"""What receivers of video say to its senders by RTCP: RFC 4585, RFC 5104, and REMB.

Only what is used here; all else in a compound packet is passed over. SSRCs as in the RFCs:
`sender` says it, `media` is the stream that it is about.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_RTPFB, _PSFB = 205, 206
_NACK, _TMMBR, _TMMBN = 1, 3, 4
_PLI, _FIR, _ALFB = 1, 4, 15
_REMB: Final = b"REMB"
_HEADER: Final = struct.Struct("!BBHII")
_PAIR: Final = struct.Struct("!HH")
_LIMIT: Final = struct.Struct("!II")


@dataclass(frozen=True, slots=True)
class Nack:
    """Packets that are missing (RFC 4585 6.2.1)."""

    sender: int
    media: int
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """PLI (RFC 4585 6.3.1): nothing can be shown until there is a whole picture."""

    sender: int
    media: int


@dataclass(frozen=True, slots=True)
class FullIntra:
    """FIR (RFC 5104 4.3.1): send a whole picture. What has the `number` of before is repeated."""

    sender: int
    media: int
    number: int


@dataclass(frozen=True, slots=True)
class MostBits:
    """TMMBR (RFC 5104 4.2.1), or REMB: how many bits a second may come at most."""

    sender: int
    media: int
    bits: int
    overhead: int = 0
    """Octets of headers below RTP in each packet that count, too."""
    estimated: bool = False
    """Whether it is REMB, which is not acknowledged."""


Feedback = Nack | PictureLoss | FullIntra | MostBits


def read(compound: bytes) -> list[Feedback]:
    """All feedback in a compound packet, up to what cannot be read."""
    found: list[Feedback] = []
    at, size = 0, len(compound)
    while at + 4 <= size:
        first, kind = compound[at], compound[at + 1]
        end = at + 4 + 4 * int.from_bytes(compound[at + 2 : at + 4], "big")
        if first >> 6 != 2 or end > size:
            break
        reader = _READERS.get((kind, first & 0x1F))
        if reader is not None and end - at >= _HEADER.size:
            _, _, _, sender, media = _HEADER.unpack_from(compound, at)
            last = end - compound[end - 1] if first & 0x20 else end
            found.extend(reader(sender, media, compound[at + _HEADER.size : last]))
        at = end
    return found


def _read_nack(sender: int, media: int, body: bytes) -> Iterator[Nack]:
    yield Nack(sender, media, tuple(_missing(body)))


def _missing(body: bytes) -> Iterator[int]:
    for at in range(0, len(body) - 3, 4):
        number, more = _PAIR.unpack_from(body, at)
        yield number
        for bit in range(16):
            if more >> bit & 1:
                yield (number + bit + 1) & 0xFFFF


def _read_picture_loss(sender: int, media: int, _: bytes) -> Iterator[PictureLoss]:
    yield PictureLoss(sender, media)


def _read_full_intra(sender: int, _: int, body: bytes) -> Iterator[FullIntra]:
    for at in range(0, len(body) - 7, 8):
        yield FullIntra(sender, int.from_bytes(body[at : at + 4], "big"), body[at + 4])


def _read_most_bits(sender: int, _: int, body: bytes) -> Iterator[MostBits]:
    for at in range(0, len(body) - 7, 8):
        media, limit = _LIMIT.unpack_from(body, at)
        bits = (limit >> 9 & 0x1FFFF) << (limit >> 26)
        yield MostBits(sender, media, bits, overhead=limit & 0x1FF)


def _read_remb(sender: int, _: int, body: bytes) -> Iterator[MostBits]:
    if len(body) < 8 or body[:4] != _REMB:
        return
    bits = (int.from_bytes(body[5:8], "big") & 0x3FFFF) << (body[5] >> 2)
    for at in range(8, min(len(body), 8 + 4 * body[4]) - 3, 4):
        media = int.from_bytes(body[at : at + 4], "big")
        yield MostBits(sender, media, bits, estimated=True)


_READERS: Final[Mapping[tuple[int, int], Callable[[int, int, bytes], Iterator[Feedback]]]] = {
    (_RTPFB, _NACK): _read_nack,
    (_RTPFB, _TMMBR): _read_most_bits,
    (_PSFB, _PLI): _read_picture_loss,
    (_PSFB, _FIR): _read_full_intra,
    (_PSFB, _ALFB): _read_remb,
}


# --- writing ----------------------------------------------------------------------------------


def nack(sender: int, media: int, lost: Iterable[int]) -> bytes:
    """A NACK for packets, in the order in which they were sent."""
    pairs: list[tuple[int, int]] = []
    for number in lost:
        ahead = (number - pairs[-1][0] - 1) & 0xFFFF if pairs else 16
        if ahead < 16:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] | 1 << ahead)
        else:
            pairs.append((number, 0))
    return _packet(_RTPFB, _NACK, sender, media, b"".join(_PAIR.pack(*pair) for pair in pairs))


def picture_loss(sender: int, media: int) -> bytes:
    """PLI."""
    return _packet(_PSFB, _PLI, sender, media, b"")


def full_intra(sender: int, media: int, number: int) -> bytes:
    """FIR; another `number` (modulo 256) is another command."""
    entry = media.to_bytes(4, "big") + bytes((number & 0xFF, 0, 0, 0))
    return _packet(_PSFB, _FIR, sender, 0, entry)


def remb(sender: int, media: Sequence[int], bits: int) -> bytes:
    """REMB: streams of theirs may come with so many bits a second, together."""
    exponent, mantissa = _floating(bits, 18)
    entry = _REMB + (len(media) << 24 | exponent << 18 | mantissa).to_bytes(4, "big")
    streams = b"".join(each.to_bytes(4, "big") for each in media)
    return _packet(_PSFB, _ALFB, sender, 0, entry + streams)


def most_bits(sender: int, media: int, bits: int, overhead: int) -> bytes:
    """TMMBR."""
    return _packet(_RTPFB, _TMMBR, sender, 0, _limit(media, bits, overhead))


def most_bits_noted(sender: int, owner: int, bits: int, overhead: int) -> bytes:
    """TMMBN (RFC 5104 4.2.2): the limit in force, which `owner` has set."""
    return _packet(_RTPFB, _TMMBN, sender, 0, _limit(owner, bits, overhead))


def _limit(stream: int, bits: int, overhead: int) -> bytes:
    exponent, mantissa = _floating(bits, 17)
    return _LIMIT.pack(stream, exponent << 26 | mantissa << 9 | overhead & 0x1FF)


def _floating(value: int, digits: int) -> tuple[int, int]:
    """Exponent and mantissa of so many bits, never more than the value."""
    exponent = max(0, value.bit_length() - digits)
    return exponent, value >> exponent


def _packet(kind: int, form: int, sender: int, media: int, entries: bytes) -> bytes:
    words = (_HEADER.size + len(entries)) // 4 - 1
    return _HEADER.pack(0x80 | form, kind, words, sender, media) + entries
