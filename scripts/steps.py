# SPDX-License-Identifier: GPL-3.0-or-later
"""Named steps with their time on the terminal, and their full output in a log."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

TAIL_LINES = 25


class StepError(Exception):
    """A step did not work; the message says why and what to do about it."""


class Screen:
    """The terminal, shared by steps that run at the same time.

    A step's line is begun when it begins, and what came between makes it be written again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = ""

    def begin(self, name: str) -> None:
        """Show that a step has begun."""
        with self._lock:
            self._finish_line()
            print(f"  {name} ... ", end="", flush=True)
            self._begun = name

    def end(self, name: str, outcome: str) -> None:
        """Show what became of it."""
        with self._lock:
            if self._begun != name:
                self._finish_line()
                print(f"  {name} ... ", end="")
            print(outcome, flush=True)
            self._begun = ""

    def _finish_line(self) -> None:
        if self._begun:
            print()
        self._begun = ""


class Steps:
    """Runs commands; all they print goes to `log`, the terminal gets a line for each step."""

    def __init__(self, log: Path, *, append: bool = False, screen: Screen | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._screen = screen or Screen()
        if not append:
            log.write_bytes(b"")

    def beside(self, name: str) -> Self:
        """Steps that run at the same time as these: on the same terminal, with their own log."""
        log = self.log.with_name(f"{self.log.stem}-{name}{self.log.suffix}")
        return type(self)(log, screen=self._screen)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens inside; a failure names the step, the reason and the log."""
        self._screen.begin(name)
        self._note(f"== {name}")
        before = time.monotonic()
        try:
            yield
        except (StepError, OSError) as error:
            self._screen.end(name, f"FAILED after {time.monotonic() - before:.1f} s")
            raise StepError(f"{name}: {error}") from error
        self._screen.end(name, f"{time.monotonic() - before:.1f} s")

    def skip(self, name: str, why: str) -> None:
        """Say that a step had nothing to do."""
        self._screen.end(name, why)

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
