# SPDX-License-Identifier: GPL-3.0-or-later
"""Every cause is somebody's doing."""

from bridge.call.causes import Cause
from bridge.call.outcomes import Outcome, causes_of, outcome_of


def test_every_cause_has_one_outcome_and_every_outcome_has_causes() -> None:
    assert {outcome_of(cause) for cause in Cause} == set(Outcome)
    together = [cause for outcome in Outcome for cause in causes_of(outcome)]
    assert sorted(each.value for each in together) == sorted(each.value for each in Cause)
