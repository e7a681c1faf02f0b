# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings that are to be posted, on both databases."""

from collections.abc import AsyncIterator

import pytest
from mautrix.util.async_db import Database

from bridge.call.ids import Address, CallId, UserId
from bridge.records import PersonSettings
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


async def test_what_people_chose_is_kept(database: Database) -> None:
    people = People(database)
    chosen = PersonSettings(voicemail=True, voicemail_delay=12.5, greeting=True)
    await people.save_settings(ANN, chosen)
    assert await people.settings() == {ANN: chosen}
    await people.save_settings(ANN, PersonSettings())
    assert await people.settings() == {ANN: PersonSettings()}
