# SPDX-License-Identifier: GPL-3.0-or-later
"""Get pjproject's source: upstream's release archive, or the copy that Debian signs and ships."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from scripts.steps import StepError, Steps, output_of

UPSTREAM_VERSION = "2.17"
UPSTREAM_URL = f"https://github.com/pjsip/pjproject/archive/refs/tags/{UPSTREAM_VERSION}.tar.gz"
UPSTREAM_SHA256 = "065fe06c06788d97c35f563796d59f00ce52fe9558a52d7b490a042a966facce"
MINIMUM_VERSION = (2, 17)
CONNECT_TIMEOUT_S = 15.0

# Debian's asterisk is built from several archives; one of them is pjproject's release.
DEBIAN_SUITE = "sid"
DEBIAN_SOURCE = "asterisk"
DEBIAN_COMPONENT = "*.orig-Xpjproject.tar.*"
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ROLLING_SUITES = ("stable", "testing", "unstable", "sid")


@dataclass(frozen=True, slots=True)
class Source:
    """An unpacked source tree and where it came from."""

    tree: Path
    version: str
    sha256: str
    origin: str


def fetch(steps: Steps, work: Path) -> Source:
    """Unpack pjproject below `work`; raises StepError when no source can be had."""
    archive = work / "pjproject.tar.gz"
    refusal = ""
    with steps.step(f"fetch pjproject {UPSTREAM_VERSION} from upstream"):
        refusal = _download(archive)
    origin = "upstream's release archive"
    if refusal:
        steps.skip("upstream's archive", f"not used ({refusal}); taking Debian's signed copy")
        with steps.step(f"fetch pjproject from Debian {DEBIAN_SUITE} (signature checked by apt)"):
            archive = _debian_archive(steps, work)
        origin = archive.name
    with steps.step("unpack pjproject"):
        tree = _unpack(steps, archive, work / "tree")
        version = version_of(tree)
    return Source(tree, version, _sha256(archive), origin)


def _download(archive: Path) -> str:
    """Fetch upstream's archive; returns why it cannot be used, or nothing."""
    try:
        with (
            urllib.request.urlopen(UPSTREAM_URL, timeout=CONNECT_TIMEOUT_S) as reply,
            archive.open("wb") as file,
        ):
            shutil.copyfileobj(reply, file)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        return f"not reachable: {getattr(error, 'reason', error)}"
    if _sha256(archive) != UPSTREAM_SHA256:
        return f"its SHA-256 is {_sha256(archive)} instead of {UPSTREAM_SHA256}"
    return ""


def _debian_archive(steps: Steps, work: Path) -> Path:
    """Let apt fetch and verify Debian's source package, away from the system's own apt state."""
    apt = work / "apt"
    for name in ("parts", "lists/partial", "cache/archives/partial", "download"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "parts" / "debian.sources").write_text(
        f"Types: deb-src\nURIs: {debian_mirror()}\nSuites: {DEBIAN_SUITE}\nComponents: main\n"
        f"Signed-By: {DEBIAN_KEYRING}\n"
    )
    command = ["apt-get", "-q"]
    for option, value in {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(apt / "parts"),
        "Dir::State::lists": str(apt / "lists"),
        "Dir::Cache": str(apt / "cache"),
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        # The machine's mirror may be frozen at a date; the signature counts all the same, and so
        # does the lowest version that will do.
        "Acquire::Check-Valid-Until": "false",
    }.items():
        command += ["-o", f"{option}={value}"]
    steps.run([*command, "update"])
    steps.run([*command, "source", "--download-only", DEBIAN_SOURCE], cwd=apt / "download")
    found = sorted((apt / "download").glob(DEBIAN_COMPONENT))
    if not found:
        raise StepError(
            f"Debian's {DEBIAN_SOURCE} in {DEBIAN_SUITE} has no archive {DEBIAN_COMPONENT}"
        )
    return found[-1]


def debian_mirror() -> str:
    """The mirror that this machine's own apt sources take Debian from."""
    if not DEBIAN_KEYRING.exists():
        raise StepError(f"this is not Debian with its keyring ({DEBIAN_KEYRING} is missing)")
    suites = (platform.freedesktop_os_release().get("VERSION_CODENAME", ""), *ROLLING_SUITES)
    # Without the release information it also speaks where no list has been fetched, or none kept.
    targets = output_of(
        ["apt-get", "indextargets", "--no-release-info", "--format", "$(RELEASE) $(REPO_URI)"]
    )
    for line in targets.splitlines():
        suite, _, uri = line.partition(" ")
        if suite in suites and re.match(r"\w+://|\w+:/", uri) and "security" not in uri:
            return uri
    raise StepError(f"the apt sources of this machine name no Debian mirror (suites {suites})")


def _unpack(steps: Steps, archive: Path, tree: Path) -> Path:
    tree.mkdir()
    steps.run(["tar", "--extract", "--no-same-owner", "--file", archive, "--directory", tree])
    inner = list(tree.iterdir())
    return inner[0] if len(inner) == 1 else tree


def version_of(tree: Path) -> str:
    """The version of a source tree; raises StepError when it is too old."""
    exports = dict(
        re.findall(
            r"^export PJ_VERSION_(\w+)\s*:=[ \t]*(\S*)", (tree / "version.mak").read_text(), re.M
        )
    )
    version = f"{exports['MAJOR']}.{exports['MINOR']}"
    if exports.get("REV"):
        version += f".{exports['REV']}"
    if (int(exports["MAJOR"]), int(exports["MINOR"])) < MINIMUM_VERSION:
        wanted = ".".join(map(str, MINIMUM_VERSION))
        raise StepError(f"this is pjproject {version}; {wanted} or newer is wanted")
    return f"{version}{exports.get('SUFFIX', '')}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
