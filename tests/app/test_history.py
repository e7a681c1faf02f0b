# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that show past calls."""

import csv
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.app.cli import commands
from bridge.app.history import outcome
from bridge.app.refused import RefusedAttempts
from bridge.call.causes import Cause
from bridge.call.commands import (
    Attempt,
    RecordAnswer,
    RecordAttempts,
    RecordEnd,
    RecordQuality,
    RecordStart,
    RecordStatistics,
)
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.call.quality import Flow
from bridge.config.template import configuration, fresh_secrets
from bridge.records import CallRecord, LadderEntry, RefusedCalls
from bridge.store.calls import Calls
from bridge.store.database import open_database
from bridge.store.writer import Writer
from bridge.web.exports import csv_of, json_of

START = 1_700_000_000.0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(configuration(tokens=fresh_secrets()), encoding="utf-8")
    return file


def begin(call: str, direction: Direction) -> RecordStart:
    return RecordStart(
        call=CallId(call),
        direction=direction,
        person=UserId("@alice:mx.test"),
        address=Address("tel:+12025550123"),
        trunk=TrunkName("provider"),
    )


def rung(after: float, leg: str, direction: str, summary: str, detail: str = "") -> LadderEntry:
    return LadderEntry(
        at=START + after, leg=leg, direction=direction, summary=summary, detail=detail
    )


@pytest.fixture
async def kept(config: Path) -> None:
    """Two calls: one that was talked on, and a later one that was busy."""
    async with open_database(f"sqlite:{config.parent}/matrix-sip.db") as database:
        writer = Writer(database)
        writer.start()
        calls = Calls(database, writer)
        calls.do(begin("a-1", Direction.TO_MATRIX), START)
        calls.do(RecordAnswer(call=CallId("a-1")), START + 5)
        good = Flow(packets=250, lost=0, lost_beyond=0, jitter_ms=2, round_trip_ms=None, mos=4.4)
        bad = Flow(packets=200, lost=50, lost_beyond=1, jitter_ms=9, round_trip_ms=80.0, mos=2.5)
        silent = replace(good, packets=0, mos=None)
        calls.do(RecordQuality(call=CallId("a-1"), matrix=good, sip=bad), START + 10)
        calls.do(RecordQuality(call=CallId("a-1"), matrix=good, sip=silent), START + 15)
        calls.do(
            RecordEnd(call=CallId("a-1"), cause="normal", status=200, ended_by="sip"), START + 70
        )
        calls.do(begin("a-2", Direction.TO_SIP), START + 100)
        provider = TrunkName("provider")
        failed = (
            Attempt(trunk=TrunkName("first"), cause="trunk_down", status=408),
            Attempt(trunk=provider, cause="no_common_codec", status=488, video=True),
        )
        calls.do(
            RecordAttempts(call=CallId("a-2"), trunk=provider, failed=failed),
            START + 100,
        )
        calls.do(
            RecordEnd(call=CallId("a-2"), cause="busy", status=486, ended_by="sip"), START + 101
        )
        calls.do(RecordStatistics(call=CallId("a-2"), statistics={"mode": "none"}), START + 101)
        calls.trace(CallId("a-2"), rung(100, "matrix", "in", "m.call.invite"))
        calls.trace(
            CallId("a-2"),
            rung(100.25, "sip", "in", "486 Busy Here (INVITE)", "SIP/2.0 486 Busy Here\r\nCSeq: 1"),
        )
        await writer.close()


def run(config: Path, *words: str) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(commands, [*words, "--config", str(config)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("kept")
def test_calls_lists_the_newest_first(config: Path) -> None:
    head, busy, talked = run(config, "calls").splitlines()

    assert head.split() == ["when", "call", "from", "to", "trunk", "talked", "ended"]
    assert "a-2" in busy
    assert "@alice:mx.test  +12025550123" in busy
    assert busy.rstrip().endswith("busy (486), by sip")
    assert "+12025550123    @alice:mx.test" in talked
    assert "1:05" in talked
    assert talked.rstrip().endswith("normal, by sip")


def test_what_was_refused_by_sip_is_kept_with_names_of_its_own() -> None:
    kept: list[CallRecord] = []
    attempts = RefusedAttempts(kept.append, nonce="n")
    one = RefusedCalls(
        since=START,
        until=START,
        source="192.0.2.7",
        trunk=TrunkName("provider"),
        caller=Address("tel:+12025550111"),
        dialled="123",
        cause=Cause.NO_RESOURCES,
        status=503,
        sip_call_id="a@mx.test",
    )
    many = replace(one, times=412, until=START + 10, sip_call_id="")
    attempts.add([one, many])
    attempts.add([replace(many, source="", dialled=""), replace(one, source="")])
    assert [each.call for each in kept] == ["n-s1", "n-s2", "n-s3", "n-s4"]
    assert [each.address for each in kept] == [
        "tel:+12025550111",
        "sip:192.0.2.7",
        "",
        "tel:+12025550111",
    ]
    assert [each.detail for each in kept] == [
        "dialled 123, from 192.0.2.7",
        "the first one: +12025550111 dialled 123",
        "the first one: +12025550111 dialled nothing",
        "dialled 123, from one of several addresses",
    ]
    assert [each.sip_call_id for each in kept] == ["a@mx.test", None, None, "a@mx.test"]
    assert (kept[1].times, kept[1].cause, kept[1].ended_by) == (412, "no_resources", "bridge")
    assert (kept[1].started_at, kept[1].ended_at, kept[1].status) == (START, START + 10, 503)
    assert outcome(kept[1]).plain == "no resources (503), 412 times, by bridge"
    (row,) = csv.DictReader(csv_of([kept[1]]).splitlines())
    assert (row["times"], row["source"], row["outcome"]) == ("412", "192.0.2.7", "bridge")
    assert json.loads(json_of([kept[1]]))[0]["times"] == 412


@pytest.mark.usefixtures("kept")
def test_calls_are_as_many_as_wanted(config: Path) -> None:
    assert len(run(config, "calls", "--count", "1").splitlines()) == 2


@pytest.mark.usefixtures("kept")
def test_calls_are_found_and_taken_along(config: Path) -> None:
    assert len(run(config, "calls", "--person", "bob").splitlines()) == 1
    assert len(run(config, "calls", "--number", "5550123").splitlines()) == 3
    later = f"{datetime.fromtimestamp(START + 50):%Y-%m-%dT%H:%M:%S}"
    (row,) = csv.DictReader(run(config, "calls", "--format", "csv", "--since", later).splitlines())
    assert (row["call"], row["outcome"], row["other_trunks"]) == ("a-2", "callee", "first")
    newest, oldest = json.loads(run(config, "calls", "--format", "json"))
    assert (newest["cause"], oldest["talked_s"]) == ("busy", 65)


@pytest.mark.usefixtures("kept")
def test_a_ladder_shows_both_legs_with_times(config: Path) -> None:
    lines = run(config, "ladder").splitlines()

    assert lines[0] == "a-2: @alice:mx.test calls +12025550123 by provider"
    assert lines.pop(2) == "not by first: trunk down (408)"
    assert lines.pop(2) == "not by provider with video: no common codec (488)"
    assert lines[2].split() == ["0", "ms", "matrix", "→", "m.call.invite"]
    assert lines[3].split() == ["250", "ms", "sip", "→", "486", "Busy", "Here", "(INVITE)"]
    assert lines[4] == "ended: busy (486), by sip; talked: not at all"
    assert lines[5] == "in words: The line is busy."
    assert lines[6] == "  mode none"


@pytest.mark.usefixtures("kept")
def test_a_full_ladder_has_the_messages(config: Path) -> None:
    assert "CSeq: 1" in run(config, "ladder", "a-2", "--full")
    assert "CSeq: 1" not in run(config, "ladder", "a-2")


@pytest.mark.usefixtures("kept")
def test_a_ladder_says_when_a_call_was_badly_heard_and_in_full_how_it_always_was(
    config: Path,
) -> None:
    bad = "from sip: 200 packets, 50 lost, 1 beyond, jitter 9 ms, round trip 80 ms: mos 2.5"
    brief, full = run(config, "ladder", "a-1"), run(config, "ladder", "a-1", "--full")
    assert bad in brief
    assert "from matrix" not in brief
    assert bad in full
    assert "from matrix: 250 packets, 0 lost, 0 beyond, jitter 2 ms: mos 4.4" in full
    assert "from sip: 0 packets\n" in full.replace(" \n", "\n")


@pytest.mark.usefixtures("kept")
def test_an_unknown_call_is_told_with_a_remedy(config: Path) -> None:
    result = CliRunner().invoke(commands, ["ladder", "b-9", "--config", str(config)])

    assert result.exit_code == 1
    assert "There is no call b-9." in result.output
    assert "matrix-sip calls" in result.output


def test_no_calls_yet(config: Path) -> None:
    assert run(config, "calls").split() == "when call from to trunk talked ended".split()
    result = CliRunner().invoke(commands, ["ladder", "--config", str(config)])
    assert "There has been no call yet." in result.output
