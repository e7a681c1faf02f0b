# SPDX-License-Identifier: GPL-3.0-or-later
"""One direction of a call: packets of one side leave on the other under a header of ours.

Packets that are relayed as they follow each other do not come here: see `flow`.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from bridge.media.embedded.flow import Ear, Flow
from bridge.media.embedded.rtp import (
    HEADER,
    HEADER_SIZE,
    MARKER,
    VERSION,
    Emission,
    Reception,
    strip,
)
from bridge.media.embedded.srtp import NOWHERE, Outlet, Packet
from bridge.media.embedded.transcoder import Frame, Transcoder

OnEvent = Callable[[int, bytes, int], None]
"""Told of a packet of a telephone-event that cannot be passed on: timestamp, payload, clock."""
Switch = Callable[[int], bool]
"""Told of a payload type that was agreed on but is not in use; True if the plan changed for it."""
INSISTENCE = 3
"""Packets in a row of another codec before the plan changes for it."""
NO_TYPE = -1
"""Stands for a payload type that a side has not agreed to."""
NO_EVENT = -1
"""Stands for the timestamp of an event when none is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How packets pass: payload types and clocks (Hz) on both ends, and whether they pass."""

    audio_in: frozenset[int]
    """Payload types of the codec in use: a peer may number it our way or its own."""
    audio_out: int
    clock_in: int
    clock_out: int
    event_in: Mapping[int, int] = field(default_factory=dict)
    """Payload types of telephone-events, and the clock of each."""
    event_out: int = NO_TYPE
    event_clock_out: int = 8000
    open: bool = True
    """False while one of the sides is on hold."""
    transcoding: Hashable | None = None
    """What the transcoder is made for; None to relay. Another value asks for another one."""


CLOSED = Plan(audio_in=frozenset(), audio_out=0, clock_in=8000, clock_out=8000, open=False)
"""Before anything is agreed: packets are counted and dropped."""


def _never(_: int) -> bool:
    """The plan stays as it is."""
    return False


def _ignored(_timestamp: int, _payload: bytes, _clock: int) -> None:
    """Nobody wants to know."""


class Path:
    """From what one side sends to what the other receives."""

    __slots__ = (
        "_alternative",
        "_anchored",
        "_audio_in",
        "_audio_out",
        "_event_base",
        "_event_last",
        "_event_source",
        "_event_target",
        "_flow",
        "_insisted",
        "_led",
        "_occupied",
        "_on_event",
        "_open",
        "_outlet",
        "_plan",
        "_sequence_offset",
        "_switch",
        "_timestamp_offset",
        "_transcoder",
        "dropped",
        "emission",
        "events",
        "reception",
    )

    def __init__(
        self,
        reception: Reception,
        emission: Emission,
        switch: Switch = _never,
        on_event: OnEvent = _ignored,
    ) -> None:
        self.reception = reception
        self.emission = emission
        self._outlet = NOWHERE
        self._flow: Flow | None = None
        self._led = self._occupied = False
        self._switch = switch
        self._on_event = on_event
        self._alternative = NO_TYPE
        self._insisted = 0
        self.dropped = 0
        """Packets not passed on: unknown payload type, hold, no way yet, or malformed."""
        self.events = 0
        """Telephone-events (key presses) passed on."""
        self._transcoder: Transcoder | None = None
        self._event_source = NO_EVENT
        self._event_target = 0
        self._event_base = 0
        """What earlier segments of the event lasted, in its sender's clock."""
        self._event_last = bytes(4)
        self._plan = CLOSED
        self._apply(CLOSED)

    @property
    def plan(self) -> Plan:
        """What is in force."""
        return self._plan

    @property
    def ear(self) -> Ear:
        """Hears what is to go this way."""
        return Ear(self.receive, self._adopt)

    def _adopt(self, flow: Flow) -> None:
        """Let this pass on what it can."""
        self._stop()
        self._flow = flow
        self.emission.settle = flow.settle

    def _stop(self) -> None:
        """See every packet, until one is relayed."""
        if self._flow is not None:
            self._flow.stop()

    def lead(self, outlet: Outlet | None) -> None:
        """Send this way from now on; None: there is no way."""
        self._stop()
        led, self._led = self._led, outlet is not None
        self._outlet = outlet or NOWHERE
        if led != self._led:
            self._apply(self._plan)

    def occupy(self, *, occupied: bool) -> None:
        """Let nothing pass but what is played, or pass again what comes."""
        self._occupied = occupied
        self._apply(self._plan)

    @property
    def transcoding(self) -> bool:
        """Whether the audio is re-encoded."""
        return self._transcoder is not None

    def follow(self, plan: Plan, make_transcoder: Callable[[], Transcoder]) -> None:
        """Pass packets by `plan` from now on; numbers go on where they are."""
        if plan == self._plan:
            return
        if plan.clock_in != self._plan.clock_in:
            self.reception.restart_clock(plan.clock_in)
        if plan.clock_out != self._plan.clock_out:
            self.emission.change_clock(plan.clock_out)
        if plan.transcoding != self._plan.transcoding:
            self.close()
            self._transcoder = make_transcoder() if plan.transcoding is not None else None
        self._apply(plan)

    def _apply(self, plan: Plan) -> None:
        self._plan = plan
        self._audio_in = plan.audio_in
        self._audio_out = plan.audio_out
        self._open = plan.open and self._led and not self._occupied
        # What is not sent meanwhile must not look lost to the receiver.
        self._stop()
        self._anchored = False
        self._sequence_offset = self._timestamp_offset = 0

    def close(self) -> None:
        """Free the transcoder, if there is one."""
        if self._transcoder is not None:
            self._transcoder.close()
            self._transcoder = None

    def hear(self, reception: Reception) -> None:
        """Take what comes from somewhere else from now on, where it was counted so far."""
        self.reception = reception
        self.restart()

    def receive(self, packet: Packet, now: float) -> None:
        """Take a whole RTP packet (`is_rtp` is true of it), rewrite it, and send it on."""
        self._stop()
        first, second, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
        if first != VERSION:
            packet = strip(packet)
        size = len(packet) - HEADER_SIZE
        if self.reception.note(ssrc, sequence, size, now):
            self.restart()
        kind = second & 0x7F
        if not size or self.reception.stray:
            # Padding only, or malformed. A stray number would take SRTP's index along, and what
            # follows would be too old to be sent (RFC 3711 3.3.1).
            self.dropped += 1
        elif kind not in self._audio_in:
            self._receive_other(kind, sequence, timestamp, packet, now)
        else:
            self.reception.note_time(timestamp, now)
            self._pass(second & MARKER, sequence, timestamp, packet, now)
            self._start(kind)

    def _start(self, kind: int) -> None:
        """Let what follows pass by itself, if it is to be relayed."""
        if self._flow is None or not self._anchored or self._transcoder is not None:
            return
        self._flow.start(
            kind,
            self.reception,
            self.emission,
            self._outlet,
            kind_out=self._audio_out,
            sequence_offset=self._sequence_offset,
            timestamp_offset=self._timestamp_offset,
        )

    def _pass(self, marker: int, sequence: int, timestamp: int, packet: Packet, now: float) -> None:
        """Pass on a packet of audio."""
        if not self._open:
            self.dropped += 1
        elif self._transcoder is None:
            self._relay(marker, sequence, timestamp, packet, now)
        else:
            payload = bytes(packet[HEADER_SIZE:])
            self._transcoded(self._transcoder.push(sequence, timestamp, payload), now)

    def _insists(self, kind: int) -> bool:
        """Whether the peer goes on sending another codec that it may send (RFC 3264 6.1)."""
        self._insisted = self._insisted + 1 if kind == self._alternative else 1
        self._alternative = kind
        if self._insisted < INSISTENCE:
            return False
        self._insisted = 0
        return self._switch(kind)

    def _receive_other(
        self, kind: int, sequence: int, timestamp: int, packet: Packet, now: float
    ) -> None:
        """A packet that is not of the audio codec: a telephone-event, or nothing we know."""
        clock = self._plan.event_in.get(kind)
        if clock is None and self._insists(kind):
            self.reception.note_time(timestamp, now)
            self._pass(0, sequence, timestamp, packet, now)
            return
        payload = bytes(packet[HEADER_SIZE:])
        if clock is None or not self._open or len(payload) < 4:
            self.dropped += 1
            self._leave_out(sequence, now)
            return
        if self._transcoder is not None:
            self._transcoded(self._transcoder.skip(sequence), now)
        self._event(clock, sequence, timestamp, payload, now)

    def _leave_out(self, sequence: int, now: float) -> None:
        """What is not passed on (comfort noise) is a pause to the receiver, and no loss."""
        if self._transcoder is not None:
            self._transcoded(self._transcoder.skip(sequence), now)
        elif self._anchored and sequence == self.reception.highest:
            self._sequence_offset = (self._sequence_offset - 1) & 0xFFFF

    def restart(self) -> None:
        """What follows is numbered anew: another source, or the same after a restart."""
        self._stop()
        self._anchored = False
        self._event_source = NO_EVENT
        if self._transcoder is not None:
            self._transcoder.restart()

    def _relay(
        self, marker: int, sequence: int, timestamp: int, packet: Packet, now: float
    ) -> None:
        if not self._anchored:
            self._anchor(sequence, timestamp, now)
            marker = MARKER
        emission = self.emission
        sequence = (sequence + self._sequence_offset) & 0xFFFF
        timestamp = (timestamp + self._timestamp_offset) & 0xFFFFFFFF
        HEADER.pack_into(
            packet, 0, VERSION, marker | self._audio_out, sequence, timestamp, emission.ssrc
        )
        self._outlet.send(packet)
        emission.sent(len(packet) - HEADER_SIZE, sequence, timestamp, now)

    def _anchor(self, sequence: int, timestamp: int, now: float) -> None:
        """Tie the numbers of the incoming run to those of our stream, without a gap."""
        self._sequence_offset = (self.emission.sequence + 1 - sequence) & 0xFFFF
        self._timestamp_offset = (self.emission.next_timestamp(now) - timestamp) & 0xFFFFFFFF
        self._anchored = True

    def expect_loss(self, percent: int) -> None:
        """So much does not arrive of what is sent here, as its receiver reports."""
        if self._transcoder is not None:
            self._transcoder.expect_loss(percent)

    def tick(self, now: float) -> None:
        """To be called about every 20 ms while transcoding: fills the sender's pauses."""
        if self._transcoder is not None and self._open:
            self._transcoded(self._transcoder.tick(now), now)

    def _transcoded(self, frames: list[Frame], now: float) -> None:
        """Send what the transcoder made."""
        for payload, timestamp, marker in frames:
            if not self._anchored:
                self._anchor(0, timestamp, now)
                marker = True
            timestamp = (timestamp + self._timestamp_offset) & 0xFFFFFFFF
            self._emit(self._plan.audio_out, payload, timestamp, marker=marker, now=now)

    def _emit(self, kind: int, payload: bytes, timestamp: int, *, marker: bool, now: float) -> None:
        """Send under the next sequence number."""
        sequence = self._next(kind, payload, timestamp, marker=marker)
        self.emission.sent(len(payload), sequence, timestamp, now)

    def _next(self, kind: int, payload: bytes, timestamp: int, *, marker: bool) -> int:
        emission = self.emission
        sequence = (emission.sequence + 1) & 0xFFFF
        second = kind | MARKER if marker else kind
        header = HEADER.pack(VERSION, second, sequence, timestamp, emission.ssrc)
        self._outlet.send(header + payload)
        return sequence

    def _event(self, clock: int, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """Pass on a telephone-event (RFC 4733): all its packets carry the time it began."""
        plan = self._plan
        if plan.event_out == NO_TYPE:
            self.dropped += 1
            self._sequence_offset = (self._sequence_offset - 1) & 0xFFFF  # No packet is missing.
            self._on_event(timestamp, payload, clock)
            return
        if self._transcoder is None and not self._anchored:
            self._anchor(sequence, timestamp, now)
        begins = timestamp != self._event_source
        if begins and self._goes_on(clock, timestamp, payload):
            begins = False
        elif begins and not self._begin_event(clock, timestamp, now):
            self.dropped += 1
            return
        self._event_last = payload
        if self._event_base or clock != plan.event_clock_out:
            payload = _rescaled(payload, self._event_base, clock, plan.event_clock_out)
        # Carriers leave the marker out and phones wait for it: it is always set.
        if self._transcoder is not None:
            self._emit(plan.event_out, payload, self._event_target, marker=begins, now=now)
            return
        second = plan.event_out | MARKER if begins else plan.event_out
        sequence = (sequence + self._sequence_offset) & 0xFFFF
        self._outlet.send(
            HEADER.pack(VERSION, second, sequence, self._event_target, self.emission.ssrc) + payload
        )
        self.emission.sent(len(payload), sequence, self._event_target, now)

    def _goes_on(self, clock: int, timestamp: int, payload: bytes) -> bool:
        """Whether it is the next segment of a long event (RFC 4733 2.5.2.3), which has a new time.

        Where the event is retold in another clock, or between packets of our own, it stays one.
        """
        last, most = self._event_last, 0xFFFF - clock // 10
        passed = (timestamp - self._event_source) & 0xFFFFFFFF
        if self._event_source == NO_EVENT or last[0] != payload[0] or last[1] & 0x80:
            return False
        if int.from_bytes(last[2:4], "big") < most or not most <= passed <= 0xFFFF + clock // 10:
            return False
        self._event_source = timestamp
        if self._in_step(clock):
            self._event_target = (timestamp + self._timestamp_offset) & 0xFFFFFFFF
        else:
            self._event_base += passed
        return True

    def _in_step(self, clock: int) -> bool:
        """Whether the times of events pass as those of the audio do."""
        plan = self._plan
        clocks = {clock, plan.event_clock_out, plan.clock_in, plan.clock_out}
        return self._transcoder is None and len(clocks) == 1

    def _begin_event(self, clock: int, timestamp: int, now: float) -> bool:
        """Find the new event's timestamp on our stream; False for a straggler of an old event."""
        if self._event_source != NO_EVENT and (timestamp - self._event_source) & 0x80000000:
            return False
        self.events += 1
        self._event_source = timestamp
        self._event_base = 0
        self._event_target = (
            (timestamp + self._timestamp_offset) & 0xFFFFFFFF
            if self._in_step(clock)
            else self.emission.next_timestamp(now)
        )
        return True

    # --- of our own ------------------------------------------------------------------------

    def play(self, payload: bytes, timestamp: int, *, marker: bool, now: float) -> None:
        """Send audio of our own, where nothing else passes, if there is a way."""
        if self._plan.open and self._led:
            kind = self._plan.audio_out
            self._emit(kind, payload, timestamp & 0xFFFFFFFF, marker=marker, now=now)

    def begin_key(self, now: float) -> int:
        """The timestamp of a key that is pressed now, or of a tone."""
        return self.emission.next_timestamp(now)

    def send_key(self, timestamp: int, payload: bytes, *, marker: bool, now: float) -> None:
        """Send a telephone-event of our own between the packets that pass, if there is a way."""
        kind = self._plan.event_out
        if not self._open or kind == NO_TYPE:
            return
        self._stop()
        sequence = self._next(kind, payload, timestamp, marker=marker)
        emission = self.emission
        emission.sent(len(payload), sequence, emission.timestamp_at(now), now)
        self._sequence_offset = (self._sequence_offset + 1) & 0xFFFF


def _rescaled(payload: bytes, before: int, clock_in: int, clock_out: int) -> bytes:
    """The event with its duration in another clock, at most what the field holds.

    `before`: what earlier segments lasted.
    """
    duration = (before + int.from_bytes(payload[2:4], "big")) * clock_out // clock_in
    return payload[:2] + min(duration, 0xFFFF).to_bytes(2, "big")
