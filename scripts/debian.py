# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Debian packages are needed for what, which are missing, and how to install them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from scripts.steps import StepError, Steps


@dataclass(frozen=True, slots=True)
class Need:
    """A Debian package; not needed when something else already provides `command`."""

    package: str
    command: str = ""


BUILD = (
    Need("build-essential"),
    Need("ca-certificates"),
    Need("pkg-config", "pkg-config"),
    Need("swig", "swig"),
    Need("libgsm1-dev"),
    Need("libopus-dev"),
    Need("libsamplerate0-dev"),
    Need("libspeex-dev"),
    Need("libspeexdsp-dev"),
    Need("libssl-dev"),
    Need("uuid-dev"),
)
TELEPHONE = (Need("baresip-core", "baresip"),)
BROWSER = (
    Need("chromium", "chromium"),
    Need("nodejs", "node"),
    Need("npm", "npm"),
)
DEMO = (*BUILD, *TELEPHONE)
TEST = (
    *DEMO,
    *BROWSER,
    Need("coturn", "turnserver"),
    Need("faketime"),
    Need("iproute2", "ip"),
    Need("kamailio", "/usr/sbin/kamailio"),
    Need("kamailio-tls-modules"),
    Need("mmdebstrap", "mmdebstrap"),
    Need("postgresql"),
    Need("sip-tester", "sipp"),
)

ALREADY_INSTALLED = "SYSTEM_PACKAGES"


def needs_of_python() -> tuple[Need, ...]:
    """What Debian splits off from Python and this interpreter lacks."""
    if not sys.executable.startswith("/usr/bin/"):
        return ()
    version = f"python3.{sys.version_info.minor}"
    needs = []
    if not (Path(sysconfig.get_path("stdlib")) / "ensurepip").is_dir():
        needs.append(Need(f"{version}-venv"))
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        needs.append(Need(f"{version}-dev"))
    return tuple(needs)


def install_missing(
    steps: Steps, needs: tuple[Need, ...], *, name: str = "system packages"
) -> None:
    """Install what is missing; raises StepError that says what to do where that cannot be done."""
    if os.environ.get(ALREADY_INSTALLED) == "present":
        steps.skip(name, f"left alone ({ALREADY_INSTALLED}=present)")
        return
    if not shutil.which("apt-get") or not shutil.which("dpkg-query"):
        raise StepError(
            "this is not Debian, so install what these Debian packages hold by hand, then run this "
            f"again with {ALREADY_INSTALLED}=present in the environment:\n"
            f"  {' '.join(need.package for need in needs)}"
        )
    missing = missing_packages(needs)
    if not missing:
        steps.skip(name, "there")
        return
    apt = [*_as_root(missing), "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    with steps.step(f"{name} ({len(missing)} missing: {' '.join(missing)})"):
        steps.run([*apt, "update"])
        steps.run([*apt, "install", "--yes", "--no-install-recommends", *missing])


def missing_packages(needs: tuple[Need, ...]) -> list[str]:
    """The packages that are neither installed nor stood in for by a command."""
    wanted = [n.package for n in needs if not (n.command and shutil.which(n.command))]
    if not wanted:
        return []
    # It fails when it does not know one of them, and still lists the others.
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def _as_root(missing: list[str]) -> list[str]:
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    if os.geteuid() == 0:
        return quiet
    if not shutil.which("sudo"):
        raise StepError(
            f"neither root nor sudo; as root: apt-get install --no-install-recommends "
            f"{' '.join(missing)}"
        )
    # Without a terminal nobody can be asked for a password.
    options = [] if sys.stdin.isatty() else ["--non-interactive"]
    if subprocess.run(["sudo", *options, "true"], check=False).returncode != 0:
        raise StepError(
            f"sudo refused; as root: apt-get install --no-install-recommends {' '.join(missing)}"
        )
    return ["sudo", *options, *quiet]
