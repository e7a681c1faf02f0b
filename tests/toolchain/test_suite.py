# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole run is good only if each of its parts was; one covers what has to be."""

import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts import suite
from scripts.suite import AT_ONCE, Manner, Part

GOOD = "===== 5 passed, 1 skipped in 1.23s ====="
BAD = "======= 1 failed, 2 passed, 1 error in 61.02s (0:01:01) ======="


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with nothing in it."""
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    return tmp_path


def says(name: str, text: str, status: int = 0, manner: Manner = Manner.BUSY) -> Part:
    return Part(name, ("sh", "-c", f"printf '%s\\n' '{text}'; exit {status}"), manner)


async def play(monkeypatch: pytest.MonkeyPatch, *parts: Part) -> int:
    monkeypatch.setattr(suite, "parts", lambda: [*parts])
    return await suite.main()


async def test_each_line_has_the_name_of_its_part(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    status = await play(
        monkeypatch,
        says("check", "mypy ... good", manner=Manner.POLITE),
        says("e2e", f"one\n{GOOD}"),
    )

    lines = capfd.readouterr().out.splitlines()
    assert {"check | mypy ... good", "e2e   | one", f"e2e   | {GOOD}"} <= set(lines)
    assert lines[lines.index("e2e: good, after 0 s") + 1] == GOOD
    assert "total: 5 passed, 0 failed, 1 skipped" in lines
    assert re.fullmatch(r"all good, after \d+ s \(\d+ s of processor time\)", lines[-1])
    assert status == 0


async def test_one_part_that_fails_fails_the_run_and_its_reasons_are_repeated(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failing = says("rest", f"FAILED tests/a.py::one - assert 0\n{BAD}", 1)
    check = says("check", "  ruff check ... FAILED: ruff\n  | a.py:1 no", 1)

    status = await play(monkeypatch, says("e2e", GOOD), failing, check)

    printed = capfd.readouterr().out
    summary = printed[printed.index("\n\n") :]
    assert "rest: FAILED, status 1, after 0 s\nFAILED tests/a.py::one - assert 0\n" in summary
    assert f"assert 0\n{BAD}\n" in summary
    assert "check: FAILED, status 1, after 0 s\n  ruff check ... FAILED: ruff\n" in summary
    assert "total: 7 passed, 2 failed, 1 skipped" in summary
    assert summary.splitlines()[-1].startswith("FAILED, after ")
    assert status == 1


async def test_a_part_that_was_killed_fails_the_run(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    killed = Part("e2e", ("sh", "-c", "kill -KILL $$"))

    assert await play(monkeypatch, killed) == 1
    assert "e2e: FAILED, status -9" in capfd.readouterr().out


async def test_the_core_has_to_be_covered(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("bridge/sdp", "bridge/call", "tests"):
        (tree / name).mkdir(parents=True)
        (tree / name / "__init__.py").touch()
    (tree / "bridge/call/one.py").write_text(
        "def one(a):\n    if a:\n        return 1\n    return 2\n"
    )
    case = "from bridge.call.one import one\n\ndef test_it():\n    assert one(True) == 1\n"
    (tree / "tests/test_it.py").write_text(case)
    (tree / "pyproject.toml").write_text(
        "[tool.coverage.run]\nbranch = true\n[tool.pytest.ini_options]\npythonpath = ['.']\n"
    )
    for name in [each for each in os.environ if each.startswith(("COV_CORE_", "COVERAGE_"))]:
        monkeypatch.delenv(name)
    (measured,) = (part for part in suite.parts() if "--cov-fail-under=100" in part.command)
    options = [word for word in measured.command if word.startswith("--cov")]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    core = Part("core", (sys.executable, "-m", "pytest", "-p", "pytest_cov", *options))

    assert await play(monkeypatch, core) == 1
    printed = capfd.readouterr().out
    assert "core: FAILED, status 1" in printed
    assert "one.py" in printed
    assert printed.count("FAIL Required test coverage of 100% not reached") == 2


@pytest.mark.parametrize("manner", Manner)
async def test_no_more_parts_run_at_once_than_there_is_room_for(
    tree: Path, monkeypatch: pytest.MonkeyPatch, manner: Manner
) -> None:
    """Each leaves a mark while it runs, and tells how many marks it saw."""
    look = "touch $0.on; ls *.on | wc -l >$0.saw; sleep 0.2; rm $0.on"
    six = [Part(f"p{n}", ("sh", "-c", look, f"p{n}"), manner) for n in range(6)]
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    await play(monkeypatch, *six)

    saw = [int((tree / f"p{n}.saw").read_text()) for n in range(6)]
    assert max(saw) == AT_ONCE[manner]


def test_every_test_is_in_one_part() -> None:
    """All folders that a part is for are left out by the one for the rest."""
    pytests = [part.command[3:] for part in suite.parts() if "pytest" in part.command]
    (rest,) = (words for words in pytests if "tests" in words)
    left_out = {word.removeprefix("--ignore=") for word in rest if word.startswith("--ignore=")}
    named = Counter(word for words in pytests for word in words if word.startswith("tests/"))
    marked = [
        (word, words[words.index("-m") + 1])
        for words in pytests
        if "-m" in words
        for word in words
        if word.startswith("tests/")
    ]

    assert left_out == {*named}
    assert [name for name in named if not (suite.ROOT / name).exists()] == []
    # A folder in two parts is in one with a mark, and in the other without it.
    halves = {(folder, f"not {mark}") for folder, mark in marked if not mark.startswith("not ")}
    assert halves == {pair for pair in marked if pair[1].startswith("not ")}
    assert {name: 2 for name, _ in halves} == {name: n for name, n in named.items() if n > 1}


@pytest.mark.parametrize(
    ("line", "closing"),
    [
        (GOOD, True),
        (BAD, True),
        ("============ no tests ran in 0.01s ============", True),
        ("======= test session starts =======", False),
        ("=========== FAILURES ===========", False),
    ],
)
def test_closing_lines_are_told_from_others(line: str, closing: bool) -> None:
    assert bool(suite._CLOSING.fullmatch(line)) == closing
