# SPDX-License-Identifier: GPL-3.0-or-later
"""Set up what a goal needs, from nothing, and do no step again whose input has not changed."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from pathlib import Path

from scripts import debian, pjsua2_wheel
from scripts.lanes import Lanes
from scripts.steps import StepError, Steps, output_of

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
VENV = ROOT / ".venv"
SYNAPSE_VENV = ROOT / ".venv-synapse"
BROWSER = ROOT / "tests/e2e/browser"
LOG = ROOT / ".cache/setup.log"

GOALS = {"setup": debian.BUILD, "demo": debian.DEMO, "test": debian.TEST}
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--no-compile", "--require-hashes")
# The wheel takes longest and goes first: others take what it leaves of the processors.
LATER = ("nice",)
# Two thirds of what could be compiled: tests and tables that nobody asks for, and what is there as
# machine code, too.
RARELY_LOADED = (
    r"site-packages/(.*/)?(tests?|SelfTest|geodata|carrierdata|tzdata|lexers|mypyc?|Cython|pip)/"
)


def main() -> int:
    """Two stages: the system's Python makes the environment, the environment's own fills it."""
    parser = argparse.ArgumentParser(prog="setup", description=__doc__)
    parser.add_argument("goal", choices=GOALS)
    parser.add_argument("--in-environment", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    steps = Steps(LOG, append=arguments.in_environment)
    try:
        if not arguments.in_environment:
            debian.install_missing(steps, first_needs(arguments.goal))
            make_venv(steps, VENV)
            _continue_in_environment(arguments.goal)
        fill(steps, arguments.goal)
    except StepError as error:
        print(f"\nsetup: {error}", file=sys.stderr)
        return 1
    return 0


def _continue_in_environment(goal: str) -> None:
    python = str(VENV / "bin/python")
    sys.stdout.flush()
    os.execv(python, [python, "-m", "scripts.provision", goal, "--in-environment"])


def first_needs(goal: str) -> tuple[debian.Need, ...]:
    """The system's packages that have to be there before anything else."""
    needs = debian.BUILD + debian.needs_of_python()
    # Who may be asked for a password is asked once, while nothing else is on the terminal.
    return needs if os.geteuid() == 0 else (*needs, *_later_needs(goal))


def _later_needs(goal: str) -> tuple[debian.Need, ...]:
    return tuple(need for need in GOALS[goal] if need not in debian.BUILD)


def fill(steps: Steps, goal: str) -> None:
    """Everything that a goal needs inside the environment, as much as possible side by side."""
    lock = "runtime" if goal == "demo" else "dev"
    with Lanes(steps) as lanes:
        tools = lanes.start("tools", _install_tools)
        wheel = lanes.start("build-pjsua2", _build_pjsua2, after=(tools,))
        packages = lanes.start("packages", lambda lane: _install_locked(lane, lock), after=(tools,))
        pjsua2 = lanes.start("pjsua2", _install_pjsua2, after=(packages, wheel))
        lanes.start("project", _install_project, after=(pjsua2,))
        if goal == "setup":
            return
        system = lanes.start("system", lambda lane: _install_later_needs(lane, goal))
        lanes.start("synapse", _install_synapse, after=(tools,))
        if goal == "test":
            lanes.start("npm", _install_browser_packages, after=(system,))


def make_venv(steps: Steps, venv: Path, *, pip: bool = True) -> None:
    """An empty environment, unless there is one."""
    name = f"environment {venv.name}"
    if _usable(venv, "import pip" if pip else "pass"):
        steps.skip(name, "there")
        return
    without = [] if pip else ["--without-pip"]
    with steps.step(name):
        steps.run([sys.executable, "-m", "venv", "--clear", *without, venv])


def _usable(venv: Path, probe: str) -> bool:
    """Whether it still works: its Python may have been upgraded, or removed."""
    try:
        output_of([venv / "bin/python", "-c", probe])
    except StepError:
        return False
    return True


def _install_later_needs(steps: Steps, goal: str) -> None:
    debian.install_missing(steps, _later_needs(goal), name="more system packages")


def _install_tools(steps: Steps) -> None:
    """What packages without a wheel are built with: the locked tools, not today's."""
    lock = LOCKS / "build.txt"
    if _done(VENV, "build", _key(lock)):
        steps.skip("tools to build with", "there")
        return
    with steps.step("tools to build with"):
        steps.run([VENV / "bin/python", *PIP, "-r", lock])
    _mark(VENV, "build", _key(lock))


def _install_locked(steps: Steps, lock: str) -> None:
    # All of `runtime` is in `dev`, at the same versions.
    inputs = [LOCKS / "build.txt", LOCKS / f"{lock}.txt"]
    name = f"packages of requirements/{lock}.txt"
    if lock == "runtime" and _done(VENV, "dev", _key(LOCKS / "build.txt", LOCKS / "dev.txt")):
        steps.skip(name, "there")
        return
    if _done(VENV, lock, _key(*inputs)):
        steps.skip(name, "there")
        return
    with steps.step(name):
        steps.run(
            [*LATER, VENV / "bin/python", *PIP, "--no-build-isolation", "-r", inputs[1]],
            # libolm's build description predates CMake 4.
            env={"CMAKE_POLICY_VERSION_MINIMUM": "3.5"},
        )
        _compile(steps, VENV)
    _mark(VENV, lock, _key(*inputs))


def _compile(steps: Steps, venv: Path) -> None:
    """Byte code of what is often loaded; the rest is compiled when it is."""
    python = venv / "bin/python"
    steps.run([*LATER, python, "-m", "compileall", "-q", "-x", RARELY_LOADED, venv / "lib"])


def _build_pjsua2(steps: Steps) -> None:
    if not _done(VENV, "pjsua2", pjsua2_wheel.recipe_key()):
        pjsua2_wheel.ensure_wheel(steps)


def _install_pjsua2(steps: Steps) -> None:
    key = pjsua2_wheel.recipe_key()
    if _done(VENV, "pjsua2", key):
        steps.skip("pjsua2", "there")
        return
    wheel = pjsua2_wheel.ensure_wheel(steps)
    with steps.step(f"install {wheel.name}"):
        steps.run(pjsua2_wheel.install_command(wheel))
    _mark(VENV, "pjsua2", key)


def _install_project(steps: Steps) -> None:
    key = _key(ROOT / "pyproject.toml")
    if _done(VENV, "project", f"{key} {ROOT}"):
        steps.skip("matrix-sip itself", "there")
        return
    with steps.step("matrix-sip itself (editable)"):
        quiet = ("-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps")
        steps.run([VENV / "bin/python", *quiet, "--no-build-isolation", "--editable", ROOT])
        # Once, instead of in each of the processes that begin to load it at the same time.
        steps.run([VENV / "bin/python", "-m", "compileall", "-q", ROOT / "bridge"])
    _mark(VENV, "project", f"{key} {ROOT}")


def _install_synapse(steps: Steps) -> None:
    make_venv(steps, SYNAPSE_VENV, pip=False)
    lock = LOCKS / "synapse.txt"
    if _done(SYNAPSE_VENV, "synapse", _key(lock)):
        steps.skip("Synapse", "there")
        return
    with steps.step("Synapse, in its own environment"):
        into = ("--python", SYNAPSE_VENV / "bin/python")
        steps.run([*LATER, VENV / "bin/python", *PIP[:2], *into, *PIP[2:], "-r", lock])
        _compile(steps, SYNAPSE_VENV)
    _mark(SYNAPSE_VENV, "synapse", _key(lock))


def _install_browser_packages(steps: Steps) -> None:
    modules = BROWSER / "node_modules"
    key = _key(BROWSER / "package-lock.json")
    if _done(modules, "npm", key):
        steps.skip("npm packages", "there")
        return
    with steps.step("npm packages of the browser tests"):
        npm = shutil.which("npm")
        if npm is None:
            raise StepError("there is no command 'npm'")
        steps.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=BROWSER)
    _mark(modules, "npm", key)


def _key(*inputs: Path) -> str:
    """What a step was made from; times of files say nothing after a clone."""
    digest = hashlib.sha256()
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _done(home: Path, step: str, key: str) -> bool:
    stamp = home / ".done" / step
    return stamp.exists() and stamp.read_text() == key


def _mark(home: Path, step: str, key: str) -> None:
    (home / ".done").mkdir(exist_ok=True)
    (home / ".done" / step).write_text(key)


if __name__ == "__main__":
    sys.exit(main())
