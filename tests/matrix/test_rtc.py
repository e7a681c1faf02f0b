# SPDX-License-Identifier: GPL-3.0-or-later
"""MatrixRTC sessions, as matrix-js-sdk 43 announced them to a Synapse, and by the drafts before."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.call.ids import Address, RoomId, UserId
from bridge.matrix.envelope import RoomEvent, read_room_event
from bridge.matrix.rtc import MEMBERSHIPS, NOTIFICATIONS, WHO_CAN_CALL, RtcWatch, Sessions
from bridge.records import Portal
from tests.matrix.fakes import room_event

FIXTURES = Path(__file__).parent / "fixtures"
RECORDED = (
    "rtc-state",
    "rtc-state-refreshed",
    "rtc-sticky",
    "rtc-sticky-refreshed",
    "rtc-encrypted-state",
    "rtc-encrypted-sticky",
    "rtc-draft",
)
STATE, STICKY = "org.matrix.msc3401.call.member", "org.matrix.msc4143.rtc.member"
NOTIFICATION, NOTIFY = "org.matrix.msc4075.rtc.notification", "org.matrix.msc4075.call.notify"
KEY = "_@alice:example.org_DEVICE_m.call"
IN_CALL = {"application": "m.call", "call_id": "", "expires": 14400000}


def recorded(name: str) -> list[dict[str, Any]]:
    """A whole attempt, decrypted. Even in an encrypted room the end of a membership is in clear."""
    events: list[dict[str, Any]] = json.loads((FIXTURES / f"{name}.json").read_text())
    return [{**raw["sent"], **(raw["clear"] or {})} if "sent" in raw else raw for raw in events]


class Room:
    """One portal's events, in the order and at the times at which they come."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sessions = Sessions()

    def starts(self, raw: dict[str, Any], *, after: float = 1.0) -> bool:
        self.now += after
        event = read_room_event(raw, self.now)
        assert event is not None
        return self.sessions.starts(event, self.now)

    def joins(self, content: dict[str, Any] | None = None, **more: Any) -> bool:
        after, key = more.pop("after", 1.0), more.pop("key", KEY)
        raw = room_event(STATE, {**IN_CALL, **(content or {})}, state_key=key, **more)
        return self.starts(raw, after=after)

    def leaves(self, key: str = KEY, after: float = 1.0) -> bool:
        return self.starts(room_event(STATE, {}, state_key=key), after=after)

    def rings(self, *, after: float = 1.0, **content: Any) -> bool:
        content = {"lifetime": 30000, "notification_type": "ring", **content}
        return self.starts(room_event(NOTIFICATION, content), after=after)


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.mark.parametrize("name", RECORDED)
def test_an_attempt_is_one_attempt(room: Room, name: str) -> None:
    assert [room.starts(raw) for raw in recorded(name)] == [True] + [False] * (
        len(recorded(name)) - 1
    )


@pytest.mark.parametrize("name", RECORDED)
def test_the_next_attempt_is_another(room: Room, name: str) -> None:
    attempts = recorded(name) * 2
    assert sum(room.starts(raw) for raw in attempts) == 2


@pytest.mark.parametrize("name", RECORDED)
def test_each_event_of_an_attempt_is_enough(name: str) -> None:
    """A missing key may keep the others back; the end and a refresh are no attempt."""
    events = [Room().starts(raw) for raw in recorded(name)]
    assert events[:2] == [True, True]
    assert not any(events[2:])


@pytest.mark.parametrize("name", RECORDED)
def test_stable_names_will_do(room: Room, name: str) -> None:
    stable = {STATE: "m.call.member", STICKY: "m.rtc.member"}
    stable |= {NOTIFICATION: "m.rtc.notification", NOTIFY: "m.call.notify"}
    assert stable.keys() | stable.values() == MEMBERSHIPS | NOTIFICATIONS
    text = json.dumps(recorded(name)).replace("msc4354_sticky_key", "sticky_key")
    events = [{**raw, "type": stable[raw["type"]]} for raw in json.loads(text)]
    assert [room.starts(raw) for raw in events].count(True) == 1


def test_the_notification_may_come_first(room: Room) -> None:
    assert room.rings()
    assert not room.joins()
    assert not room.rings()


def test_a_refresh_is_no_attempt_even_after_a_restart(room: Room) -> None:
    assert not room.joins({"created_ts": 900_000})
    assert not room.joins(key="other"), "and the session is known from then on"


def test_a_second_device_joins_the_same_session(room: Room) -> None:
    assert room.joins()
    assert not room.joins(key="other", after=300)
    assert not room.leaves()
    assert not room.joins(after=300), "the other device is still there"
    assert not room.leaves()
    assert not room.leaves("other")
    assert room.joins()


def test_a_session_without_an_end_expires(room: Room) -> None:
    assert room.joins({"expires": 600_000})
    assert not room.rings(after=30)
    assert room.joins(after=601)


def test_a_client_that_crashed_can_try_again(room: Room) -> None:
    assert room.joins()
    assert not room.joins(after=30), "a repetition"
    assert room.joins(after=61)
    assert room.rings(after=61)


def test_what_is_over_is_no_attempt(room: Room) -> None:
    old = room_event(STATE, {**IN_CALL, "expires": 1000}, state_key=KEY, age=2000)
    assert not room.starts(old)
    assert not room.starts(room_event(NOTIFICATION, {"lifetime": 30000}, age=31000))
    assert not room.starts(room_event(NOTIFICATION, {"lifetime": 10**9}, age=121_000))
    assert not room.starts(room_event(NOTIFY, {"notify_type": "ring"}, age=61_000))
    assert not room.starts(room_event(NOTIFICATION, {"msc4354_sticky_key": "m.call#ROOM"}))
    assert not room.starts(room_event(STICKY, {"application": {"type": "m.call"}}, age=3_601_000))


def test_a_notification_read_after_the_end_is_no_attempt(room: Room) -> None:
    """It was encrypted, and its key came late."""
    assert room.joins()
    assert not room.leaves()
    late = room_event(NOTIFICATION, {"lifetime": 30000}, age=3000)
    assert not room.starts(late)
    assert room.rings(after=10)


@pytest.mark.parametrize(
    "content",
    [
        {"expires": "soon"},
        {"expires": -1},
        {"expires": True, "created_ts": "then"},
        {"application": 7},
        {"created_ts": 10**30},
    ],
)
def test_nonsense_harms_nobody(room: Room, content: dict[str, Any]) -> None:
    room.joins(content)
    room.leaves()
    assert room.joins(after=2)


def test_many_rooms_and_devices_are_forgotten_in_time(room: Room) -> None:
    for number in range(3000):
        room.joins({"expires": 1000}, room=f"!{number}")
    assert len(room.sessions._rooms) <= 1001
    for number in range(500):
        room.joins(key=str(number), after=0)
    assert len(room.sessions._rooms[RoomId("!r")].members) <= 101


class Watch:
    """A watch, and what the ghost said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.portal = Portal(
            room=RoomId("!r"),
            person=UserId("@alice:example.org"),
            address=Address("tel:+12025550123"),
        )
        self.watch = RtcWatch(self.say, lambda: 1000.0)

    async def say(self, portal: Portal, text: str, transaction: str) -> None:
        assert portal == self.portal
        self.said.append((text, transaction))

    async def receive(self, raw: dict[str, Any]) -> None:
        event = read_room_event(raw, 1000.0)
        assert isinstance(event, RoomEvent)
        await self.watch.receive(event, self.portal)


async def test_the_ghost_says_once_who_can_call() -> None:
    watch = Watch()
    for _ in range(3):
        await watch.receive(room_event(STATE, IN_CALL, state_key=KEY, event_id="$a"))
    assert watch.said == [(WHO_CAN_CALL, "rtc.$a")]
    assert WHO_CAN_CALL.endswith(".")
    assert WHO_CAN_CALL.count(". ") == 0, "one sentence"


async def test_others_are_left_alone() -> None:
    watch = Watch()
    await watch.receive(room_event(STATE, IN_CALL, state_key=KEY, sender="@bob:example.org"))
    assert not watch.said
