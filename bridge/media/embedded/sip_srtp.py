# SPDX-License-Identifier: GPL-3.0-or-later
"""SRTP of a SIP leg whose keys are in its descriptions: contexts that come and go with them."""

from collections.abc import Callable

from pylibsrtp import Error as SrtpError
from pylibsrtp import Session

from bridge.media.embedded.srtp import ARRIVAL, Packet, receiver, sender, unprotector
from bridge.sdp.sdes import Keys

UNREADABLE = (SrtpError, ValueError)
"""What decrypting and encrypting raise."""


class SipSrtp:
    """A context each way. Each lasts, with its rollover counter, as long as its key does."""

    def __init__(self, keys: Keys, *, repeats: bool = False) -> None:
        """`repeats`: packets may be sent again, on either side, for who missed them."""
        self.keys = keys
        self._repeats = repeats
        self._incoming = receiver(keys.suite, keys.theirs, repeats=repeats)
        self.outgoing = sender(keys.suite, keys.ours, repeats=repeats)
        """Encrypts what we send."""
        self._before: Session | None = None
        self.decrypt: Callable[[int], Packet] = unprotector(self._incoming)
        """Decrypts the RTP packet of that many bytes in `ARRIVAL`."""

    @property
    def incoming(self) -> Session | None:
        """Decrypts all that the peer sends; None while it may still use the keys before."""
        return self._incoming if self._before is None else None

    def renew(self, keys: Keys) -> None:
        """Go on with these keys; what has not changed goes on as it is.

        What was sent before the peer knew of the change is still read, until it follows.
        """
        before, self.keys = self.keys, keys
        if (keys.suite, keys.ours) != (before.suite, before.ours):
            self.outgoing = sender(keys.suite, keys.ours, repeats=self._repeats)
        if (keys.suite, keys.theirs) != (before.suite, before.theirs):
            self._before = self._incoming
            self._incoming = receiver(keys.suite, keys.theirs, repeats=self._repeats)
            self.decrypt = self._decrypt_either

    def encrypt_rtcp(self, packet: bytes) -> bytes:
        """A compound packet encrypted."""
        return self.outgoing.protect_rtcp(packet)

    def decrypt_rtcp(self, packet: bytes) -> bytes:
        """A compound packet decrypted."""
        return self._incoming.unprotect_rtcp(packet)

    def _decrypt_either(self, size: int) -> Packet:
        assert self._before is not None
        received = bytes(ARRIVAL[:size])
        decrypt = unprotector(self._incoming)
        try:
            packet = decrypt(size)
        except SrtpError:
            ARRIVAL[:size] = received
            return unprotector(self._before)(size)
        self._before = None
        self.decrypt = decrypt
        return packet
