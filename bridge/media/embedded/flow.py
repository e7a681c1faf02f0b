# SPDX-License-Identifier: GPL-3.0-or-later
"""From socket to socket: a packet that follows the one before is passed on in a single method.

That is nearly every packet of a relayed call. Whatever is not as expected goes the long way, by
the leg that the socket belongs to and `Path.receive`, which starts the flow again. What the path
would have counted follows from how far the numbers got, and is booked when somebody asks.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from pylibsrtp import Session

from bridge.media.embedded.rtp import HEADER_SIZE, VERSION, Emission, Reception
from bridge.media.embedded.srtp import (
    ARRIVAL,
    ARRIVED,
    LENGTH,
    NOWHERE,
    PACKETS,
    Outlet,
    Packet,
    context_of,
    protect,
    tag_of,
    unprotect,
)

OnRtp = Callable[[Packet, float], None]
"""Takes a packet, and when it came (monotonic, seconds)."""

_HEAD = struct.Struct("!HHII")
"""RTP's header: version, marker and payload type at once; sequence number, timestamp, SSRC."""
_unpack, _pack = _HEAD.unpack_from, _HEAD.pack_into
_HEADS = tuple(VERSION << 8 | kind for kind in range(128))
"""As all flows have them: numbers of its own for each would be that much more memory to touch."""
_STOPPED = -1
"""No packet begins like this."""
_NOBODY = Reception(8000)
_NOTHING = Emission(ssrc=0, sequence=0, timestamp=0, clock=8000)


class Flow:
    """What comes from one peer over one socket, on its way to the other side."""

    __slots__ = (
        "_emission",
        "_forged",
        "_head",
        "_head_out",
        "_least",
        "_most",
        "_next",
        "_octets",
        "_opening",
        "_otherwise",
        "_outlet",
        "_receive",
        "_reception",
        "_sequence_offset",
        "_ssrc_out",
        "_tag",
        "_timestamp_offset",
        "session",
    )

    def __init__(
        self,
        receive: Callable[[Packet], int],
        otherwise: Callable[[int, float], None],
        *,
        session: Session | None = None,
        suite: str = "",
        most: int,
        forged: Callable[[], None],
    ) -> None:
        """`receive`: reads into `ARRIVAL`, raises OSError. `otherwise`: takes any other packet.

        `session` of that `suite` decrypts, if it has to be. `most`: bytes that a packet may have.
        `forged`: told that one could not be decrypted.
        """
        self._receive = receive
        self._otherwise = otherwise
        self.session = session
        self._opening = None if session is None else context_of(session)
        self._forged = forged
        self._tag = tag_of(suite)
        self._least = HEADER_SIZE + self._tag + 1
        self._most = most
        self._reception = _NOBODY
        self._emission = _NOTHING
        self._outlet = NOWHERE
        self._head = _STOPPED
        self._head_out = self._sequence_offset = self._timestamp_offset = self._ssrc_out = 0
        self._next = self._octets = 0

    def readable(self, now: float) -> None:
        """Read a packet and pass it on. Runs for each: what a call costs, it does without."""
        try:
            size = self._receive(ARRIVAL)
        except OSError:
            return
        head, sequence, timestamp, ssrc = _unpack(ARRIVAL)
        reception = self._reception
        if (
            head != self._head
            or sequence != reception.next
            or ssrc != reception.ssrc
            or not self._least <= size <= self._most
        ):
            self._otherwise(size, now)
            return
        opening = self._opening
        if opening is not None:
            LENGTH[0] = size
            if unprotect(opening, ARRIVED, LENGTH):
                self.stop()  # The next one is looked at closely.
                self._forged()
                return
            size -= self._tag
        reception.next = sequence + 1
        reception.octets += size - HEADER_SIZE
        # RFC 3550 A.8, as `Reception.note_time`.
        clock = reception.clock
        late = (now - reception.at) * clock - (timestamp - reception.timestamp)
        reception.at = now
        reception.timestamp = timestamp
        if late < 0:
            late = -late
        if late < clock:
            reception.jitter += (late - reception.jitter) * 0.0625
        _pack(
            ARRIVAL,
            0,
            self._head_out,
            (sequence + self._sequence_offset) & 0xFFFF,
            (timestamp + self._timestamp_offset) & 0xFFFFFFFF,
            self._ssrc_out,
        )
        outlet = self._outlet
        sealing = outlet.sealing
        if sealing is not None:
            LENGTH[0] = size
            if protect(sealing, ARRIVED, LENGTH):
                outlet.unsent += 1
                return
            size += outlet.tag
        try:
            outlet.transmit(PACKETS[size])
        except OSError:
            outlet.unsent += 1

    def start(
        self,
        kind: int,
        reception: Reception,
        emission: Emission,
        outlet: Outlet,
        *,
        kind_out: int,
        sequence_offset: int,
        timestamp_offset: int,
    ) -> None:
        """Pass on what follows the last packet of `reception` with the same payload type.

        All of it, up to that packet, has been counted. Offsets: of our numbers to the sender's.
        """
        self._reception = reception
        self._emission = emission
        self._outlet = outlet
        self._head = _HEADS[kind]
        self._head_out = _HEADS[kind_out]
        self._sequence_offset = sequence_offset
        self._timestamp_offset = timestamp_offset
        self._ssrc_out = emission.ssrc
        self._next, self._octets = reception.next, reception.octets

    def settle(self) -> None:
        """Book what has passed."""
        reception = self._reception
        passed = reception.next - self._next
        if self._head == _STOPPED or not passed:
            return
        self._emission.passed(
            passed,
            reception.octets - self._octets,
            sequence=(reception.next - 1 + self._sequence_offset) & 0xFFFF,
            timestamp=(reception.timestamp + self._timestamp_offset) & 0xFFFFFFFF,
            now=reception.at,
        )
        self._next, self._octets = reception.next, reception.octets

    def stop(self) -> None:
        """Let every packet go the long way until `start`."""
        self.settle()
        self._head = _STOPPED


def _ignored(_: Flow) -> None:
    """Every packet is to be seen."""


@dataclass(frozen=True, slots=True)
class Ear:
    """Who hears a side."""

    receive: OnRtp
    adopt: Callable[[Flow], None] = _ignored
    """Takes what may pass without being heard."""
