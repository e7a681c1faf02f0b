# SPDX-License-Identifier: GPL-3.0-or-later
"""What checks find, shown line by line; and the exit code that follows from it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import typer
from rich.console import Console
from rich.markup import escape

from bridge import logs
from bridge.app.verdicts import Finding, Verdict
from bridge.config import Config, secrets_of
from bridge.config.problems import Problem

_STYLES: Final = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.FAILED: "red bold",
    Verdict.SKIPPED: "dim",
}


def show(output: Console, finding: Finding) -> Verdict:
    """One line, and what would help."""
    word = finding.verdict.value
    padding = " " * (9 - len(word))
    style = _STYLES[finding.verdict]
    output.print(f"[{style}]{word}[/]{padding}{escape(finding.what)}: {escape(finding.message)}")
    if finding.remedy:
        output.print(f"         {escape(finding.remedy)}")
    return finding.verdict


def run_checks(output: Console, settings: Config, problems: Sequence[Problem] = ()) -> None:
    """All of them. Exits with 1 if something failed, with 2 if nothing was proved."""
    from bridge.app.check import check

    verdicts = _shown(output, settings, check(settings, problems))
    if problems or Verdict.FAILED in verdicts:
        raise typer.Exit(1)
    if Verdict.OK not in verdicts:
        raise typer.Exit(2)


def place_call(output: Console, settings: Config, number: str, who: str, talk: float) -> None:
    """A call. Exits with 1 if it does not come about, or nothing comes. Raises NotDone."""
    from bridge.app.trial import trial

    if Verdict.FAILED in _shown(output, settings, trial(settings, number, who, talk)):
        raise typer.Exit(1)


def _shown(output: Console, settings: Config, findings: AsyncIterator[Finding]) -> set[Verdict]:
    async def each() -> set[Verdict]:
        return {show(output, finding) async for finding in findings}

    logs.configure("error", full_numbers=True, secrets=list(secrets_of(settings)))
    return asyncio.run(each())
