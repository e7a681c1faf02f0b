# SPDX-License-Identifier: GPL-3.0-or-later
"""Files played to one side of a call, and one side written into a file.

Nothing of it is in the way of packets until it is used: what is played takes a path's place, and
who records is put before one. Files are read and written in threads, for disks may be slow.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from bridge.call.commands import PlayAudio, RecordAudio
from bridge.call.events import MediaEvent, MediaFailed, MediaFault, MediaPlayed, MediaRecorded
from bridge.call.ids import CallId, OpId, Side
from bridge.errors import LocalError
from bridge.media.embedded.codecs import make_encoder, packet_time_for, rate_for
from bridge.media.embedded.codecs.base import SAMPLE_SIZE
from bridge.media.embedded.files import OggOpus, loud_seconds, read_samples
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.path import Path
from bridge.media.embedded.rtp import HEADER, payload_of
from bridge.media.embedded.srtp import Packet
from bridge.media.embedded.streams import Streams
from bridge.media.embedded.transcoder import Transcoder, make_recording
from bridge.sdp.agreement import LegMedia
from bridge.sdp.codecs import G722, Codec

FLUSH = 1.0
"""Seconds of a recording that are written at once."""

Tell = Callable[[Side, Ear | None], None]
"""Hands packets of a side to somebody else; None: to its path again."""

log = structlog.get_logger(__name__)


class _Player:
    """A file on its way into a path."""

    def __init__(
        self, path: Path, leg: LegMedia, samples: bytes, rate: int, opus_bitrate: int
    ) -> None:
        self._path = path
        self._samples = samples
        self._rate = rate
        ptime = packet_time_for(leg.codec, leg.ptime)
        self._encoder = make_encoder(leg.codec, rate, ptime, leg.parameters, opus_bitrate)
        self._pause = ptime / 1000
        self._size = rate * ptime // 1000 * SAMPLE_SIZE
        self._step = leg.codec.clock * ptime // 1000
        self.codec = leg.codec
        self.played = 0
        """Octets of the samples."""

    @property
    def seconds(self) -> float:
        """How much of it was heard."""
        return min(self.played, len(self._samples)) / SAMPLE_SIZE / self._rate

    async def run(self, codec: Callable[[], Codec | None]) -> None:
        """Play it to the end, as long as the side has the same codec."""
        loop = asyncio.get_running_loop()
        self._path.occupy(occupied=True)
        try:
            due, timestamp = loop.time(), self._path.begin_key(monotonic())
            while self.played < len(self._samples) and codec() == self.codec:
                samples = self._samples[self.played : self.played + self._size]
                payload = self._encoder.encode(samples.ljust(self._size, b"\0"))
                marker = self.played == 0
                self._path.play(payload, timestamp, marker=marker, now=monotonic())
                self.played += self._size
                timestamp += self._step
                due += self._pause
                await asyncio.sleep(max(0.0, due - loop.time()))
        finally:
            self._path.occupy(occupied=False)


class _Recorder:
    """One side on its way into a file."""

    def __init__(self, file: OggOpus, leg: LegMedia, ear: Ear) -> None:
        self._file = file
        self._leg = leg
        self._hear = ear.receive
        self._made: Transcoder = make_recording(leg.codec, file.rate)
        self._ssrc = -1
        self._samples = bytearray()
        self._length = 0
        """Octets that are written already."""
        self._heard_at = asyncio.get_running_loop().time()
        self.sound = 0.0
        """In how many seconds something was to be heard."""

    def take(self, packet: Packet, now: float) -> None:
        """Take a packet, and hand it on."""
        _, second, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
        if self._leg.receive.get(second & 0x7F) == self._leg.codec:
            if ssrc != self._ssrc:
                self._made.restart()
                self._ssrc = ssrc
            for samples, at, _ in self._made.push(sequence, timestamp, payload_of(packet)):
                begins = at * SAMPLE_SIZE - self._length
                if begins > len(self._samples):  # Nobody spoke.
                    self._samples.extend(bytes(begins - len(self._samples)))
                self._samples += samples
        self._hear(packet, now)

    async def run(self, longest: float | None, silence: float | None) -> None:
        """Write from time to time, until it is long enough, or nothing is heard any more."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while longest is None or loop.time() < began + longest:
            await asyncio.sleep(FLUSH)
            await self.flush()
            if silence is not None and loop.time() >= self._heard_at + silence:
                return

    async def flush(self) -> None:
        """Write what there is."""
        samples = bytes(self._samples)
        self._length += len(samples)
        self._samples.clear()
        loud = await asyncio.to_thread(self._write, samples)
        if loud:
            self.sound += loud
            self._heard_at = asyncio.get_running_loop().time()

    def _write(self, samples: bytes) -> float:
        self._file.write(samples)
        return loud_seconds(samples, self._file.rate)

    async def finish(self) -> float:
        """Complete the file; how many seconds it has."""
        await self.flush()
        await asyncio.to_thread(self._file.close)
        return self._length / SAMPLE_SIZE / self._file.rate


class Sounds:
    """What is played and recorded in one call."""

    def __init__(
        self,
        call: CallId,
        streams: Streams,
        tell: Tell,
        ear_of: Callable[[Side], Ear],
        emit: Callable[[MediaEvent], None],
    ) -> None:
        """`ear_of`: who hears a side while nobody records it."""
        self._call = call
        self._streams = streams
        self._tell = tell
        self._ear_of = ear_of
        self._emit = emit
        self._players: dict[Side, asyncio.Task[None]] = {}
        self._recorders: dict[Side, asyncio.Task[None]] = {}

    async def play(self, command: PlayAudio) -> None:
        """See `PlayAudio`. Raises LocalError."""
        leg = self._leg(command.side)
        rate = rate_for(leg.codec, G722)
        samples = await asyncio.to_thread(read_samples, command.file, rate)
        await _end(self._players, command.side)
        path = self._streams.path_to(command.side)
        player = _Player(path, leg, samples, rate, self._streams.opus_bitrate)
        self._players[command.side] = asyncio.create_task(self._play(player, command))
        await asyncio.sleep(0)  # What is ended before it has begun would never tell.

    async def _play(self, player: _Player, command: PlayAudio) -> None:
        try:
            await player.run(lambda: self._streams.codecs.get(command.side))
        finally:
            seconds = round(player.seconds, 3)
            self._emit(MediaPlayed(call=self._call, op=command.op, seconds=seconds))

    async def record(self, command: RecordAudio) -> None:
        """See `RecordAudio`. Raises LocalError."""
        side = command.side
        leg = self._leg(side)
        await _end(self._recorders, side)
        file = await asyncio.to_thread(OggOpus, command.file, rate_for(leg.codec, G722))
        recorder = _Recorder(file, leg, self._ear_of(side))
        self._tell(side, Ear(recorder.take))
        self._recorders[side] = asyncio.create_task(self._record(recorder, command))
        await asyncio.sleep(0)

    async def _record(self, recorder: _Recorder, command: RecordAudio) -> None:
        try:
            await recorder.run(command.longest, command.silence)
        except LocalError as error:
            log.error("a recording was cut short", error=str(error))
        finally:
            self._tell(command.side, None)
            self._emit(await self._complete(recorder, command.op))

    async def _complete(self, recorder: _Recorder, op: OpId) -> MediaEvent:
        try:
            seconds = round(await recorder.finish(), 3)
        except LocalError as error:
            fault, detail = MediaFault.NO_RESOURCES, str(error)
            return MediaFailed(call=self._call, op=op, fault=fault, detail=detail)
        sound = round(recorder.sound, 3)
        return MediaRecorded(call=self._call, op=op, seconds=seconds, sound=sound)

    def _leg(self, side: Side) -> LegMedia:
        leg = self._streams.legs.get(side)
        if leg is None:
            raise LocalError("nothing is agreed with that side yet")
        return leg

    async def end(self, side: Side) -> None:
        """See `EndAudio`."""
        await _end(self._players, side)
        await _end(self._recorders, side)

    async def close(self) -> None:
        """End all of it."""
        for side in Side:
            await self.end(side)


async def _end(tasks: dict[Side, asyncio.Task[None]], side: Side) -> None:
    task = tasks.pop(side, None)
    if task is None:
        return
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, Exception):
        log.error("a file could not be completed", error=repr(result))
