# SPDX-License-Identifier: GPL-3.0-or-later
"""SRTP in place, and the buffers that packets are rewritten in.

The only module that knows pylibsrtp from the inside: its public interface copies every packet in
and out, which costs as much as the cipher. One thread handles media, and a packet is done with
before the next one is read, so that two buffers serve all calls.
"""

import struct
from collections.abc import Callable
from typing import Any

from pylibsrtp import ERRORS, Error, Policy, Session
from pylibsrtp._binding import ffi, lib

SIZE = 2048
"""Bytes that a buffer holds; more than any packet that is let in."""
TRAILER = 144
"""Bytes that SRTP may add to a packet (SRTP_MAX_TRAILER_LEN)."""

WINDOW = 512
"""Packets that one may be late by, and still be sent or read, where packets are repeated."""

Packet = memoryview
"""A whole RTP packet that whoever gets it may rewrite; gone with the next one."""

_arrival = ffi.new("char[]", SIZE)
_departure = ffi.new("char[]", SIZE)
ARRIVAL: Packet = memoryview(ffi.buffer(_arrival)).cast("B")
"""Where packets are received."""
PACKETS: list[Packet] = [ARRIVAL[:size] for size in range(SIZE + 1)]
"""What was received, by its size: looking it up costs less than cutting it out."""
_DEPARTURE: Packet = memoryview(ffi.buffer(_departure)).cast("B")
_DEPARTURES: list[Packet] = [_DEPARTURE[:size] for size in range(SIZE + 1)]
LENGTH: list[int] = ffi.new("int *")  # One, in C.
"""Bytes of what `protect` and `unprotect` are given, and of what they make of it."""
ARRIVED: Any = _arrival
"""`ARRIVAL`, as they want it."""
protect: Callable[[Any, Any, list[int]], int] = lib.srtp_protect
"""Encrypts a packet where it lies, with room for `TRAILER`; anything but 0: it could not."""
unprotect: Callable[[Any, Any, list[int]], int] = lib.srtp_unprotect
"""Decrypts a packet where it lies; anything but 0: it could not."""

_POLICY = struct.Struct("=IiIiiI")
"""libsrtp's `srtp_crypto_policy_t`: cipher, its key, authentication, its key, tag, services."""
_AES_256, _HMAC_SHA1, _BOTH = 5, 3, 3
_PROFILES = {
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
_TAGS = {"AES_256_CM_HMAC_SHA1_80": 10, "AES_256_CM_HMAC_SHA1_32": 4}
"""Suites of RFC 6188, nameless in pylibsrtp: bytes of SRTP's tag. SRTCP's is always 10."""


def sender(suite: str, key: bytes, *, repeats: bool = False) -> Session:
    """A context for what we send; `suite` is one of `bridge.sdp.sdes`.

    `repeats`: what is sent twice is the same, and may be as old as `WINDOW` allows.
    """
    return _session(suite, key, Policy.SSRC_ANY_OUTBOUND, repeats=repeats)


def receiver(suite: str, key: bytes, *, repeats: bool = False) -> Session:
    """A context for what a peer sends; `repeats` as for `sender`."""
    return _session(suite, key, Policy.SSRC_ANY_INBOUND, repeats=repeats)


def _session(suite: str, key: bytes, direction: int, *, repeats: bool) -> Session:
    profile = _PROFILES.get(suite)
    if profile is not None:
        policy = Policy(key=key, ssrc_type=direction, srtp_profile=profile)
    else:
        policy = Policy(key=key, ssrc_type=direction)
        for part, tag in ((policy._policy.rtp, _TAGS[suite]), (policy._policy.rtcp, 10)):
            where = ffi.buffer(ffi.addressof(part))
            _POLICY.pack_into(where, 0, _AES_256, len(key), _HMAC_SHA1, 20, tag, _BOTH)
    # What a peer on the other side repeats is passed on. Not with GCM: two packets of one number
    # that differ would give away what proves where packets come from (RFC 7714 section 8.1).
    policy.allow_repeat_tx = repeats or "GCM" not in suite
    if repeats:
        policy.window_size = WINDOW
    return Session(policy)


def context_of(session: Session) -> Any:
    """What `protect` and `unprotect` want of a session, which has to live as long."""
    return session._srtp[0]


def tag_of(suite: str) -> int:
    """Bytes that a suite adds to each packet; none without one."""
    if "GCM" in suite:
        return 16
    return (4 if suite.endswith("_32") else 10) if suite else 0


def unprotector(session: Session) -> Callable[[int], Packet]:
    """What decrypts the packet of that many bytes in `ARRIVAL`; raises pylibsrtp.Error."""
    context = context_of(session)

    def decrypt(received: int, _: Session = session) -> Packet:  # The context lives as long.
        LENGTH[0] = received
        status = unprotect(context, ARRIVED, LENGTH)
        if status:
            raise Error(ERRORS[status])
        return PACKETS[LENGTH[0]]

    return decrypt


def protector(session: Session) -> Callable[[bytes | Packet], Packet]:
    """What encrypts an RTP packet; raises pylibsrtp.Error, or ValueError when it is too long.

    One that lies in `ARRIVAL` is encrypted where it lies.
    """
    context, most = context_of(session), SIZE - TRAILER

    def encrypt(packet: bytes | Packet, _: Session = session) -> Packet:
        length = LENGTH[0] = len(packet)
        if length > most:
            raise ValueError("packet is too long")
        if type(packet) is memoryview:
            status = protect(context, ARRIVED, LENGTH)
            if not status:
                return PACKETS[LENGTH[0]]
        else:
            _DEPARTURES[length][:] = packet
            status = protect(context, _departure, LENGTH)
            if not status:
                return _DEPARTURES[LENGTH[0]]
        raise Error(ERRORS[status])

    return encrypt


class Outlet:
    """Where packets of a side leave: encrypted, if they have to be, and sent now or never."""

    __slots__ = ("_encrypt", "sealing", "tag", "transmit", "unsent")

    def __init__(
        self,
        transmit: Callable[[bytes | Packet], object],
        session: Session | None = None,
        suite: str = "",
    ) -> None:
        """`transmit` raises OSError where the network does not take a packet."""
        self.transmit = transmit
        self.unsent = 0
        """Packets that the network did not take, or that were too old to be encrypted."""
        self.seal(session, suite)

    def seal(self, session: Session | None, suite: str) -> None:
        """Encrypt with this from now on; None: not at all."""
        self._encrypt = None if session is None else protector(session)
        self.sealing = None if session is None else context_of(session)
        """The context that `protect` takes."""
        self.tag = tag_of(suite)
        """Bytes that this adds."""

    def send(self, packet: bytes | Packet) -> None:
        """Send an RTP packet."""
        try:
            self.transmit(packet if self._encrypt is None else self._encrypt(packet))
        except (OSError, Error, ValueError):
            self.unsent += 1


NOWHERE = Outlet(lambda _: None)
"""There is no way to a side yet, or no more."""


def protected_listener(
    session: Session,
    on_rtp: Callable[[Packet, float], None],
    on_rtcp: Callable[[bytes], None],
    on_undecipherable: Callable[[], None],
) -> Callable[[int, float], None]:
    """What takes the packet of that many bytes in `ARRIVAL`, decrypts it and passes it on.

    `on_rtp` is told of the time, too. RTCP is told by its payload types (RFC 5761 4).
    """
    context, unprotect_rtcp = context_of(session), session.unprotect_rtcp

    def take(size: int, now: float) -> None:
        if 64 <= ARRIVAL[1] & 0x7F < 96:
            try:
                report = unprotect_rtcp(bytes(PACKETS[size]))
            except (Error, ValueError):
                on_undecipherable()
                return
            on_rtcp(report)
            return
        LENGTH[0] = size
        if unprotect(context, ARRIVED, LENGTH):
            on_undecipherable()
            return
        on_rtp(PACKETS[LENGTH[0]], now)

    return take
