# SPDX-License-Identifier: GPL-3.0-or-later
"""Feed targets with input that libFuzzer makes up: `python -m tests.fuzz` (`make fuzz`).

Each target runs in a process of its own, which ends at the first input that something raises on,
and leaves it in the folder that is named.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Final, NoReturn

import atheris

_LOOKED_INTO: Final = ["bridge.media.embedded", "bridge.sdp", "bridge.sip.messages"]

with atheris.instrument_imports(include=_LOOKED_INTO):
    from tests.fuzz.targets import TARGETS

_LONGEST: Final = 1024
"""Octets of an input."""
_STUCK: Final = 20
"""Seconds that one input may take."""
_LEFT: Final = "fuzz-"
"""What files begin with that are left behind."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; none: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--runs", type=int, default=-1, help="inputs for each target, at most")
    parser.add_argument("--seed", type=int, default=0, help="repeats a run; 0: another each time")
    parser.add_argument("--corpus", type=Path, help="keeps inputs that reach something new here")
    parser.add_argument("--left", type=Path, default=Path(), help="where bad inputs are left")
    parser.add_argument("--replay", type=Path, help="feed one target with this file, and no more")
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if options.replay and len(options.targets) != 1:
        parser.error("--replay wants one target")
    return options


def _fuzz(name: str, options: argparse.Namespace) -> NoReturn:
    """Run one target in this process, which this ends."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as seeds:
        for number, seed in enumerate(target.seeds):
            Path(seeds, str(number)).write_bytes(seed)
        corpus = options.corpus or Path(seeds, "corpus")
        (corpus / name).mkdir(parents=True, exist_ok=True)
        arguments = [
            f"-max_total_time={options.seconds}",
            f"-runs={options.runs}",
            f"-seed={options.seed}",
            f"-max_len={_LONGEST}",
            f"-timeout={_STUCK}",
            f"-artifact_prefix={options.left / f'{_LEFT}{name}-'}",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        atheris.Setup([name, *arguments, str(corpus / name), seeds], target.feed)
        atheris.Fuzz()
    sys.exit(0)


def _in_processes(names: list[str], options: argparse.Namespace) -> int:
    """Run targets one after the other, each in a child; 1 if one of them failed, else 0."""
    failed = []
    for name in names:
        sys.stderr.write(f"--- {name}\n")
        child = os.fork()
        if not child:
            _fuzz(name, options)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            failed.append(name)
    for name in failed:
        left = options.left / f"{_LEFT}{name}-*"
        sys.stderr.write(
            f"{name}: something was raised on an input, which is left in {left}; "
            f"`python -m tests.fuzz {name} --replay FILE` feeds it again\n"
        )
    return 1 if failed else 0


def main() -> None:
    """Do what the command line asks for."""
    options = _options()
    names = options.targets or list(TARGETS)
    if options.replay:
        TARGETS[names[0]].feed(options.replay.read_bytes())
        return
    sys.exit(_in_processes(names, options))


if __name__ == "__main__":
    main()
