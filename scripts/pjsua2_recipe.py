# SPDX-License-Identifier: GPL-3.0-or-later
"""How the pjsua2 wheel is made from pjproject's source, and what it has to be able to do."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from scripts import pjsua2_changes
from scripts.steps import StepError, Steps, output_of

HERE = Path(__file__).resolve().parent
CONFIG_SITE = HERE / "config_site.h"
# The wheel is built again when one of these changes.
FILES = (Path(__file__).resolve(), Path(pjsua2_changes.__file__).resolve(), CONFIG_SITE)
WANTED_CALLS = 1024

CONFIGURE = (
    "--enable-epoll",
    "--disable-video",
    "--disable-sound",
    # Its SRTP would refuse keys that it cannot use itself.
    "--disable-libsrtp",
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
# No audio passes through these two, only the descriptions of sessions through the one.
QUICKLY_COMPILED = """\
ifneq ($(filter %/pjnath/build %/pjmedia/build,$(CURDIR)),)
export CFLAGS += -O0
endif
"""
# The generated wrapper is glue: its C++ takes a processor five times as long at -O2 and twice at
# -O1, where passing through it takes half a microsecond less.
WRAPPER_CFLAGS = "-O0 -g0 -fPIC -DNDEBUG"

# Debian's copy leaves out the files of a sound device whose licence is not free.
PROPRIETARY_DRIVER = "bdimad_dev"

# Run with the new module on its path: prints what `check` compares.
PROBE = """
import json, pjsua2 as pj
endpoint = pj.Endpoint()
config = pj.EpConfig()
print(json.dumps({
    "version": endpoint.libVersion().full,
    "calls": config.uaConfig.maxCalls,
    "ipv6": pj.AccountConfig().sipConfig.ipv6Use != pj.PJSUA_IPV6_DISABLED,
    "module": pj._pjsua2.__file__,
}))
"""


def build(steps: Steps, tree: Path, version: str) -> Path:
    """Compile the tree into a wheel; raises StepError."""
    library = {"CFLAGS": CFLAGS, "CXXFLAGS": CFLAGS}
    with steps.step(f"configure pjproject {version}"):
        pjsua2_changes.apply(tree)
        pjsua2_changes.leave_out_lists(tree)
        shutil.copy(CONFIG_SITE, tree / "pjlib/include/pj/config_site.h")
        (tree / "user.mak").write_text(QUICKLY_COMPILED)
        drop_missing_driver(tree)
        # Archives may have lost the files' modes.
        steps.run(["sh", "./configure", *CONFIGURE], cwd=tree, env=library)
    with steps.step("compile pjproject"):
        # Without `make dep`: which file needs which header matters only to a second build.
        steps.run(["make", f"-j{os.cpu_count() or 1}", "lib"], cwd=tree, env=library)
    with steps.step("compile the Python module"):
        swig = tree / "pjsip-apps/src/swig/python"
        # Without the documentation of pjsua2, which each start would load, too.
        make = ["make", f"PYTHON_EXE={sys.executable}", "GEN_DOC=", "wheel"]
        steps.run(make, cwd=swig, env={"CFLAGS": WRAPPER_CFLAGS})
        wheel = next((swig / "dist").glob("pjsua2-*.whl"), None)
        if wheel is None:
            raise StepError(f"no wheel in {swig / 'dist'}")
    return wheel


def check(wheel: Path, place: Path, version: str) -> dict[str, object]:
    """What the module says of itself; raises StepError when that is not what was wanted."""
    shutil.unpack_archive(wheel, place, "zip")
    try:
        probe = output_of([sys.executable, "-c", PROBE], env={"PYTHONPATH": str(place)})
    except StepError as error:
        raise StepError(f"the new module cannot be imported: {error}") from error
    facts: dict[str, object] = json.loads(probe.splitlines()[-1])
    libraries = output_of(["ldd", str(facts.pop("module"))])
    if wrong := _complaints(facts, libraries, version):
        raise StepError(f"the new module is not what was wanted: {'; '.join(wrong)}")
    return facts


def _complaints(facts: dict[str, object], libraries: str, version: str) -> list[str]:
    found = str(facts["version"])
    rules = {
        f"its version is {found}, not {version}": (
            found.partition("-")[0] == version.partition("-")[0]
        ),
        f"it allows {facts['calls']} calls, not {WANTED_CALLS}": facts["calls"] == WANTED_CALLS,
        "it has no IPv6": facts["ipv6"] is True,
        "it is not linked to OpenSSL 3": "libssl.so.3" in libraries,
        "it has an SRTP of its own": "libsrtp" not in libraries,
        "it is not linked to the system's Opus": "libopus.so" in libraries,
        "a library that it needs is missing": "not found" not in libraries,
    }
    return [complaint for complaint, good in rules.items() if not good]


def drop_missing_driver(tree: Path) -> None:
    """Take the object whose source is not there out of its Makefile."""
    if any((tree / "pjmedia/src").rglob(f"{PROPRIETARY_DRIVER}.c")):
        return
    makefile = tree / "pjmedia/build/Makefile"
    makefile.write_text(makefile.read_text().replace(f"{PROPRIETARY_DRIVER}.o", ""))
