# SPDX-License-Identifier: GPL-3.0-or-later
"""How long Hypothesis searches: `HYPOTHESIS_PROFILE=deep pytest tests/call` for a long search.

The usual one tries the same examples each time; `thorough` others, and more of them.
A busy machine is no failure, so nothing here has a deadline.

What is loaded stays, so nobody looks for garbage in it: not meanwhile, and not afterwards.
"""

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

gc.disable()

_SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)

settings.register_profile(
    "ci",
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=_SLOW,
)
settings.register_profile(
    "thorough", max_examples=500, stateful_step_count=50, deadline=None, suppress_health_check=_SLOW
)
settings.register_profile(
    "deep", max_examples=4000, stateful_step_count=80, deadline=None, suppress_health_check=_SLOW
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long search takes its time."""
    if os.environ.get("HYPOTHESIS_PROFILE") == "deep":
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent / "call"):
                item.add_marker(pytest.mark.timeout(0))


def pytest_collection_finish() -> None:
    """From now on garbage is looked for in what tests make."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """What a test does to the log is over with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.is_configured():
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        structlog.reset_defaults()
