# SPDX-License-Identifier: GPL-3.0-or-later
"""Rooms of callers with whom nobody ever had to do."""

from typing import Any

import pytest

from bridge.matrix.encryption.seam import NONE, Encryption, MissingKey
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.homeserver import Unavailable
from bridge.matrix.unanswered import Unanswered
from tests.matrix.fakes import member, room_event
from tests.matrix.test_portals import ALICE, GHOST, PORTAL, ROOM, Bench

LAST_CALL = 5000.0
REJECT = room_event("m.call.reject", {"call_id": "c"}, event_id="$reject")
ENTERED = member(ALICE, "join", event_id="$join")
OURS = room_event("m.room.message", {"body": "You missed a call."}, sender=GHOST)
WROTE = room_event("m.room.message", {"body": "Who is there?"}, event_id="$wrote")


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    bench.room(ALICE, GHOST).events = [ENTERED, OURS, REJECT]
    await bench.store.save_portal(PORTAL)
    bench.store.unanswered[ROOM] = LAST_CALL
    return bench


def unanswered(bench: Bench, encryption: Encryption = NONE) -> Unanswered:
    return Unanswered(
        portals=bench.portals,
        homeserver=bench.homeserver,
        store=bench.store,
        encryption=encryption,
    )


async def test_a_room_in_which_nobody_said_anything_but_no_is_left(bench: Bench) -> None:
    await unanswered(bench).leave(LAST_CALL + 1)
    assert bench.homeserver.rooms[ROOM].members == {ALICE: "join", GHOST: "leave"}
    assert bench.store.portals == {}
    assert await bench.portals.by_room(ROOM) is None


async def test_one_that_is_too_new_is_not(bench: Bench) -> None:
    await unanswered(bench).leave(LAST_CALL)
    assert bench.homeserver.rooms[ROOM].members[GHOST] == "join"


@pytest.mark.parametrize(
    "said", [WROTE, room_event("m.call.invite", {}), room_event("m.room.encrypted", {})]
)
async def test_nor_one_in_which_the_person_wrote_or_called(
    bench: Bench, said: dict[str, Any]
) -> None:
    class Locked(type(NONE)):  # type: ignore[misc]
        async def decrypt(self, event: RoomEvent, user: str) -> RoomEvent:
            raise MissingKey("session")

    bench.homeserver.rooms[ROOM].events.append(said)
    leaver = unanswered(bench, Locked())
    await leaver.leave(LAST_CALL + 1)
    assert bench.store.portals == {ROOM: PORTAL}
    bench.homeserver.requests.clear()
    await leaver.leave(LAST_CALL + 1)
    assert bench.homeserver.requests == [], "asked again"


async def test_an_encrypted_no_is_a_no(bench: Bench) -> None:
    class Opened(type(NONE)):  # type: ignore[misc]
        async def decrypt(self, event: RoomEvent, user: str) -> RoomEvent:
            assert user == GHOST
            return RoomEvent(
                room=event.room,
                id=event.id,
                type="m.call.reject",
                sender=event.sender,
                content={},
                sent_at=0,
            )

    bench.homeserver.rooms[ROOM].events.append(room_event("m.room.encrypted", {}))
    await unanswered(bench, Opened()).leave(LAST_CALL + 1)
    assert bench.store.portals == {}


async def test_a_homeserver_that_is_away_is_asked_the_next_time(bench: Bench) -> None:
    bench.homeserver.failures = [Unavailable("away")]
    leaver = unanswered(bench)
    await leaver.leave(LAST_CALL + 1)
    assert bench.store.portals == {ROOM: PORTAL}
    await leaver.leave(LAST_CALL + 1)
    assert bench.store.portals == {}
