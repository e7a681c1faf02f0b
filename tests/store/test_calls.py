# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of calls and their ladders."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from mautrix.util.async_db import Database

from bridge.call.commands import (
    Attempt,
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordLegs,
    RecordQuality,
    RecordRinging,
    RecordSilence,
    RecordStart,
    RecordStatistics,
    Ringing,
    StoreCommand,
)
from bridge.call.ids import (
    Address,
    CallId,
    Direction,
    MatrixCallId,
    PartyId,
    RoomId,
    Side,
    TrunkName,
    UserId,
)
from bridge.call.outcomes import Outcome
from bridge.call.quality import Flow
from bridge.ports import CallStore
from bridge.records import CallQuery, CallRecord, LadderEntry, Portal, QualitySample
from bridge.store.calls import Calls
from bridge.store.portals import Portals
from bridge.store.writer import Writer

CALL = CallId("c1")
AT = 1_700_000_000.25


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    made = Writer(database)
    made.start()
    yield made
    await made.close()


@pytest.fixture
def calls(database: Database, writer: Writer) -> Calls:
    store: CallStore = Calls(database, writer)
    assert isinstance(store, Calls)
    return store


def start(call: str = "c1", direction: Direction = Direction.TO_SIP) -> RecordStart:
    return RecordStart(
        call=CallId(call),
        direction=direction,
        person=UserId("@alice:mx.test"),
        address=Address("tel:+12025550123"),
        trunk=TrunkName("provider"),
        rule="outbound[0]",
    )


def rung(at: float, summary: str, detail: str = "") -> LadderEntry:
    return LadderEntry(at=at, leg="sip", direction="in", summary=summary, detail=detail)


async def test_a_whole_call(calls: Calls, writer: Writer) -> None:
    commands: list[StoreCommand] = [
        start(),
        RecordLegs(
            call=CALL,
            room=RoomId("!r:mx.test"),
            matrix_call_id=MatrixCallId("m1"),
            matrix_version=1,
            party=PartyId("p"),
        ),
        RecordLegs(call=CALL, sip_call_id="abc@us", sip_dialog="opaque"),
        RecordRinging(call=CALL),
        RecordAnswer(call=CALL),
        RecordRinging(call=CALL),
        RecordEnd(
            call=CALL,
            cause="normal",
            status=200,
            ended_by="matrix",
            reason="user_hangup",
            detail="as \0 told",
        ),
        RecordStatistics(call=CALL, statistics={"packets": 5, "loss": 0.5, "codec": "PCMU/8000"}),
    ]
    for number, command in enumerate(commands):
        calls.do(command, AT + number)
    await writer.flush()
    assert await calls.call(CALL) == CallRecord(
        call=CALL,
        direction=Direction.TO_SIP,
        person=UserId("@alice:mx.test"),
        address=Address("tel:+12025550123"),
        trunk=TrunkName("provider"),
        started_at=AT,
        rule="outbound[0]",
        rang_at=AT + 3,
        answered_at=AT + 4,
        ended_at=AT + 6,
        room=RoomId("!r:mx.test"),
        matrix_call_id=MatrixCallId("m1"),
        matrix_version=1,
        party=PartyId("p"),
        sip_call_id="abc@us",
        sip_dialog="opaque",
        cause="normal",
        status=200,
        ended_by="matrix",
        reason="user_hangup",
        detail="as \N{REPLACEMENT CHARACTER} told",
        statistics={"packets": 5, "loss": 0.5, "codec": "PCMU/8000"},
    )


async def test_a_call_that_another_trunk_carried(calls: Calls, writer: Writer) -> None:
    failed = (
        Attempt(trunk=TrunkName("provider"), cause="congestion", status=503),
        Attempt(trunk=TrunkName("spare"), cause="trunk_down", status=408),
    )
    calls.do(start(), AT)
    calls.do(RecordAttempts(call=CALL, trunk=TrunkName("spare"), failed=failed[:1]), AT)
    calls.do(RecordAttempts(call=CALL, trunk=TrunkName("last"), failed=failed), AT)
    await writer.flush()
    record = await calls.call(CALL)
    assert record is not None
    assert (record.trunk, record.attempts) == ("last", failed)


async def test_a_call_that_several_people_may_answer(calls: Calls, writer: Writer) -> None:
    ringing = tuple(
        Ringing(
            person=UserId(f"@{name}:mx.test"),
            room=RoomId(f"!{name}:mx.test"),
            matrix_call_id=MatrixCallId("~1"),
            party=PartyId("p"),
        )
        for name in ("alice", "bob")
    )
    calls.do(start(direction=Direction.TO_MATRIX), AT)
    calls.do(RecordLegs(call=CALL, ringing=ringing), AT)
    calls.do(RecordLegs(call=CALL, sip_dialog="d"), AT)
    await writer.flush()
    (record,) = await calls.unfinished()
    assert (record.person, record.ringing) == ("@alice:mx.test", ringing)
    calls.do(RecordLegs(call=CALL, person=UserId("@bob:mx.test"), ringing=()), AT)
    await writer.flush()
    (record,) = await calls.unfinished()
    assert (record.person, record.ringing) == ("@bob:mx.test", ())


async def test_only_the_first_end_counts(calls: Calls, writer: Writer) -> None:
    calls.do(start(), AT)
    calls.do(RecordEnd(call=CALL, cause="busy", status=486, ended_by="sip"), AT + 1)
    calls.do(RecordEnd(call=CALL, cause="normal", status=0, ended_by="bridge"), AT + 2)
    await writer.flush()
    record = await calls.call(CALL)
    assert record is not None
    assert (record.cause, record.ended_at) == ("busy", AT + 1)


async def test_what_was_talked_within_a_day(calls: Calls, writer: Writer) -> None:
    day = 86400.0
    for name, way, answered, ended in (
        ("old", Direction.TO_SIP, 10.0, 20.0),
        ("recent", Direction.TO_SIP, day - 10, day + 50),
        ("in", Direction.TO_MATRIX, day - 10, day + 50),
        ("unanswered", Direction.TO_SIP, None, day + 50),
        ("crashed", Direction.TO_SIP, day + 60, None),
    ):
        calls.do(start(name, way), AT)
        if answered is not None:
            calls.do(RecordAnswer(call=CallId(name)), AT + answered)
        if ended is not None:
            end = RecordEnd(call=CallId(name), cause="normal", status=200, ended_by="sip")
            calls.do(end, AT + ended)
    await writer.flush()
    recent, crashed = await calls.talks(AT + day + 100)
    assert (recent.person, recent.trunk) == (start().person, start().trunk)
    assert (recent.seconds, recent.ago) == (60, 50)
    assert (crashed.seconds, crashed.ago) == (40, 0)


async def test_what_was_placed_within_a_minute(calls: Calls, writer: Writer) -> None:
    for name, way, at, by in (
        ("old", Direction.TO_SIP, 39.0, None),
        ("in", Direction.TO_MATRIX, 50.0, None),
        ("refused", Direction.TO_SIP, 60.0, "bridge"),
        ("busy", Direction.TO_SIP, 70.0, "sip"),
        ("goes on", Direction.TO_SIP, 80.0, None),
    ):
        calls.do(start(name, way), AT + at)
        if by:
            end = RecordEnd(call=CallId(name), cause="busy", status=0, ended_by=by)
            calls.do(end, AT + at)
    await writer.flush()
    found = await calls.placed(AT + 100)
    assert sorted(each.ago for each in found) == [20, 30]
    assert {(each.person, each.trunk) for each in found} == {(start().person, start().trunk)}


async def test_calls_without_an_end_are_unfinished(calls: Calls, writer: Writer) -> None:
    for name, at in (("later", AT + 9), ("done", AT), ("sooner", AT + 1)):
        calls.do(start(name, Direction.TO_MATRIX), at)
    calls.do(RecordEnd(call=CallId("done"), cause="normal", status=200, ended_by="sip"), AT + 20)
    await writer.flush()
    assert [each.call for each in await calls.unfinished()] == ["sooner", "later"]
    assert (await calls.unfinished())[0].direction is Direction.TO_MATRIX


async def test_what_is_not_known_leaves_the_record_as_it_is(calls: Calls, writer: Writer) -> None:
    calls.do(start(), AT)
    calls.do(RecordLegs(call=CALL, room=RoomId("!r:mx.test")), AT)
    calls.do(RecordLegs(call=CALL), AT)
    calls.do(RecordLegs(call=CALL, sip_dialog="d"), AT)
    await writer.flush()
    record = await calls.call(CALL)
    assert record is not None
    assert (record.room, record.sip_dialog, record.party) == ("!r:mx.test", "d", None)


async def test_a_record_begins_once(calls: Calls, writer: Writer) -> None:
    calls.do(start(), AT)
    calls.do(start(), AT + 5)
    await writer.flush()
    record = await calls.call(CALL)
    assert record is not None
    assert record.started_at == AT


async def test_no_such_call(calls: Calls) -> None:
    assert await calls.call(CallId("none")) is None
    assert await calls.ladder(CallId("none")) == []


async def test_a_ladder_keeps_its_order(calls: Calls, writer: Writer) -> None:
    entries = [rung(AT, "INVITE"), rung(AT, "100 Trying"), rung(AT + 1, "180 Ringing", "v=0")]
    for entry in entries:
        calls.trace(CALL, entry)
    calls.trace(CallId("other"), rung(AT, "BYE"))
    await writer.flush()
    assert await calls.ladder(CALL) == entries


async def test_text_that_a_database_cannot_keep(calls: Calls, writer: Writer) -> None:
    calls.trace(CALL, rung(AT, "INVITE sip:\0evil", "half \ud83d"))
    calls.trace(CALL, rung(AT, "next"))
    await writer.flush()
    first, second = await calls.ladder(CALL)
    assert first.summary == "INVITE sip:\N{REPLACEMENT CHARACTER}evil"
    assert first.detail == "half ?"
    assert second.summary == "next"


async def test_old_ladders_go_and_records_stay(calls: Calls, writer: Writer) -> None:
    calls.do(start(), AT)
    calls.trace(CALL, rung(AT, "old"))
    calls.trace(CALL, rung(AT + 10, "new"))
    await writer.flush()
    await calls.prune_ladders(AT + 5)
    assert [each.summary for each in await calls.ladder(CALL)] == ["new"]
    assert await calls.call(CALL) is not None


async def test_a_persons_newest_calls_are_theirs_alone(calls: Calls, writer: Writer) -> None:
    for at, call in enumerate(("c1", "c2", "c3")):
        calls.do(start(call), AT + at)
    other = RecordStart(
        call=CallId("c4"),
        direction=Direction.TO_MATRIX,
        person=UserId("@bob:mx.test"),
        address=Address("tel:+12025550123"),
        trunk=TrunkName("provider"),
    )
    calls.do(other, AT + 9)
    await writer.flush()
    newest = await calls.recent_of(UserId("@alice:mx.test"), 2)
    assert [record.call for record in newest] == ["c3", "c2"]


async def test_a_call_that_rang_at_several_is_in_the_history_of_all(
    calls: Calls, writer: Writer
) -> None:
    bob, carol = UserId("@bob:mx.test"), UserId("@carol:mx.test")
    calls.do(start(direction=Direction.TO_MATRIX), AT)
    rings = [
        Ringing(
            person=each,
            room=RoomId(f"!{each}"),
            matrix_call_id=MatrixCallId("~1"),
            party=PartyId("sip"),
        )
        for each in (bob, carol)
    ]
    calls.do(RecordLegs(call=CALL, ringing=(rings[0],)), AT)
    calls.do(RecordLegs(call=CALL, ringing=tuple(rings)), AT)
    calls.do(RecordLegs(call=CALL, person=carol, ringing=()), AT)
    await writer.flush()
    for person in (bob, carol):
        [record] = await calls.recent_of(person, 5)
        assert (record.call, record.person) == (CALL, carol)
    assert await calls.recent_of(UserId("@dave:mx.test"), 5) == []


def found(records: Sequence[CallRecord]) -> list[str]:
    return [record.call for record in records]


async def test_calls_are_found_by_what_is_known_of_them(calls: Calls, writer: Writer) -> None:
    bob = UserId("@Bob_1:mx.test")
    calls.do(start("c1"), AT)
    calls.do(RecordEnd(call=CALL, cause="busy", status=486, ended_by="sip"), AT + 1)
    calls.do(replace(start("c2"), address=Address("tel:+12025550199")), AT + 10)
    calls.do(replace(start("c3"), person=bob, trunk=TrunkName("pbx")), AT + 20)
    calls.do(start("c4", Direction.TO_MATRIX), AT + 30)
    ring = Ringing(
        person=bob, room=RoomId("!r"), matrix_call_id=MatrixCallId("~1"), party=PartyId("sip")
    )
    calls.do(RecordLegs(call=CallId("c4"), ringing=(ring,)), AT + 30)
    end = RecordEnd(call=CallId("c4"), cause="no_route", status=404, ended_by="bridge")
    calls.do(end, AT + 31)
    await writer.flush()

    async def search(**wanted: Any) -> list[str]:
        return found(await calls.search(CallQuery(**wanted)))

    assert await search() == ["c4", "c3", "c2", "c1"]
    assert await search(person="bob_1") == ["c4", "c3"]
    assert await search(person="bobx1") == [], "what means anything to LIKE means itself here"
    assert await search(person="%") == []
    assert await search(number="0199") == ["c2"]
    assert await search(trunk="pbx") == ["c3"]
    assert await search(direction=Direction.TO_MATRIX) == ["c4"]
    assert await search(since=AT + 10, until=AT + 30) == ["c3", "c2"]
    assert await search(outcomes=(Outcome.CALLEE,)) == ["c1"]
    assert await search(outcomes=(Outcome.CALLEE, Outcome.POLICY)) == ["c4", "c1"]
    assert await search(limit=2) == ["c4", "c3"]
    assert await search(limit=2, after=CallId("c3")) == ["c2", "c1"]


def refused(call: str, at: float, times: int = 1, source: str = "192.0.2.7") -> CallRecord:
    return CallRecord(
        call=CallId(call),
        direction=Direction.TO_MATRIX,
        person=UserId(""),
        address=Address("sip:100\0@mx.test"),
        trunk=TrunkName(""),
        started_at=at,
        ended_at=at + 10,
        cause="stranger",
        status=403,
        ended_by="bridge",
        reason="unknown_error",
        detail="dialled 5559\ud800",
        sip_call_id="a@mx.test" if times == 1 else None,
        times=times,
        source=source,
    )


async def test_what_was_refused_at_once_is_found_counted_and_forgotten(
    calls: Calls, writer: Writer
) -> None:
    for number in range(3):
        calls.add(refused(f"r{number}", AT + number))
    calls.add(refused("r3", AT + 100, 412, "2001:db8::/64"))
    calls.do(start(), AT + 200)
    await writer.flush()
    assert found(await calls.search(CallQuery(number="192.0.2.7"))) == ["r2", "r1", "r0"]
    assert found(await calls.search(CallQuery(number="2001:DB8"))) == ["r3"]
    assert found(await calls.search(CallQuery(number="5559"))) == ["r3", "r2", "r1", "r0"]
    policy = CallQuery(outcomes=(Outcome.POLICY,))
    assert sum(each.times for each in await calls.search(policy)) == 415
    assert await calls.causes(AT) == {"stranger": 415}
    kept = await calls.call(CallId("r3"))
    expected = refused("r3", AT + 100, 412, "2001:db8::/64")
    shown = {"address": "sip:100\ufffd@mx.test", "detail": "dialled 5559?"}
    assert kept == replace(expected, **shown)  # type: ignore[arg-type]
    assert [each.call for each in await calls.unfinished()] == [CALL]
    await calls.prune_calls(AT + 50)
    assert found(await calls.recent(9)) == [CALL, "r3"]


async def test_ends_are_counted_by_cause(calls: Calls, writer: Writer) -> None:
    for number, cause in enumerate(("busy", "normal", "busy", "no_route")):
        call = CallId(f"c{number}")
        calls.do(start(call), AT + number)
        end = RecordEnd(call=call, cause=cause, status=0, ended_by="sip")
        calls.do(end, AT + number + 1)
    calls.do(start("live"), AT + 9)
    await writer.flush()
    assert await calls.causes(AT) == {"busy": 2, "normal": 1, "no_route": 1}
    assert await calls.causes(AT + 2) == {"busy": 1, "no_route": 1}


async def test_calls_that_began_together_are_all_found_page_by_page(
    calls: Calls, writer: Writer
) -> None:
    for name in ("c1", "c2", "c3"):
        calls.do(start(name), AT)
    await writer.flush()
    assert found(await calls.search(CallQuery(limit=2))) == ["c1", "c2"]
    assert found(await calls.search(CallQuery(limit=2, after=CallId("c2")))) == ["c3"]


async def test_old_calls_are_forgotten_but_not_that_there_was_talk(
    calls: Calls, writer: Writer, database: Database
) -> None:
    portals = Portals(database)
    talked, missed = start("c1", Direction.TO_MATRIX), start("c3", Direction.TO_MATRIX)
    missed = replace(missed, person=UserId("@bob:mx.test"))
    for begun in (talked, missed):
        room = RoomId(f"!{begun.call}:mx.test")
        await portals.save_portal(Portal(room=room, person=begun.person, address=begun.address))
    calls.do(talked, AT)
    calls.do(RecordAnswer(call=CALL), AT + 1)
    for begun in (replace(talked, call=CallId("c2")), missed, replace(missed, call=CallId("c4"))):
        calls.do(begun, AT + 50)
    for name, ended in (("c1", 2), ("c2", 90), ("c3", 51), ("c4", 90)):
        end = RecordEnd(call=CallId(name), cause="no_answer", status=480, ended_by="bridge")
        calls.do(end, AT + ended)
    calls.trace(CALL, rung(AT, "INVITE"))
    calls.do(RecordQuality(call=CALL, matrix=flow(250, 4.4), sip=flow(0, None)), AT + 1)
    await writer.flush()
    await calls.prune_calls(AT + 60)
    assert await calls.quality(CALL) == []
    assert await calls.call(CALL) is None
    assert await calls.ladder(CALL) == []
    assert sorted(found(await calls.recent(9))) == ["c2", "c4"]
    left = await portals.unanswered_portals(AT + 100)
    assert [each.person for each in left] == [missed.person]


def flow(packets: int, mos: float | None) -> Flow:
    return Flow(
        packets=packets,
        lost=1,
        lost_beyond=2,
        jitter_ms=3.5,
        round_trip_ms=None if mos is None else 40.25,
        mos=mos,
    )


async def test_how_well_a_call_was_heard_is_kept_as_long_as_its_ladder(
    calls: Calls, writer: Writer
) -> None:
    calls.do(start(), AT)
    calls.do(RecordQuality(call=CALL, matrix=flow(250, 4.4), sip=flow(0, None)), AT + 5)
    calls.do(RecordSilence(call=CALL, side=Side.SIP, cause="never_sent"), AT + 6)
    calls.do(RecordQuality(call=CALL, matrix=flow(249, 4.3), sip=flow(250, 4.0)), AT + 10)
    await writer.flush()
    samples = await calls.quality(CALL)
    assert samples[:2] == [
        QualitySample(at=AT + 5, side=Side.MATRIX, flow=flow(250, 4.4)),
        QualitySample(at=AT + 5, side=Side.SIP, flow=flow(0, None)),
    ]
    await calls.prune_ladders(AT + 7)
    assert await calls.quality(CALL) == samples[2:]
    assert await calls.call(CALL) is not None
