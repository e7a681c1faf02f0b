# SPDX-License-Identifier: GPL-3.0-or-later
"""The E-model's judgement, and what becomes of it in a call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import Side
from bridge.call.quality import Measured, flows, mos, rating
from tests.call.desk import CALL, OUT, Desk

GOOD = Measured(packets=250, sent=250, reports=1, round_trip_ms=40.0)


@pytest.mark.parametrize(
    ("delay", "lost", "score"),
    [
        (50, 0.0, 4.41),  # The best that there is on this scale (G.107 annex B).
        (150, 0.0, 4.41),
        (250, 0.0, 4.18),
        (400, 0.0, 3.56),
        (50, 0.01, 4.33),
        (50, 0.05, 3.92),
        (50, 0.20, 2.63),
        (50, 1.0, 1.18),
        (5000, 1.0, 1.0),
    ],
)
def test_delay_and_loss_make_it_worse(delay: float, lost: float, score: float) -> None:
    assert mos(rating(delay, lost)) == pytest.approx(score, abs=0.01)


@given(st.floats(0, 10_000), st.floats(0, 1), st.floats(0, 1000), st.floats(0, 0.5))
def test_more_of_them_never_makes_it_better(
    delay: float, lost: float, later: float, more: float
) -> None:
    before = mos(rating(delay, lost))
    after = mos(rating(delay + later, min(1.0, lost + more)))
    assert 1.0 <= after <= before + 0.01 <= 4.52


def test_a_direction_is_judged_by_both_its_ways() -> None:
    reported = Measured(packets=250, sent=250, far_lost=25, far_jitter_ms=3.0, round_trip_ms=300.0)
    by_side = flows({Side.MATRIX: GOOD, Side.SIP: reported})
    assert by_side[Side.MATRIX].lost_beyond == 25
    assert by_side[Side.MATRIX].round_trip_ms == 40.0
    assert by_side[Side.SIP].round_trip_ms == 300.0
    to_sip, to_matrix = by_side[Side.MATRIX].mos, by_side[Side.SIP].mos
    assert to_sip is not None
    assert to_matrix is not None
    assert to_sip < 3.5 < 4.2 < to_matrix


def test_of_nothing_nothing_is_said() -> None:
    assert flows({Side.MATRIX: Measured(), Side.SIP: Measured(sent=5)})[Side.SIP].mos is None


def test_a_call_is_measured_until_it_ends() -> None:
    desk = Desk()
    desk.connected_to_the_phone()
    bad = Measured(packets=200, lost=50, sent=250)
    desk.tell(e.MediaMeasured(call=CALL, matrix=GOOD, sip=GOOD))
    desk.tell(e.MediaMeasured(call=CALL, matrix=Measured(sent=200), sip=bad))
    record = desk.recorded(c.RecordQuality)
    assert record.sip.lost == 50
    assert record.matrix.mos is None
    assert desk.core.active()[0].flows == {Side.MATRIX: record.matrix, Side.SIP: record.sip}
    desk.person_hangs_up()
    desk.expect_all(c.ByeSip, c.CloseMedia)
    desk.tell(e.MediaMeasured(call=CALL, matrix=GOOD, sip=GOOD))
    assert desk.recorded(c.RecordQuality) is record
    desk.phone_ends(OUT)
    desk.tell(e.MediaClosed(call=CALL, statistics={"mode": "relay"}))
    statistics = desk.recorded(c.RecordStatistics).statistics
    assert statistics["mode"] == "relay"
    assert (
        statistics["matrix_mos"] == statistics["matrix_mos_least"] == pytest.approx(4.41, abs=0.01)
    )
    assert statistics["sip_mos_least"] == record.sip.mos
    assert float(statistics["sip_mos"]) > float(statistics["sip_mos_least"])
    desk.is_over("normal", "matrix")
