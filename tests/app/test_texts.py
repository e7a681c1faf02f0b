# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts both ways, with every reason for which one does not get through."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.app.texts import LATE, Texts
from bridge.call.causes import Cause
from bridge.call.dialplan import OutboundRoute
from bridge.call.ids import Address, RoomId, TrunkName, UserId
from bridge.call.policy import Refusal
from bridge.call.terms import Terms
from bridge.errors import LocalError, RemoteError
from bridge.records import Portal, SipText, Typed

ALICE = UserId("@alice:mx.test")
NUMBER = Address("tel:+12025550123")
PORTAL = Portal(room=RoomId("!r"), person=ALICE, address=NUMBER)
PROVIDER = TrunkName("provider")


class Bench:
    """A switchboard, a SIP endpoint and rooms, all of them lists."""

    def __init__(self) -> None:
        self.now = 0.0
        self.routed: tuple[UserId, ...] | Refusal = (ALICE,)
        self.refusal: Refusal | None = None
        self.supported = True
        self.answers: list[int | Exception] = []
        self.sent: list[tuple[str, str, str, str]] = []
        self.read: list[str] = []
        self.notices: list[tuple[str, str]] = []
        self.delivered: list[tuple[str, str, str, str]] = []
        self.keys: list[str] = []
        self.away: Exception | None = None
        self.texts = Texts(
            self,
            self,
            self,
            supports=lambda _: self.supported,
            per_minute=lambda: 3,
            clock=lambda: self.now,
        )

    def route_out(self, person: UserId, address: Address) -> OutboundRoute | Refusal:
        return self.refusal or OutboundRoute(
            trunk=PROVIDER, target="+12025550123", caller="100", early_media=False, terms=Terms()
        )

    def route_in(self, trunk: TrunkName, dialled: str) -> tuple[UserId, ...] | Refusal:
        return self.routed

    async def send_message(
        self, trunk: TrunkName, target: str, text: str, caller: str = "", *, withheld: bool = False
    ) -> int:
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else 202
        if isinstance(answer, Exception):
            raise answer
        self.sent.append((trunk, target, text, caller))
        return answer

    async def mark_read(self, portal: Portal, event_id: str) -> None:
        assert portal == PORTAL
        if self.away:
            raise self.away
        self.read.append(event_id)

    async def tell(self, portal: Portal, text: str, key: str) -> None:
        if self.away:
            raise self.away
        self.notices.append((portal.room, text))

    async def deliver_text(
        self, person: UserId, address: Address, caller_name: str, text: str, key: str
    ) -> None:
        if self.away:
            raise self.away
        self.delivered.append((person, address, caller_name, text))
        self.keys.append(key)

    async def write(self, *texts: str | None, **more: object) -> list[str]:
        """What Alice writes; returns the notices that it brings about."""
        before = len(self.notices)
        for number, text in enumerate(texts):
            typed = Typed(
                portal=PORTAL,
                event_id=f"${number}",
                age=float(str(more.get("age", 0.1))),
                text=text,
                correction=bool(more.get("correction")),
            )
            self.texts.typed(typed)
        await self.texts.drained()
        return [text for _, text in self.notices[before:]]

    async def text(self, words: str = "Hello", name: str = "") -> int:
        """A text from the telephone, and what is answered."""
        text = SipText(
            trunk=PROVIDER,
            caller=NUMBER,
            caller_name=name,
            dialled="+12025550199",
            text=words,
        )
        status = self.texts.admits(text)
        self.texts.received(text)
        await self.texts.drained()
        return status


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.texts.close()


# --- to the telephone -------------------------------------------------------------------------


async def test_what_is_written_goes_out_in_order(bench: Bench) -> None:
    assert await bench.write("one", "two", "") == []
    assert bench.sent == [
        ("provider", "+12025550123", "one", "100"),
        ("provider", "+12025550123", "two", "100"),
    ]


async def test_the_read_marker_stands_at_the_last_text_that_was_taken(bench: Bench) -> None:
    bench.answers = [200, 404, 202, 503]
    await bench.write("one", "two", "three")
    assert bench.read == ["$0", "$2"]
    await bench.write("four")
    assert bench.read == ["$0", "$2"]


async def test_a_trunk_without_texts_is_told_of_once(bench: Bench) -> None:
    bench.supported = False
    [notice] = await bench.write("one", None, "two")
    assert "can be called, but not texted" in notice
    assert await bench.write("three") == []
    assert bench.sent == []


async def test_what_may_not_be_sent_is_told_once_with_its_reason(bench: Bench) -> None:
    bench.refusal = Refusal(Cause.NOT_PERMITTED)
    [notice] = await bench.write("one", "two")
    assert notice == "This was not sent. You are not allowed to make calls."
    bench.refusal = Refusal(Cause.NO_ROUTE)
    [notice] = await bench.write("three")
    assert "no way to reach" in notice
    assert bench.sent == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (405, "takes no texts"),
        (501, "takes no texts"),
        (404, "not in service"),
        (408, "(SIP 408)"),
        (503, "(SIP 503)"),
        (LocalError("the SIP endpoint does not run"), "it is not connected"),
    ],
)
async def test_a_failure_is_told_once_while_it_lasts_and_so_is_its_end(
    bench: Bench, status: int | Exception, words: str
) -> None:
    bench.answers = [status, status]
    [notice] = await bench.write("one", "two")
    assert words in notice
    assert await bench.write("three") == ["Texts go through again."]
    assert await bench.write() == []
    bench.now += 60
    bench.answers = [status]
    [notice] = await bench.write("four")
    assert words in notice


async def test_another_failure_is_told(bench: Bench) -> None:
    bench.answers = [404, 503]
    assert len(await bench.write("one", "two")) == 2


async def test_every_text_that_is_too_long_is_told_of(bench: Bench) -> None:
    bench.answers = [513, 513]
    notices = await bench.write("x" * 9999, "x" * 9999)
    assert ["too long for one text" in notice for notice in notices] == [True, True]
    assert await bench.write("short") == []


async def test_an_old_text_is_not_sent(bench: Bench) -> None:
    [notice] = await bench.write("yesterday", age=LATE + 1)
    assert "was away" in notice
    assert bench.sent == []


async def test_pictures_and_corrections_are_told_of_once_each(bench: Bench) -> None:
    [notice] = await bench.write(None, None)
    assert "Only text" in notice
    [notice] = await bench.write("* hello", "* hallo", correction=True)
    assert "cannot be changed" in notice
    assert bench.sent == []
    assert await bench.write("hello") == []


async def test_a_person_may_not_write_without_end(bench: Bench) -> None:
    [notice] = await bench.write("1", "2", "3", "4", "5")
    assert "too fast" in notice
    assert len(bench.sent) == 3
    bench.now += 61
    assert await bench.write("6") == []
    assert len(bench.sent) == 4


async def test_a_homeserver_that_is_away_stops_nothing(bench: Bench) -> None:
    bench.away = RemoteError("HTTP 502")
    bench.answers = [404]
    assert await bench.write("one", "two") == []
    assert len(bench.sent) == 2


# --- to the person ----------------------------------------------------------------------------


async def test_a_text_is_said_by_the_ghost_each_under_a_name_of_its_own(bench: Bench) -> None:
    await bench.text("Hello\r\nthere \x00\x1b", "Door")
    await bench.text("Hello")
    assert bench.delivered == [
        (ALICE, NUMBER, "Door", "Hello\nthere"),
        (ALICE, NUMBER, "", "Hello"),
    ]
    assert len(set(bench.keys)) == 2


async def test_a_text_for_several_people_reaches_each(bench: Bench) -> None:
    bob = UserId("@bob:mx.test")
    bench.routed = (ALICE, bob)
    await bench.text("Hello")
    assert [person for person, *_ in bench.delivered] == [ALICE, bob]


async def test_a_text_for_nobody_is_dropped(bench: Bench) -> None:
    bench.routed = Refusal(Cause.NOT_IN_SERVICE)
    assert await bench.text() == 404
    assert bench.delivered == []


async def test_an_empty_text_is_dropped(bench: Bench) -> None:
    assert await bench.text(" \r\n\x00") == 202
    assert bench.delivered == []


async def test_a_number_may_not_write_without_end(bench: Bench) -> None:
    assert [await bench.text() for _ in range(5)] == [202] * 5
    assert len(bench.delivered) == 3
    bench.now += 61
    await bench.text()
    assert len(bench.delivered) == 4


async def test_a_text_that_cannot_be_delivered_does_not_stop_the_next(bench: Bench) -> None:
    bench.away = RemoteError("HTTP 502")
    await bench.text("lost")
    bench.away = None
    await bench.text("kept")
    assert [words for *_, words in bench.delivered] == ["kept"]
