# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a Dockerfile's stages without Docker: in Debian roots, with chroot.

What Docker does and this does not: layers, image metadata, and its own isolation from the machine.
The base images are Debian's `minbase`, from which its official images are made, too.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.pjsua2_wheel import cache_directory
from tests.toolchain.dockerfile import Instruction, Stage

SUITE = "bookworm"
BASE_IMAGE = f"debian:{SUITE}-slim"
# Certificates of a proxy that this machine trusts; the roots do not know it.
MACHINE_CA = "/run/machine-ca.crt"
WHEELS = "/root/.cache/matrix-sip/pjsua2"

# By the time the image is built, other tests may have put this process into a network that ends at
# loopback; this is the one that it came with.
_NETWORK = os.open("/proc/self/ns/net", os.O_RDONLY)
_IN_ITS_NETWORK = ("nsenter", f"--net=/proc/self/fd/{_NETWORK}")

# As in Debian's own images: nothing is written to be safe from a loss of power, or to be read.
_SLIM = (
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude /usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
    '--aptopt=Acquire::Languages "none"',
)

ENTER = """
set -e
root=$1 wheels=$2 user=$3; shift 3
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
[ -z "$wheels" ] || { mkdir -p "$root$0"; mount --bind "$wheels" "$root$0"; }
[ ! -x /sbin/ip ] || /sbin/ip link set lo up
exec /usr/sbin/chroot --userspec="$user" "$root" "$@"
"""


@dataclass(slots=True)
class Image:
    """A stage as far as it is built."""

    root: Path
    env: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin"}
    )
    workdir: str = "/"
    user: str = "root"

    def run(
        self, command: Sequence[str], *, isolated: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run inside; `isolated` means with a network of its own that has only loopback."""
        wheels = "" if isolated else str(cache_directory())
        inner = ["sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *command]
        network = ("unshare", "--net") if isolated else _IN_ITS_NETWORK
        enter = [*network, "unshare", "--mount", "sh", "-c", ENTER]
        return subprocess.run(
            [*enter, WHEELS, str(self.root), wheels, self.user, *inner],
            pass_fds=[_NETWORK],
            env={"HOME": "/root", "LC_ALL": "C.UTF-8", **self.env, **_of_this_machine()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def build(stage: Stage, root: Path, context: Path, built: dict[str, Image]) -> Image:
    """Carry out every instruction of a stage; raises RuntimeError with what a RUN printed."""
    if stage.base != BASE_IMAGE:
        raise ValueError(f"the base image is {stage.base}, and this knows {BASE_IMAGE}")
    _unpack_base(root)
    image = Image(root)
    for instruction in stage.instructions:
        match instruction.keyword:
            case "RUN":
                _run(image, instruction)
            case "COPY":
                source = instruction.options.get("from")
                _copy(image, instruction, built[source].root if source else context)
            case "ENV":
                image.env |= dict(word.split("=", 1) for word in instruction.words())
            case "WORKDIR":
                image.workdir = instruction.value
                _inside(image, instruction.value).mkdir(parents=True, exist_ok=True)
            case "USER":
                image.user = instruction.value
    return image


def _run(image: Image, instruction: Instruction) -> None:
    done = image.run(["/bin/sh", "-c", instruction.value], isolated=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"Dockerfile:{instruction.line} ended with status {done.returncode}:\n"
            f"{done.stdout[-4000:]}"
        )


def _copy(image: Image, instruction: Instruction, origin: Path) -> None:
    """As Docker does it: of a directory the content, and with a slash the target is a directory."""
    *sources, target = instruction.words()
    into = _inside(image, target)
    for name in sources:
        source = origin / name.lstrip("/")
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, into, symlinks=True, dirs_exist_ok=True, ignore=skip)
        elif target.endswith("/"):
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, into)
        else:
            shutil.copy2(source, into)


def _inside(image: Image, path: str) -> Path:
    return image.root / os.path.normpath(os.path.join(image.workdir, path)).lstrip("/")


def _of_this_machine() -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL")
    env = {name: os.environ[name] for name in names if name in os.environ}
    return env | ({"PIP_CERT": MACHINE_CA} if os.environ.get("PIP_CERT") else {})


def _unpack_base(root: Path) -> None:
    """A fresh copy of the base; it is kept beside the wheels, and made once."""
    kept = cache_directory().parent / "roots" / f"{SUITE}-slim.tar"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _make_base(kept)
    root.mkdir(exist_ok=True)
    command("tar", "--extract", "--file", str(kept), "--directory", str(root))
    if certificates := os.environ.get("PIP_CERT"):
        shutil.copy(certificates, root / MACHINE_CA.lstrip("/"))
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")


def _make_base(kept: Path) -> None:
    from scripts.pjsua2_source import debian_mirror

    incomplete = kept.with_name("incomplete.tar")
    command("mmdebstrap", "--variant=minbase", *_SLIM, SUITE, str(incomplete), debian_mirror())
    incomplete.replace(kept)


def command(*words: str) -> str:
    """What a command prints that has the machine's network; raises RuntimeError."""
    done = subprocess.run(
        [*_IN_ITS_NETWORK, *words],
        pass_fds=[_NETWORK],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
