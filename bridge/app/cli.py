# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.markup import escape

from bridge.app.log_as import log_as
from bridge.app.open_files import raise_limit
from bridge.app.report import place_call, run_checks, show
from bridge.app.verdicts import Finding, Verdict
from bridge.config import load, outdated
from bridge.config.load import examine, read_file
from bridge.config.template import configuration, fresh_secrets
from bridge.errors import BridgeError, ConfigurationError


class Form(StrEnum):
    """How calls are listed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


commands = typer.Typer(
    name="matrix-sip",
    help="Call and be called by any telephone from Matrix.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# In a pipe or file, a table may be as wide as it wants.
output = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="MATRIX_SIP_CONFIG",
        help="The configuration file.",
        show_default=True,
    ),
]
_CONFIG = Path("config.yaml")


@contextmanager
def _explaining(status: int = 1) -> Iterator[None]:
    """Errors that we raise on purpose are told without a traceback, and exit with `status`."""
    try:
        yield
    except BridgeError as error:
        errors.print(f"[red bold]error:[/] {escape(str(error))}")
        if error.remedy:
            errors.print(f"       {escape(error.remedy)}")
        raise typer.Exit(status) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        output.print(f"matrix-sip {version('matrix-sip')}")
        raise typer.Exit


@commands.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Call and be called by any telephone from Matrix."""


@commands.command()
def run(config: ConfigOption = _CONFIG) -> None:
    """Run the bridge until it is told to stop."""
    with _explaining():
        settings = load(config, os.environ)
        log_as(settings)
        for each in outdated(read_file(config), str(config)):
            structlog.get_logger(__name__).warning("matrix-sip upgrade", change=str(each))
        raise_limit()
        # Imported here, as only this command needs pjsua2 and the media libraries.
        from bridge.app.media import launch_template

        template = launch_template(settings)
        from bridge.app.run import run as run_bridge

        try:
            run_bridge(settings, template, lambda: load(config, os.environ))
        except BridgeError:
            structlog.get_logger(__name__).debug("could not run", exc_info=True)
            raise


@commands.command("generate-config")
def generate_config(
    example: Annotated[
        bool, typer.Option("--example", help="Leave the secrets empty: for documentation.")
    ] = False,
) -> None:
    """Print a configuration file with every key explained, and fresh secrets."""
    typer.echo(configuration(tokens={} if example else fresh_secrets()), nl=False)


@commands.command("generate-registration")
def generate_registration(
    config: ConfigOption = _CONFIG,
    people: Annotated[
        bool,
        typer.Option("--people", help="The second one instead, for portals.auto_join: as_token."),
    ] = False,
) -> None:
    """Print the registration for the homeserver. It contains the tokens of the configuration."""
    with _explaining():
        settings = load(config, os.environ)
        from bridge.app.registration import people_registration_file, registration_file

        print_it = people_registration_file if people else registration_file
        typer.echo(print_it(settings), nl=False)


@commands.command()
def setup(
    config: ConfigOption = _CONFIG,
    registration: Annotated[
        Path | None,
        typer.Option(
            "--registration",
            help="The registration to write; by default registration.yaml beside the settings.",
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", help="YAML with the answers: nothing is asked. `-`: stdin."),
    ] = None,
    checks: Annotated[
        bool, typer.Option("--check/--no-check", help="Whether to run check afterwards.")
    ] = True,
) -> None:
    """Ask what matters, write configuration and registration, then check. Can be run again."""
    with _explaining():
        from bridge.app import setup as making
        from bridge.app.asking import Asking
        from bridge.app.files import check_writable
        from bridge.app.questions import answer_all, answer_from

        asking = Asking(output)
        file = registration or config.parent / "registration.yaml"
        for each in (config, file):
            check_writable(each)
        before = making.answers_before(making.settings_before(config))
        if answers is not None:
            text = sys.stdin.read() if str(answers) == "-" else read_file(answers)
            found = answer_from(making.read_answers(text), before)
        else:
            if before:
                output.print(f"{escape(str(config))} is there: what it says is kept, or offered.")
            found = answer_all(asking, before)
        written = making.write(found, config, file, os.environ, datetime.now())
        for each in written.copies:
            output.print(f"[green]ok[/]       what was there before: {escape(str(each))}")
        output.print(f"[green]ok[/]       configuration: {escape(str(config))}")
        output.print(f"[green]ok[/]       registration: {escape(str(file))}, for the homeserver")
        region = written.config.numbers.region
        output.print(f"         Numbers are read as in {region}: numbers.region\n")
        output.print(escape(making.for_homeserver(file)))
        if not checks or (answers is None and not asking.homeserver_is_ready()):
            output.print("When the homeserver has that: matrix-sip check, then matrix-sip run")
            return
        run_checks(output, written.config)
        output.print("\nNothing failed. Now: matrix-sip run, or systemctl enable --now matrix-sip")


@commands.command()
def check(
    config: ConfigOption = _CONFIG,
    call: Annotated[
        str,
        typer.Option(
            "--call",
            help="Call this number instead, as the dial plan says, send a tone, and tell how "
            "audio comes and goes. No homeserver is needed, and a bridge that runs not disturbed.",
        ),
    ] = "",
    who: Annotated[
        str,
        typer.Option("--as", help="Matrix id of who calls, for --call; else the first who may."),
    ] = "",
    talk: Annotated[
        float, typer.Option("--talk", min=1, max=60, help="Seconds of the tone, for --call.")
    ] = 6,
) -> None:
    """Try everything that the bridge needs, and say what would help.

    Exits with 0, 1 (something failed) or 2 (nothing could be proved).
    """
    with _explaining(2):
        text = read_file(config)
    directory = config.absolute().parent
    settings, problems = examine(text, os.environ, directory=directory, name=str(config))
    for problem in problems:
        show(output, Finding(Verdict.FAILED, "configuration", str(problem)))
    if settings is None:
        raise typer.Exit(2)
    for each in outdated(text, str(config)):
        found = Finding(Verdict.WARNING, "configuration", str(each), "Run matrix-sip upgrade.")
        show(output, found)
    if not problems:
        show(output, Finding(Verdict.OK, "configuration", str(config)))
    if not call:
        run_checks(output, settings, problems)
    elif problems:
        raise typer.Exit(1)
    else:
        with _explaining():
            place_call(output, settings, call, who, talk)


@commands.command()
def upgrade(
    config: ConfigOption = _CONFIG,
    backed_up: Annotated[
        bool,
        typer.Option("--backed-up", help="A copy of the PostgreSQL database has been made."),
    ] = False,
) -> None:
    """Bring configuration and database of an earlier version up to date; both are copied first."""
    with _explaining():
        settings = load(config, os.environ)
        from bridge.app.upgrade import upgrade_database, upgrade_file

        now = datetime.now()
        file = upgrade_file(config, os.environ, now)
        for each in file.changed:
            output.print(escape(str(each)))
        _tell(f"configuration {config}", bool(file.changed), file.copy)
        migrated, copy = asyncio.run(upgrade_database(settings, now, backed_up=backed_up))
        _tell("database", migrated, copy)


def _tell(what: str, changed: bool, copy: Path | None) -> None:
    if not changed:
        output.print(f"[green]ok[/]       {escape(what)}: up to date")
        return
    before = f"; as it was before: {copy}" if copy else ""
    output.print(f"[green]ok[/]       {escape(what)}: brought up to date{escape(before)}")


@commands.command()
def health(config: ConfigOption = _CONFIG) -> None:
    """Ask the running bridge whether both sides work. Exits with 1 if not."""
    with _explaining():
        settings = load(config, os.environ)
        from bridge.app.health import ask

        ready, details = asyncio.run(ask(settings.web))
        output.print_json(data=details)
        if not ready:
            raise typer.Exit(1)


@commands.command("reload")
def reload_settings(config: ConfigOption = _CONFIG) -> None:
    """Have the running bridge read its settings anew. Exits with 1 if they are wrong: then nothing
    is changed. What needs a restart is named, and left as it was.
    """
    with _explaining():
        from bridge.app import ask_reload

        done = asyncio.run(ask_reload.reload(ask_reload.settings(config, os.environ)))
        for problem in done.problems:
            errors.print(f"[red bold]error:[/] {escape(problem)}")
        if done.problems:
            errors.print("       nothing was changed")
            raise typer.Exit(1)
        for key in done.applied:
            output.print(f"[green]in force[/] {escape(key)}")
        for key in done.restart:
            output.print(f"[yellow]restart[/]  {escape(key)}")
        for warning in done.warnings:
            errors.print(f"[yellow]warning[/]  {escape(warning)}")
        if not done.applied and not done.restart:
            output.print("nothing is different")


@commands.command()
def route(
    who: Annotated[
        str, typer.Argument(help="Matrix id of who calls; with --in, the number that calls.")
    ],
    number: Annotated[str, typer.Argument(help="What they dial.")],
    config: ConfigOption = _CONFIG,
    incoming: Annotated[
        bool, typer.Option("--in", help="The call comes in, by the trunk that --trunk names.")
    ] = False,
    trunk: Annotated[str, typer.Option("--trunk", help="Name of the trunk, for --in.")] = "",
) -> None:
    """Show which rules a call would meet, and what would become of it. Nobody is called."""
    with _explaining():
        if incoming != bool(trunk):
            raise ConfigurationError("--in and --trunk go together.")
        settings = load(config, os.environ)
        from bridge.app.routing import dry_run, with_provisioned

        whole, missing = asyncio.run(with_provisioned(settings))
        for line in dry_run(whole, who, number, trunk):
            output.print(escape(line))
        if missing:
            errors.print(f"Rules that were set by the API are not known: {escape(missing)}")


@commands.command("calls")
def list_calls(
    config: ConfigOption = _CONFIG,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many, newest first.")
    ] = 20,
    form: Annotated[
        Form, typer.Option("--format", "-f", help="For people, a spreadsheet or a program.")
    ] = Form.TABLE,
    person: Annotated[str, typer.Option("--person", help="Part of a Matrix id.")] = "",
    number: Annotated[str, typer.Option("--number", help="Part of a number or address.")] = "",
    since: Annotated[
        datetime | None, typer.Option("--since", help="Those that began then or later.")
    ] = None,
) -> None:
    """List the latest calls: who, when, how long, and why one failed."""
    with _explaining():
        settings = load(config, os.environ)
        from bridge.app import history
        from bridge.records import CallQuery
        from bridge.web import exports

        query = CallQuery(
            person=person,
            number=number,
            since=since.timestamp() if since else None,
            limit=count,
        )
        records = asyncio.run(history.find(settings, query))
        if form is Form.TABLE:
            output.print(history.table(records))
        else:
            write = exports.csv_of if form is Form.CSV else exports.json_of
            typer.echo(write(records), nl=False)


@commands.command("ladder")
def show_ladder(
    call: Annotated[str, typer.Argument(help="The call's id, or `last`.")] = "last",
    config: ConfigOption = _CONFIG,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            "-f",
            help="Whole SIP messages and session descriptions, and all measurements.",
        ),
    ] = False,
) -> None:
    """Show what both sides of a call said, in order, with times."""
    with _explaining():
        settings = load(config, os.environ)
        from bridge.app import history

        record, entries = asyncio.run(history.one(settings, call, full=full))
        for line in history.ladder(record, entries, full=full):
            output.print(line)
