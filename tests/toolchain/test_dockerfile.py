# SPDX-License-Identifier: GPL-3.0-or-later
"""The image, its stages carried out in Debian roots: this needs no Docker, but root."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scripts import debian
from tests.simulators.isolation import isolated
from tests.toolchain.dockerfile import Instruction, Stage, parse
from tests.toolchain.image import BASE_IMAGE, Image, build, command

ROOT = Path(__file__).resolve().parents[2]
BUILD, FINAL = parse((ROOT / "Dockerfile").read_text())


# Nothing answers as its homeserver, so that it is never healthy; but it says so itself.
RUN_AND_STOP = """
{service} generate-config >config.yaml
{health} >/dev/null 2>&1; echo "before: $?"
{service} {command} >log 2>&1 &
for attempt in $(seq 1200); do
    ! grep -q ':7293 00000000:0000 0A' /proc/net/tcp || break  # Something listens on port 29331.
    sleep 0.1
done
{health} >said 2>&1; status=$?
cat said; echo "health: $status"
kill -TERM $!
wait $!; status=$?
[ $status = 0 ] || cat log
echo "service: $status"
"""


def _packages(stage: Stage) -> list[str]:
    """What the stage installs with apt-get."""
    line = next(each for each in stage.instructions if "apt-get install" in each.value).value
    words = line.partition("apt-get install")[2].partition("&&")[0].split()
    return [word for word in words if not word.startswith("-")]


def _copies() -> list[Instruction]:
    return [
        each
        for stage in (BUILD, FINAL)
        for each in stage.instructions
        if each.keyword == "COPY" and "from" not in each.options
    ]


def test_a_continued_line_is_one_instruction() -> None:
    (stage,) = parse('FROM base AS one\nRUN a \\\n    # why\n    && b\nCMD ["x", "y z"]\n')

    assert (stage.base, stage.name) == ("base", "one")
    assert stage.instructions[0] == Instruction(2, "RUN", "a && b", {})
    assert stage.last("CMD").words() == ["x", "y z"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("RUN a", "line 1: RUN before FROM"),
        ("FROM a\nADD b c", "line 2: ADD is not known here"),
        ("FROM a\nRUN b \\", "line 2: continues past the end"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(text)


def test_both_stages_have_the_same_debian() -> None:
    assert [BUILD.base, FINAL.base] == [BASE_IMAGE, BASE_IMAGE]


def test_the_service_is_not_root_and_keeps_its_files_in_a_volume() -> None:
    assert FINAL.last("USER").value not in ("root", "0")
    assert FINAL.last("VOLUME").value == FINAL.last("WORKDIR").value == "/data"


def test_the_wheels_are_built_from_the_packages_that_a_source_tree_needs() -> None:
    missing = {need.package for need in debian.BUILD} - set(_packages(BUILD))
    assert not missing


@pytest.mark.parametrize("stage", [BUILD, FINAL], ids=["build", "final"])
def test_every_package_is_in_debian(stage: Stage) -> None:
    if not shutil.which("apt-cache"):
        pytest.skip("there is no apt here")
    packages = _packages(stage)
    done = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    known = {
        line.removeprefix("Package: ")
        for line in done.stdout.splitlines()
        if line.startswith("Package: ")
    }
    assert set(packages) <= known


def test_everything_copied_exists_and_reaches_the_builder() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split("\n")
    let_through = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    sources = [source for copy in _copies() for source in copy.words()[:-1]]

    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []
    assert {Path(name).parts[0] for name in sources} <= let_through


def test_compose_runs_this_image_beside_the_tested_synapse() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    version = next(
        line.split()[0].partition("==")[2]
        for line in (ROOT / "requirements/synapse.txt").read_text().splitlines()
        if line.startswith("matrix-synapse==")
    )

    assert services["synapse"]["image"] == f"matrixdotorg/synapse:v{version}"
    assert services["matrix-sip"]["build"] == "."
    assert services["matrix-sip"]["volumes"] == ["./data/matrix-sip:/data"]


@pytest.mark.skipif(os.geteuid() != 0, reason="this takes root")
def test_building_has_a_network_also_when_the_tests_have_none() -> None:
    before = command("readlink", "/proc/self/ns/net")
    with isolated():
        isolated_network = os.readlink("/proc/thread-self/ns/net")
        assert command("readlink", "/proc/self/ns/net") == before
    assert isolated_network != before.strip()


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("building the image takes root and mmdebstrap")
    if subprocess.run(["unshare", "--mount", "--net", "true"], check=False).returncode != 0:
        pytest.skip("namespaces are not allowed here")
    with tempfile.TemporaryDirectory(prefix="image-") as place:
        first = build(BUILD, Path(place) / "build", ROOT, {})
        yield build(FINAL, Path(place) / "final", ROOT, {BUILD.name: first})


# Without the wheel in the cache it is built first.
@pytest.mark.slow
@pytest.mark.timeout(900)
class TestImage:
    def test_it_starts_as_its_own_user(self, image: Image) -> None:
        done = image.run(["id", "--user", "--name"])
        assert done.stdout.strip() == FINAL.last("USER").value

    def test_the_command_line_works(self, image: Image) -> None:
        entrypoint = FINAL.last("ENTRYPOINT").words()

        done = image.run([*entrypoint, "--help"])

        assert done.returncode == 0, done.stdout
        assert FINAL.last("CMD").words()[0] in done.stdout

    def test_it_writes_a_configuration(self, image: Image) -> None:
        done = image.run([*FINAL.last("ENTRYPOINT").words(), "generate-config"])

        assert done.returncode == 0, done.stdout
        assert {"homeserver", "sip"} <= yaml.safe_load(done.stdout).keys()

    def test_without_a_configuration_it_says_which_file_is_missing(self, image: Image) -> None:
        command = [*FINAL.last("ENTRYPOINT").words(), *FINAL.last("CMD").words()]

        done = image.run(command)

        assert done.returncode != 0
        assert "/data/config.yaml" in done.stdout
        assert "Traceback" not in done.stdout

    def test_everything_that_is_compiled_finds_its_libraries(self, image: Image) -> None:
        modules = "pjsua2, aiortc, av, olm, pylibsrtp, asyncpg, uvloop"
        done = image.run(["python3", "-c", f"import {modules}; print('good')"])
        assert done.stdout == "good\n"

    def test_no_compiler_and_no_installer_are_left(self, image: Image) -> None:
        done = image.run(["sh", "-c", "command -v gcc cc make pip swig"])
        assert done.stdout == ""

    def test_it_can_write_where_its_data_is_and_nowhere_else(self, image: Image) -> None:
        assert image.run(["touch", "/data/it"]).returncode == 0
        assert image.run(["touch", "/opt/matrix-sip/it"]).returncode != 0

    def test_it_runs_answers_its_health_check_and_stops_when_told(self, image: Image) -> None:
        check = FINAL.last("HEALTHCHECK").value.removeprefix("CMD ")
        health = shlex.join(Instruction(0, "CMD", check, {}).words())
        service = shlex.join(FINAL.last("ENTRYPOINT").words())
        command = shlex.join(FINAL.last("CMD").words())

        done = image.run(["sh", "-c", RUN_AND_STOP.format(**locals())])

        assert "before: 1\n" in done.stdout, done.stdout
        assert '"state": "starting"' in done.stdout
        assert done.stdout.endswith("health: 1\nservice: 0\n"), done.stdout
