# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys for SRTP in session descriptions (SDES: RFC 4568, RFC 6188, RFC 7714).

Keys come from whoever makes our descriptions, as `a=crypto` lines: nothing is random here. As long
as a peer keeps its key, ours stays, and the SRTP contexts go on; a new one is answered with a new
one of ours, for who has a new key may be somebody else, who has not counted our packets.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from bridge.errors import SdpError
from bridge.sdp.description import Crypto, Media, SessionDescription

PLAIN_PROTOCOLS = ("RTP/AVP", "RTP/AVPF")
SECURE_PROTOCOLS = ("RTP/SAVP", "RTP/SAVPF")
RTP_PROTOCOLS = (*PLAIN_PROTOCOLS, *SECURE_PROTOCOLS)

KEY_LENGTHS = {
    "AEAD_AES_256_GCM": 44,
    "AEAD_AES_128_GCM": 28,
    "AES_256_CM_HMAC_SHA1_80": 46,
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AES_256_CM_HMAC_SHA1_32": 46,
}
"""Bytes of master key and salt, by suite."""

_SHORTEST_LIFE = 2**20
"""Packets: nearly six hours of audio. Shorter ones would have to be changed within a call."""
_KEY = re.compile(
    r"inline:(?P<key>[A-Za-z0-9+/]+={0,2})(?:\|(?P<power>2\^)?(?P<lifetime>[0-9]{1,15}))?"
)
_HARMLESS = re.compile(r"WSH=[0-9]+|-\S+")
"""Session parameters that change nothing for us (RFC 4568 6.3.6, 6.3.7): all others do."""


class Encryption(Enum):
    """Whether a SIP leg is encrypted."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


OFFERED: Mapping[Encryption, Sequence[str]] = {
    Encryption.OFF: (),
    Encryption.OPTIONAL: (
        "AEAD_AES_256_GCM",
        "AES_CM_128_HMAC_SHA1_80",
        "AES_CM_128_HMAC_SHA1_32",
    ),
    Encryption.REQUIRED: tuple(KEY_LENGTHS)[:5],
}
"""What we offer, best first. A line takes 90 bytes; by UDP an INVITE has to fit into a packet."""


class EncryptionMismatch(SdpError):
    """One side insists on encryption that the other has not."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The master keys of both directions, salts included."""

    suite: str
    ours: bytes
    """For what we send."""
    theirs: bytes

    def __repr__(self) -> str:
        return f"Keys(suite={self.suite!r})"


def crypto_line(tag: int, suite: str, key: bytes) -> Crypto:
    """An `a=crypto` line; `key` is of the suite's length."""
    return Crypto(tag, suite, f"inline:{b64encode(key).decode()}")


def key_of(line: Crypto) -> bytes | None:
    """The master key and salt of a line; None if it cannot be used.

    Not used are suites that we do not know, several keys in turn (MKI), keys that do not last, and
    session parameters that make something else of SRTP.
    """
    found = _KEY.fullmatch(line.key)
    if found is None or line.suite not in KEY_LENGTHS:
        return None
    if not all(_HARMLESS.fullmatch(word) for word in line.session_parameters.split()):
        return None
    if found["lifetime"] is not None and not _lasts(found["lifetime"], power=bool(found["power"])):
        return None
    text = found["key"].rstrip("=")
    try:
        key = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except Base64Error:
        return None
    return key if len(key) == KEY_LENGTHS[line.suite] else None


def _lasts(lifetime: str, *, power: bool) -> bool:
    number = int(lifetime)
    return number >= 20 if power else number >= _SHORTEST_LIFE


def choose(offered: Media) -> Crypto | None:
    """The first line of an offer that can be used: its order is the offerer's preference."""
    return next((line for line in offered.crypto if key_of(line) is not None), None)


def only_fitting(description: SessionDescription, encryption: Encryption) -> SessionDescription:
    """The same with no audio and no video but what may be agreed on. Raises EncryptionMismatch.

    Peers that leave the choice to us offer the audio twice, encrypted and plain; or once, as plain
    audio with keys (RFC 8643). Where the audio is encrypted, video is, too, or there is none.
    """
    audio = [one for one in description.media if one.kind == "audio" and not one.declined]
    secured = [one for one in audio if _is_secured(one)]
    if encryption is not Encryption.OFF and secured:
        return _only(description, _is_secured)
    plain = [one for one in audio if _is_plain(one)]
    if audio and not plain:
        raise EncryptionMismatch(
            "The peer insists on encryption that is not used here",
            remedy="Set srtp: optional for its trunk, and let it offer one of "
            f"{', '.join(KEY_LENGTHS)}.",
        )
    if encryption is Encryption.REQUIRED and audio:
        raise EncryptionMismatch(
            "The peer offers audio without encryption, which is required here",
            remedy="Let it offer RTP/SAVP with a=crypto, or set srtp: optional for its trunk.",
        )
    return _only(description, _is_plain)


def _is_secured(media: Media) -> bool:
    return media.protocol in RTP_PROTOCOLS and choose(media) is not None


def _is_plain(media: Media) -> bool:
    return media.protocol not in SECURE_PROTOCOLS


def _only(description: SessionDescription, fits: Callable[[Media], bool]) -> SessionDescription:
    media = (
        one
        if one.kind not in ("audio", "video") or one.declined or fits(one)
        else replace(one, port=0, bundle_only=False)
        for one in description.media
    )
    return replace(description, media=tuple(media))


def agreed_keys(ours: Media, theirs: Media) -> Keys | None:
    """What two sections agreed on: None for plain RTP, and for WebRTC, which has DTLS.

    Raises EncryptionMismatch when the peer's answer leaves what we offered.
    """
    for mine in ours.crypto:
        for other in theirs.crypto:
            key = key_of(other)
            if (mine.tag, mine.suite) == (other.tag, other.suite) and key is not None:
                return Keys(mine.suite, key_of(mine) or b"", key)
    if ours.crypto and theirs.crypto:
        raise EncryptionMismatch("The peer answered with a key for nothing that was offered")
    if ours.protocol in SECURE_PROTOCOLS and not ours.fingerprints:
        raise EncryptionMismatch("The peer answered without encryption, which was offered alone")
    return None


def kept_lines(ours: Media, theirs: Media) -> tuple[Crypto, ...]:
    """The line of another offer, where these sections were agreed on before.

    None if they are not encrypted: who did not want to is not asked again.
    """
    keys = agreed_keys(ours, theirs)
    return () if keys is None else (crypto_line(1, keys.suite, keys.ours),)


def answered_line(
    fresh: Sequence[Crypto], offered: Media, before: tuple[Media, Media] | None
) -> tuple[Crypto, ...]:
    """Our line for an answer; none if the offer has none that can be used, or if we have no keys.

    `before`: our section and the peer's, as they were agreed on last.
    """
    line = choose(offered)
    if line is None or not fresh:
        return ()
    keys = agreed_keys(*before) if before else None
    if keys is not None and (keys.suite, keys.theirs) == (line.suite, key_of(line)):
        return (crypto_line(line.tag, keys.suite, keys.ours),)
    return (replace(next(one for one in fresh if one.suite == line.suite), tag=line.tag),)
