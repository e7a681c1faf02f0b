# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing is done twice, and nothing is left out when its input has changed."""

import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

from scripts import debian, pjsua2_wheel, provision
from scripts.steps import StepError, Steps

LOCKS = {"build.txt": "pip==1", "runtime.txt": "aiohttp==1", "dev.txt": "pytest==1"}


class Recorder(Steps):
    """Steps whose commands only leave the marks that real ones would."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.commands: list[str] = []
        self.broken = ""

    def beside(self, name: str) -> Self:
        return self

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        line = " ".join(str(word) for word in command)
        self.commands.append(line)
        if self.broken and self.broken in line:
            raise StepError("broken")
        if " -m venv " in line:
            shutil.rmtree(command[-1], ignore_errors=True)
            (Path(command[-1]) / "bin").mkdir(parents=True)
            python = Path(command[-1]) / "bin/python"
            python.write_text("#!/bin/sh\n")
            python.chmod(0o755)
        if cwd and " ci " in line:
            (cwd / "node_modules").mkdir(exist_ok=True)

    def ran(self, part: str) -> int:
        return sum(part in command for command in self.commands)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that has nothing but its inputs."""
    (tmp_path / "requirements").mkdir()
    for name, content in {**LOCKS, "synapse.txt": "matrix-synapse==1"}.items():
        (tmp_path / "requirements" / name).write_text(content)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    browser = tmp_path / "tests/e2e/browser"
    browser.mkdir(parents=True)
    (browser / "package-lock.json").write_text("{}")
    monkeypatch.setattr(provision, "ROOT", tmp_path)
    monkeypatch.setattr(provision, "LOCKS", tmp_path / "requirements")
    monkeypatch.setattr(provision, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(provision, "SYNAPSE_VENV", tmp_path / ".venv-synapse")
    monkeypatch.setattr(provision, "BROWSER", browser)
    wheel = tmp_path / "pjsua2-2.17.whl"
    monkeypatch.setattr(pjsua2_wheel, "recipe_key", lambda: "recipe")
    monkeypatch.setattr(pjsua2_wheel, "ensure_wheel", lambda _steps: wheel)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(debian, "missing_packages", lambda _needs: [])
    monkeypatch.delenv(debian.ALREADY_INSTALLED, raising=False)
    return tmp_path


@pytest.fixture
def steps(tree: Path) -> Recorder:
    return Recorder(tree / "setup.log")


def set_up(steps: Recorder, goal: str) -> list[str]:
    steps.commands.clear()
    provision.make_venv(steps, provision.VENV)
    provision.fill(steps, goal)
    return steps.commands


@pytest.mark.parametrize("goal", provision.GOALS)
def test_the_second_time_no_command_is_run(steps: Recorder, goal: str) -> None:
    assert set_up(steps, goal)
    assert set_up(steps, goal) == []


def test_the_demo_needs_neither_a_browser_nor_the_tests_packages(steps: Recorder) -> None:
    set_up(steps, "demo")

    assert steps.ran("runtime.txt") == 1
    assert steps.ran("synapse.txt") == 1
    assert steps.ran("dev.txt") == 0
    assert steps.ran("npm") == 0
    assert not {need.package for need in provision.GOALS["demo"]} & {"chromium", "npm"}


def test_after_the_tests_the_demo_has_nothing_to_do(steps: Recorder) -> None:
    set_up(steps, "test")
    assert set_up(steps, "demo") == []


@pytest.mark.parametrize(
    ("changed", "command"),
    [
        ("requirements/dev.txt", "dev.txt"),
        ("requirements/build.txt", "build.txt"),
        ("requirements/synapse.txt", "synapse.txt"),
        ("tests/e2e/browser/package-lock.json", "npm ci"),
        ("pyproject.toml", "--editable"),
    ],
)
def test_what_has_changed_is_done_again(
    steps: Recorder, tree: Path, changed: str, command: str
) -> None:
    set_up(steps, "test")
    (tree / changed).write_text("changed")

    set_up(steps, "test")

    assert steps.ran(command) == 1
    assert set_up(steps, "test") == []


def test_a_new_recipe_is_a_new_pjsua2(steps: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(steps, "setup")
    monkeypatch.setattr(pjsua2_wheel, "recipe_key", lambda: "another")

    assert [" ".join(command.split()[-1:]) for command in set_up(steps, "setup")] == [
        str(provision.ROOT / "pjsua2-2.17.whl")
    ]


def test_what_failed_is_tried_again(steps: Recorder) -> None:
    steps.broken = "synapse.txt"
    with pytest.raises(StepError, match="Synapse, in its own environment: broken"):
        set_up(steps, "test")

    steps.broken = ""
    set_up(steps, "test")

    assert steps.ran("synapse.txt") == 1
    assert steps.ran("dev.txt") == 0


def test_what_needs_what_failed_is_not_tried_and_the_rest_is_done(steps: Recorder) -> None:
    steps.broken = "build.txt"
    with pytest.raises(StepError) as caught:
        set_up(steps, "test")

    assert str(caught.value) == "tools to build with: broken"
    assert steps.ran("npm ci") == 1
    for needing in ("dev.txt", "synapse.txt", "pjsua2", "--editable"):
        assert steps.ran(needing) == 0


def test_two_failures_are_both_told(steps: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    steps.broken = ".txt"
    monkeypatch.setattr(provision, "_install_tools", lambda _steps: None)
    with pytest.raises(StepError) as caught:
        set_up(steps, "test")

    assert "packages of requirements/dev.txt: broken" in str(caught.value)
    assert "Synapse, in its own environment: broken" in str(caught.value)


def test_the_tests_programs_are_installed_while_it_compiles(
    steps: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel is begun before they are there, and npm's packages wait for npm."""
    begun = threading.Event()

    def build(_steps: Steps) -> Path:
        begun.set()
        return Path("pjsua2-2.17.whl")

    def install(_steps: Steps, needs: tuple[debian.Need, ...], *, name: str) -> None:
        assert begun.wait(timeout=20), "the wheel waits for programs that it does not need"
        steps.commands.append(f"apt-get install {' '.join(need.package for need in needs)}")

    monkeypatch.setattr(pjsua2_wheel, "ensure_wheel", build)
    monkeypatch.setattr(debian, "install_missing", install)

    commands = set_up(steps, "test")

    (programs,) = (command for command in commands if command.startswith("apt-get"))
    assert "npm" in programs.split()
    assert "swig" not in programs.split()
    npm = next(command for command in commands if " ci " in command)
    assert commands.index(programs) < commands.index(npm)


def test_a_person_without_root_is_asked_for_a_password_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "chromium" not in {need.package for need in provision.first_needs("test")}
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert {*debian.TEST} <= {*provision.first_needs("test")}


def test_an_environment_whose_python_is_gone_is_made_anew(steps: Recorder, tree: Path) -> None:
    set_up(steps, "setup")
    python = tree / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/usr/bin/python3.99")

    set_up(steps, "setup")

    assert steps.ran("-m venv") == 1
    assert steps.ran("dev.txt") == 1


def test_packages_are_only_installed_with_their_hashes(steps: Recorder) -> None:
    set_up(steps, "test")

    installs = [command for command in steps.commands if " install " in command]
    assert installs
    assert [c for c in installs if "--require-hashes" not in c and "--no-index" not in c] == []


def test_a_failure_is_told_without_a_traceback(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise StepError("this is not Debian")

    monkeypatch.setattr(provision, "LOG", tree / "setup.log")
    monkeypatch.setattr(debian, "install_missing", refuse)
    monkeypatch.setattr("sys.argv", ["setup", "test"])

    assert provision.main() == 1
    assert "setup: this is not Debian" in capsys.readouterr().err
