# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ends of a call say and hear: tones, each end its own, and keys; packet by packet."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final

from tests.media.sound import heard
from tests.media.sound import tone as _tone
from tests.simulators.audio import SILENCE, Tone
from tests.simulators.rtp import Packet, Sender

FRAME: Final = 0.02
"""Seconds of audio in a packet."""
LATELY: Final = 1.5
"""Seconds within which what was heard counts as heard now."""
_KEPT: Final = 30
_ENOUGH: Final = 15
"""Packets from which a tone is told: 0.3 s."""
_KEYS: Final = "0123456789*#ABCD"

payloads: Final = cache(_tone)
"""A second of a tone, by codec and hertz."""


class Ear:
    """What comes in at one end of a call. `events`: payload types of keys (RFC 4733)."""

    def __init__(self, events: frozenset[int], clock: Callable[[], float] = time.monotonic) -> None:
        self.keys = ""
        """Those that were pressed at the other end, in order."""
        self.packets = 0
        self._events = events
        self._clock = clock
        self._kept: deque[tuple[float, int, bytes]] = deque(maxlen=_KEPT)
        self._last: float | None = None
        self._longest = 0.0
        self._key_began: int | None = None

    def take(self, packet: Packet) -> None:
        """A packet has come."""
        if packet.payload_type in self._events:
            self._key(packet)
            return
        now = self._clock()
        if self._last is not None:
            self._longest = max(self._longest, now - self._last)
        self._last = now
        self.packets += 1
        self._kept.append((now, packet.payload_type, packet.payload))

    def start_over(self) -> None:
        """Measure pauses from now on, and forget what was heard before."""
        self._longest, self._last = 0.0, self._clock()
        self._kept.clear()

    def pause(self) -> float:
        """The longest time without audio since `start_over`, in seconds, up to now."""
        since = 0.0 if self._last is None else self._clock() - self._last
        return max(self._longest, since)

    def tone(self, codec: str) -> Tone:
        """What is heard now."""
        since = self._clock() - LATELY
        recent = [each for each in self._kept if each[0] >= since]
        if len(recent) < _ENOUGH:
            return SILENCE
        kind = recent[-1][1]
        return heard(codec, [payload for _, other, payload in recent if other == kind])

    def _key(self, packet: Packet) -> None:
        """A key press is many packets with the timestamp at which it began."""
        if packet.timestamp == self._key_began or not packet.payload:
            return
        self._key_began = packet.timestamp
        self.keys += _KEYS[packet.payload[0] % len(_KEYS)]


class Mouth:
    """Says a tone, a packet at each tick, and presses keys."""

    def __init__(
        self,
        codec: str,
        hertz: int,
        sender: Sender,
        send: Callable[[Packet], Awaitable[None]],
        *,
        events: int,
        clock: int,
    ) -> None:
        """`events`: payload type of keys, and `clock` their hertz."""
        self.muted = False
        self._payloads = payloads(codec, hertz)
        self._sender = sender
        self._send = send
        self._events = events
        self._clock = clock
        self._pressed: deque[Packet] = deque()
        self._said = 0

    def press(self, key: str) -> None:
        """Press a key for a tenth of a second."""
        self._pressed.extend(self._sender.digit(key, self._events, clock=self._clock))

    async def tick(self) -> None:
        """Send the packet that is due."""
        if self._pressed:
            await self._send(self._pressed.popleft())
            return
        payload = self._payloads[self._said % len(self._payloads)]
        self._said += 1
        packet = self._sender.next(payload)
        if not self.muted:
            await self._send(packet)


class Metronome:
    """Lets all mouths speak every 20 ms."""

    def __init__(self) -> None:
        self._mouths: set[Mouth] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """All fall silent."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def add(self, mouth: Mouth) -> None:
        """It speaks from now on."""
        self._mouths.add(mouth)

    def remove(self, mouth: Mouth) -> None:
        """It falls silent."""
        self._mouths.discard(mouth)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for mouth in tuple(self._mouths):
                try:
                    await mouth.tick()
                except (OSError, ConnectionError):
                    self.remove(mouth)  # The end that it belongs to is gone.
            due += FRAME
            late = loop.time() - due
            if late > 1.0:
                due += late  # What was not said in time is not said at once.
            await asyncio.sleep(max(0.0, -late))
