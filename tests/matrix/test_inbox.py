# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of rooms become facts for the core: in order, once, and only those that count."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.call.events import (
    Event,
    MatrixCandidatesReceived,
    MatrixHangupReceived,
    MatrixInviteReceived,
    MatrixMemberLeft,
    MatrixReplacesReceived,
)
from bridge.call.ids import Address, RoomId, UserId
from bridge.errors import StoreUnavailable
from bridge.matrix.doubles import Doubles
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.homeserver import Patience, Unavailable
from bridge.matrix.inbox import REMEMBERED, Inbox
from bridge.matrix.portals import Portals
from bridge.records import Portal, Typed
from tests.matrix.fakes import BOT, FakeClock, FakeHomeserver, FakeRoom, member, room_event
from tests.matrix.portal_store import MemoryPortalStore

ALICE = UserId("@alice:example.org")
THIRD = "@third:example.org"
NUMBER = Address("tel:+12025550123")
GHOST = UserId("@sip_12025550123:example.org")
ROOM = RoomId("!r")
PORTAL = Portal(room=ROOM, person=ALICE, address=NUMBER)
COMMON = {"call_id": "c", "party_id": "D", "version": "1"}


@dataclass
class Bench:
    """A portal of Alice and a number, and what the core is told."""

    homeserver: FakeHomeserver = field(default_factory=FakeHomeserver)
    store: MemoryPortalStore = field(default_factory=MemoryPortalStore)
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[Event] = field(default_factory=list)
    doubles: bool = False

    def __post_init__(self) -> None:
        self.room = FakeRoom({ALICE: "join", GHOST: "join"})
        self.homeserver.rooms[ROOM] = self.room
        self.homeserver.users |= {ALICE, GHOST}
        self.store.portals[ROOM] = PORTAL
        self.restart()

    def restart(self) -> None:
        """A new process on the same database."""
        portals = Portals(
            ghosts=Ghosts("sip_", "example.org"),
            homeserver=self.homeserver,
            store=self.store,
            patience=Patience(self.clock, self.clock.sleep),
            may_use=lambda _: True,
            is_address=lambda _: True,
            doubles=Doubles(self.homeserver if self.doubles else None, "example.org"),
        )
        self.inbox = Inbox(
            bot=BOT,
            portals=portals,
            homeserver=self.homeserver,
            store=self.store,
            emit=self.told.append,
            clock=self.clock,
            patience=Patience(self.clock, self.clock.sleep),
        )

    async def receive(self, *raw: object) -> list[type[Event]]:
        """One transaction; returns what the core was told of it."""
        before = len(self.told)
        await self.inbox.receive(list(raw))
        await self.inbox.drained()
        return [type(event) for event in self.told[before:]]


def invite(event_id: str = "$invite", **more: Any) -> dict[str, Any]:
    content = {**COMMON, "offer": {"type": "offer", "sdp": "v=0"}, "lifetime": 60000}
    return room_event("m.call.invite", content, event_id=event_id, **more)


def candidates(event_id: str = "$candidates", **more: Any) -> dict[str, Any]:
    content = {**COMMON, "candidates": [{"candidate": ""}]}
    return room_event("m.call.candidates", content, event_id=event_id, **more)


def hangup(event_id: str = "$hangup", **more: Any) -> dict[str, Any]:
    return room_event("m.call.hangup", COMMON, event_id=event_id, **more)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_transaction_is_told_in_order(bench: Bench) -> None:
    assert await bench.receive(invite(), candidates(), hangup()) == [
        MatrixInviteReceived,
        MatrixCandidatesReceived,
        MatrixHangupReceived,
    ]


@pytest.mark.parametrize(
    ("user", "person"),
    [("@bob:example.org", "@bob:example.org"), (BOT, None), ("@sip_:example.org", None)],
)
async def test_calls_are_transferred_to_people(bench: Bench, user: str, person: str | None) -> None:
    content = {**COMMON, "create_call": "x", "target_user": {"id": user}}
    assert await bench.receive(invite(), room_event("m.call.replaces", content)) == [
        MatrixInviteReceived,
        MatrixReplacesReceived,
    ]
    told = bench.told[-1]
    assert isinstance(told, MatrixReplacesReceived)
    assert told.person == person


async def test_a_repeated_transaction_is_told_once(bench: Bench) -> None:
    assert await bench.receive(invite()) == [MatrixInviteReceived]
    assert await bench.receive(invite(), hangup()) == [MatrixHangupReceived]


async def test_even_after_a_restart(bench: Bench) -> None:
    await bench.receive(invite())
    bench.restart()
    assert await bench.receive(invite(), hangup()) == [MatrixHangupReceived]


async def test_a_database_that_fails_does_not_cost_the_call(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> bool:
        raise OSError("disk full")

    monkeypatch.setattr(bench.store, "remember_event", fails)
    monkeypatch.setattr(bench.store, "prune_events", fails)
    assert await bench.receive(invite()) == [MatrixInviteReceived]


async def test_events_are_forgotten_in_time(bench: Bench) -> None:
    await bench.receive(invite())
    assert "$invite" in bench.store.events
    bench.clock.now += REMEMBERED + 1
    await bench.receive()
    assert bench.store.events == {}


async def test_our_own_echo_is_nothing(bench: Bench) -> None:
    assert await bench.receive(hangup(sender=GHOST), member(GHOST, "join", sender=GHOST)) == []
    assert bench.store.events == {}


@pytest.mark.parametrize(
    "raw",
    [
        7,
        {},
        hangup(room="!unknown"),
        hangup(sender=THIRD),
        room_event("m.call.invite", {"call_id": 7}),
        room_event("m.room.message", {"body": "hello"}),
        member(THIRD, "leave", sender=THIRD),
    ],
)
async def test_what_does_not_count_is_ignored(bench: Bench, raw: object) -> None:
    assert await bench.receive(raw) == []


@pytest.mark.parametrize("membership", ["leave", "ban"])
async def test_a_person_who_leaves_hangs_up(bench: Bench, membership: str) -> None:
    assert await bench.receive(member(ALICE, membership)) == [MatrixMemberLeft]
    assert bench.told == [MatrixMemberLeft(room=ROOM, user=ALICE)]
    assert bench.store.portals == {ROOM: PORTAL}


async def test_a_ghost_that_is_removed_ends_the_portal(bench: Bench) -> None:
    assert await bench.receive(member(GHOST, "leave", sender=ALICE)) == [MatrixMemberLeft]
    assert bench.store.portals == {}


async def test_another_ghosts_removal_is_not_ours(bench: Bench) -> None:
    other = "@sip_12025550199:example.org"
    assert await bench.receive(member(other, "leave", sender=ALICE)) == []
    assert bench.store.portals == {ROOM: PORTAL}


async def test_in_a_room_that_was_replaced_nothing_rings_and_the_reason_is_told(
    bench: Bench,
) -> None:
    assert await bench.receive(invite("$first")) == [MatrixInviteReceived]
    bench.room.successor = "!new"
    tombstone = room_event("m.room.tombstone", {"replacement_room": "!new"}, state_key="")
    assert await bench.receive(tombstone) == [MatrixMemberLeft]
    assert await bench.receive(invite("$2")) == []
    [(_, notice)] = bench.homeserver.sent(ROOM)
    assert "replaced by a newer one" in notice["body"]


async def test_a_portal_that_the_database_lost_is_found_when_somebody_calls_in_it(
    bench: Bench,
) -> None:
    bench.store.portals.clear()
    assert await bench.receive(invite("$1")) == []
    bench.doubles = True
    bench.restart()
    assert await bench.receive(invite("$2")) == [MatrixInviteReceived]
    assert bench.store.portals == {ROOM: PORTAL}


async def test_so_is_one_whose_client_names_the_ghost(bench: Bench) -> None:
    bench.store.portals.clear()
    named = invite("$1")
    named["content"]["invitee"] = GHOST
    assert await bench.receive(named) == [MatrixInviteReceived]
    assert bench.store.portals == {ROOM: PORTAL}


@pytest.mark.parametrize("why", ["crowded", "not there"])
async def test_a_room_that_could_not_be_a_portal_is_not_made_one(bench: Bench, why: str) -> None:
    bench.store.portals.clear()
    bench.doubles = True
    bench.restart()
    if why == "crowded":
        bench.room.members[THIRD] = "join"
    else:
        bench.room.members[GHOST] = "leave"
    named = invite("$1")
    named["content"]["invitee"] = GHOST
    assert await bench.receive(named) == []
    assert bench.store.portals == {}


async def test_in_a_crowd_nothing_rings_and_the_reason_is_told_once(bench: Bench) -> None:
    bench.room.members[THIRD] = "join"
    assert await bench.receive(invite("$1")) == []
    assert await bench.receive(invite("$2")) == []
    [(_, notice)] = bench.homeserver.sent(ROOM)
    assert notice["msgtype"] == "m.notice"
    assert "other members" in notice["body"]


async def test_who_joins_in_between_is_noticed(bench: Bench) -> None:
    assert await bench.receive(invite("$1")) == [MatrixInviteReceived]
    bench.room.members[THIRD] = "join"
    assert await bench.receive(member(THIRD, "join", event_id="$2"), invite("$3")) == []


async def test_a_room_made_public_is_noticed(bench: Bench) -> None:
    assert await bench.receive(invite("$1")) == [MatrixInviteReceived]
    bench.room.join_rule = "public"
    changed = room_event("m.room.join_rules", {"join_rule": "public"}, state_key="", event_id="$2")
    assert await bench.receive(changed, invite("$3")) == []


async def test_a_homeserver_too_busy_to_be_asked_does_not_cost_the_call(bench: Bench) -> None:
    bench.homeserver.failures = [Unavailable("busy")]
    assert await bench.receive(invite()) == [MatrixInviteReceived]


async def test_in_an_encrypted_room_the_reason_is_told_once(bench: Bench) -> None:
    for event_id in ("$1", "$2"):
        assert await bench.receive(room_event("m.room.encrypted", {}, event_id=event_id)) == []
    [(_, notice)] = bench.homeserver.sent(ROOM)
    assert "encrypted" in notice["body"]


async def test_a_knock_or_an_invitation_changes_nothing(bench: Bench) -> None:
    assert await bench.receive(member(GHOST, "knock", sender=ALICE)) == []
    assert await bench.receive(member(ALICE, "invite", sender=THIRD)) == []
    assert bench.store.portals == {ROOM: PORTAL}


# --- the other kind of call --------------------------------------------------------------------


def rtc(event_id: str = "$rtc", **more: Any) -> dict[str, Any]:
    content = {"application": "m.call", "call_id": "", "expires": 14400000}
    key = f"_{ALICE}_DEVICE_m.call"
    kind = "org.matrix.msc3401.call.member"
    return room_event(kind, content, event_id=event_id, state_key=key, **more)


async def test_who_starts_a_call_of_the_other_kind_is_told_once(bench: Bench) -> None:
    assert await bench.receive(rtc(), rtc("$refresh"), rtc("$third", sender=THIRD)) == []
    await bench.receive(rtc())
    [(kind, notice)] = bench.homeserver.sent(ROOM)
    assert (kind, notice["msgtype"]) == ("m.room.message", "m.notice")
    assert "Element Web" in notice["body"]


async def test_also_when_the_ghost_had_not_joined(bench: Bench) -> None:
    assert await bench.receive(invited(bench, rtc())) == []
    assert len(bench.homeserver.sent(ROOM)) == 1


async def test_a_telephone_call_is_possible_besides(bench: Bench) -> None:
    assert await bench.receive(rtc(), invite()) == [MatrixInviteReceived]


# --- the join race --------------------------------------------------------------------------


def invited(bench: Bench, *before: dict[str, Any]) -> dict[str, Any]:
    """Alice opens a direct chat, and calls before the ghost is there."""
    bench.store.portals.clear()
    bench.room.members[GHOST] = "invite"
    bench.room.events = list(before)
    return member(GHOST, "invite", sender=ALICE, event_id="$invited")


async def test_a_call_from_before_the_ghost_joined_rings(bench: Bench) -> None:
    said = invite(), candidates()
    assert await bench.receive(invited(bench, *said)) == [
        MatrixInviteReceived,
        MatrixCandidatesReceived,
    ]


async def test_and_rings_once_if_the_homeserver_pushes_it_too(bench: Bench) -> None:
    told = await bench.receive(invited(bench, invite()), invite(), candidates())
    assert told == [MatrixInviteReceived, MatrixCandidatesReceived]


async def test_old_calls_and_other_peoples_are_left_alone(bench: Bench) -> None:
    said = (
        invite("$old", age=61000),
        hangup("$old hangup"),
        invite("$third", sender=THIRD),
        room_event("m.room.message", {"body": "hello"}, event_id="$m"),
    )
    assert await bench.receive(invited(bench, *said)) == []


async def test_a_call_that_was_given_up_meanwhile_rings_nobody(bench: Bench) -> None:
    assert await bench.receive(invited(bench, invite(), candidates(), hangup())) == []


async def test_a_newer_room_ends_what_goes_on_in_the_older(bench: Bench) -> None:
    raw = invited(bench)
    older = Portal(room=RoomId("!older"), person=ALICE, address=NUMBER)
    bench.store.portals[older.room] = older
    bench.homeserver.rooms[older.room] = FakeRoom({ALICE: "join", GHOST: "join"})
    assert await bench.receive(raw) == [MatrixMemberLeft]
    assert bench.told == [MatrixMemberLeft(room=older.room, user=ALICE)]
    assert bench.store.portals == {ROOM: PORTAL}
    assert bench.homeserver.rooms[older.room].members[GHOST] == "leave"


async def test_a_refused_join_is_survived(bench: Bench) -> None:
    raw = invited(bench)
    bench.room.members[GHOST] = "leave"
    assert await bench.receive(raw) == []
    assert bench.store.portals == {}


# --- texts ------------------------------------------------------------------------------------


def text(content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return room_event("m.room.message", content, **more)


async def test_what_the_person_writes_is_passed_on_once(bench: Bench) -> None:
    typed: list[Typed] = []
    bench.inbox.typed = typed.append
    picture = {"msgtype": "m.image", "body": "cat.jpg"}
    hello = {"msgtype": "m.text", "body": "Hello"}
    correction = {"msgtype": "m.text", "body": "* Hi", "m.relates_to": {"rel_type": "m.replace"}}
    event = text(hello, event_id="$1", age=5000)
    await bench.receive(event, event, text(picture, event_id="$2"))
    await bench.receive(text(correction, event_id="$3"))
    assert [(each.text, each.correction) for each in typed] == [
        ("Hello", False),
        (None, False),
        ("* Hi", True),
    ]
    assert typed[0] == Typed(portal=PORTAL, event_id="$1", age=5.0, text="Hello")


async def test_notices_and_what_others_write_are_not(bench: Bench) -> None:
    typed: list[Typed] = []
    bench.inbox.typed = typed.append
    hello = {"msgtype": "m.text", "body": "Hello"}
    await bench.receive(
        text({"msgtype": "m.notice", "body": "beep"}, event_id="$1"),
        text(hello, event_id="$2", sender="@bob:example.org"),
        text(hello, event_id="$3", sender=BOT),
        text(hello, event_id="$4", sender=GHOST),
        text(hello, event_id="$5", room="!other"),
    )
    assert typed == []


# --- homeserver or database are away --------------------------------------------------------


async def test_an_event_outlives_the_databases_absence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_room, asked = bench.store.portal_by_room, itertools.count()

    async def away_at_first(room: RoomId) -> Portal | None:
        if next(asked) < 5:
            raise StoreUnavailable("locked")
        return await by_room(room)

    monkeypatch.setattr(bench.store, "portal_by_room", away_at_first)
    assert await bench.receive(invite(), hangup()) == [MatrixInviteReceived, MatrixHangupReceived]
    assert 0 < bench.clock.now - 1000 < 60


@pytest.mark.parametrize(
    ("event", "seconds"), [(invite(age=20_000), 40), (invite(age=90_000), 0), (hangup(), 60)]
)
async def test_but_not_for_longer_than_it_matters(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, event: dict[str, Any], seconds: float
) -> None:
    async def away(_: RoomId) -> Portal | None:
        raise StoreUnavailable("locked")

    monkeypatch.setattr(bench.store, "portal_by_room", away)
    assert await bench.receive(event) == []
    assert bench.clock.now - 1000 == pytest.approx(seconds, abs=0.2)


async def test_an_invitation_outlives_a_homeserver_that_is_too_slow_to_read_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.store.portals.clear()
    bench.room.members[GHOST] = "invite"
    bench.room.events = [invite()]
    latest, asked = bench.homeserver.latest_events, itertools.count()

    async def slow_at_first(*arguments: Any) -> list[Any]:
        if next(asked) < 3:
            raise Unavailable("no reply within 30 s")
        return await latest(*arguments)

    monkeypatch.setattr(bench.homeserver, "latest_events", slow_at_first)
    assert await bench.receive(member(GHOST, "invite", sender=ALICE)) == [MatrixInviteReceived]
    assert bench.store.portals == {ROOM: PORTAL}


async def test_a_reason_that_could_not_be_told_is_told_when_it_can(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.room.members[THIRD] = "join"
    assert await bench.receive(invite("$1")) == []
    bench.homeserver.requests.clear()
    bench.room.members[THIRD] = "leave"
    assert await bench.receive(member(THIRD, "leave"), invite("$2")) == [MatrixInviteReceived]
    bench.room.members[THIRD] = "join"
    send, asked = bench.homeserver.send, itertools.count()

    async def away_at_first(*arguments: Any) -> None:
        if next(asked) < 3:
            raise Unavailable("away")
        await send(*arguments)

    monkeypatch.setattr(bench.homeserver, "send", away_at_first)
    assert await bench.receive(member(THIRD, "join", event_id="$back"), invite("$3")) == []
    [(_, notice)] = bench.homeserver.sent(ROOM)
    assert "other members" in notice["body"]
