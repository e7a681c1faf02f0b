# SPDX-License-Identifier: GPL-3.0-or-later
"""One direction of a call's video: packets of one side leave on the other under a header of ours.

Runs for every packet, a hundred times a second at one megabit: it allocates one copy for the
history and no more.
"""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from bridge.media.embedded.rtp import (
    HEADER,
    HEADER_SIZE,
    MARKER,
    VERSION,
    Emission,
    Reception,
    strip,
)
from bridge.media.embedded.srtp import Packet
from bridge.media.embedded.video.gaps import LEAST_PAUSE, Gaps
from bridge.media.embedded.video.history import SIZE, History
from bridge.media.embedded.video.numbers import Numbers
from bridge.media.embedded.video.pictures import BeginsPicture
from bridge.media.embedded.video.wish import Wish

CLOCK: Final = 90_000
"""Hz, of every codec for video."""
MAX_PACKET: Final = 1472
"""Bytes of RTP: what an Ethernet frame holds. Cameras fill it; all that is larger is dropped."""

Send = Callable[[bytes | Packet], None]
_unpack, _pack = HEADER.unpack_from, HEADER.pack_into


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How packets pass."""

    kinds: frozenset[int]
    """Payload types that come: a peer may number the codec our way or its own."""
    kind: int
    """The payload type that leaves."""
    begins_picture: BeginsPicture
    open: bool = True
    """False while one of the sides is on hold."""
    repeats: bool = False
    """Whether the sender repeats what is lost (NACK)."""


def _none(_: bytes | Packet) -> bool:
    return False


CLOSED: Final = Plan(kinds=frozenset(), kind=0, begins_picture=_none, open=False)
"""Nothing is agreed on: packets are counted and dropped."""


def _nowhere(_: bytes | Packet) -> None:
    """There is no way to that side yet, or no more."""


def _emission() -> Emission:
    # Sequence numbers start low enough for SRTP's rollover counter (RFC 3711 3.3.1).
    return Emission(
        ssrc=secrets.randbits(32),
        sequence=secrets.randbits(15),
        timestamp=secrets.randbits(32),
        clock=CLOCK,
    )


class VideoPath:
    """From what one side sends to what the other receives."""

    __slots__ = (
        "_anchored",
        "_frame",
        "_gaps",
        "_history",
        "_led",
        "_numbers",
        "_open",
        "_picture",
        "_send",
        "_timestamp_offset",
        "ask_again",
        "ask_picture",
        "dropped",
        "emission",
        "frames",
        "oversize",
        "pictures",
        "plan",
        "reception",
        "repeated",
        "unrepaired",
        "wish",
    )

    def __init__(self) -> None:
        self.reception = Reception(CLOCK)
        self.emission = _emission()
        self.plan = CLOSED
        self.wish = Wish()
        """For a whole picture of the sender."""
        self.ask_picture: Callable[[float], None] = _ask_nobody
        """Tells the sender that a whole picture is needed."""
        self.ask_again: Callable[[list[int]], None] = _ask_nobody_again
        """Tells the sender which packets are missing."""
        self.dropped = 0
        """Packets not passed on: of another payload type, on hold, no way yet, or malformed."""
        self.oversize = 0
        """Packets not passed on because no frame of the network holds them."""
        self.repeated = 0
        """Packets sent once more to who missed them."""
        self.unrepaired = 0
        """Packets of the sender's that were given up."""
        self.frames = 0
        """Pictures, whole or not."""
        self.pictures = 0
        """Those that need none before them."""
        self._send: Send = _nowhere
        self._led = self._open = self._anchored = False
        self._numbers = Numbers()
        self._timestamp_offset = 0
        self._history = History()
        self._gaps = Gaps()
        self._frame = self._picture = -1

    # --- what passes ------------------------------------------------------------------------------

    def lead(self, send: Send | None) -> None:
        """Send this way from now on; None: there is no way."""
        self._led = send is not None
        self._send = send or _nowhere
        self._apply(self.plan)

    def follow(self, plan: Plan) -> None:
        """Pass packets by `plan` from now on; numbers go on where they are."""
        if plan != self.plan:
            self._apply(plan)

    def _apply(self, plan: Plan) -> None:
        self.plan = plan
        opened = plan.open and self._led
        if opened and not self._open:  # What was not sent meanwhile is needed to go on.
            self._anchored = False
        self._open = opened
        self._gaps.asking = plan.repeats
        self._gaps.clear()
        if not opened:
            self.wish.granted()

    @property
    def open(self) -> bool:
        """Whether packets pass."""
        return self._open

    @property
    def running(self) -> bool:
        """Whether a sender is known, whose numbers are those of what we send."""
        return self._anchored

    def expect_round_trip(self, seconds: float) -> None:
        """The way to the sender and back takes so long."""
        self._gaps.pause = max(seconds, LEAST_PAUSE)

    def timestamp_of(self, timestamp: int) -> int:
        """What the sender's timestamp is in the stream that we send; only while `running`."""
        return (timestamp + self._timestamp_offset) & 0xFFFFFFFF

    # --- packets ----------------------------------------------------------------------------------

    def receive(self, packet: Packet, now: float) -> None:
        """Take a whole RTP packet (`is_rtp` is true of it), rewrite it, and send it on."""
        first, second, sequence, timestamp, ssrc = _unpack(packet)
        if first != VERSION:
            packet = strip(packet)
        size = len(packet) - HEADER_SIZE
        reception = self.reception
        if sequence == reception.next and ssrc == reception.ssrc:
            reception.octets += size
            reception.next = sequence + 1
            late = False
        else:
            late = self._out_of_order(ssrc, sequence, size, now)
            if reception.stray:
                self.dropped += 1
                return
        if not self._open or second & 0x7F not in self.plan.kinds or not 0 < size <= _MOST:
            self._drop(sequence, size, late=late)
            return
        if timestamp != self._frame and not late:
            self._frame = timestamp
            self.frames += 1
            reception.note_time(timestamp, now)
        if not self._anchored:
            self._anchor(sequence, timestamp, now)
        if self.plan.begins_picture(packet):
            self._begin_picture(timestamp)
        if not late:
            sequence = (sequence + self._numbers.offset) & 0xFFFF
        elif not self._is_new(sequence := self._numbers.of_late(sequence)):
            self.dropped += 1
            return
        timestamp = (timestamp + self._timestamp_offset) & 0xFFFFFFFF
        emission = self.emission
        kind = second & MARKER | self.plan.kind
        _pack(packet, 0, VERSION, kind, sequence, timestamp, emission.ssrc)
        self._history.keep(sequence, bytes(packet))
        self._send(packet)
        emission.sent(size, sequence, timestamp, now)
        if now >= self._gaps.due or now >= self.wish.due:
            self.look(now)

    def _out_of_order(self, ssrc: int, sequence: int, size: int, now: float) -> bool:
        """Count a packet that does not follow the one before; whether it is older than that."""
        reception = self.reception
        expected = reception.next & 0xFFFF
        if reception.note(ssrc, sequence, size, now):
            self._anchored = False
            self._gaps.clear()
            return False
        if reception.stray:
            return False
        if reception.highest != sequence or reception.next != sequence + 1:
            self._gaps.fill(sequence)
            return True
        missing = (sequence - expected) & 0xFFFF
        if missing >= 0x8000:  # The newest one, once more.
            return True
        if missing and self._open and self._anchored:
            if not self._gaps.open(expected, missing, now):
                self._give_up(missing, now)
        return False

    def _is_new(self, sequence: int) -> bool:
        """Whether nothing was sent under a number of ours, as far back as is known.

        Two packets under one number may give away SRTP's keys (RFC 7714 8.1).
        """
        age = (self.emission.sequence - sequence) & 0xFFFF
        return age < SIZE and self._history.find(sequence) is None

    def _drop(self, sequence: int, size: int, *, late: bool) -> None:
        """What is left out is no loss to the receiver, unless it is part of a picture."""
        if size > _MOST:
            self.oversize += 1
            return
        if size or not self._open:
            self.dropped += 1
        if self._anchored and not late:
            self._numbers.leave_out(sequence)

    def _anchor(self, sequence: int, timestamp: int, now: float) -> None:
        """Tie the numbers of the incoming run to those of our stream, without a gap."""
        emission = self.emission
        self._numbers.anchor(sequence, emission.sequence + 1)
        self._timestamp_offset = (emission.next_timestamp(now) - timestamp) & 0xFFFFFFFF
        self._anchored = True
        self._picture = -1
        self.wish.want(now)

    def _begin_picture(self, timestamp: int) -> None:
        if timestamp != self._picture:
            self._picture = timestamp
            self.pictures += 1
            self.wish.granted()

    # --- feedback ---------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Ask for what is missing. To be called often, in pauses of the sender, too."""
        if now >= self._gaps.due:
            lost, given_up = self._gaps.look(now)
            if lost:
                self.ask_again(lost)
            if given_up:
                self._give_up(given_up, now)
        if self.wish.take(now):
            self.ask_picture(now)

    def _give_up(self, count: int, now: float) -> None:
        self.unrepaired += count
        self.want_picture(now)

    def want_picture(self, now: float) -> None:
        """The receiver, or who mends what is lost, needs a whole picture."""
        if self._open:
            self.wish.want(now)
            if self.wish.take(now):
                self.ask_picture(now)

    def repeat(self, lost: Iterable[int], now: float) -> None:
        """The receiver misses packets of ours. One that we miss ourselves is under way to us."""
        if not self._open:
            return
        gone = False
        for sequence in islice(lost, SIZE):
            packet = self._history.find(sequence)
            if packet is not None:
                self.repeated += 1
                self._send(packet)
            elif not len(self._gaps):
                gone = True
        if gone:
            self.want_picture(now)


def _ask_nobody(_: float) -> None:
    """No sender is known."""


def _ask_nobody_again(_: list[int]) -> None:
    """No sender is known."""


_MOST: Final = MAX_PACKET - HEADER_SIZE
