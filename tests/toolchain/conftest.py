# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that only pretend, in front of the real ones."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Pretend = Callable[[str, str], None]


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Put a shell script into PATH under the name of a command."""
    place = tmp_path / "commands"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")

    def make(name: str, script: str) -> None:
        (place / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / name).chmod(0o755)

    return make
