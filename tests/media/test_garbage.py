# SPDX-License-Identifier: GPL-3.0-or-later
"""The garbage collector and the packets."""

import gc

from bridge.media import garbage


def test_the_collector_is_told_what_will_stay() -> None:
    try:
        garbage.freeze()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_pauses_are_measured() -> None:
    pauses = garbage.Pauses()
    pauses.watch()
    try:
        assert pauses.longest == 0
        gc.collect()
        assert pauses.longest > 0
    finally:
        pauses.stop()
    longest = pauses.longest
    gc.collect()
    assert pauses.longest == longest
