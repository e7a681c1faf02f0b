# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns a stream of packets in one codec into a stream in another.

It works in the rhythm of its input: what arrives in order leaves at once. There is no jitter
buffer, for the receiver has one; a packet ahead of its turn waits until the next one has come, too
(or more of them, where packets came later than that before), and what is missing then is concealed.
Time is kept in ticks of 48 kHz, which every clock and rate divides, so that nothing drifts over any
number of gaps.
"""

from typing import NamedTuple

from bridge.errors import RemoteError
from bridge.media.embedded.codecs import (
    BITRATE,
    make_decoder,
    make_encoder,
    packet_time_for,
    rate_for,
)
from bridge.media.embedded.codecs.base import SAMPLE_SIZE, Decoder, Encoder, crossed, faded
from bridge.media.embedded.codecs.resampler import Resampler
from bridge.sdp.agreement import LegMedia
from bridge.sdp.codecs import Codec

TICKS = 48000
"""Per second."""

REORDER_WINDOW = 1
"""Packets that may wait for one that is missing; one more, and it is taken for lost."""
LONGEST_REORDER_WINDOW = 5
"""The same where packets came later than that before."""
CALM = 1500
"""Packets in their order after which one less may wait."""
JOIN = 5
"""Milliseconds in which sound that has nothing to do with what was before fades in."""
LONGEST_CONCEALMENT = 100 * TICKS // 1000
"""Loss for longer than this is a pause."""
LONGEST_GAP = 30 * TICKS
"""The sender's clock did not jump further than this; where it did, it has started anew."""
FARTHEST_SEQUENCE = 3000
OLDEST_SEQUENCE = -100
"""Sequence numbers outside this range mean that the sender has started anew (RFC 3550 A.1)."""

STALL = 0.2
"""Seconds without a packet after which a speaking sender counts as pausing."""
PAUSE = 0.04
"""The same for a sender that said so, by a packet that carries next to nothing (DTX)."""
DTX_SIZE = 2
"""Octets of such a packet, at most."""
RECORDED = 20
"""Milliseconds of sound that are recorded at once."""
LONGEST_FILL = 5
"""Frames of rest at once; a pause that would take more becomes a gap in time."""


_Packet = tuple[int, bytes] | None
"""Timestamp and payload; None for a packet that is none of the codec."""


class Frame(NamedTuple):
    """A packet to send."""

    payload: bytes
    timestamp: int
    """In the clock of the codec; the first frame has 0."""
    marker: bool
    """The first one after a pause."""


class Transcoder:
    """One direction of a call."""

    def __init__(
        self, source: Codec, decoder: Decoder, target: Codec, encoder: Encoder, ptime: int
    ) -> None:
        """`ptime`: milliseconds in each packet made, as many as the encoder can take."""
        self._decoder = decoder
        self._encoder = encoder
        self._resampler = (
            Resampler(decoder.rate, encoder.rate) if decoder.rate != encoder.rate else None
        )
        self._source_tick = TICKS // source.clock
        self._target_tick = TICKS // target.clock
        self._decoded_tick = TICKS // decoder.rate
        self._encoded_tick = TICKS // encoder.rate
        self._frame_ticks = ptime * TICKS // 1000
        self._frame_size = encoder.rate * ptime // 1000 * SAMPLE_SIZE
        self._join_size = decoder.rate * JOIN // 1000
        self._samples = bytearray()
        """Waiting for a whole frame."""
        self._held: dict[int, _Packet] = {}
        """Packets ahead of their turn, by sequence number."""
        self._sequence: int | None = None
        """The next one expected; None before the first packet."""
        self._timestamp = 0
        """Of the packet played last, without wrapping, in the sender's clock."""
        self._skew = 0
        """Ticks to add to the sender's time to get ours."""
        self._late = 0
        """The part of the skew that the next pause should take back."""
        self._input = 0
        """Ticks of sound so far: where the next packet belongs."""
        self._output = 0
        """Ticks at which the next frame begins."""
        self._marker = True
        self._expected_loss = 0
        self._window = REORDER_WINDOW
        self._given_up: set[int] = set()
        """Sequence numbers that were taken for lost lately."""
        self._calm = 0
        """Packets since the window was changed."""
        self._before_join = bytes(self._join_size * SAMPLE_SIZE)
        """What the next sound is blended in from."""
        self._resting = False
        self._heard = False
        """Whether anything came since the last `tick`."""
        self._heard_at = 0.0
        self._rested = 0
        """Ticks of pause filled since then."""
        self.concealed = 0
        """Milliseconds of sound that were lost and made up."""
        self.undecodable = 0
        """Packets that were not of the codec."""

    # --- what the owner calls -----------------------------------------------------------------

    def push(self, sequence: int, timestamp: int, payload: bytes) -> list[Frame]:
        """Take a packet of the source; return the frames that are ready."""
        self._heard = True
        frames: list[Frame] = []
        if self._sequence is None:
            self._start(sequence, timestamp)
        self._take(sequence, (timestamp, payload) if payload else None, frames)
        return frames

    def skip(self, sequence: int) -> list[Frame]:
        """The packet with this number was none of the codec (a telephone-event): it is not lost."""
        frames: list[Frame] = []
        if self._sequence is not None:
            self._heard = True
            self._take(sequence, None, frames)
        return frames

    def tick(self, now: float) -> list[Frame]:
        """Fill the sender's pauses. Call every 20 ms or so; `now` in seconds of a steady clock.

        Without it everything works but that pauses stay gaps, and that the last packets before one
        may wait for its end.
        """
        if self._heard:
            self._heard, self._heard_at, self._rested = False, now, 0
            return []
        frames: list[Frame] = []
        silent = now - self._heard_at
        patience = PAUSE * self._window / REORDER_WINDOW
        if self._sequence is None or silent < patience:
            return frames
        self._drain(frames, give_up=True)
        if self._resting or silent >= STALL:
            # One frame behind, lest the end of the pause finds its time taken.
            due = int(silent * TICKS) - self._frame_ticks - self._rested
            self._rest_until_due(due // self._frame_ticks, frames)
        return frames

    def restart(self) -> None:
        """The next packet is of another source (SSRC): join it on without a gap or a click."""
        if self._sequence is not None:
            self._before_join = self._decoder.conceal(self._join_size, b"")
            self._decoder.reset()
        self._sequence = None
        self._held.clear()
        self._given_up.clear()
        self._marker = True

    def expect_loss(self, percent: int) -> None:
        """So much of what is made does not arrive, as the receiver reports."""
        if percent != self._expected_loss:
            self._expected_loss = percent
            self._encoder.expect_loss(percent)

    def close(self) -> None:
        """Forget what waits. The codecs need no freeing."""
        self.restart()
        self._samples.clear()

    # --- order --------------------------------------------------------------------------------

    def _start(self, sequence: int, timestamp: int) -> None:
        self._sequence, self._timestamp = sequence, timestamp
        self._skew, self._late = self._input - timestamp * self._source_tick, 0

    def _take(self, sequence: int, packet: _Packet, frames: list[Frame]) -> None:
        assert self._sequence is not None
        ahead = _signed(sequence - self._sequence, 16)
        if not OLDEST_SEQUENCE <= ahead <= FARTHEST_SEQUENCE:
            self._drain(frames, give_up=True)
            self._sequence, ahead = sequence, 0
        if ahead < 0:
            if sequence in self._given_up:
                self._widen(sequence, len(self._held) - ahead - 1)
            return
        self._held.setdefault(sequence, packet)
        self._drain(frames, give_up=len(self._held) > self._window)
        self._calm += 1
        if self._calm >= CALM:
            self._window, self._calm = max(self._window - 1, REORDER_WINDOW), 0
            self._given_up.clear()

    def _widen(self, sequence: int, overtaken: int) -> None:
        """A packet comes that was taken for lost: wait longer for the next one."""
        self._given_up.discard(sequence)
        self._window = max(self._window, min(overtaken, LONGEST_REORDER_WINDOW))
        self._calm = 0

    def _drain(self, frames: list[Frame], *, give_up: bool) -> None:
        """Play what waits up to the first gap, or over gaps after `give_up`."""
        assert self._sequence is not None
        while self._held:
            expected, following = self._sequence, self._sequence
            if following not in self._held:
                if not give_up:
                    return
                following = min(self._held, key=lambda held: held - expected & 0xFFFF)
                missing = following - expected & 0xFFFF
                if missing <= LONGEST_REORDER_WINDOW:
                    self._given_up.update(expected + n & 0xFFFF for n in range(missing))
            packet = self._held.pop(following)
            self._sequence = following + 1 & 0xFFFF
            if packet is not None:
                self._play(*packet, lost=following != expected, frames=frames)

    # --- time ---------------------------------------------------------------------------------

    def _play(self, timestamp: int, payload: bytes, *, lost: bool, frames: list[Frame]) -> None:
        gap = self._gap_before(timestamp)
        try:
            if gap:
                self._bridge(gap, payload, frames, lost=lost)
            self._append(self._decoder.decode(payload), frames)
        except RemoteError:
            self.undecodable += 1
            return
        self._resting = len(payload) <= DTX_SIZE

    def _gap_before(self, timestamp: int) -> int:
        """Ticks of nothing between what was played last and the packet with this timestamp."""
        self._timestamp += _signed(timestamp - self._timestamp, 32)
        gap = self._timestamp * self._source_tick + self._skew - self._input
        if abs(gap) > LONGEST_GAP:
            self._skew -= gap
            return 0
        if gap < 0:
            # Its time was filled already. What follows is shifted until a pause makes it good.
            self._skew -= gap
            self._late -= gap
            return 0
        return gap

    def _bridge(self, gap: int, following: bytes, frames: list[Frame], *, lost: bool) -> None:
        """Get over time in which nothing came: by loss, or because the sender paused."""
        if lost and gap <= LONGEST_CONCEALMENT:
            made = self._decoder.conceal(gap // self._decoded_tick, following)
            self.concealed += gap * 1000 // TICKS
            self._append(made, frames)
            return
        gap -= self._made_good(gap)
        if self._resting and gap <= LONGEST_FILL * self._frame_ticks:
            self._append(self._decoder.rest(gap // self._decoded_tick), frames)
        else:
            self._jump(gap, frames)

    def _made_good(self, gap: int) -> int:
        """The part of a pause that brings us back to the sender's time."""
        caught_up = min(gap, self._late)
        self._late -= caught_up
        self._skew -= caught_up
        return caught_up

    def _rest_until_due(self, due: int, frames: list[Frame]) -> None:
        """Fill `due` frames of a pause; if there are many, only the last, after a gap."""
        if due <= 0:
            return
        if due > LONGEST_FILL:
            gap = (due - 1) * self._frame_ticks
            self._rested += gap
            self._jump(gap - self._made_good(gap), frames)
            due = 1
        self._rested += due * self._frame_ticks
        self._append(self._decoder.rest(due * self._frame_ticks // self._decoded_tick), frames)

    def _jump(self, gap: int, frames: list[Frame]) -> None:
        """Leave time out; what waits for a whole frame is filled up with silence."""
        if self._resampler and gap:
            self._samples += self._resampler.drain()
            self._emit(frames)
        if self._samples and gap:
            end = min(len(self._samples), self._encoder.rate * JOIN // 1000 * SAMPLE_SIZE)
            self._samples[-end:] = faded(bytes(self._samples[-end:]), 1, 0)
        missing = self._frame_size - len(self._samples) if self._samples else 0
        silence = min(missing, gap // self._encoded_tick * SAMPLE_SIZE)
        self._samples.extend(bytes(silence))
        self._emit(frames)
        self._input += gap
        self._before_join = bytes(self._join_size * SAMPLE_SIZE)
        if not self._samples and gap:
            self._output = self._input
            self._marker = True

    # --- sound --------------------------------------------------------------------------------

    def _append(self, samples: bytes, frames: list[Frame]) -> None:
        self._input += len(samples) // SAMPLE_SIZE * self._decoded_tick
        if self._before_join and samples:
            samples, self._before_join = crossed(self._before_join, samples), b""
        self._samples += self._resampler.resample(samples) if self._resampler else samples
        self._emit(frames)

    def _emit(self, frames: list[Frame]) -> None:
        size = self._frame_size
        while len(self._samples) >= size:
            payload = self._encoder.encode(bytes(self._samples[:size]))
            del self._samples[:size]
            timestamp = self._output // self._target_tick & 0xFFFFFFFF
            frames.append(Frame(payload, timestamp, self._marker))
            self._output += self._frame_ticks
            self._marker = False


def _signed(difference: int, bits: int) -> int:
    """The difference of two numbers that wrap, by the shorter way round."""
    half = 1 << bits - 1
    return (difference + half & (1 << bits) - 1) - half


def make_transcoder(source: LegMedia, target: LegMedia, bitrate: int = BITRATE) -> Transcoder:
    """From what one leg's peer sends to what the other's wants. Raises LocalError.

    `bitrate`: bits per second, where the target is Opus.
    """
    ptime = packet_time_for(target.codec, target.ptime)
    rate = rate_for(target.codec, source.codec)
    return Transcoder(
        source.codec,
        make_decoder(source.codec, rate_for(source.codec, target.codec)),
        target.codec,
        make_encoder(target.codec, rate, ptime, target.parameters, bitrate),
        ptime,
    )


class _Plain:
    """Samples as they are."""

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def encode(self, samples: bytes) -> bytes:
        """Nothing is done to them."""
        return samples

    def expect_loss(self, percent: int) -> None:
        """None is lost on the way into a file."""


def make_recording(codec: Codec, rate: int) -> Transcoder:
    """To 16-bit mono samples, `rate` per second and timestamps in these. Raises LocalError."""
    decoder = make_decoder(codec, rate)
    return Transcoder(codec, decoder, Codec("L16", rate), _Plain(rate), RECORDED)
