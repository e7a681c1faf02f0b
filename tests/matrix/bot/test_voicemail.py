# SPDX-License-Identifier: GPL-3.0-or-later
"""Voicemail, as people set it."""

from dataclasses import replace

import pytest

from bridge.call.causes import Cause
from bridge.call.ids import Direction
from bridge.matrix.bot.commands import Request
from bridge.matrix.bot.reply import Reply
from bridge.matrix.bot.table import run
from bridge.ports import Desk
from bridge.records import PersonSettings
from tests.matrix.bot.desk import ALICE, FakeDesk, record


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


async def say(desk: FakeDesk, text: str) -> Reply:
    port: Desk = desk
    name, *words = text.split()
    return await run(name, Request(ALICE, tuple(words), port))


async def test_it_is_off_until_it_is_wanted(desk: FakeDesk) -> None:
    for text in ("voicemail", "voicemail status"):
        assert "Voicemail is off" in (await say(desk, text)).text
    assert "Voicemail: off" in (await say(desk, "status")).items
    on = (await say(desk, "voicemail on")).text
    assert "when you do not within 20 s" in on
    assert "three tones" in on
    assert desk.chosen[ALICE] == PersonSettings(voicemail=True)
    assert "Voicemail: on, after 20 s" in (await say(desk, "status")).items
    assert "get your voicemail" in (await say(desk, "dnd on")).text
    assert "is off" in (await say(desk, "voicemail off")).text
    assert "cannot be reached" in (await say(desk, "dnd")).text


async def test_it_says_only_what_it_does(desk: FakeDesk) -> None:
    desk.voicemail.answers = ("busy",)
    said = (await say(desk, "voicemail on")).text
    assert "It answers when you are busy." in said


async def test_the_delay(desk: FakeDesk) -> None:
    await say(desk, "voicemail on")
    assert "within 12 s" in (await say(desk, "voicemail delay 12")).text
    assert "within 20 s" in (await say(desk, "voicemail delay default")).text


@pytest.mark.parametrize(
    "text", ["voicemail delay soon", "voicemail delay 12345", "voicemail maybe", "voicemail a b c"]
)
async def test_what_is_not_understood(desk: FakeDesk, text: str) -> None:
    assert "Say `voicemail [on|off|status|" in (await say(desk, text)).text
    assert desk.chosen == {}


async def test_a_greeting_is_asked_for_and_removed(desk: FakeDesk) -> None:
    asked = await say(desk, "voicemail greeting")
    assert asked.question is not None
    assert asked.question.heard is not None
    assert not asked.question.secret
    said = await asked.question.heard(b"hello")
    assert said.text.startswith("That is what callers hear now: 7 s. Voicemail is off.")
    await say(desk, "voicemail on")
    assert "hear your greeting" in (await say(desk, "voicemail")).text
    assert "three tones" in (await say(desk, "voicemail greeting remove")).text
    assert desk.voicemail.greetings == {}


async def test_where_nobody_may_have_it(desk: FakeDesk) -> None:
    desk.voicemail.allowed = False
    for text in ("voicemail", "voicemail on", "voicemail greeting"):
        said = await say(desk, text)
        assert "no voicemail here" in said.text
        assert said.question is None
    assert not [item for item in (await say(desk, "status")).items if "Voicemail" in item]


async def test_calls_that_it_took_are_told_from_others(desk: FakeDesk) -> None:
    desk.records = [record(Direction.TO_MATRIX, talked=83, cause=Cause.VOICEMAIL.value)]
    [item] = (await say(desk, "calls")).items
    assert item.endswith("from +1 202-555-0123, voicemail 1:23")
    for seconds, words in ((12.4, "message of 0:12"), (0.0, "no message")):
        desk.records = [replace(desk.records[0], message_s=seconds)]
        assert f"voicemail, {words}" in (await say(desk, "calls")).items[0]
