# SPDX-License-Identifier: GPL-3.0-or-later
"""The audio codecs that the bridge knows, and which of them a call uses on each leg."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.errors import SdpError
from bridge.sdp.description import Media


class NoCommonCodec(SdpError):
    """The other side has no audio codec that the bridge could use."""


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoding as `a=rtpmap` names it. `clock` is RTP's, in Hz."""

    name: str
    clock: int
    channels: int = 1

    def __str__(self) -> str:
        channels = f"/{self.channels}" if self.channels != 1 else ""
        return f"{self.name}/{self.clock}{channels}"


OPUS = Codec("opus", 48000, 2)
G722 = Codec("G722", 8000)
"""Samples at 16 kHz; its clock of 8 kHz is an error that has to stay (RFC 3551 section 4.5.2)."""
PCMU = Codec("PCMU", 8000)
PCMA = Codec("PCMA", 8000)
TELEPHONE_EVENT = Codec("telephone-event", 8000)
TELEPHONE_EVENT_48K = Codec("telephone-event", 48000)
COMFORT_NOISE = Codec("CN", 8000)

AUDIO_CODECS = (OPUS, G722, PCMU, PCMA)
"""What can carry a call, in the order of quality and robustness."""
TELEPHONE_EVENTS = (TELEPHONE_EVENT, TELEPHONE_EVENT_48K)
KNOWN_CODECS = (*AUDIO_CODECS, *TELEPHONE_EVENTS, COMFORT_NOISE)

STATIC_PAYLOAD_TYPES = {0: PCMU, 8: PCMA, 9: G722, 13: COMFORT_NOISE}
"""Of RFC 3551 table 4, those that need no `a=rtpmap` to be understood here."""

PREFERRED_PAYLOAD_TYPES = {
    OPUS: 111,
    G722: 9,
    PCMU: 0,
    PCMA: 8,
    COMFORT_NOISE: 13,
    TELEPHONE_EVENT: 101,
    TELEPHONE_EVENT_48K: 110,
}
"""The numbers in our own offers, unless the session already gave them another meaning."""

_BY_ENCODING = {(codec.name.lower(), codec.clock, codec.channels): codec for codec in KNOWN_CODECS}
# Opus is always declared with two channels (RFC 7587 section 7); some phones leave them out.
_BY_ENCODING["opus", 48000, 1] = OPUS
_BY_NAME = {codec.name.lower(): codec for codec in AUDIO_CODECS}


def codec_named(name: str) -> Codec:
    """The audio codec with this name in any case, as settings write it; KeyError if unknown."""
    return _BY_NAME[name.lower()]


def codecs_of(media: Media) -> dict[int, Codec]:
    """The known codecs of a section by payload type, best first; others (RED, G.729) are left out.

    A clock or a number of channels that differs from the registered one is another codec.
    """
    maps = {entry.payload_type: entry for entry in media.rtpmaps}
    found: dict[int, Codec] = {}
    for text in media.formats:
        if not (text.isascii() and text.isdigit() and len(text) <= 3):
            continue
        number = int(text)
        entry = maps.get(number)
        codec = (
            _BY_ENCODING.get((entry.name.lower(), entry.clock, entry.channels))
            if entry
            else STATIC_PAYLOAD_TYPES.get(number)
        )
        if codec is not None:
            found[number] = codec
    return found


def audio_codecs_of(media: Media) -> tuple[Codec, ...]:
    """The codecs of a section that can carry audio, best first, each once."""
    return tuple(dict.fromkeys(c for c in codecs_of(media).values() if c in AUDIO_CODECS))


def payload_types_of(media: Media) -> dict[Codec, int]:
    """The payload type by which a section names each known codec; the first where it has two."""
    return {codec: number for number, codec in reversed(codecs_of(media).items())}


def event_codec_for(codec: Codec, available: Iterable[Codec]) -> Codec | None:
    """The telephone-event to use beside an audio codec.

    RFC 4733 section 2.1 wants the clock of the audio; some clients have another one only.
    """
    events = [known for known in TELEPHONE_EVENTS if known in available]
    return next((event for event in events if event.clock == codec.clock), next(iter(events), None))


def order_for_offer(other: Sequence[Codec], allowed: Sequence[Codec]) -> tuple[Codec, ...]:
    """The `allowed` codecs, those first that the `other` leg has too: they need no transcoding.

    Within each part the order is that of `allowed`.
    """
    shared = [codec for codec in allowed if codec in other]
    return (*shared, *(codec for codec in allowed if codec not in other))


@dataclass(frozen=True, slots=True)
class CodecPair:
    """The codecs of a call's two legs."""

    matrix: Codec
    sip: Codec

    @property
    def relay(self) -> bool:
        """Whether packets pass as they are, without transcoding."""
        return self.matrix == self.sip


def pair_codecs(matrix: Sequence[Codec], sip: Sequence[Codec]) -> CodecPair:
    """Choose from what each leg can do, best first; a leg that has answered can do one codec.

    A codec that both have wins, in the SIP leg's order. Otherwise the SIP leg gets what it likes
    best, and the Matrix leg Opus if it can, which bears loss better than the others.
    """
    if not matrix:
        raise NoCommonCodec(_nothing_known("The Matrix client"), remedy=_KNOWN)
    if not sip:
        raise NoCommonCodec(_nothing_known("The SIP peer"), remedy=_KNOWN)
    shared = next((codec for codec in sip if codec in matrix), None)
    if shared is not None:
        return CodecPair(shared, shared)
    return CodecPair(OPUS if OPUS in matrix else matrix[0], sip[0])


_KNOWN = f"Allow at least one of {', '.join(map(str, AUDIO_CODECS))} there."


def _nothing_known(who: str) -> str:
    return f"{who} has no audio codec that the bridge may use"
