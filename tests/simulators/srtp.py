# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer's SRTP by the library's public interface, with keys in its descriptions (SDES)."""

import secrets
from base64 import b64decode, b64encode

from pylibsrtp import Policy, Session

from tests.simulators.rtp import RtpPeer

LONG_TAG, SHORT_TAG = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
GCM_256, GCM_128 = "AEAD_AES_256_GCM", "AEAD_AES_128_GCM"
_PROFILES = {
    LONG_TAG: (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    SHORT_TAG: (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    GCM_256: (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
    GCM_128: (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
}
"""The library's name of each suite, and the bytes of its key and salt."""


class Sdes:
    """One peer's keys: a line that it says, and what comes of the other side's."""

    def __init__(self, peer: RtpPeer, suite: str = LONG_TAG, *, tag: int = 1) -> None:
        self.suite = suite
        self._tag = tag
        self._peer = peer
        self._profile, self._length = _PROFILES[suite]
        self._key = secrets.token_bytes(self._length)
        self.line = f"{tag} {suite} inline:{b64encode(self._key).decode()}"

    def follow(self, sdp: str, *, lies: bool = False) -> None:
        """Encrypt as the other side's description says. `lies`: with another key than was said."""
        start = f"a=crypto:{self._tag} "
        (words,) = (line.split() for line in sdp.splitlines() if line.startswith(start))
        assert words[1] == self.suite
        theirs = b64decode(words[2].removeprefix("inline:"))
        incoming = self._session(theirs, Policy.SSRC_ANY_INBOUND)
        ours = secrets.token_bytes(self._length) if lies else self._key
        outgoing = self._session(ours, Policy.SSRC_ANY_OUTBOUND)
        peer = self._peer
        peer.protect, peer.protect_rtcp = outgoing.protect, outgoing.protect_rtcp
        peer.unprotect, peer.unprotect_rtcp = incoming.unprotect, incoming.unprotect_rtcp

    def outgoing(self) -> Session:
        """A new context for what the peer sends."""
        return self._session(self._key, Policy.SSRC_ANY_OUTBOUND)

    def _session(self, key: bytes, direction: int) -> Session:
        return Session(Policy(key=key, ssrc_type=direction, srtp_profile=self._profile))
