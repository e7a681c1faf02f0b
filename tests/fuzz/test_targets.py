# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of `make fuzz`, each with some inputs, always the same ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.targets import TARGETS


def test_no_input_is_too_odd_for_any_target(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--runs", "100", "--seed", "1"]
    command += ["--left", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.findall(r"^--- (\w+)", done.stderr, re.MULTILINE) == list(TARGETS)
    runs = re.findall(r"number_of_executed_units: (\d+)", done.stderr)
    assert len(runs) == len(TARGETS)
    assert all(int(each) >= 100 for each in runs)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_raised_is_not_passed_over(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("something")

    for each in ("parse", "parse_message", "Streams", "IceConnection"):
        monkeypatch.setattr(targets, each, fail)
    with pytest.raises(KeyError):
        TARGETS[name].feed(TARGETS[name].seeds[0])
