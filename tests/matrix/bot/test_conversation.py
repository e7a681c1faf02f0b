# SPDX-License-Identifier: GPL-3.0-or-later
"""The bot in rooms: whose invitation and whose word it takes, and what it never does."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bridge.call.events import Event
from bridge.call.ids import RoomId, UserId
from bridge.call.policy import Access
from bridge.matrix.bot.conversation import Bot
from bridge.matrix.encryption.seam import MissingKey, NoEncryption, Unreadable
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.homeserver import HomeserverError, Patience, Unavailable
from bridge.matrix.inbox import Inbox
from bridge.matrix.portals import Portals
from tests.matrix.bot.desk import ALICE, CHIEF, EVE, NUMBER, FakeDesk
from tests.matrix.fakes import (
    BOT,
    ROOM,
    FakeClock,
    FakeHomeserver,
    FakeRepository,
    FakeRoom,
    member,
    refused,
    room_event,
)
from tests.matrix.portal_store import MemoryPortalStore


async def never(_: float) -> None:
    """Time stands still."""
    await asyncio.Event().wait()


class MemoryRooms:
    """`ManagementRooms` in memory."""

    def __init__(self) -> None:
        self.people: dict[RoomId, UserId] = {}

    async def person_of(self, room: RoomId) -> UserId | None:
        return self.people.get(room)

    async def save_room(self, room: RoomId, person: UserId, at: float) -> None:
        self.people[room] = person

    async def forget_room(self, room: RoomId) -> None:
        self.people.pop(room, None)

    async def rooms(self) -> Sequence[tuple[UserId, RoomId]]:
        return [(person, room) for room, person in self.people.items()]


class FakeEncryption(NoEncryption):
    """Events say what they hide; keys come when they are told to."""

    active = True

    def __init__(self) -> None:
        self.works = True
        self.keys = {"known"}
        self.asked: list[str] = []
        self.changes: list[str] = []
        self.ready_users: list[str] = []
        self.refusal: HomeserverError | None = None

    async def settled(self) -> bool:
        return self.works

    async def ready(self, user: UserId) -> None:
        if self.refusal:
            raise self.refusal
        self.ready_users.append(user)

    async def encrypt(
        self,
        room: RoomId,
        user: UserId,
        person: UserId | None,
        event_type: str,
        content: Mapping[str, Any],
    ) -> tuple[str, Mapping[str, Any]]:
        return event_type, {**content, "sealed": True}

    async def decrypt(self, event: RoomEvent, user: UserId) -> RoomEvent:
        assert user == BOT
        session = event.content["session_id"]
        if session == "forged":
            raise Unreadable("not encrypted by a device of the sender")
        if session not in self.keys:
            raise MissingKey(session)
        return replace(event, type="m.room.message", content=event.content["clear"])

    async def ask(self, event: RoomEvent, user: UserId) -> None:
        self.asked.append(event.id)

    def changed(self, room: RoomId) -> None:
        self.changes.append(room)


class Bench:
    """Alice's room, into which she has invited the bot, and an inbox that tells it."""

    def __init__(self) -> None:
        self.homeserver = FakeHomeserver()
        self.store = MemoryPortalStore()
        self.rooms = MemoryRooms()
        self.desk = FakeDesk()
        self.clock = FakeClock()
        self.encryption = FakeEncryption()
        self.repository = FakeRepository()
        self.told: list[Event] = []
        self.sleep: Callable[[float], Awaitable[None]] = self.clock.sleep
        self.ids = itertools.count()
        self.room = FakeRoom({ALICE: "join", BOT: "invite"})
        self.homeserver.rooms[ROOM] = self.room
        self.restart()

    def restart(self) -> None:
        """A new process on the same database."""
        patience = Patience(self.clock, lambda seconds: self.sleep(seconds))
        portals = Portals(
            ghosts=Ghosts("sip_", "example.org"),
            homeserver=self.homeserver,
            store=self.store,
            patience=patience,
            may_use=lambda _: True,
            is_address=lambda _: True,
        )
        self.inbox = Inbox(
            bot=BOT,
            portals=portals,
            homeserver=self.homeserver,
            store=self.store,
            emit=self.told.append,
            clock=self.clock,
            patience=patience,
        )
        self.bot = Bot(
            BOT,
            homeserver=self.homeserver,
            rooms=self.rooms,
            desk=self.desk,
            patience=patience,
            clock=self.clock,
            encryption=self.encryption,
            again=self.inbox.again,
            repository=self.repository,
        )
        self.inbox.elsewhere = self.bot.handle

    async def receive(self, *raw: dict[str, Any]) -> list[str]:
        """One transaction; returns what the bot said about it."""
        before = len(self.said())
        await self.inbox.receive(list(raw))
        await self.inbox.drained()
        return self.said()[before:]

    async def invited(self, by: UserId = ALICE) -> list[str]:
        return await self.receive(member(BOT, "invite", sender=by, event_id=self.id()))

    async def hear(self, text: str, by: UserId = ALICE, **more: Any) -> list[str]:
        content = {"msgtype": "m.text", "body": text}
        event = room_event("m.room.message", content, sender=by, event_id=self.id(), **more)
        return await self.receive(event)

    async def receive_and_wait(self, *raw: dict[str, Any]) -> list[str]:
        """As `receive`, and what is said when nobody waits for a key any more."""
        before = len(self.said())
        await self.receive(*raw)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        return self.said()[before:]

    async def hear_audio(self, kind: str = "m.audio", **content: Any) -> list[str]:
        """The person sends a file."""
        said = {"msgtype": kind, "body": "voice.ogg", "url": "mxc://example.org/1", **content}
        return await self.receive(room_event("m.room.message", said, event_id=self.id()))

    def sealed(self, text: str, session: str = "known") -> dict[str, Any]:
        """What somebody said encrypted."""
        clear = {"msgtype": "m.text", "body": text}
        content = {"session_id": session, "clear": clear}
        return room_event("m.room.encrypted", content, event_id=self.id())

    def said(self) -> list[str]:
        """What was said in the room, by the bot alone."""
        assert all(
            request.user == BOT for request in self.homeserver.requests if "/send/" in request.path
        )
        return [content["body"] for _, content in self.homeserver.sent(ROOM)]

    def redacted(self) -> list[str]:
        """Events that the bot deleted."""
        start = f"rooms/{ROOM}/redact/"
        found = [request.path for request in self.homeserver.requests]
        return [path.removeprefix(start).split("/")[0] for path in found if path.startswith(start)]

    def id(self) -> str:
        return f"$event{next(self.ids)}"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.bot.close()


@pytest.fixture
async def room(bench: Bench) -> Bench:
    await bench.invited()
    return bench


# --- rooms ------------------------------------------------------------------------------------


async def test_the_bot_comes_when_invited_and_introduces_itself(bench: Bench) -> None:
    [hello] = await bench.invited()
    assert "`help`" in hello
    assert bench.room.members[BOT] == "join"
    assert bench.rooms.people == {ROOM: ALICE}


async def test_strangers_are_declined_with_a_sentence(bench: Bench) -> None:
    bench.room.members[EVE] = "join"
    assert await bench.invited(EVE) == []
    [request] = bench.homeserver.requests
    assert (request.path, request.user) == (f"rooms/{ROOM}/leave", BOT)
    assert "not allowed" in request.body["reason"]
    assert bench.rooms.people == {}


async def test_it_leaves_a_room_with_others(bench: Bench) -> None:
    bench.room.members["@bob:example.org"] = "join"
    [why] = await bench.invited()
    assert "chat of the two of us" in why
    assert bench.room.members[BOT] == "leave"
    assert bench.rooms.people == {}


async def test_it_leaves_a_public_room(bench: Bench) -> None:
    bench.room.join_rule = "public"
    [why] = await bench.invited()
    assert "public" in why
    assert bench.room.members[BOT] == "leave"


async def test_nothing_is_done_where_somebody_came_in_later(room: Bench) -> None:
    room.room.members["@bob:example.org"] = "join"
    [why] = await room.hear("dnd on")
    assert "chat of the two of us" in why
    assert not room.desk.chosen
    assert await room.hear("dnd on", UserId("@bob:example.org")) == []


async def test_the_bot_leaves_after_the_person(room: Bench) -> None:
    room.room.members[ALICE] = "leave"
    await room.receive(member(ALICE, "leave", event_id=room.id()))
    assert room.room.members[BOT] == "leave"
    assert room.rooms.people == {}


async def test_a_bot_that_was_sent_away_forgets_the_room(room: Bench) -> None:
    room.room.members[BOT] = "leave"
    await room.receive(member(BOT, "leave", event_id=room.id()))
    assert room.rooms.people == {}
    assert await room.hear("help") == []


async def test_other_peoples_rooms_are_none_of_its_business(bench: Bench) -> None:
    before = len(bench.homeserver.requests)
    assert await bench.hear("help") == []
    assert len(bench.homeserver.requests) == before


async def test_a_homeserver_that_is_away_for_a_moment_is_waited_for(bench: Bench) -> None:
    bench.homeserver.failures = [Unavailable("HTTP 429"), Unavailable("HTTP 502")]
    [hello] = await bench.invited()
    assert "`help`" in hello


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["dnd on", "DND on", "!dnd on", "/dnd  on "])
async def test_a_command_needs_no_prefix_and_may_have_one(room: Bench, text: str) -> None:
    [answer] = await room.hear(text)
    assert "is on" in answer
    assert room.desk.settings(ALICE).dnd


async def test_what_is_no_command_gets_a_hint(room: Bench) -> None:
    assert await room.hear("good morning") == [
        "I do not know that command. `help` lists those that I know."
    ]


async def test_a_repeated_event_is_carried_out_once_even_after_a_restart(room: Bench) -> None:
    content = {"msgtype": "m.text", "body": "call 202 555 0123"}
    event = room_event("m.room.message", content, event_id="$once")
    assert await room.receive(event)
    assert await room.receive(event) == []
    room.restart()
    assert await room.receive(event) == []
    assert room.desk.called == [(ALICE, NUMBER)]


@pytest.mark.parametrize(
    "content",
    [
        {"msgtype": "m.notice", "body": "dnd on"},
        {"msgtype": "m.image", "body": "dnd on"},
        {"msgtype": "m.text", "body": 1},
        {"msgtype": "m.text", "body": "  "},
        {"msgtype": "m.text", "body": "dnd on", "m.relates_to": {"rel_type": "m.replace"}},
        {},
    ],
)
async def test_notices_pictures_and_corrections_are_not_answered(
    room: Bench, content: dict[str, Any]
) -> None:
    assert await room.receive(room_event("m.room.message", content, event_id=room.id())) == []
    assert not room.desk.chosen


async def test_the_bot_does_not_talk_to_itself(room: Bench) -> None:
    assert await room.hear("help", BOT) == []


async def test_the_quotation_in_a_reply_is_no_command(room: Bench) -> None:
    content = {
        "msgtype": "m.text",
        "body": "> <@sipbot:example.org> Hello!\n> `help`\n\ndnd on",
        "m.relates_to": {"m.in_reply_to": {"event_id": "$x"}},
    }
    [answer] = await room.receive(room_event("m.room.message", content, event_id=room.id()))
    assert "is on" in answer


async def test_what_was_said_while_the_bridge_was_away_is_not_done(room: Bench) -> None:
    [answer] = await room.hear("call 202 555 0123", age=301_000)
    assert "I was away" in answer
    assert not room.desk.called


async def test_permission_may_be_taken_away(room: Bench) -> None:
    room.desk.permissions[ALICE] = Access.BLOCKED
    [answer] = await room.hear("dnd on")
    assert "not allowed" in answer
    assert not room.desk.chosen


async def test_a_refusal_is_a_sentence(room: Bench) -> None:
    assert await room.hear("call mum") == ["That is neither a telephone number nor a SIP address."]


async def test_a_fault_of_ours_is_admitted_and_logged(room: Bench) -> None:
    room.desk.fault = ZeroDivisionError("what?")
    with capture_logs() as logs:
        [answer] = await room.hear("call 202 555 0123")
    assert "Something went wrong in the bridge" in answer
    assert [entry["log_level"] for entry in logs].count("error") == 1


# --- encrypted rooms --------------------------------------------------------------------------


async def test_what_is_encrypted_is_read_and_answered_in_kind(room: Bench) -> None:
    [answer] = await room.receive(room.sealed("dnd on"))
    assert "is on" in answer
    assert room.homeserver.sent(ROOM)[-1][1]["sealed"] is True


async def test_what_comes_before_its_key_is_answered_in_order_when_it_is_there(room: Bench) -> None:
    room.sleep = never
    assert await room.receive(room.sealed("dnd on", "late")) == []
    assert await room.receive(room.sealed("dnd", "late")) == []
    [answer] = await room.receive(room.sealed("help"))
    assert "What I do" in answer
    room.encryption.keys.add("late")
    room.bot.key_arrived("late")
    await room.inbox.drained()
    assert ["is on" in said for said in room.said()[-2:]] == [True, True]


async def test_a_key_that_never_comes_is_asked_for_and_missed_once(room: Bench) -> None:
    lost = room.sealed("dnd on", "lost")
    [answer] = await room.receive_and_wait(lost)
    assert "has not sent me its key" in answer
    assert room.encryption.asked == [lost["event_id"]] * 3
    assert await room.receive_and_wait(room.sealed("dnd on", "lost too")) == []
    assert not room.desk.chosen


async def test_what_is_forged_is_not_heard(room: Bench) -> None:
    assert await room.receive(room.sealed("dnd on", "forged")) == []
    assert not room.desk.chosen


async def test_a_room_becomes_encrypted(room: Bench) -> None:
    await room.receive(room_event("m.room.encryption", {}, event_id=room.id(), state_key=""))
    assert room.encryption.changes == [ROOM]


async def test_without_encryption_a_room_that_became_encrypted_is_told_once(room: Bench) -> None:
    room.encryption.works = False
    [answer] = await room.receive(room.sealed("dnd on"))
    assert "encrypted" in answer
    assert await room.receive(room.sealed("dnd on")) == []


async def test_the_bot_has_keys_before_anybody_writes_to_it(bench: Bench) -> None:
    await bench.bot.ready()
    assert bench.encryption.ready_users == [BOT]


async def test_a_homeserver_that_has_no_keys_for_it_stops_nothing(bench: Bench) -> None:
    bench.encryption.refusal = refused("M_UNRECOGNIZED", "no such endpoint")
    await bench.bot.ready()
    await bench.invited()
    [answer] = await bench.hear("dnd on")
    assert "is on" in answer


# --- passwords --------------------------------------------------------------------------------


async def test_a_password_is_deleted_and_appears_nowhere(room: Bench) -> None:
    with capture_logs() as logs:
        await room.hear("login alice@pbx.example.org")
        assert room.redacted() == []
        password = f"$event{next(room.ids) + 1}"
        [answer] = await room.hear("hunter2 and more")
    assert room.redacted() == [password]
    assert room.desk.logins == [(ALICE, "pbx.example.org", "alice", "hunter2 and more", "")]
    assert "logged in" in answer
    assert "hunter2" not in repr(logs)
    assert not any("hunter2" in repr(request) for request in room.homeserver.requests)
    assert not any("hunter2" in repr(vars(kept)) for kept in (room.store, room.rooms))


async def test_so_is_one_that_came_with_the_command(room: Bench) -> None:
    with capture_logs() as logs:
        await room.hear("login alice@pbx.example.org hunter2")
    assert len(room.redacted()) == 1
    assert room.desk.logins
    assert "hunter2" not in repr(logs)


async def test_a_password_is_deleted_even_where_it_is_not_taken(room: Bench) -> None:
    await room.hear("login alice@pbx.example.org")
    room.room.members["@bob:example.org"] = "join"
    [answer] = await room.hear("hunter2")
    assert "chat of the two of us" in answer
    assert len(room.redacted()) == 1
    assert not room.desk.logins


async def test_who_may_not_delete_asks_the_person_to(room: Bench) -> None:
    await room.hear("login alice@pbx.example.org")
    room.homeserver.failures = [refused("M_FORBIDDEN", "You cannot redact that.")]
    [answer] = await room.hear("hunter2")
    assert "logged in" in answer
    assert "please delete it yourself" in answer


async def test_a_question_can_be_left_unanswered(room: Bench) -> None:
    await room.hear("login alice@pbx.example.org")
    assert await room.hear("Cancel") == ["All right, nothing is changed."]
    assert room.redacted() == []
    [answer] = await room.hear("dnd on")
    assert "is on" in answer


async def test_an_answer_that_comes_too_late_is_not_taken_but_deleted(room: Bench) -> None:
    await room.hear("login alice@pbx.example.org")
    room.clock.now += 301
    [answer] = await room.hear("hunter2")
    assert "start again" in answer
    assert len(room.redacted()) == 1
    assert not room.desk.logins


async def test_a_question_is_forgotten_when_the_person_leaves(room: Bench) -> None:
    await room.hear("login alice@pbx.example.org")
    await room.receive(member(ALICE, "leave", event_id=room.id()))
    room.room.members.update({ALICE: "join", BOT: "invite"})
    await room.invited()
    [answer] = await room.hear("dnd on")
    assert "is on" in answer


async def test_nobody_sends_a_password_to_a_bot_that_has_forgotten_its_question(
    room: Bench,
) -> None:
    await room.hear("login alice@pbx.example.org")
    before = len(room.said())
    await room.bot.farewell()
    [said] = room.said()[before:]
    assert "send no password" in said
    await room.bot.farewell()
    assert len(room.said()) == before + 1


async def test_who_was_asked_long_ago_is_left_in_peace(room: Bench) -> None:
    await room.hear("login alice@pbx.example.org")
    room.clock.now += 301
    before = len(room.said())
    await room.bot.farewell()
    assert len(room.said()) == before


async def test_a_farewell_does_not_wait_for_a_homeserver_that_is_away(room: Bench) -> None:
    await room.hear("login alice@pbx.example.org")
    room.homeserver.failures = [Unavailable("HTTP 502")]
    await room.bot.farewell()
    assert not room.homeserver.failures


# --- alerts -----------------------------------------------------------------------------------


async def test_admins_are_told_and_nobody_else(room: Bench) -> None:
    elsewhere = RoomId("!chief")
    room.homeserver.rooms[elsewhere] = FakeRoom({CHIEF: "join", BOT: "join"})
    room.rooms.people[elsewhere] = CHIEF
    before = len(room.said())
    await room.bot.notify_admins("The trunk is down.", "alert.1")
    assert [body["body"] for _, body in room.homeserver.sent(elsewhere)] == ["The trunk is down."]
    assert len(room.said()) == before


async def test_one_person_is_told_where_they_talk_to_the_bot(room: Bench) -> None:
    elsewhere = RoomId("!chief:mx.test")
    room.homeserver.rooms[elsewhere] = FakeRoom({CHIEF: "join", BOT: "join"})
    room.rooms.people[elsewhere] = CHIEF
    before = len(room.said())
    await room.bot.notify(CHIEF, "You have 1 new voice message.", "notice.1")
    assert [body["body"] for _, body in room.homeserver.sent(elsewhere)] == [
        "You have 1 new voice message."
    ]
    with capture_logs() as lines:
        await room.bot.notify(UserId("@nobody:mx.test"), "You have 1.", "notice.2")
    assert [line["event"] for line in lines] == ["a person without a chat with the bot is not told"]
    assert len(room.said()) == before


async def test_one_room_that_is_gone_does_not_keep_it_from_the_others(room: Bench) -> None:
    room.desk.permissions[ALICE] = Access.ADMIN
    room.rooms.people = {RoomId("!gone"): CHIEF, ROOM: ALICE}
    room.homeserver.rooms[RoomId("!gone")] = FakeRoom()
    await room.bot.notify_admins("The trunk is down.", "alert.1")
    assert room.said()[-1] == "The trunk is down."


# --- files ------------------------------------------------------------------------------------


async def test_a_greeting_is_spoken_into_the_room(room: Bench) -> None:
    room.repository.files["mxc://example.org/1"] = b"hello"
    [asked] = await room.hear("voicemail greeting")
    assert "voice message" in asked
    [done] = await room.hear_audio()
    assert "hear now: 7 s" in done
    assert room.desk.voicemail.greetings == {ALICE: b"hello"}
    assert await room.hear_audio() == []


@pytest.mark.parametrize("kind", ["m.audio", "m.file"])
async def test_audio_that_nobody_asked_for_is_not_looked_at(room: Bench, kind: str) -> None:
    assert await room.hear_audio(kind) == []
    await room.hear("login alice@sip.example.com")
    assert await room.hear_audio(kind) == []


async def test_who_writes_instead_keeps_what_they_have(room: Bench) -> None:
    await room.hear("voicemail greeting")
    [why] = await room.hear("hello?")
    assert "no audio" in why
    await room.hear("voicemail greeting")
    assert await room.hear("cancel") == ["All right, nothing is changed."]
    assert room.desk.voicemail.greetings == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"info": {"size": 20_000_000}}, "too large"),
        ({"url": None}, "cannot read"),
        ({"file": {"url": "mxc://example.org/1", "key": {"k": "x"}}}, "cannot read"),
        ({"file": {"url": "mxc://example.org/large"}}, "too large"),
        ({}, "cannot use"),
    ],
)
async def test_what_is_no_greeting(room: Bench, content: dict[str, Any], why: str) -> None:
    room.repository.files["mxc://example.org/1"] = b""
    room.repository.files["mxc://example.org/large"] = bytes(10_000_001)
    await room.hear("voicemail greeting")
    [said] = await room.hear_audio(**content)
    assert why in said


async def test_the_homeserver_may_be_away_for_a_while(room: Bench) -> None:
    room.repository.files["mxc://example.org/1"] = b"hello"
    await room.hear("voicemail greeting")
    room.repository.failures.append(Unavailable("away"))
    [done] = await room.hear_audio()
    assert "hear now" in done
