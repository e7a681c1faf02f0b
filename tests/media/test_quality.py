# SPDX-License-Identifier: GPL-3.0-or-later
"""How speech sounds behind the bridge: PESQ of what comes out, by the benchmark's own measure."""

from functools import cache

import pytest

from benchmarks.quality import BEYOND, CLEAN, LOSSY, RATE, Condition, measure
from bridge.sdp.codecs import G722, OPUS, PCMA, PCMU, Codec
from tests.simulators.audio import Samples, speechlike


@cache
def voice() -> Samples:
    """Two words and the pauses after them."""
    return speechlike(4, RATE)


@pytest.mark.parametrize("condition", [CLEAN, LOSSY], ids=lambda each: each.name)
@pytest.mark.parametrize("codec", [OPUS, PCMA], ids=str)
def test_relay_changes_nothing(codec: Codec, condition: Condition) -> None:
    score = measure(codec, codec, voice(), condition)
    assert score.bridge == pytest.approx(score.alone, abs=0.05)
    assert score.bridge > 2


@pytest.mark.parametrize("condition", [CLEAN, LOSSY, BEYOND], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("source", "target"),
    [(OPUS, PCMU), (PCMA, OPUS), (OPUS, G722), (G722, OPUS), (G722, PCMA)],
    ids=str,
)
def test_transcoding_costs_what_coding_once_more_must(
    source: Codec, target: Codec, condition: Condition
) -> None:
    score = measure(source, target, voice(), condition)
    # Until it has learnt how long to wait, a few late packets are taken for lost, too.
    assert score.difference > (-0.2 if condition is LOSSY else -0.15)
    assert score.bridge > 1.8
