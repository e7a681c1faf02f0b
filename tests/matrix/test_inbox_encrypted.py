# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted events become facts for the core: in order, and without keeping anything waiting."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bridge.call.events import (
    Event,
    MatrixCandidatesReceived,
    MatrixHangupReceived,
    MatrixInviteReceived,
)
from bridge.call.ids import Address, RoomId, UserId
from bridge.matrix.encryption.seam import MissingKey, NoEncryption, Unreadable, Withheld
from bridge.matrix.encryption.waiting import Waiting
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.homeserver import Patience, Unavailable
from bridge.matrix.inbox import Inbox
from bridge.matrix.portals import Portals
from bridge.records import Portal, Typed
from tests.matrix.fakes import BOT, FakeClock, FakeHomeserver, FakeRoom, room_event
from tests.matrix.portal_store import MemoryPortalStore

ALICE = UserId("@alice:example.org")
NUMBER = Address("tel:+12025550123")
GHOST = UserId("@sip_12025550123:example.org")
ROOM = RoomId("!r")
COMMON = {"call_id": "c", "party_id": "D", "version": "1"}
OFFER = {**COMMON, "offer": {"type": "offer", "sdp": "v=0"}, "lifetime": 60000}


class FakeEncryption(NoEncryption):
    """Events whose content is in clear text; what counts is which sessions' keys are known."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.withheld: set[str] = set()
        self.requires = False
        self.asked: list[str] = []
        self.shared: list[tuple[RoomId, UserId, UserId]] = []
        self.failures: list[Exception] = []

    @property
    def active(self) -> bool:  # type: ignore[override]
        return True

    async def settled(self) -> bool:
        return True

    async def decrypt(self, event: RoomEvent, user: UserId) -> RoomEvent:
        if self.failures:
            raise self.failures.pop(0)
        session = str(event.content["session_id"])
        if session in self.withheld:
            raise Withheld("m.unverified")
        if session == "broken":
            raise Unreadable("not decrypted")
        if session not in self.keys:
            raise MissingKey(session)
        assert user == GHOST
        return replace(event, type=event.content["type"], content=event.content["content"])

    async def ask(self, event: RoomEvent, user: UserId) -> None:
        self.asked.append(event.id)

    async def prepare(self, room: RoomId, user: UserId, person: UserId) -> None:
        self.shared.append((room, user, person))


class Bench:
    """A portal of Alice and a number, and what the core is told."""

    def __init__(self) -> None:
        self.homeserver = FakeHomeserver()
        self.store = MemoryPortalStore()
        self.clock = FakeClock()
        self.encryption = FakeEncryption()
        self.told: list[Event] = []
        self.typed: list[str | None] = []
        self.room = FakeRoom({ALICE: "join", GHOST: "join"})
        self.homeserver.rooms[ROOM] = self.room
        self.homeserver.users |= {ALICE, GHOST}
        self.store.portals[ROOM] = Portal(room=ROOM, person=ALICE, address=NUMBER)
        patience = Patience(self.clock, self.clock.sleep)
        self.portals = Portals(
            ghosts=Ghosts("sip_", "example.org"),
            homeserver=self.homeserver,
            store=self.store,
            patience=patience,
            may_use=lambda _: True,
            is_address=lambda _: True,
            encryption=self.encryption,
        )
        self.inbox = Inbox(
            bot=BOT,
            portals=self.portals,
            homeserver=self.homeserver,
            store=self.store,
            emit=self.told.append,
            clock=self.clock,
            patience=patience,
            encryption=self.encryption,
        )
        self.inbox.typed = self._typed

    def _typed(self, typed: Typed) -> None:
        self.typed.append(typed.text)

    async def receive(self, *raw: object) -> list[type[Event]]:
        """One transaction; returns what the core was told of it."""
        before = len(self.told)
        await self.inbox.receive(list(raw))
        await self.inbox.drained()
        return [type(event) for event in self.told[before:]]

    async def key(self, session: str) -> list[type[Event]]:
        """A key comes; returns what the core was told of it."""
        before = len(self.told)
        self.encryption.keys.add(session)
        self.inbox.key_arrived(session)
        await self.inbox.drained()
        return [type(event) for event in self.told[before:]]


def sealed(
    name: str, kind: str, content: Mapping[str, Any] = COMMON, session: str = "s1", **more: Any
) -> dict[str, Any]:
    inner = {"session_id": session, "type": kind, "content": content}
    return room_event("m.room.encrypted", inner, event_id=name, **more)


INVITE = sealed("$invite", "m.call.invite", OFFER)
ONE = {**COMMON, "candidates": [{"candidate": ""}]}
CANDIDATES = sealed("$candidates", "m.call.candidates", ONE)
HANGUP = sealed("$hangup", "m.call.hangup")


@pytest.fixture
async def bench(request: pytest.FixtureRequest) -> Any:
    made = Bench()
    yield made
    await made.inbox.close()


async def test_what_can_be_read_is_told_in_order(bench: Bench) -> None:
    bench.encryption.keys.add("s1")
    assert await bench.receive(INVITE, CANDIDATES, HANGUP) == [
        MatrixInviteReceived,
        MatrixCandidatesReceived,
        MatrixHangupReceived,
    ]


async def test_a_call_rings_when_its_key_comes_late(bench: Bench) -> None:
    assert await bench.receive(INVITE, CANDIDATES) == []
    assert await bench.key("s1") == [MatrixInviteReceived, MatrixCandidatesReceived]
    assert await bench.receive(HANGUP) == [MatrixHangupReceived]


async def test_what_comes_with_the_key_waits_behind_what_came_before_it(bench: Bench) -> None:
    await bench.receive(INVITE)
    bench.encryption.keys.add("s1")
    assert await bench.receive(CANDIDATES) == []  # the news of the key is still on its way
    assert await bench.key("s1") == [MatrixInviteReceived, MatrixCandidatesReceived]


async def test_a_hangup_is_not_kept_by_what_cannot_be_read(bench: Bench) -> None:
    bench.encryption.keys.add("s2")
    await bench.receive(sealed("$a", "m.call.invite", OFFER, "s2"))
    other = sealed("$b", "m.reaction", {}, "lost")
    bye = sealed("$c", "m.call.hangup", COMMON, "s2")
    assert await bench.receive(other, bye) == [MatrixHangupReceived]


async def test_a_call_that_was_hung_up_before_it_could_be_read_does_not_ring(bench: Bench) -> None:
    """The client has taken a new key in between, and that one came."""
    bench.encryption.keys.add("s2")
    bye = sealed("$hangup", "m.call.hangup", COMMON, "s2")
    assert await bench.receive(INVITE, bye) == [MatrixHangupReceived]
    assert MatrixInviteReceived not in await bench.key("s1")
    again = sealed("$again", "m.call.invite", {**OFFER, "call_id": "c2"}, "s2")
    assert await bench.receive(again) == [MatrixInviteReceived]


async def test_a_key_that_never_comes_is_told_to_the_person_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: Waiting = bench.inbox._sealed.waiting
    waiting.sleep = bench.clock.sleep
    assert await bench.receive(INVITE, CANDIDATES) == []
    await waiting._parked["s1"].timer
    assert bench.encryption.asked == ["$invite"] * 3
    [(kind, content)] = bench.homeserver.sent(ROOM)
    assert kind == "m.room.message"
    assert "its key" in content["body"]
    assert bench.clock.now == 1060
    assert await bench.key("s1") == []


async def test_what_is_broken_is_dropped_and_the_rest_goes_on(bench: Bench) -> None:
    bench.encryption.keys.add("s1")
    broken = sealed("$x", "m.call.invite", OFFER, "broken")
    assert await bench.receive(broken, INVITE) == [MatrixInviteReceived]


async def test_a_homeserver_that_is_away_while_decrypting_is_waited_for(bench: Bench) -> None:
    bench.encryption.keys.add("s1")
    bench.encryption.failures.append(Unavailable("restarting"))
    assert await bench.receive(INVITE) == [MatrixInviteReceived]


async def test_text_is_read_too(bench: Bench) -> None:
    bench.encryption.keys.add("s1")
    await bench.receive(sealed("$t", "m.room.message", {"msgtype": "m.text", "body": "hello"}))
    assert bench.typed == ["hello"]


async def test_others_in_the_room_are_not_listened_to(bench: Bench) -> None:
    bench.encryption.keys.add("s1")
    foreign = sealed("$i", "m.call.invite", OFFER, sender="@mallory:example.org")
    assert await bench.receive(foreign) == []


async def test_what_was_said_before_the_ghost_joined_is_read_back(bench: Bench) -> None:
    del bench.store.portals[ROOM]
    bench.room.members[GHOST] = "invite"
    bench.room.events += [INVITE, CANDIDATES]
    bench.encryption.keys.add("s1")
    assert await bench.receive(_invitation()) == [MatrixInviteReceived, MatrixCandidatesReceived]


async def test_what_is_read_back_may_have_to_wait_for_its_key(bench: Bench) -> None:
    del bench.store.portals[ROOM]
    bench.room.members[GHOST] = "invite"
    bench.room.events += [INVITE, CANDIDATES]
    assert await bench.receive(_invitation()) == []
    assert await bench.receive(INVITE) == []  # pushed as well
    assert await bench.key("s1") == [MatrixInviteReceived, MatrixCandidatesReceived]


def _invitation() -> dict[str, Any]:
    return room_event("m.room.member", {"membership": "invite"}, event_id="$join", state_key=GHOST)


async def test_keys_are_shared_before_a_call_is_said_to_be_ready(bench: Bench) -> None:
    room = await bench.portals.prepare(ALICE, NUMBER, "")
    assert bench.encryption.shared == [(room, GHOST, ALICE)]


@pytest.mark.parametrize("before", [True, False])
async def test_a_person_whose_client_withholds_its_key_is_told_why(
    bench: Bench, before: bool
) -> None:
    if before:
        bench.encryption.withheld.add("s1")
    await bench.receive(INVITE, CANDIDATES)
    if not before:
        bench.encryption.withheld.add("s1")
        bench.inbox.key_arrived("s1")
        await bench.inbox.drained()
    [(_, content)] = bench.homeserver.sent(ROOM)
    assert "not verified" in content["body"]
    assert bench.told == []


async def test_where_encryption_is_required_plain_events_do_not_count(bench: Bench) -> None:
    bench.encryption.requires = True
    bench.encryption.keys.add("s1")
    plain = [
        room_event("m.call.invite", OFFER, event_id="$p1"),
        room_event("m.call.hangup", COMMON, event_id="$p2"),
    ]
    assert await bench.receive(*plain) == []
    assert await bench.receive(INVITE) == [MatrixInviteReceived]
