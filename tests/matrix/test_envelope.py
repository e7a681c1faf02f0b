# SPDX-License-Identifier: GPL-3.0-or-later
"""How old an event is, and what it is at all."""

from typing import Any

import pytest

from bridge.matrix.envelope import read_room_event
from tests.matrix.fakes import room_event

NOW = 5000.0


def age(raw: dict[str, Any], now: float = NOW) -> float:
    event = read_room_event(raw, NOW)
    assert event is not None
    return event.age(now)


def test_the_homeservers_word_counts_and_time_goes_on_in_our_queues() -> None:
    raw = {**room_event("m.call.invite", {}, age=2500), "origin_server_ts": 0}
    assert age(raw) == 2.5
    assert age(raw, NOW + 10) == 12.5


@pytest.mark.parametrize("unsigned", [None, {}, {"age": "7"}, {"age": True}, {"age": None}])
def test_without_an_age_the_timestamp_has_to_do(unsigned: object) -> None:
    raw = {**room_event("m.call.invite", {}), "unsigned": unsigned, "origin_server_ts": 4990_000}
    assert age(raw) == 10


@pytest.mark.parametrize(
    ("unsigned", "timestamp"),
    [({"age": -5000}, 0), ({}, 6000_000), ({}, None), ({}, float("nan")), ({}, 10**400)],
)
def test_nothing_comes_from_the_future(unsigned: object, timestamp: object) -> None:
    raw = {
        **room_event("m.call.invite", {}),
        "unsigned": unsigned,
        "origin_server_ts": timestamp,
    }
    assert age(raw) == 0


@pytest.mark.parametrize(
    "change",
    [{"room_id": None}, {"event_id": ""}, {"type": 7}, {"sender": None}, {"content": "x"}],
)
def test_an_event_without_its_names_is_none(change: dict[str, object]) -> None:
    assert read_room_event({**room_event("m.call.invite", {}), **change}, NOW) is None


def test_messages_may_leave_the_room_out() -> None:
    raw = room_event("m.call.invite", {})
    del raw["room_id"]
    event = read_room_event(raw, NOW, "!known")
    assert event is not None
    assert event.room == "!known"


def test_an_invitation_shows_the_state_of_its_room() -> None:
    raw = room_event("m.room.member", {"membership": "invite"}, state_key="@a:example.org")
    shown = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "public"}}
    raw["unsigned"]["invite_room_state"] = [shown, "broken"]
    event = read_room_event(raw, NOW)
    assert event is not None
    assert event.state_key == "@a:example.org"
    assert event.invite_state == (shown,)
