# SPDX-License-Identifier: GPL-3.0-or-later
"""Steady calls (`soak`), or calls while things fail (`chaos`), in a network of their own.

    python -m reliability soak [--minutes 30] [--rate 0.5] [--seed N] [--homeserver synapse]
    python -m reliability chaos [--faults NAME …] [--rounds 3] [--seed N]

Ends with status 1 if anything fell short; logs, samples and the verdict are kept then, where the
last line says.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from reliability.chaos import Chaos, chaos
from reliability.disk import own_mounts, small_disk
from reliability.faults import FAULTS
from reliability.place import Place
from reliability.soak import Soak, soak
from reliability.verdict import Verdict
from tests.simulators.isolation import isolate_for_good, isolated
from tests.simulators.synapse import synapse_python

_MAX_CALLS = 16
"""The limit that is reached in `chaos`."""
_WIDTH = 140
"""Columns of what goes into a file."""
_DISK = 24
"""Megabytes of the disk that is filled."""


async def _soak(options: argparse.Namespace, directory: Path, console: Console) -> list[Verdict]:
    place = Place(directory, kind=options.homeserver)
    asked = Soak(seconds=60 * options.minutes, rate=options.rate, seed=options.seed)
    async with _open(place, console):
        return [await soak(place, asked, console)]


async def _chaos(options: argparse.Namespace, directory: Path, console: Console) -> list[Verdict]:
    verdicts = []
    for own_clock in (False, True):
        names = [name for name in options.faults if FAULTS[name].own_clock == own_clock]
        if not names:
            continue
        folder = directory / ("clock" if own_clock else "faults")
        place = Place(folder, kind=options.homeserver, max_calls=_MAX_CALLS, own_clock=own_clock)
        with small_disk(place.data, _DISK):
            async with _open(place, console):
                rounds = 0 if own_clock else options.rounds
                asked = Chaos(faults=names, rounds=rounds, seed=options.seed)
                verdicts.append(await chaos(place, asked, console))
            for file in place.data.iterdir():
                shutil.copy(file, folder)
    return verdicts


@contextlib.asynccontextmanager
async def _open(place: Place, console: Console) -> AsyncIterator[None]:
    try:
        await place.start()
        console.print(f"homeserver ({place.kind}), bridge and exchange are up")
        yield
    finally:
        await place.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reliability")
    commands = parser.add_subparsers(dest="command", required=True)
    steady = commands.add_parser("soak", help="steady calls")
    steady.add_argument("--minutes", type=float, default=30)
    steady.add_argument("--rate", type=float, default=0.5, help="calls a second")
    faulty = commands.add_parser("chaos", help="calls while things fail")
    faulty.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    faulty.add_argument("--rounds", type=int, default=3, help="times that several come together")
    for each in (steady, faulty):
        each.add_argument("--seed", type=int, help="of an earlier run, to have its calls again")
        each.add_argument(
            "--homeserver",
            choices=["synapse", "simulated"],
            default="synapse",
            help="simulated: costs next to nothing, for many calls a second",
        )
        each.add_argument("--keep", type=Path, help="folder for logs, which are kept then")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    return options


def main() -> int:
    """Exit status: 0 when all was as it should be."""
    options, console = _options(), Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    if options.homeserver == "synapse":
        synapse_python()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="matrix-sip-reliability-"))
    directory.mkdir(parents=True, exist_ok=True)
    console.print(f"[bold]{options.command}[/], SEED={options.seed}; logs: {directory}")
    play = _soak if options.command == "soak" else _chaos
    if os.geteuid() != 0:
        isolate_for_good()
    if options.command == "chaos":
        own_mounts()
    with isolated() if os.geteuid() == 0 else contextlib.nullcontext():
        verdicts = asyncio.run(play(options, directory, console))
    (directory / "verdict.json").write_text(json.dumps([asdict(v) for v in verdicts], indent=2))
    for verdict in verdicts:
        verdict.show(console)
    good = all(verdict.good for verdict in verdicts)
    if good and options.keep is None:
        shutil.rmtree(directory)
        return 0
    again = f"SEED={options.seed} has the same calls again"
    console.print(escape(f"{again}; logs, samples and verdict are in {directory}"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
