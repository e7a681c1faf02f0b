# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faults there are, and which of them come together."""

import random

from reliability.chaos import together
from reliability.faults import FAULTS


def test_faults_have_names_of_their_own() -> None:
    assert len(FAULTS) == 13
    assert all(name == fault.name and fault.what for name, fault in FAULTS.items())


def test_several_together_are_of_different_parts() -> None:
    chance, faults = random.Random(1), [fault() for fault in FAULTS.values()]
    for _ in range(50):
        chosen = together(faults, chance)
        assert len(chosen) in (2, 3)
        assert len({type(fault).__module__ for fault in chosen}) == len(chosen)
        assert all(fault.mixes for fault in chosen)


def test_the_same_seed_has_the_same_together() -> None:
    faults = [fault() for fault in FAULTS.values()]
    assert together(faults, random.Random(4)) == together(faults, random.Random(4))


def test_one_alone_comes_with_none() -> None:
    assert len(together([FAULTS["flood"]()], random.Random(1))) == 1
