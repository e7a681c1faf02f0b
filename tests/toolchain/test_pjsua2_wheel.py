# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheel is built once for what decides how it comes out, and the one installed is good."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import debian, pjsua2_changes, pjsua2_recipe, pjsua2_source, pjsua2_wheel
from scripts.pjsua2_changes import Change
from scripts.pjsua2_source import Source
from scripts.steps import StepError, Steps
from tests.toolchain.conftest import Pretend


class Builder:
    """Stands for the minutes of compiling: its wheels hold a module that says what it is told."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.built = 0
        self.version = "2.17"
        self.calls = 1024
        self.ipv6 = True

    def fetch(self, _steps: Steps, work: Path) -> Source:
        return Source(work, self.version, f"{self.built:064}", "somewhere")

    def build(self, _steps: Steps, _tree: Path, version: str) -> Path:
        self.built += 1
        wheel = self.place / f"pjsua2-{version}-cp311-cp311-linux_x86_64.whl"
        module = f"""
import _ssl
class _Facts:
    full = {version!r}
    maxCalls = {self.calls}
    ipv6Use = {int(self.ipv6)}
    uaConfig = sipConfig = property(lambda self: self)
    libVersion = lambda self: self
Endpoint = EpConfig = AccountConfig = _Facts
PJSUA_IPV6_DISABLED = 0
_pjsua2 = _ssl
"""
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("pjsua2.py", module)
        return wheel


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    made = Builder(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pjsua2_source, "fetch", made.fetch)
    monkeypatch.setattr(pjsua2_recipe, "build", made.build)
    libraries = "libssl.so.3 libopus.so.0"
    monkeypatch.setattr(
        pjsua2_recipe, "output_of", lambda command, env=None: _output(command, env, libraries)
    )
    return made


def _output(command: list[str], env: dict[str, str] | None, libraries: str) -> str:
    if command[0] == "ldd":
        return libraries
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path / "build.log")


def test_the_second_time_it_comes_from_the_cache(builder: Builder, steps: Steps) -> None:
    first = pjsua2_wheel.ensure_wheel(steps)
    second = pjsua2_wheel.ensure_wheel(steps)

    assert first == second
    assert builder.built == 1
    facts = json.loads((first.parent / "facts.json").read_text())
    assert (facts["version"], facts["calls"], facts["origin"]) == ("2.17", 1024, "somewhere")


def test_it_can_be_built_again_from_a_newer_source(builder: Builder, steps: Steps) -> None:
    old = pjsua2_wheel.ensure_wheel(steps)
    builder.version = "2.18"

    new = pjsua2_wheel.ensure_wheel(steps, fresh=True)

    assert (old.name.split("-")[1], new.name.split("-")[1]) == ("2.17", "2.18")
    assert pjsua2_wheel.ensure_wheel(steps) == new


def test_it_is_copied_to_where_it_is_wanted(
    builder: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = tmp_path / "new" / "dist"
    monkeypatch.setattr("sys.argv", ["build-pjsua2", "--copy-to", str(wanted)])

    assert pjsua2_wheel.main() == 0

    (copy,) = wanted.iterdir()
    assert capsys.readouterr().out.splitlines()[-1] == str(copy)
    assert builder.built == 1


def test_without_a_compiler_it_says_what_to_install(
    builder: Builder, steps: Steps, monkeypatch: pytest.MonkeyPatch, pretend: Pretend
) -> None:
    pretend("dpkg-query", "exit 1")
    monkeypatch.setattr(debian, "missing_packages", lambda _needs: ["swig", "libssl-dev"])

    wanted = "as root: apt-get install --no-install-recommends swig libssl-dev"
    with pytest.raises(StepError, match=wanted):
        pjsua2_wheel.ensure_wheel(steps)
    assert builder.built == 0


def test_without_setuptools_it_says_what_to_install(
    builder: Builder, steps: Steps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(debian, "missing_packages", lambda _needs: [])
    monkeypatch.setattr("sys.executable", str(python))

    with pytest.raises(StepError, match=r"python cannot make wheels; pip install 'setuptools"):
        pjsua2_wheel.ensure_wheel(steps)
    assert builder.built == 0


def test_another_recipe_is_another_wheel(
    builder: Builder, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pjsua2_wheel.ensure_wheel(steps)
    changed = tmp_path / "config_site.h"
    changed.write_text("#define PJSUA_MAX_CALLS 2048\n")
    monkeypatch.setattr(pjsua2_recipe, "FILES", (changed,))

    pjsua2_wheel.ensure_wheel(steps)

    assert builder.built == 2


def test_another_python_or_system_is_another_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {pjsua2_wheel.recipe_key()}
    with monkeypatch.context() as patch:
        patch.setattr("sysconfig.get_config_var", lambda _name: "cpython-399-x86_64-linux-gnu")
        keys.add(pjsua2_wheel.recipe_key())
    with monkeypatch.context() as patch:
        patch.setattr("platform.machine", lambda: "riscv64")
        keys.add(pjsua2_wheel.recipe_key())
    with monkeypatch.context() as patch:
        patch.setattr("platform.freedesktop_os_release", lambda: {"ID": "other"})
        keys.add(pjsua2_wheel.recipe_key())
    assert len(keys) == 4


def test_a_wheel_that_is_not_what_was_wanted_is_not_kept(builder: Builder, steps: Steps) -> None:
    builder.calls = 4

    with pytest.raises(StepError, match=r"check the wheel: .* it allows 4 calls, not 1024"):
        pjsua2_wheel.ensure_wheel(steps)

    builder.calls, builder.ipv6 = 1024, False
    with pytest.raises(StepError, match=r"check the wheel: .* it has no IPv6"):
        pjsua2_wheel.ensure_wheel(steps)

    builder.ipv6 = True
    pjsua2_wheel.ensure_wheel(steps)
    assert builder.built == 3


@pytest.mark.parametrize(
    ("libraries", "complaint"),
    [
        ("libssl.so.1.1 libopus.so", "not linked to OpenSSL 3"),
        ("libssl.so.3 libopus.so libsrtp2.so", "an SRTP of its own"),
        ("libssl.so.3", "Opus"),
        ("libssl.so.3 libopus.so => not found", "is missing"),
    ],
)
def test_what_it_is_linked_to_counts(
    libraries: str,
    complaint: str,
    tmp_path: Path,
    builder: Builder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        pjsua2_recipe, "output_of", lambda command, env=None: _output(command, env, libraries)
    )
    wheel = builder.build(Steps(tmp_path / "log"), tmp_path, "2.17")

    with pytest.raises(StepError, match=complaint):
        pjsua2_recipe.check(wheel, tmp_path / "probe", "2.17")


def test_debians_missing_driver_is_dropped_only_where_it_is_missing(tmp_path: Path) -> None:
    makefile = tmp_path / "pjmedia/build/Makefile"
    makefile.parent.mkdir(parents=True)
    sources = tmp_path / "pjmedia/src"
    sources.mkdir()
    makefile.write_text("OBJS += alsa_dev.o bdimad_dev.o null_dev.o\n")
    (sources / "bdimad_dev.c").touch()

    pjsua2_recipe.drop_missing_driver(tmp_path)
    assert "bdimad_dev.o" in makefile.read_text()

    (sources / "bdimad_dev.c").unlink()
    pjsua2_recipe.drop_missing_driver(tmp_path)
    assert makefile.read_text() == "OBJS += alsa_dev.o  null_dev.o\n"


def test_the_source_is_changed_only_where_it_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file.c"
    monkeypatch.setattr(pjsua2_changes, "CHANGES", (Change("file.c", "keep = 2;", "keep = 1;"),))

    file.write_text("int keep = 2;\n")
    pjsua2_changes.apply(tmp_path)
    assert file.read_text() == "int keep = 1;\n"

    for other in ("int keep = 3;\n", "keep = 2; keep = 2;\n"):
        file.write_text(other)
        with pytest.raises(StepError, match=r"file\.c has not the text"):
            pjsua2_changes.apply(tmp_path)
        assert file.read_text() == other


def test_of_the_lists_only_those_are_wrapped_that_are_used(tmp_path: Path) -> None:
    interface = tmp_path / "pjsip-apps/src/swig/pjsua2.i"
    interface.parent.mkdir(parents=True)
    interface.write_text(
        "%template(StringVector)    std::vector<std::string>;\n"
        "%template(ToneDescVector)  std::vector<pj::ToneDesc>;\n"
        '%include "pjsua2/json.hpp"\n'
    )

    pjsua2_changes.leave_out_lists(tmp_path)

    assert [line.split()[0] for line in interface.read_text().splitlines()] == [
        "%template(StringVector)",
        "%include",
    ]


def test_the_module_that_is_installed_carries_a_thousand_calls_over_openssl_3() -> None:
    probe = subprocess.run(
        [sys.executable, "-c", pjsua2_recipe.PROBE], capture_output=True, text=True, check=True
    )
    facts = json.loads(probe.stdout.splitlines()[-1])
    linked = subprocess.run(["ldd", facts["module"]], capture_output=True, text=True, check=True)

    assert facts["calls"] == pjsua2_recipe.WANTED_CALLS
    assert tuple(map(int, facts["version"].split(".")[:2])) >= pjsua2_source.MINIMUM_VERSION
    assert "libssl.so.3" in linked.stdout
