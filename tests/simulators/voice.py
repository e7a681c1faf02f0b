# SPDX-License-Identifier: GPL-3.0-or-later
"""A WebRTC end that speaks a tone and listens, on aiortc's peer connection."""

import asyncio
import contextlib
import fractions
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unittest import mock

import aioice.ice
from aiortc import (
    MediaStreamError,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from av import AudioFrame

from tests.simulators import audio
from tests.simulators.waiting import PATIENCE, until

_RATE = 48000
_FRAME = _RATE // 50
_KEPT_SECONDS = 20
CODECS = ("opus", "G722", "PCMU", "PCMA")


@dataclass(frozen=True, slots=True)
class VoiceStatistics:
    """Packets, counted at this end."""

    sent: int
    received: int
    lost: int


class _Tone(MediaStreamTrack):
    """A microphone that hears a steady tone."""

    kind = "audio"

    def __init__(self, hertz: int) -> None:
        super().__init__()
        self._second = audio.sine(hertz, 1, _RATE).tobytes()
        self._sent = 0
        self._started = 0.0

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when they are due."""
        if self.readyState != "live":
            raise MediaStreamError
        if not self._sent:
            self._started = time.monotonic()
        await asyncio.sleep(max(0.0, self._started + self._sent / _RATE - time.monotonic()))
        frame = AudioFrame(format="s16", layout="mono", samples=_FRAME)
        start = self._sent % _RATE * 2
        frame.planes[0].update(self._second[start : start + _FRAME * 2])
        frame.pts = self._sent
        frame.sample_rate = _RATE
        frame.time_base = fractions.Fraction(1, _RATE)
        self._sent += _FRAME
        return frame


class Voice:
    """One peer connection with audio both ways, and only host candidates on loopback."""

    def __init__(self, *, says: int = 440, codecs: Sequence[str] = CODECS) -> None:
        self.heard_at: float | None = None
        """Monotonic seconds at which the first sound, not silence, was heard."""
        self._heard = array("h")
        self._tone = _Tone(says)
        self._codecs = tuple(codecs)
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.addTrack(self._tone)
        self._listener: asyncio.Task[None] | None = None
        self._connection.on("track", self._listen)
        self._limit_codecs()

    async def offer(self) -> str:
        """Our offer, with every candidate in it."""
        await self._describe_locally(await self._connection.createOffer())
        return str(self._connection.localDescription.sdp)

    async def answer(self, offer: str) -> str:
        """Take an offer; returns our answer with every candidate in it."""
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        self._limit_codecs()
        await self._describe_locally(await self._connection.createAnswer())
        return str(self._connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer to our offer."""
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def connected(self, *, within: float = PATIENCE) -> None:
        """Wait until ICE and DTLS are up."""
        await until(
            lambda: self._connection.connectionState == "connected",
            within=within,
            what="the WebRTC connection came up",
        )

    def tone(self) -> audio.Tone:
        """What is heard now."""
        return audio.find_tone(self._heard, _RATE)

    async def hears(self, hertz: float, *, within: float = PATIENCE) -> None:
        """Wait until a tone of `hertz` is what is heard."""
        await until(
            lambda: self.tone().is_near(hertz),
            within=within,
            what=lambda: f"the Matrix side hears {hertz} Hz; it hears {self.tone()}",
            every=0.1,
        )

    def heard(self) -> audio.Samples:
        """All that was heard (of the last 20 s), at 8 kHz."""
        return self._heard[:: _RATE // 8000]

    async def statistics(self) -> VoiceStatistics:
        """Packets so far."""
        sent = received = lost = 0
        for entry in (await self._connection.getStats()).values():
            if entry.type == "outbound-rtp":
                sent = entry.packetsSent
            if entry.type == "inbound-rtp":
                received, lost = entry.packetsReceived, entry.packetsLost
        return VoiceStatistics(sent, received, lost)

    async def close(self) -> None:
        """End the connection."""
        self._tone.stop()
        await self._connection.close()
        if self._listener:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    def _limit_codecs(self) -> None:
        known = RTCRtpSender.getCapabilities("audio").codecs
        wanted = [
            codec
            for name in self._codecs
            for codec in known
            if codec.mimeType.lower() == f"audio/{name}".lower()
        ]
        for transceiver in self._connection.getTransceivers():
            transceiver.setCodecPreferences(wanted)

    async def _describe_locally(self, description: RTCSessionDescription) -> None:
        with _only_loopback():
            await self._connection.setLocalDescription(description)

    def _listen(self, track: MediaStreamTrack) -> None:
        self._listener = asyncio.get_running_loop().create_task(self._hear(track))

    async def _hear(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                self._take(frame)

    def _take(self, frame: AudioFrame) -> None:
        channels = len(frame.layout.channels)
        samples = array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])[::channels]
        self._heard.extend(audio.repeated(samples, _RATE // frame.sample_rate))
        del self._heard[: -_KEPT_SECONDS * _RATE]
        if self.heard_at is None and max(samples, default=0) > 1000:
            self.heard_at = time.monotonic()


@contextlib.contextmanager
def _only_loopback() -> Iterator[None]:
    """aioice never offers loopback addresses, and nothing here may use another."""
    with mock.patch.object(aioice.ice, "get_host_addresses", return_value=["127.0.0.1"]):
        yield
