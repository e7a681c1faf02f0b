# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as growth, and as falling short."""

import random
from dataclasses import replace

from rich.console import Console

from reliability.ledger import Account, Placed
from reliability.plan import Planner, Way
from reliability.verdict import Verdict, judge_calls, judge_growth, judge_log, judge_records
from reliability.watch import Sample, growth

SAMPLE = Sample(
    at=0.0, memory_mb=200.0, files=60, threads=15, tasks=11, workers=2, calls=0, cpu_s=1.0
)


def _grown(**changes: float) -> dict[str, bool]:
    rests = [SAMPLE, SAMPLE, replace(SAMPLE, **changes)]  # type: ignore[arg-type]
    return {each.what: each.good for each in growth(rests, 100)}


def test_what_stays_does_not_grow() -> None:
    assert set(_grown().values()) == {True}
    assert set(_grown(memory_mb=209.0, files=63, tasks=14).values()) == {True}


def test_what_grows_is_told() -> None:
    assert not _grown(memory_mb=215.0)["memory, MB"]
    assert not _grown(files=70)["file descriptors"]
    assert not _grown(tasks=30)["tasks"]
    assert not _grown(threads=17)["threads"]


def test_growth_is_told_for_a_thousand_calls() -> None:
    rests = [SAMPLE, SAMPLE, replace(SAMPLE, memory_mb=202.0)]
    assert growth(rests, 500)[0].trend == 4.0


def test_caches_may_fill_at_first() -> None:
    rests = [SAMPLE, replace(SAMPLE, memory_mb=250.0), replace(SAMPLE, memory_mb=251.0)]
    assert growth(rests, 100)[0].good


def test_one_shortcoming_is_enough() -> None:
    call = Placed(planned=Planner(random.Random(1)).steady(Way.IN), at=0.0)
    verdict = Verdict("test")
    judge_calls(verdict, [call])
    judge_records(verdict, Account(1, 1, ()))
    judge_growth(verdict, growth([SAMPLE, SAMPLE], 1))
    judge_log(verdict, '{"level": "info"}')
    assert verdict.good
    console = Console(record=True, width=200)
    call.lost, call.troubles = True, ["gone"]
    bad = Verdict("test", list(verdict.lines))
    judge_calls(bad, [call])
    assert not bad.good
    bad.show(console)
    assert "1 placed, 0 connected, 1 lost" in console.export_text()


def test_errors_of_the_log_count_unless_they_are_due() -> None:
    log = '{"event": "worker died", "level": "error"}'
    due, undue = Verdict("due"), Verdict("undue")
    judge_log(due, log, expected=["worker died"])
    judge_log(undue, log)
    assert (due.good, undue.good) == (True, False)


def test_nothing_judged_is_not_good() -> None:
    assert not Verdict("test").good
