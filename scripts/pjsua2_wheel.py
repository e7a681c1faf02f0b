# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the pjsua2 wheel once for each recipe, Python and system, and keep it.

The wheels of the package index will not do: they carry an OpenSSL that reached its end of life in
2019, and allow four calls in a process.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts import debian, pjsua2_recipe, pjsua2_source
from scripts.steps import StepError, Steps, output_of


def cache_directory() -> Path:
    """Where wheels are kept between clones."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "matrix-sip" / "pjsua2"


def recipe_key() -> str:
    """Names everything that decides what comes out, but the version of the source."""
    digest = hashlib.sha256()
    for path in pjsua2_recipe.FILES:
        digest.update(path.read_bytes())
    release = platform.freedesktop_os_release()
    for part in (
        sysconfig.get_config_var("SOABI"),
        platform.machine(),
        # The wheel is linked to this system's OpenSSL and Opus.
        release["ID"],
        release.get("VERSION_ID", release.get("VERSION_CODENAME", "rolling")),
    ):
        digest.update(f"\0{part}".encode())
    return digest.hexdigest()[:16]


def ensure_wheel(steps: Steps, *, fresh: bool = False) -> Path:
    """The wheel, from the cache or newly built; raises StepError with the reason."""
    home = cache_directory() / recipe_key()
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):
        wheel = None if fresh else _newest(home)
        if wheel:
            return wheel
        with tempfile.TemporaryDirectory(prefix="build-", dir=home) as work:
            return _build(steps, Path(work), home)


def install_command(wheel: Path) -> list[str]:
    """Puts the wheel into the environment of this Python, also over one of the same version."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index"]
    return [*pip, "--no-deps", "--force-reinstall", str(wheel)]


def _newest(home: Path) -> Path | None:
    wheels = home.glob("*/pjsua2-*.whl")
    return max(wheels, key=lambda wheel: wheel.stat().st_mtime, default=None)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Two clones that build at once would do the same work twice."""
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _refuse_without_tools() -> None:
    """Raises StepError with what to install, which is better than a compiler's complaint."""
    if shutil.which("dpkg-query"):
        missing = debian.missing_packages(debian.BUILD + debian.needs_of_python())
        if missing:
            raise StepError(
                "the compiler or libraries are missing; as root: "
                f"apt-get install --no-install-recommends {' '.join(missing)}"
            )
    try:
        output_of([sys.executable, "-c", "import setuptools.command.bdist_wheel"])
    except StepError as error:
        wanted = "pip install 'setuptools>=70.1'"
        raise StepError(f"{sys.executable} cannot make wheels; {wanted} there") from error


def _build(steps: Steps, work: Path, home: Path) -> Path:
    _refuse_without_tools()
    source = pjsua2_source.fetch(steps, work)
    built = pjsua2_recipe.build(steps, source.tree, source.version)
    with steps.step("check the wheel"):
        facts = pjsua2_recipe.check(built, work / "probe", source.version)
    facts |= {"origin": source.origin, "sha256": source.sha256}
    place = home / f"{source.version}-{source.sha256[:12]}"
    place.mkdir(exist_ok=True)
    (place / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
    shutil.copy(built, place / "incomplete")
    return (place / "incomplete").replace(place / built.name)


def main() -> int:
    """Print the path of the wheel as the last line."""
    parser = argparse.ArgumentParser(prog="build-pjsua2", description=__doc__)
    parser.add_argument("--install", action="store_true", help="install it for this Python, too")
    parser.add_argument("--copy-to", type=Path, metavar="DIR", help="put a copy into a directory")
    parser.add_argument("--fresh", action="store_true", help="build again, from the newest source")
    arguments = parser.parse_args()
    steps = Steps(cache_directory() / recipe_key() / "build.log", append=True)
    try:
        wheel = ensure_wheel(steps, fresh=arguments.fresh)
        if arguments.copy_to:
            arguments.copy_to.mkdir(parents=True, exist_ok=True)
            wheel = Path(shutil.copy(wheel, arguments.copy_to))
        if arguments.install:
            steps.run(install_command(wheel))
    except StepError as error:
        print(f"build-pjsua2: {error}", file=sys.stderr)
        return 1
    print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
