# SPDX-License-Identifier: GPL-3.0-or-later
"""The video codecs that can be relayed: which descriptions name them, and with what parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.sdp.description import Media

CLOCK = 90000
"""Of all video, in Hz."""

_LEVEL_ID = re.compile(r"[0-9a-f]{6}")
_INFERRED = "42000a"
"""Where no profile-level-id is given: Baseline at level 1 (RFC 6184 section 8.1)."""
_PROFILES = (
    ("baseline", 0x42, 0x0F, 0x00),
    ("baseline", 0x4D, 0x8F, 0x80),
    ("baseline", 0x58, 0x8F, 0x80),
    ("main", 0x4D, 0xAF, 0x00),
    ("high", 0x64, 0xFF, 0x00),
    ("constrained-high", 0x64, 0xFF, 0x0C),
)
"""Name, profile_idc, and which bits of profile_iop have to be what (RFC 6184 table 5).

Baseline and Constrained Baseline count as one: they differ in tools against loss that encoders do
not use, telephones write the one and browsers the other.
"""
_CONSTRAINED_BASELINE = "42e0"


@dataclass(frozen=True, slots=True)
class VideoCodec:
    """An encoding that both legs have to share. For H.264, as far as RFC 6184 8.2.2 wants it."""

    name: str
    profile: str = ""
    mode: int = 0
    """H.264's packetization-mode."""

    def __str__(self) -> str:
        return f"{self.name}/{CLOCK}"


VP8 = VideoCodec("VP8")


def video_formats(media: Media) -> dict[int, VideoCodec]:
    """The known codecs of a section by payload type, best first; others (rtx, AV1) are left out."""
    names = {
        entry.payload_type: entry.name.upper() for entry in media.rtpmaps if entry.clock == CLOCK
    }
    found: dict[int, VideoCodec] = {}
    for text in media.formats:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else -1
        codec = _codec(names.get(number, ""), media.parameters(number))
        if codec is not None:
            found[number] = codec
    return found


def numbers_of(media: Media) -> dict[VideoCodec, int]:
    """The payload type by which a section names each known codec; the first where it has two."""
    return {codec: number for number, codec in reversed(video_formats(media).items())}


def _codec(name: str, parameters: str) -> VideoCodec | None:
    if name == "VP8":
        return VP8
    if name != "H264":
        return None
    fields = fields_of(parameters)
    profile = _profile(level_id(fields))
    mode = fields.get("packetization-mode", "0")
    return VideoCodec("H264", profile, int(mode)) if profile and mode in ("0", "1") else None


def fields_of(parameters: str) -> dict[str, str]:
    """The parameters of an `a=fmtp`, names in lower case."""
    pairs = (field.partition("=") for field in parameters.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}


def level_id(fields: Mapping[str, str]) -> str:
    """H.264's profile-level-id; empty where it is none."""
    text = fields.get("profile-level-id", _INFERRED).lower()
    return text if _LEVEL_ID.fullmatch(text) else ""


def _profile(text: str) -> str:
    if not text:
        return ""
    idc, iop = int(text[:2], 16), int(text[2:4], 16)
    found = (name for name, known, mask, bits in _PROFILES if (known, bits) == (idc, iop & mask))
    return next(found, "")


def passed_on(codec: VideoCodec, theirs: str, *, profile: str = "", level: str = "") -> str:
    """Parameters for one side, out of `theirs`: what the other side's peer said of the codec.

    `profile`: how this side writes the profile (four digits), if that is known. `level`: the two
    digits beyond which this side does not go, where it wants one level for both directions; empty:
    each may have its own (RFC 6184 section 8.2.2).
    """
    if codec.name != "H264":
        return theirs
    fields = fields_of(theirs)
    their_id = level_id(fields) or _INFERRED
    if not profile:
        profile = _CONSTRAINED_BASELINE if codec.profile == "baseline" else their_id[:4]
    their_level = their_id[4:]
    fields["profile-level-id"] = profile + (min(their_level, level) if level else their_level)
    fields["packetization-mode"] = str(codec.mode)
    fields["level-asymmetry-allowed"] = "0" if level else "1"
    return ";".join(f"{name}={value}" if value else name for name, value in fields.items())
