# SPDX-License-Identifier: GPL-3.0-or-later
"""Named steps with their time on the terminal, and their full output in a log."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TAIL_LINES = 25


class StepError(Exception):
    """A step did not work; the message says why and what to do about it."""


class Steps:
    """Runs commands; all they print goes to `log`, the terminal gets a line for each step."""

    def __init__(self, log: Path, *, append: bool = False) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        if not append:
            log.write_bytes(b"")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens inside; a failure names the step, the reason and the log."""
        print(f"  {name} ... ", end="", flush=True)
        self._note(f"== {name}")
        before = time.monotonic()
        try:
            yield
        except (StepError, OSError) as error:
            print(f"FAILED after {time.monotonic() - before:.1f} s", flush=True)
            raise StepError(f"{name}: {error}") from error
        print(f"{time.monotonic() - before:.1f} s", flush=True)

    def skip(self, name: str, why: str) -> None:
        """Say that a step had nothing to do."""
        print(f"  {name} ... {why}", flush=True)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command to its end; raises StepError with the last lines it printed."""
        words = [str(word) for word in command]
        self._note(f"$ {shlex.join(words)}")
        offset = self.log.stat().st_size
        try:
            with self.log.open("ab") as output:
                done = subprocess.run(
                    words,
                    cwd=cwd,
                    env={**os.environ, **env} if env else None,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
        except FileNotFoundError as error:
            raise StepError(f"there is no command {words[0]!r}") from error
        if done.returncode == 0:
            return
        raise StepError(
            f"`{shlex.join(words[:3])}` ended with status {done.returncode}\n"
            f"{self._tail(offset)}\n  (all of it: {self.log})"
        )

    def _note(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{line}\n")

    def _tail(self, offset: int) -> str:
        with self.log.open("rb") as file:
            file.seek(offset)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-TAIL_LINES:])


def output_of(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> str:
    """What a short command prints; raises StepError when it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **env} if env else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise StepError(f"there is no command {words[0]!r}") from error
    if done.returncode != 0:
        raise StepError(
            f"`{shlex.join(words[:3])}` ended with status {done.returncode}: "
            f"{(done.stderr or done.stdout).strip()}"
        )
    return done.stdout
