# SPDX-License-Identifier: GPL-3.0-or-later
"""Only what is missing is installed, and where that cannot be done a person is told how."""

import shutil
import sys
from pathlib import Path

import pytest

from scripts import debian
from scripts.debian import Need
from scripts.steps import StepError, Steps
from tests.toolchain.conftest import Pretend

NEEDS = (Need("there"), Need("absent"), Need("removed"), Need("shell", command="sh"))
DPKG_QUERY = "echo 'there installed'; echo 'removed config-files'; echo no absent >&2; exit 1"


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.delenv(debian.ALREADY_INSTALLED, raising=False)
    return Steps(tmp_path / "setup.log")


@pytest.fixture
def apt(pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """A Debian where nothing is really installed."""
    pretend("dpkg-query", DPKG_QUERY)
    pretend("apt-get", 'echo "apt-get $*, $DEBIAN_FRONTEND"')
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return pretend


@pytest.mark.usefixtures("apt")
def test_what_is_installed_or_stood_in_for_is_not_missing() -> None:
    assert debian.missing_packages(NEEDS) == ["absent", "removed"]
    assert debian.missing_packages((Need("shell", command="sh"),)) == []


@pytest.mark.usefixtures("apt")
def test_only_the_missing_packages_are_installed(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    debian.install_missing(steps, NEEDS)

    installing = steps.log.read_text().splitlines()[-1]
    assert installing.endswith(
        "install --yes --no-install-recommends absent removed, noninteractive"
    )
    assert "system packages (2 missing: absent removed)" in capsys.readouterr().out


@pytest.mark.usefixtures("apt")
def test_apt_is_left_alone_when_nothing_is_missing(steps: Steps) -> None:
    debian.install_missing(steps, (Need("there"),))
    assert steps.log.read_text() == ""


def test_a_failing_apt_is_quoted(steps: Steps, apt: Pretend) -> None:
    apt("apt-get", "echo 'E: no network'; exit 100")

    with pytest.raises(StepError, match="E: no network"):
        debian.install_missing(steps, NEEDS)


def test_sudo_is_used_by_anybody_but_root(
    steps: Steps, apt: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    apt("sudo", 'shift; [ "$1" = true ] || { echo "as root: $*"; exec "$@"; }')

    debian.install_missing(steps, NEEDS)

    assert "as root: env DEBIAN_FRONTEND=noninteractive apt-get" in steps.log.read_text()


def test_without_a_right_to_install_the_command_is_shown(
    steps: Steps, apt: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    apt("sudo", "exit 1")

    wanted = "as root: apt-get install --no-install-recommends absent removed"
    with pytest.raises(StepError, match=wanted):
        debian.install_missing(steps, NEEDS)


def test_elsewhere_than_on_debian_everything_to_install_is_listed(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    with pytest.raises(StepError) as caught:
        debian.install_missing(steps, NEEDS)
    assert "SYSTEM_PACKAGES=present" in str(caught.value)
    assert str(caught.value).endswith("there absent removed shell")

    monkeypatch.setenv("SYSTEM_PACKAGES", "present")
    debian.install_missing(steps, NEEDS)


def test_debians_python_gets_what_debian_splits_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/usr/bin/python3")
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    version = f"python3.{sys.version_info.minor}"
    packages = [need.package for need in debian.needs_of_python()]
    assert packages == [f"{version}-venv", f"{version}-dev"]

    (tmp_path / "ensurepip").mkdir()
    (tmp_path / "Python.h").touch()
    assert debian.needs_of_python() == ()


def test_another_python_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/opt/python/bin/python3")
    assert debian.needs_of_python() == ()
