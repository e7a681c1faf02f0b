# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the pjsua2 wheel from pjproject's source, once for each recipe and Python, and check it.

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

from scripts import pjsua2_source
from scripts.steps import StepError, Steps, output_of

HERE = Path(__file__).resolve().parent
CONFIG_SITE = HERE / "config_site.h"
RECIPE = (HERE / "pjsua2_wheel.py", HERE / "pjsua2_source.py", CONFIG_SITE)
WANTED_CALLS = 1024

CONFIGURE = (
    "--enable-epoll",
    "--disable-video",
    "--disable-sound",
    "--with-external-srtp",
    "--with-external-speex",
    "--with-external-gsm",
    "--enable-libsamplerate",
    "--disable-libwebrtc",
    "--disable-libyuv",
    "--disable-ilbc-codec",
    "--disable-g7221-codec",
    "--disable-speex-aec",
    "--disable-upnp",
)
CFLAGS = "-O2 -g0 -fPIC -DNDEBUG"
# The generated wrapper is glue: its 8 MB of C++ take 140 s at -O2 and 55 s at -O1.
WRAPPER_CFLAGS = "-O1 -g0 -fPIC -DNDEBUG"

# Debian's copy leaves out the files of a sound device whose licence is not free.
PROPRIETARY_DRIVER = "bdimad_dev"

# Run with the new module on its path: prints what `_checked` compares.
PROBE = """
import json, pjsua2 as pj
endpoint = pj.Endpoint()
config = pj.EpConfig()
print(json.dumps({
    "version": endpoint.libVersion().full,
    "calls": config.uaConfig.maxCalls,
    "module": pj._pjsua2.__file__,
}))
"""


def cache_directory() -> Path:
    """Where wheels are kept between clones."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "matrix-sip" / "pjsua2"


def recipe_key() -> str:
    """Names everything that decides what comes out, but the version of the source."""
    digest = hashlib.sha256()
    for path in RECIPE:
        digest.update(path.read_bytes())
    release = platform.freedesktop_os_release()
    for part in (
        sysconfig.get_config_var("SOABI"),
        platform.machine(),
        # The wheel is linked to this system's OpenSSL, libsrtp and Opus.
        release["ID"],
        release.get("VERSION_ID", release.get("VERSION_CODENAME", "rolling")),
    ):
        digest.update(f"\0{part}".encode())
    return digest.hexdigest()[:16]


def cached_wheel() -> Path | None:
    """The newest wheel that this recipe has built on this kind of system."""
    wheels = (cache_directory() / recipe_key()).glob("*/pjsua2-*.whl")
    return max(wheels, key=lambda wheel: wheel.stat().st_mtime, default=None)


def ensure_wheel(steps: Steps, *, fresh: bool = False) -> Path:
    """The wheel, from the cache or newly built; raises StepError with the reason."""
    home = cache_directory() / recipe_key()
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):
        wheel = None if fresh else cached_wheel()
        if wheel:
            return wheel
        with tempfile.TemporaryDirectory(prefix="build-", dir=home) as work:
            return _build(steps, Path(work), home)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Two clones that build at once would do the same work twice."""
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(steps: Steps, work: Path, home: Path) -> Path:
    source = pjsua2_source.fetch(steps, work)
    jobs = f"-j{os.cpu_count() or 1}"
    make = {"CFLAGS": CFLAGS, "CXXFLAGS": CFLAGS}
    wrapper = {"CFLAGS": WRAPPER_CFLAGS}
    with steps.step(f"configure pjproject {source.version}"):
        shutil.copy(CONFIG_SITE, source.tree / "pjlib/include/pj/config_site.h")
        _drop_missing_driver(source.tree)
        # Archives may have lost the files' modes.
        steps.run(["sh", "./configure", *CONFIGURE], cwd=source.tree, env=make)
    with steps.step("compile pjproject"):
        steps.run(["make", "dep"], cwd=source.tree, env=make)
        steps.run(["make", jobs, "lib"], cwd=source.tree, env=make)
    with steps.step("compile the Python module"):
        swig = source.tree / "pjsip-apps/src/swig/python"
        steps.run(["make", f"PYTHON_EXE={sys.executable}", "wheel"], cwd=swig, env=wrapper)
        built = next((swig / "dist").glob("pjsua2-*.whl"), None)
        if built is None:
            raise StepError(f"no wheel in {swig / 'dist'}")
    with steps.step("check the wheel"):
        facts = _checked(built, work / "probe", source.version)
    place = home / f"{source.version}-{source.sha256[:12]}"
    place.mkdir(exist_ok=True)
    facts |= {"origin": source.origin, "sha256": source.sha256}
    (place / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
    wheel = place / built.name
    shutil.copy(built, place / "incomplete")
    (place / "incomplete").replace(wheel)
    return wheel


def _drop_missing_driver(tree: Path) -> None:
    if any((tree / "pjmedia/src").rglob(f"{PROPRIETARY_DRIVER}.c")):
        return
    makefile = tree / "pjmedia/build/Makefile"
    makefile.write_text(makefile.read_text().replace(f"{PROPRIETARY_DRIVER}.o", ""))


def _checked(wheel: Path, place: Path, version: str) -> dict[str, object]:
    """What the module says of itself; raises StepError when that is not what was wanted."""
    shutil.unpack_archive(wheel, place, "zip")
    try:
        probe = output_of([sys.executable, "-c", PROBE], env={"PYTHONPATH": str(place)})
    except StepError as error:
        raise StepError(f"the new module cannot be imported: {error}") from error
    facts: dict[str, object] = json.loads(probe.splitlines()[-1])
    libraries = output_of(["ldd", str(facts["module"])])
    wrong = [
        complaint
        for complaint, good in {
            f"its version is {facts['version']}, not {version}": (
                str(facts["version"]).partition("-")[0] == version.partition("-")[0]
            ),
            f"it allows {facts['calls']} calls, not {WANTED_CALLS}": (
                facts["calls"] == WANTED_CALLS
            ),
            "it is not linked to OpenSSL 3": "libssl.so.3" in libraries,
            "it is not linked to the system's libsrtp2": "libsrtp2.so" in libraries,
            "a library is missing": "not found" not in libraries,
        }.items()
        if not good
    ]
    if wrong:
        raise StepError(f"the new module is not what was wanted: {'; '.join(wrong)}")
    del facts["module"]
    return facts


def install_command(wheel: Path) -> list[str]:
    """Puts the wheel into the environment of this Python, also over one of the same version."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index"]
    return [*pip, "--no-deps", "--force-reinstall", str(wheel)]


def main() -> int:
    """Print the path of the wheel as the last line."""
    parser = argparse.ArgumentParser(prog="build-pjsua2", description=__doc__)
    parser.add_argument("--install", action="store_true", help="install it for this Python, too")
    parser.add_argument("--fresh", action="store_true", help="build again, from the newest source")
    arguments = parser.parse_args()
    steps = Steps(cache_directory() / recipe_key() / "build.log", append=True)
    try:
        wheel = ensure_wheel(steps, fresh=arguments.fresh)
        if arguments.install:
            steps.run(install_command(wheel))
    except StepError as error:
        print(f"build-pjsua2: {error}", file=sys.stderr)
        return 1
    print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
