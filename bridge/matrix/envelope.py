# SPDX-License-Identifier: GPL-3.0-or-later
"""Room events as the homeserver sends them, before anybody looks at their content."""

import math
from dataclasses import dataclass
from typing import Any, Final

from bridge.call.ids import RoomId, UserId

_FAR: Final = 10**15
"""Milliseconds beyond every time that is meant: keeps absurd integers out of the arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomEvent:
    """An event of a room. Times are seconds since the epoch."""

    room: RoomId
    id: str
    type: str
    sender: UserId
    content: dict[str, Any]
    sent_at: float
    """When it was sent, on our clock: judged by the homeserver's `age` where it says one."""
    state_key: str | None = None
    invite_state: tuple[dict[str, Any], ...] = ()
    """What an invitation shows of the room's state before one has joined."""

    def age(self, now: float) -> float:
        """Seconds since it was sent."""
        return max(0.0, now - self.sent_at)


def read_room_event(raw: object, now: float, room: str | None = None) -> RoomEvent | None:
    """The envelope of a raw event received at `now`; None if it is not one.

    `room` is for where the event itself does not say (`/messages` may leave it out).
    """
    if not isinstance(raw, dict):
        return None
    found = room if room is not None else raw.get("room_id")
    names = (found, raw.get("event_id"), raw.get("type"), raw.get("sender"))
    content = raw.get("content")
    if not all(isinstance(name, str) and name for name in names) or not isinstance(content, dict):
        return None
    unsigned = raw.get("unsigned")
    unsigned = unsigned if isinstance(unsigned, dict) else {}
    state_key = raw.get("state_key")
    stripped = unsigned.get("invite_room_state")
    return RoomEvent(
        room=RoomId(str(names[0])),
        id=str(names[1]),
        type=str(names[2]),
        sender=UserId(str(names[3])),
        content=content,
        sent_at=_sent_at(unsigned.get("age"), raw.get("origin_server_ts"), now),
        state_key=state_key if isinstance(state_key, str) else None,
        invite_state=tuple(e for e in stripped if isinstance(e, dict))
        if isinstance(stripped, list)
        else (),
    )


def _sent_at(age: object, origin_server_ts: object, now: float) -> float:
    """The age counts on the homeserver's clock alone; the timestamp mixes two clocks."""
    milliseconds = finite(age)
    if milliseconds is not None:
        return now - max(0.0, milliseconds) / 1000
    timestamp = finite(origin_server_ts)
    return now if timestamp is None else timestamp / 1000


def finite(value: object) -> float | None:
    """A number (milliseconds) as JSON may carry it; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(max(-_FAR, min(_FAR, value)))
