# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings that are to be posted, on both databases."""

from collections.abc import AsyncIterator

import pytest
from mautrix.util.async_db import Database

from bridge.call.commands import RecordStart
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.records import PersonSettings
from bridge.store.calls import Calls
from bridge.store.people import People
from bridge.store.voicemail import Recordings
from bridge.store.writer import Writer
from bridge.voicemail import Recording

ANN = UserId("@ann:mx.test")


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    writer = Writer(database)
    writer.start()
    yield writer
    await writer.close()


def recording(call: str, at: float) -> Recording:
    return Recording(
        call=CallId(call),
        person=ANN,
        address=Address("tel:+12025550123"),
        caller_name="Pat",
        file=f"/folder/{call}.ogg",
        at=at,
    )


async def test_recordings_are_kept_until_they_are_posted(
    database: Database, writer: Writer
) -> None:
    recordings = Recordings(database, writer)
    late, early = recording("ab-1", 20.5), recording("ab-2", 10)
    for each in (late, early, late):
        recordings.keep(each)
    await writer.flush()
    assert list(await recordings.waiting()) == [early, late]
    recordings.forget(early.call)
    recordings.forget(CallId("none"))
    await writer.flush()
    assert list(await recordings.waiting()) == [late]


async def test_how_long_a_message_is_stands_in_the_record_of_its_call(
    database: Database, writer: Writer
) -> None:
    recordings, calls = Recordings(database, writer), Calls(database, writer)
    for name in ("ab-1", "ab-2", "ab-3"):
        start = RecordStart(
            call=CallId(name),
            direction=Direction.TO_MATRIX,
            person=ANN,
            address=Address("tel:+12025550123"),
            trunk=TrunkName("provider"),
        )
        calls.do(start, 10)
    recordings.measure(CallId("ab-1"), 12.5)
    recordings.measure(CallId("ab-1"), 0)
    recordings.measure(CallId("ab-2"), 0)
    recordings.measure(CallId("none"), 3)
    await writer.flush()
    known = {record.call: record.message_s for record in await calls.recent(9)}
    assert known == {"ab-1": 12.5, "ab-2": 0, "ab-3": None}


async def test_what_people_chose_is_kept(database: Database) -> None:
    people = People(database)
    chosen = PersonSettings(voicemail=True, voicemail_delay=12.5, greeting=True)
    await people.save_settings(ANN, chosen)
    assert await people.settings() == {ANN: chosen}
    await people.save_settings(ANN, PersonSettings())
    assert await people.settings() == {ANN: PersonSettings()}
