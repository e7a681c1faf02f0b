# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pjproject comes from, and what is refused."""

import functools
import hashlib
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from scripts import pjsua2_source
from scripts.steps import StepError, Steps
from tests.toolchain.conftest import Pretend

VERSION_MAK = """\
# Parsed elsewhere
export PJ_VERSION_MAJOR  := {0}
export PJ_VERSION_MINOR  := {1}
export PJ_VERSION_REV    := {2}
export PJ_VERSION_SUFFIX := {3}

export PJ_VERSION := $(PJ_VERSION_MAJOR).$(PJ_VERSION_MINOR)
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path / "build.log")


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server with a small release archive."""
    tree = tmp_path / "made" / "pjproject-2.17"
    tree.mkdir(parents=True)
    (tree / "version.mak").write_text(VERSION_MAK.format(2, 17, "", ""))
    archive = tmp_path / "served" / "2.17.tar.gz"
    archive.parent.mkdir()
    subprocess.run(["tar", "-czf", archive, "-C", tree.parent, tree.name], check=True)
    handler = functools.partial(Quiet, directory=str(archive.parent))
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        monkeypatch.setattr(pjsua2_source, "UPSTREAM_URL", url)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        monkeypatch.setattr(pjsua2_source, "UPSTREAM_SHA256", digest)
        yield archive
        server.shutdown()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    return place


@pytest.mark.usefixtures("upstream")
def test_upstreams_archive_is_used_when_it_is_the_known_one(steps: Steps, work: Path) -> None:
    source = pjsua2_source.fetch(steps, work)

    assert source.version == "2.17"
    assert source.sha256 == pjsua2_source.UPSTREAM_SHA256
    assert (source.tree / "version.mak").exists()


@pytest.mark.usefixtures("upstream")
def test_another_archive_is_not_used(
    steps: Steps,
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pjsua2_source, "UPSTREAM_SHA256", "0" * 64)
    monkeypatch.setattr(pjsua2_source, "DEBIAN_KEYRING", tmp_path / "none.gpg")

    with pytest.raises(StepError, match="not Debian with its keyring"):
        pjsua2_source.fetch(steps, work)

    assert f"instead of {'0' * 64}); taking Debian's signed copy" in capsys.readouterr().out


def test_debians_source_comes_verified_from_the_machines_own_mirror(
    steps: Steps,
    upstream: Path,
    work: Path,
    tmp_path: Path,
    pretend: Pretend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr(pjsua2_source, "UPSTREAM_URL", "http://127.0.0.1:1/none")
    monkeypatch.setattr(pjsua2_source, "DEBIAN_KEYRING", keyring)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"VERSION_CODENAME": "bookworm"})
    targets = (
        "bookworm-security http://mirror.test/debian-security/",
        "stable-of-another http://other.test/",
        "bookworm http://mirror.test/debian/",
    )
    pretend(
        "apt-get",
        f"""case "$*" in
        indextargets*) printf '%s\\n' {" ".join(f"'{line}'" for line in targets)} ;;
        *update) grep -h URIs {work}/apt/parts/*; grep -h Signed {work}/apt/parts/* ;;
        *source*) cp {upstream} asterisk_1.orig-Xpjproject.tar.xz ;;
        esac""",
    )

    source = pjsua2_source.fetch(steps, work)

    assert source.origin == "asterisk_1.orig-Xpjproject.tar.xz"
    log = steps.log.read_text()
    assert "URIs: http://mirror.test/debian/\n" in log
    assert f"Signed-By: {keyring}\n" in log


@pytest.mark.skipif(
    not pjsua2_source.DEBIAN_KEYRING.exists(), reason="this is not Debian with its keyring"
)
def test_the_mirror_is_known_without_any_list_of_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an image, where the lists are removed after installing."""
    (tmp_path / "lists/partial").mkdir(parents=True)
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::State::lists "{tmp_path}/lists";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))

    assert re.match(r"\w+:/", pjsua2_source.debian_mirror())


@pytest.mark.parametrize(
    ("parts", "version"),
    [((2, 17, "", ""), "2.17"), ((2, 17, 1, ""), "2.17.1"), ((3, 0, "", "-dev"), "3.0-dev")],
)
def test_versions_that_will_do(tmp_path: Path, parts: tuple[object, ...], version: str) -> None:
    (tmp_path / "version.mak").write_text(VERSION_MAK.format(*parts))
    assert pjsua2_source.version_of(tmp_path) == version


@pytest.mark.parametrize(("major", "minor"), [(2, 16), (1, 99)])
def test_an_older_version_is_refused(tmp_path: Path, major: int, minor: int) -> None:
    (tmp_path / "version.mak").write_text(VERSION_MAK.format(major, minor, "", ""))
    with pytest.raises(StepError, match=f"this is pjproject {major}.{minor}; 2.17 or newer"):
        pjsua2_source.version_of(tmp_path)
