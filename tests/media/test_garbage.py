# SPDX-License-Identifier: GPL-3.0-or-later
"""The garbage collector and the packets."""

import gc
import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from bridge.app import run
from bridge.media import garbage
from bridge.media.workers import __main__ as template
from bridge.media.workers import process


@pytest.fixture
def loading() -> Iterator[None]:
    """Nothing is collected, as while everything is loaded."""
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def test_the_bridge_collects_when_all_is_loaded(
    loading: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    collects = []

    async def note(*_: object) -> None:
        collects.append(gc.isenabled())

    monkeypatch.setattr(run, "_run", note)
    nothing = cast(Any, None)
    run.run(nothing, nothing, nothing)
    assert collects == [True]


def test_a_worker_collects(loading: None, monkeypatch: pytest.MonkeyPatch) -> None:
    collects: list[object] = []
    monkeypatch.setattr(process, "serve", lambda _: collects.append(gc.isenabled()))
    monkeypatch.setattr(os, "_exit", collects.append)
    with socket.socket() as served:
        template._work(served)
    assert collects == [True, 0]


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
