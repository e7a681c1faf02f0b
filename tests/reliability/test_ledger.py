# SPDX-License-Identifier: GPL-3.0-or-later
"""What was placed, beside what is on record."""

import random
from dataclasses import replace

import pytest

from reliability.ledger import Placed, compare
from reliability.plan import Ending, Planner, Way
from tests.simulators.bridge_process import Record

PLANNED = replace(Planner(random.Random(1)).steady(Way.OUT), ending=Ending.CALLER_LEAVES, number=5)
RECORD = Record(
    call="n-1",
    direction="to_sip",
    person="@ann:mx.test",
    address="tel:+12025550100",
    trunk="pbx",
    started_at=1000.0,
    answered_at=1002.0,
    ended_at=1010.0,
    matrix_call_id="m1",
    cause="normal",
    status=0,
    ended_by="matrix",
    statistics={},
    sip_call_id="s1",
)


def placed() -> Placed:
    return Placed(
        planned=PLANNED,
        at=0.0,
        matrix_call="m1",
        sip_call="s1",
        answered_at=2.0,
        ended_at=10.5,
    )


def test_a_record_that_is_right() -> None:
    assert compare([placed()], [RECORD]).differences == ()


@pytest.mark.parametrize(
    ("records", "difference"),
    [
        ([], "call 5 has 0 records"),
        ([RECORD, replace(RECORD, call="n-2")], "call 5 has 2 records"),
        ([replace(RECORD, direction="to_matrix")], "its direction is to_matrix"),
        ([replace(RECORD, ended_at=None)], "it has no end"),
        ([replace(RECORD, cause="error")], "ended for error by matrix, not for normal by matrix"),
        ([replace(RECORD, ended_by="sip")], "ended for normal by sip"),
        ([replace(RECORD, answered_at=None)], "not answered"),
        ([replace(RECORD, ended_at=1030.0)], "was talked in for 28.0 s, not 8.5 s"),
    ],
)
def test_what_differs_is_told(records: list[Record], difference: str) -> None:
    (told,) = compare([placed()], records).differences
    assert difference in told


def test_a_record_of_nothing_is_told() -> None:
    stray = replace(RECORD, call="n-9", matrix_call_id="m9", sip_call_id=None)
    (told,) = compare([placed()], [RECORD, stray]).differences
    assert "n-9" in told


def test_a_call_that_never_came_to_matrix_is_known_by_its_sip_name() -> None:
    call = placed()
    call.matrix_call, call.causes, call.answered_at = "", ("no_resources",), None
    refused = replace(RECORD, matrix_call_id=None, cause="no_resources", answered_at=None)
    assert compare([call], [refused]).differences == ()
    (told,) = compare([call], [replace(refused, cause="trunk_down")]).differences
    assert "trunk_down, not no_resources" in told


def test_a_call_that_may_go_anyhow_has_an_end_if_it_has_a_record() -> None:
    call = placed()
    call.anyhow = True
    assert compare([call], []).differences == ()
    assert compare([call], [replace(RECORD, cause="error")]).differences == ()
    assert compare([call], [replace(RECORD, ended_at=None)]).differences
