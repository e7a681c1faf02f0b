# SPDX-License-Identifier: GPL-3.0-or-later
"""`make`'s targets, and the shell scripts behind them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.toolchain.conftest import Pretend

ROOT = Path(__file__).resolve().parents[2]
SHELL = sorted(
    path
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci/run"]
    if path.is_file() and re.match(rb"#!/bin/(ba)?sh\b", path.read_bytes())
)


def make(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_make_alone_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    listed = re.findall(r"^  make (\S+)", make(), re.MULTILINE)
    assert sorted(listed) == sorted(set(phony[1].split()) - {"help"} | {"help"})


@pytest.mark.parametrize("target", ["demo", "test", "e2e"])
def test_targets_set_up_what_they_need_first(target: str) -> None:
    first = make("--dry-run", target).splitlines()[0]
    assert first == f"scripts/setup {'demo' if target == 'demo' else 'test'}"


def test_the_demo_can_end_by_itself() -> None:
    assert make("--dry-run", "demo").splitlines()[-1].strip().endswith("-m demo")
    assert make("--dry-run", "demo", "ONCE=1").splitlines()[-1].endswith("-m demo --once")


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_a_script_can_be_run_and_parsed(script: Path) -> None:
    shell = script.read_text().splitlines()[0].removeprefix("#!")
    assert os.access(script, os.X_OK)
    subprocess.run([shell, "-n", script], check=True)


def test_a_check_that_fails_is_shown_and_the_others_run(tmp_path: Path, pretend: Pretend) -> None:
    tools = tmp_path / "tree/.venv/bin"
    tools.mkdir(parents=True)
    (tmp_path / "tree/scripts").mkdir()
    script = tmp_path / "tree/scripts/check"
    script.write_bytes((ROOT / "scripts/check").read_bytes())
    script.chmod(0o755)
    for name, body in {
        "ruff": "echo All good",
        "mypy": "echo 'a.py:1: error: no'; exit 1",
        "lint-imports": "echo Contracts: 2 kept",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)

    done = subprocess.run([script], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "  ruff check ... All good",
        "  ruff format ... All good",
        "  mypy --strict ... FAILED: mypy bridge tests scripts",
        "  | a.py:1: error: no",
        "  imports ... Contracts: 2 kept",
    ]
    assert done.stderr == "check: failed: mypy --strict\n"


def test_options_are_for_one_pytest(tmp_path: Path) -> None:
    """Without any it is the whole suite, which brings the checks along."""
    tools = tmp_path / ".venv/bin"
    tools.mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts/test"
    script.write_bytes((ROOT / "scripts/test").read_bytes())
    script.chmod(0o755)
    (tools / "python").write_text('#!/bin/sh\necho "$*"\n')
    (tools / "python").chmod(0o755)

    whole = subprocess.run([script], capture_output=True, text=True, check=True).stdout
    one = subprocess.run([script, "-k", "a name"], capture_output=True, text=True, check=True)

    assert whole == "-m scripts.suite\n"
    assert one.stdout.startswith("-m pytest ")
    assert one.stdout.endswith(" -k a name\n")
    assert "scripts/check" not in make("--dry-run", "test")
    assert make("--dry-run", "test", "ARGS=-k name").splitlines()[1:] == [
        "scripts/check",
        "scripts/test -k name",
    ]


@pytest.mark.parametrize(
    ("closings", "status"),
    [
        (["===== 5 passed in 1.23s =====", "== 7 passed in 2.00s ==", "total: 12 passed"], 0),
        (["== 1 failed, 4 passed in 61.02s (0:01:01) =="], 2),
    ],
)
def test_continuous_integration_repeats_pytests_closing_lines(
    closings: list[str], status: int, pretend: Pretend
) -> None:
    told = "; ".join(f"echo '{line}'" for line in closings)
    pretend("make", f"echo making $*; echo 'e2e | = 9 passed in 1s ='; {told}; exit {status}")

    done = subprocess.run([ROOT / ".ci/run"], capture_output=True, text=True, check=False)

    lines = done.stdout.splitlines()
    assert lines[:2] == ["making test", "e2e | = 9 passed in 1s ="]
    assert lines[2:-1] == closings * 2
    assert lines[-1].startswith(f"make test ended with status {status} after ")
    assert done.returncode == status
