# SPDX-License-Identifier: GPL-3.0-or-later
"""Pressed keys as telephone-events (RFC 4733): heard out of one stream, played into another."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from bridge.media.embedded.path import Path

KEYS = "0123456789*#ABCD"
"""By the number of their event (RFC 4733 section 3.2)."""
LOST = 0.2
"""Seconds without a packet after which a key was let go, though its end has not come."""
FRAME = 0.02
"""Seconds between the packets of a key."""
SHORTEST, LONGEST = 0.04, 6.0
"""Seconds that we play one for."""
ENDS = 3
"""How often the end is said (RFC 4733 section 2.5.1.4)."""
PAUSE = 3
"""Frames between two keys."""
_END = 0x80
_VOLUME = 10
_MOST = 0xFFFF

OnKey = Callable[[str, float], None]
"""Told of a key, and for how many seconds it was pressed."""


@dataclass(slots=True)
class _Pressed:
    event: int
    began: int
    ticks: int
    clock: int


class KeyListener:
    """Makes one key out of the packets of each press. The loop's clock tells of lost ends."""

    def __init__(self, on_key: OnKey) -> None:
        self._on_key = on_key
        self._pressed: _Pressed | None = None
        self._last: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, timestamp: int, payload: bytes, clock: int) -> None:
        """Take a packet; all of a press have the time at which it began."""
        event, flags = payload[0], payload[1]
        ticks = int.from_bytes(payload[2:4], "big")
        if event >= len(KEYS) or (self._last is not None and _late(timestamp, self._last, clock)):
            return
        pressed = self._pressed
        if pressed is None or pressed.event != event or not _belongs(pressed, timestamp):
            if timestamp == self._last:
                return  # Its end was heard.
            self._let_go()
            pressed = self._pressed = _Pressed(event, timestamp, ticks, clock)
        self._last = timestamp
        pressed.ticks = (timestamp - pressed.began & 0xFFFFFFFF) + ticks
        self._wait()
        if flags & _END:
            self._let_go()

    def stop(self) -> None:
        """Report nothing more."""
        self._pressed = None
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pressed is not None:
            self._timer = asyncio.get_running_loop().call_later(LOST, self._let_go)

    def _let_go(self) -> None:
        pressed, self._pressed = self._pressed, None
        self._wait()
        if pressed is not None:
            self._on_key(KEYS[pressed.event], pressed.ticks / pressed.clock)


def _belongs(pressed: _Pressed, timestamp: int) -> bool:
    """Whether it is the same press: long ones are told in segments (RFC 4733 section 2.5.2.3)."""
    passed = timestamp - pressed.began & 0xFFFFFFFF
    return passed == 0 or _MOST // 2 <= passed <= pressed.ticks + pressed.clock // 10


def _late(timestamp: int, last: int, clock: int) -> bool:
    """Whether it is of a press before the last; much earlier means that the sender starts anew."""
    return 0 < (last - timestamp & 0xFFFFFFFF) < 10 * clock


class KeyPlayer:
    """Plays one key after the other into a path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: deque[tuple[int, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._frame = 0
        self._began = 0

    def play(self, key: str, duration: float) -> None:
        """Play a key, after those before it."""
        frames = round(min(max(duration, SHORTEST), LONGEST) / FRAME)
        self._waiting.append((KEYS.index(key), frames))
        if self._timer is None:
            self._step()

    def stop(self) -> None:
        """Play nothing more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        event, frames = self._waiting[0]
        now = monotonic()
        if self._frame == 0:
            self._began = self._path.begin_key(now)
        self._frame += 1
        over = self._frame >= frames
        if self._frame <= frames:
            self._send(event, self._frame, over=over, now=now)
        if self._frame >= frames + PAUSE:
            self._waiting.popleft()
            self._frame = 0
        self._timer = asyncio.get_running_loop().call_later(FRAME, self._step)

    def _send(self, event: int, frame: int, *, over: bool, now: float) -> None:
        ticks = min(round(frame * FRAME * self._path.plan.event_clock_out), _MOST)
        flags = _VOLUME | (_END if over else 0)
        payload = bytes((event, flags)) + ticks.to_bytes(2, "big")
        for number in range(ENDS if over else 1):
            marker = frame == 1 and number == 0
            self._path.send_key(self._began, payload, marker=marker, now=now)
