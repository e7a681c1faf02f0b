# SPDX-License-Identifier: GPL-3.0-or-later
"""Rooms of two: found, made, accepted, given up."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from bridge.call.ids import Address, RoomId, UserId
from bridge.matrix.doubles import Doubles
from bridge.matrix.envelope import read_room_event
from bridge.matrix.ghosts import AddressTooLongError, Ghosts
from bridge.matrix.homeserver import Patience, Refused, Unavailable
from bridge.matrix.portals import NoSuchPerson, PortalError, Portals
from bridge.numbers import is_canonical
from bridge.records import Portal
from tests.matrix.fakes import FakeClock, FakeHomeserver, FakeRoom, member, refused
from tests.matrix.portal_store import MemoryPortalStore

ALICE = UserId("@alice:example.org")
NUMBER = Address("tel:+12025550123")
GHOST = UserId("@sip_12025550123:example.org")
ROOM = RoomId("!r")
PORTAL = Portal(room=ROOM, person=ALICE, address=NUMBER)


@dataclass
class Bench:
    """Portals on a homeserver and a store that are dictionaries."""

    homeserver: FakeHomeserver = field(default_factory=FakeHomeserver)
    store: MemoryPortalStore = field(default_factory=MemoryPortalStore)
    clock: FakeClock = field(default_factory=FakeClock)
    barred: set[str] = field(default_factory=set)
    doubles: bool = False
    waited_in: list[RoomId] = field(default_factory=list)
    """Rooms that the person was said to have to join."""

    def __post_init__(self) -> None:
        self.portals = self.made_anew()

    def made_anew(self) -> Portals:
        return Portals(
            ghosts=Ghosts("sip_", "example.org"),
            homeserver=self.homeserver,
            store=self.store,
            doubles=Doubles(self.homeserver if self.doubles else None, "example.org"),
            patience=Patience(self.clock, self.clock.sleep),
            may_use=lambda user: user not in self.barred,
            is_address=partial(is_canonical, region="US"),
        )

    def room(self, *joined: str, name: str = ROOM) -> FakeRoom:
        """A room that is there already."""
        self.homeserver.rooms[name] = FakeRoom(dict.fromkeys(joined, "join"))
        self.homeserver.users |= set(joined)
        return self.homeserver.rooms[name]

    def invited(self, join_rule: str = "invite") -> FakeRoom:
        """A room whose owner has just invited the ghost."""
        room = self.room(ALICE)
        room.members[GHOST] = "invite"
        room.join_rule = join_rule
        return room

    async def accept(self, shown_rule: str | None = None, sender: UserId = ALICE) -> Portal | None:
        raw = member(GHOST, "invite", sender=sender)
        if shown_rule is not None:
            raw["unsigned"]["invite_room_state"] = [
                {"type": "m.room.join_rules", "content": {"join_rule": shown_rule}}
            ]
        event = read_room_event(raw, 0)
        assert event is not None
        portal = await self.portals.accept(event)
        if portal is None:
            return None
        old = await self.portals.adopt(portal)
        if old is not None:
            await self.portals.abandon(old)
        return portal

    def preparing(self) -> asyncio.Task[RoomId]:
        return asyncio.create_task(self.portals.prepare(ALICE, NUMBER, "", self.waited_in.append))

    async def settle(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    "rest", ["tel.01144701234567", "911", "x=40pbx.example.com=3bp=40pbx.example.org"]
)
async def test_a_ghost_in_disguise_is_nobody(bench: Bench, rest: str) -> None:
    ghost = f"@sip_{rest}:example.org"
    assert bench.portals.ghosts.address(ghost) is not None
    assert bench.portals.address_of(ghost) is None
    event = read_room_event(member(ghost, "invite", sender=ALICE), 0)
    assert event is not None
    assert await bench.portals.accept(event) is None
    assert bench.homeserver.requests == []
    assert bench.store.portals == {}


# --- prepare --------------------------------------------------------------------------------


async def test_a_new_portal_waits_for_the_person(bench: Bench) -> None:
    task = bench.preparing()
    await bench.settle()
    assert not task.done()
    [room] = bench.homeserver.rooms
    assert bench.homeserver.rooms[room].members == {GHOST: "join", ALICE: "invite"}
    assert bench.homeserver.names[GHOST] == "+1 202-555-0123"
    portal = Portal(room=RoomId(room), person=ALICE, address=NUMBER)
    assert bench.store.portals == {RoomId(room): portal}
    bench.portals.joined(portal)
    assert await task == room


async def test_who_declines_is_not_waited_for(bench: Bench) -> None:
    tasks = [bench.preparing(), bench.preparing()]
    await bench.settle()
    [portal] = bench.store.portals.values()
    bench.portals.declined(portal)
    for task in tasks:
        with pytest.raises(PortalError, match="declined"):
            await task


async def test_a_person_whose_client_accepts_at_once_is_not_waited_for(bench: Bench) -> None:
    """Their join may be told before we know the room, so nobody would tell it again."""
    bench.homeserver.auto_accept.add(ALICE)
    assert await bench.preparing() in bench.homeserver.rooms
    assert bench.waited_in == []


async def test_a_good_portal_is_used_again_and_asked_about_once(bench: Bench) -> None:
    bench.room(ALICE, GHOST)
    await bench.store.save_portal(PORTAL)
    assert await bench.preparing() == ROOM
    before = len(bench.homeserver.requests)
    assert await bench.preparing() == ROOM
    assert len(bench.homeserver.requests) == before


async def test_a_change_while_looking_makes_look_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = bench.room(ALICE, GHOST)
    await bench.store.save_portal(PORTAL)
    joined_members = bench.homeserver.joined_members

    async def third_joins(*arguments: Any) -> Any:
        members = await joined_members(*arguments)
        room.members["@third:example.org"] = "join"
        bench.portals.changed(ROOM)
        return members

    monkeypatch.setattr(bench.homeserver, "joined_members", third_joins)
    assert await bench.portals.unfit(PORTAL) is None, "when the members were asked for it was good"
    assert "other members" in (await bench.portals.unfit(PORTAL) or "")


async def test_who_left_is_invited_again_but_not_pestered(bench: Bench) -> None:
    room = bench.room(GHOST)
    await bench.store.save_portal(PORTAL)
    room.members[ALICE] = "leave"
    first, second = bench.preparing(), bench.preparing()
    await bench.settle()
    changes = [r for r in bench.homeserver.requests if r.method == "PUT" and "/state/" in r.path]
    assert [r.body for r in changes] == [{"membership": "invite", "is_direct": True}]
    bench.portals.joined(PORTAL)
    assert await first == await second == ROOM


async def test_who_comes_in_while_the_room_is_looked_at_is_not_invited(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = bench.room(GHOST)
    room.members[ALICE] = "invite"
    await bench.store.save_portal(PORTAL)
    joined_members = bench.homeserver.joined_members

    async def joins_after(*arguments: Any) -> Any:
        members = await joined_members(*arguments)
        room.members[ALICE] = "join"
        return members

    monkeypatch.setattr(bench.homeserver, "joined_members", joins_after)
    assert await bench.preparing() == ROOM


async def test_who_comes_in_while_being_invited_is_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = bench.room(GHOST)
    room.members[ALICE] = "leave"
    await bench.store.save_portal(PORTAL)

    async def invite(*_: object) -> None:
        room.members[ALICE] = "join"
        raise refused("M_FORBIDDEN", "already in the room")

    monkeypatch.setattr(bench.homeserver, "invite", invite)
    assert await bench.preparing() == ROOM


async def test_no_room_is_made_for_somebody_who_does_not_exist(bench: Bench) -> None:
    bench.homeserver.nobody.add(ALICE)
    with pytest.raises(NoSuchPerson):
        await bench.portals.prepare(ALICE, NUMBER, "")
    assert not bench.homeserver.rooms


async def test_two_calls_at_once_make_one_room(bench: Bench) -> None:
    tasks = [bench.preparing() for _ in range(3)]
    await bench.settle()
    [portal] = bench.store.portals.values()
    assert bench.waited_in == [portal.room] * 3
    assert len(bench.homeserver.rooms) == 1
    bench.portals.joined(portal)
    assert {await task for task in tasks} == {portal.room}


@pytest.mark.parametrize("spoilt", ["crowded", "public", "ghost gone"])
async def test_a_spoilt_portal_is_replaced(bench: Bench, spoilt: str) -> None:
    room = bench.room(ALICE, GHOST)
    await bench.store.save_portal(PORTAL)
    if spoilt == "crowded":
        room.members["@third:example.org"] = "join"
    if spoilt == "public":
        room.join_rule = "public"
    if spoilt == "ghost gone":
        room.members[GHOST] = "leave"
    bench.homeserver.auto_accept.add(ALICE)
    made = await bench.preparing()
    assert made != ROOM
    assert list(bench.store.portals) == [made]


async def test_who_calls_into_a_spoilt_portal_shall_not_wonder(bench: Bench) -> None:
    room = bench.room(ALICE, GHOST, "@third:example.org")
    await bench.store.save_portal(PORTAL)
    bench.homeserver.auto_accept.add(ALICE)
    await bench.preparing()
    assert room.members[GHOST] == "leave"
    [(_, notice)] = bench.homeserver.sent(ROOM)
    assert "other members" in notice["body"]


NEWER = RoomId("!newer")


async def test_a_replaced_portal_is_followed_to_where_the_ghost_is_invited(bench: Bench) -> None:
    old, new = bench.room(ALICE, GHOST), bench.room(ALICE, name=NEWER)
    old.successor, new.members[GHOST] = NEWER, "invite"
    await bench.store.save_portal(PORTAL)
    assert await bench.preparing() == NEWER
    assert list(bench.store.portals) == [NEWER]
    assert (old.members[GHOST], new.members[GHOST]) == ("leave", "join")
    [(_, notice)] = bench.homeserver.sent(ROOM)
    assert "replaced by a newer one" in notice["body"]


@pytest.mark.parametrize("why", ["not invited", "crowded", "alone", "unnamed"])
async def test_a_replaced_portal_that_leads_nowhere_makes_place_for_a_new_one(
    bench: Bench, why: str
) -> None:
    old, new = bench.room(ALICE, GHOST), bench.room(ALICE, name=NEWER)
    old.successor = "" if why == "unnamed" else NEWER
    new.members[GHOST] = "leave" if why == "not invited" else "invite"
    if why == "crowded":
        new.members["@third:example.org"] = "join"
    if why == "alone":
        new.members[ALICE] = "leave"
    await bench.store.save_portal(PORTAL)
    bench.homeserver.auto_accept.add(ALICE)
    made = await bench.preparing()
    assert made not in (ROOM, NEWER)
    assert list(bench.store.portals) == [made]
    assert new.members[GHOST] != "join"


async def test_a_direct_chat_that_the_database_lost_is_used_again(bench: Bench) -> None:
    bench.room(GHOST, "@bob:example.org", name=RoomId("!bobs"))
    bench.room(ALICE, GHOST, "@third:example.org", name=RoomId("!crowded"))
    bench.room(ALICE, GHOST)
    assert await bench.preparing() == ROOM
    assert bench.store.portals == {ROOM: PORTAL}
    assert bench.waited_in == []


async def test_so_is_one_that_the_person_has_not_entered_yet(bench: Bench) -> None:
    room = bench.room(GHOST)
    room.members[ALICE] = "invite"
    task = bench.preparing()
    await bench.settle()
    assert bench.waited_in == [ROOM]
    bench.portals.joined(PORTAL)
    assert await task == ROOM
    assert list(bench.homeserver.rooms) == [ROOM]


async def test_the_room_of_somebody_else_is_not_taken(bench: Bench) -> None:
    bobs = Portal(room=RoomId("!bobs"), person=UserId("@bob:example.org"), address=NUMBER)
    bench.room(GHOST, bobs.person, name=bobs.room)
    await bench.store.save_portal(bobs)
    bench.homeserver.auto_accept.add(ALICE)
    made = await bench.preparing()
    assert set(bench.store.portals) == {bobs.room, made}


async def test_a_change_is_looked_at_before_the_next_call(bench: Bench) -> None:
    room = bench.room(ALICE, GHOST)
    await bench.store.save_portal(PORTAL)
    assert await bench.preparing() == ROOM
    room.members["@third:example.org"] = "join"
    bench.portals.changed(ROOM)
    bench.homeserver.auto_accept.add(ALICE)
    assert await bench.preparing() != ROOM


async def test_an_absent_homeserver_is_waited_for(bench: Bench) -> None:
    bench.homeserver.failures = [Unavailable("away")] * 5
    bench.homeserver.auto_accept.add(ALICE)
    await bench.preparing()
    assert bench.clock.now > 1000


async def test_but_not_for_ever(bench: Bench) -> None:
    bench.homeserver.failures = [Unavailable("away")] * 1000
    with pytest.raises(Unavailable, match="away"):
        await bench.preparing()
    assert bench.clock.now == pytest.approx(1060)


async def test_who_cannot_be_invited_again_is_reported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = bench.room(GHOST)
    room.members[ALICE] = "ban"
    await bench.store.save_portal(PORTAL)

    async def invite(*_: object) -> None:
        raise refused("M_FORBIDDEN", "is banned")

    monkeypatch.setattr(bench.homeserver, "invite", invite)
    with pytest.raises(PortalError, match="is banned"):
        await bench.preparing()


async def test_a_token_that_is_refused_costs_no_portal(bench: Bench) -> None:
    bench.room(ALICE, GHOST)
    await bench.store.save_portal(PORTAL)
    await bench.portals.ensure_ghost(NUMBER)
    bench.homeserver.failures = [Refused("bad token", status=401, errcode="M_UNKNOWN_TOKEN")]
    with pytest.raises(Refused, match="bad token"):
        await bench.preparing()
    assert bench.store.portals == {ROOM: PORTAL}


async def test_an_address_that_does_not_fit_is_reported(bench: Bench) -> None:
    with pytest.raises(AddressTooLongError):
        await bench.portals.prepare(ALICE, Address(f"sip:{'a' * 300}@example.org"), "")


# --- ghosts ---------------------------------------------------------------------------------


async def test_a_ghost_is_renamed_when_the_caller_is(bench: Bench) -> None:
    await bench.portals.ensure_ghost(NUMBER)
    await bench.portals.ensure_ghost(NUMBER, "Reception")
    assert bench.homeserver.names[GHOST] == "Reception (+1 202-555-0123)"
    before = len(bench.homeserver.requests)
    await bench.portals.ensure_ghost(NUMBER, "Reception")
    await bench.portals.ensure_ghost(NUMBER)
    assert len(bench.homeserver.requests) == before
    assert bench.homeserver.names[GHOST] == "Reception (+1 202-555-0123)"


async def test_after_a_restart_a_ghost_is_registered_again_but_not_renamed(bench: Bench) -> None:
    await bench.portals.ensure_ghost(NUMBER)
    bench.homeserver.requests.clear()
    await bench.made_anew().ensure_ghost(NUMBER)
    assert bench.homeserver.requests == []  # M_USER_IN_USE is no request that succeeded


# --- invitations ----------------------------------------------------------------------------


async def test_an_invitation_to_a_direct_chat_makes_a_portal(bench: Bench) -> None:
    room = bench.invited()
    assert await bench.accept() == PORTAL
    assert room.members[GHOST] == "join"
    assert bench.store.portals == {ROOM: PORTAL}
    assert GHOST in bench.homeserver.users


async def test_a_crash_while_joining_leaves_no_room_in_which_nothing_rings(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.invited()

    async def crash(*_: object) -> None:
        raise RuntimeError("crash")

    monkeypatch.setattr(bench.homeserver, "joined_members", crash)
    with pytest.raises(RuntimeError, match="crash"):
        await bench.accept()
    assert bench.store.portals == {ROOM: PORTAL}


async def test_an_invitation_to_a_group_does_not_touch_the_portal(bench: Bench) -> None:
    older = Portal(room=RoomId("!older"), person=ALICE, address=NUMBER)
    await bench.store.save_portal(older)
    room = bench.invited()
    room.members["@third:example.org"] = "join"
    assert await bench.accept() is None
    assert bench.store.portals == {older.room: older}


async def test_a_call_that_waits_goes_to_the_room_that_the_person_opened(bench: Bench) -> None:
    task = bench.preparing()
    await bench.settle()
    [old] = bench.homeserver.rooms
    bench.invited()
    await bench.accept()
    assert await task == ROOM
    assert bench.store.portals == {ROOM: PORTAL}
    assert bench.homeserver.rooms[old].members[GHOST] == "leave"
    [(_, notice)] = bench.homeserver.sent(old)
    assert "newer chat" in notice["body"]


async def test_a_group_is_told_why_and_left(bench: Bench) -> None:
    room = bench.invited()
    room.members["@third:example.org"] = "join"
    assert await bench.accept() is None
    assert room.members[GHOST] == "leave"
    [(event_type, notice)] = bench.homeserver.sent(ROOM)
    assert event_type == "m.room.message"
    assert notice["msgtype"] == "m.notice"
    assert "other members" in notice["body"]
    assert not bench.store.portals


async def test_a_room_that_shows_itself_public_is_not_even_joined(bench: Bench) -> None:
    room = bench.invited("public")
    assert await bench.accept("public") is None
    assert room.members[GHOST] == "leave"
    [refusal] = [r for r in bench.homeserver.requests if r.path.endswith("/leave")]
    assert "public" in refusal.body["reason"]
    assert not [r for r in bench.homeserver.requests if r.path.endswith("/join")]


async def test_a_room_that_turns_out_public_is_left(bench: Bench) -> None:
    room = bench.invited("public")
    assert await bench.accept() is None
    assert room.members[GHOST] == "leave"


async def test_who_may_not_call_is_refused_with_a_reason(bench: Bench) -> None:
    bench.barred.add(ALICE)
    room = bench.invited()
    assert await bench.accept("invite") is None
    assert room.members[GHOST] == "leave"
    [refusal] = [r for r in bench.homeserver.requests if r.path.endswith("/leave")]
    assert "not allowed" in refusal.body["reason"]


async def test_another_homeserver_is_refused_when_it_has_stored_its_invitation(
    bench: Bench,
) -> None:
    """Who is told at once may be told before that, and never hears of it."""
    remote = UserId("@remote:example.net")
    bench.barred.add(remote)
    room = bench.invited()
    before = bench.clock.now
    assert await bench.accept("invite", remote) is None
    assert room.members[GHOST] == "leave"
    assert bench.clock.now - before == 3


async def test_another_homeserver_may_not_know_yet_whom_it_has_invited(bench: Bench) -> None:
    remote = UserId("@remote:example.net")
    room = bench.room(remote)
    room.members[GHOST] = "invite"
    await bench.portals.ensure_ghost(NUMBER)
    bench.homeserver.failures = [refused("M_FORBIDDEN", "You are not invited")]
    portal = await bench.accept(sender=remote)
    assert portal is not None
    assert portal.person == remote
    assert room.members[GHOST] == "join"


async def test_an_invitation_of_ours_that_is_none_makes_no_portal(bench: Bench) -> None:
    bench.invited()
    await bench.portals.ensure_ghost(NUMBER)
    bench.homeserver.failures = [refused("M_FORBIDDEN", "You are not invited")]
    with pytest.raises(Refused, match="not invited"):
        await bench.accept()
    assert not bench.store.portals


async def test_a_user_of_ours_that_stands_for_nobody_joins_nothing(bench: Bench) -> None:
    event = read_room_event(member("@sip_nobody:example.org", "invite", sender=ALICE), 0)
    assert event is not None
    assert await bench.portals.accept(event) is None
    assert bench.homeserver.requests == []


async def test_an_older_room_that_is_gone_does_not_spoil_the_new(bench: Bench) -> None:
    older = RoomId("!older")
    bench.room(ALICE, name=older)
    await bench.store.save_portal(Portal(room=older, person=ALICE, address=NUMBER))
    bench.invited()
    assert await bench.accept() == PORTAL
    assert bench.store.portals == {ROOM: PORTAL}


async def test_a_room_is_told_once_until_it_is_good_again(bench: Bench) -> None:
    room = bench.room(ALICE, GHOST)
    await bench.portals.tell_once(PORTAL, "why", "$1")
    await bench.portals.tell_once(PORTAL, "why", "$2")
    assert len(bench.homeserver.sent(ROOM)) == 1
    assert await bench.portals.unfit(PORTAL) is None
    room.members["@third:example.org"] = "join"
    await bench.portals.tell_once(PORTAL, "why", "$3")
    assert len(bench.homeserver.sent(ROOM)) == 2
