# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge in the place of people of its homeserver."""

from typing import Any

import pytest

from bridge.call.ids import RoomId, UserId
from bridge.matrix.doubles import Doubles
from bridge.matrix.homeserver import Unavailable
from tests.matrix.fakes import FakeHomeserver, FakeRoom, refused
from tests.matrix.test_portals import ALICE, GHOST, NUMBER, PORTAL, ROOM, Bench

OTHER = RoomId("!other")
FAR = UserId("@alice:far.example.com")
NO_TOKEN = refused("M_FORBIDDEN", "Application service cannot masquerade as this user")


@pytest.fixture
def homeserver() -> FakeHomeserver:
    homeserver = FakeHomeserver()
    homeserver.users |= {ALICE, FAR, GHOST}
    homeserver.rooms[ROOM] = FakeRoom({GHOST: "join", ALICE: "invite", FAR: "invite"})
    return homeserver


def doubles(homeserver: FakeHomeserver | None) -> Doubles:
    return Doubles(homeserver, "example.org")


async def test_without_a_token_nothing_is_done_for_anybody() -> None:
    nobody = doubles(None)
    assert not await nobody.join(ROOM, ALICE)
    assert await nobody.direct_rooms(ALICE, GHOST) == []
    assert await nobody.members(ROOM, ALICE) == frozenset()
    await nobody.mark_direct(ALICE, GHOST, ROOM)


async def test_people_of_other_homeservers_act_for_themselves(homeserver: FakeHomeserver) -> None:
    assert not await doubles(homeserver).join(ROOM, FAR)
    await doubles(homeserver).mark_direct(FAR, GHOST, ROOM)
    assert homeserver.requests == []


async def test_an_invitation_is_accepted(homeserver: FakeHomeserver) -> None:
    assert await doubles(homeserver).join(ROOM, ALICE)
    assert homeserver.rooms[ROOM].members[ALICE] == "join"
    assert await doubles(homeserver).members(ROOM, ALICE) == {ALICE, GHOST}


async def test_a_homeserver_that_refuses_costs_no_call(homeserver: FakeHomeserver) -> None:
    everybody = doubles(homeserver)
    homeserver.failures = [NO_TOKEN] * 4
    assert not await everybody.join(ROOM, ALICE)
    assert await everybody.direct_rooms(ALICE, GHOST) == []
    assert await everybody.members(ROOM, ALICE) == frozenset()
    await everybody.mark_direct(ALICE, GHOST, ROOM)
    assert homeserver.direct == {}


async def test_a_homeserver_that_is_away_is_asked_again_to_join(homeserver: FakeHomeserver) -> None:
    homeserver.failures = [Unavailable("away")]
    with pytest.raises(Unavailable):
        await doubles(homeserver).join(ROOM, ALICE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, {GHOST: [ROOM]}),
        ({"@bob:x": ["!b"]}, {"@bob:x": ["!b"], GHOST: [ROOM]}),
        ({GHOST: [OTHER, "!third"]}, {GHOST: [ROOM, "!third"]}),
        ({GHOST: "nonsense"}, {GHOST: [ROOM]}),
    ],
)
async def test_a_direct_chat_is_marked(
    homeserver: FakeHomeserver, before: dict[str, Any] | None, after: dict[str, Any]
) -> None:
    if before is not None:
        homeserver.direct[ALICE] = before
    everybody = doubles(homeserver)
    await everybody.mark_direct(ALICE, GHOST, ROOM, instead_of=OTHER)
    assert homeserver.direct[ALICE] == after
    homeserver.requests.clear()
    await everybody.mark_direct(ALICE, GHOST, ROOM)
    assert [request.method for request in homeserver.requests] == ["GET"]


# --- in a portal ----------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    bench = Bench(doubles=True)
    bench.homeserver.users.add(ALICE)
    return bench


async def test_a_new_portal_is_entered_and_marked_at_once(bench: Bench) -> None:
    room = await bench.preparing()
    assert bench.homeserver.rooms[room].members[ALICE] == "join"
    assert bench.homeserver.direct[ALICE] == {GHOST: [room]}
    assert bench.waited_in == []


async def test_who_left_is_brought_back(bench: Bench) -> None:
    room = bench.room(GHOST)
    await bench.store.save_portal(PORTAL)
    assert await bench.preparing() == ROOM
    assert room.members[ALICE] == "join"


async def test_a_person_for_whom_we_may_not_act_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = bench.homeserver.join

    async def only_ghosts(room: RoomId, user: UserId) -> None:
        if user == ALICE:
            raise NO_TOKEN
        await join(room, user)

    monkeypatch.setattr(bench.homeserver, "join", only_ghosts)
    task = bench.preparing()
    await bench.settle()
    [portal] = bench.store.portals.values()
    assert bench.waited_in == [portal.room]
    bench.portals.joined(portal)
    assert await task == portal.room


async def test_the_direct_chat_that_clients_show_comes_before_others(bench: Bench) -> None:
    bench.room(ALICE, GHOST, name=OTHER)
    bench.room(ALICE, GHOST)
    bench.homeserver.direct[ALICE] = {GHOST: ["!gone", ROOM]}
    assert await bench.preparing() == ROOM


async def test_a_newer_room_takes_the_older_ones_place_in_the_list(bench: Bench) -> None:
    bench.homeserver.direct[ALICE] = {GHOST: [OTHER]}
    portal = PORTAL
    older = type(portal)(room=OTHER, person=ALICE, address=NUMBER)
    await bench.portals.mark_direct(portal, instead_of=older)
    assert bench.homeserver.direct[ALICE] == {GHOST: [ROOM]}
