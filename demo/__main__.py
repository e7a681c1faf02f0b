# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's command line: builds the stage, plays both calls, then stays for guests."""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule

from demo.calls import CLIENT_HERTZ, matrix_calls_telephone, telephone_calls_matrix
from demo.verdict import Verdict
from tests.simulators.baresip import baresip
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.matrix_phone import MatrixPhone
from tests.simulators.processes import free_port
from tests.simulators.stage import Line, Person, Stage, Subscriber
from tests.simulators.synapse import synapse_python

_INTERRUPTED = 130
_ALL_CODECS = ("opus", "G722", "PCMA", "PCMU")


def main() -> int:
    """Exit status: 0 when every check was good."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="A homeserver, the bridge and a telephone, on loopback and free ports, in a"
        " temporary directory: a call each way, a verdict, and then room for guests.",
    )
    parser.add_argument("--once", action="store_true", help="end after the verdict")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    try:
        baresip()
        synapse_python()
    except FileNotFoundError as missing:
        console.print(f"[bold red]demo:[/] {escape(str(missing))}")
        return 1
    with contextlib.suppress(asyncio.CancelledError):
        return asyncio.run(_until_told_to_stop(_demo(console, once=arguments.once)))
    return _INTERRUPTED


async def _until_told_to_stop(work: Coroutine[None, None, int]) -> int:
    """SIGINT and SIGTERM end `work` by cancelling it, so that everything is taken down in order."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    return await task


async def _demo(console: Console, *, once: bool) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-sip-demo-") as directory:
        stage, echo, door, guest = _stage(Path(directory))
        try:
            if not await _set_up(console, stage):
                return 1
            alice, visitor = await stage.person(), await stage.person()
            verdicts = await _play(console, stage, alice, echo, door)
            good = len(verdicts) == 2 and all(verdict.good for verdict in verdicts)
            _conclude(console, verdicts, time.monotonic() - began)
            if not good:
                await _show_what_is_known(console, stage, alice)
            if not once:
                await _stay(console, stage, visitor, guest, echo)
            return 0 if good else 1
        finally:
            await stage.stop()


def _stage(directory: Path) -> tuple[Stage, Line, Line, Line]:
    echo = Line("echo", "127.0.0.10", "+12025550110", ("G722",), _sip_port("127.0.0.10"))
    door = Line("door", "127.0.0.11", "+12025550120", ("PCMU",), _sip_port("127.0.0.11"))
    guest = Line("guest", "127.0.0.1", "+12025550177", _ALL_CODECS, _sip_port("127.0.0.1"))
    people = [Subscriber("alice", "+12025550100"), Subscriber("visitor", "+12025550101")]
    return Stage(directory, (echo, door, guest), people), echo, door, guest


def _sip_port(address: str) -> int:
    return free_port(socket.SOCK_DGRAM, address)


async def _set_up(console: Console, stage: Stage) -> bool:
    console.print(Rule("[bold]matrix-sip", style="dim"))
    began = time.monotonic()
    with console.status("starting a homeserver (Synapse) and the bridge, in a temporary directory"):
        try:
            await stage.start()
        except (TimeoutError, RuntimeError) as error:
            console.print(f"[bold red]✘ {escape(str(error))}[/]")
            return False
    console.print(
        f"[bold green]✔[/] homeserver and bridge are up, on loopback alone"
        f" [dim]({time.monotonic() - began:.1f} s)[/]"
    )
    return True


async def _play(
    console: Console, stage: Stage, person: Person, echo: Line, door: Line
) -> list[Verdict]:
    """Both calls; the verdicts of those that came to their end."""
    verdicts = []
    client = MatrixClient(stage.synapse.url, person.credentials)
    async with client, MatrixPhone(client, says=CLIENT_HERTZ) as phone:
        try:
            _announce(console, 1, f"{person.user_id} calls {echo.number}, a telephone that echoes")
            verdicts.append(await matrix_calls_telephone(console, stage, person, phone, echo))
            console.print(verdicts[-1].table())
            phone.codecs = ("opus",)
            _announce(
                console,
                2,
                f"{door.number} (PCMU) calls {person.user_id}, whose client has Opus only",
            )
            verdicts.append(await telephone_calls_matrix(console, stage, person, phone, door))
            console.print(verdicts[-1].table())
        except (TimeoutError, RuntimeError) as error:
            console.print(f"[bold red]✘ {escape(str(error))}[/]")
    return verdicts


def _announce(console: Console, number: int, text: str) -> None:
    console.print()
    console.print(Rule(f"[bold]{number}[/]  {escape(text)}", align="left", style="dim"))


def _conclude(console: Console, verdicts: list[Verdict], seconds: float) -> None:
    lines = [
        f"{'[bold green]✔[/]' if verdict.good else '[bold red]✘[/]'} {verdict.title}"
        for verdict in verdicts
    ]
    missing = 2 - len(verdicts)
    lines += ["[bold red]✘[/] a call did not come to its end"] * bool(missing)
    good = not missing and all(verdict.good for verdict in verdicts)
    console.print(
        Panel(
            "\n".join(lines),
            title="both calls were good" if good else "something fell short",
            subtitle=f"{seconds:.0f} s in all",
            border_style="green" if good else "red",
            expand=False,
            padding=(0, 2),
        )
    )


async def _show_what_is_known(console: Console, stage: Stage, person: Person) -> None:
    for number, call in enumerate(stage.bridge.calls(person.user_id), 1):
        with contextlib.suppress(TimeoutError):
            call = await stage.bridge.ended(person.user_id, count=number, within=3)
        console.print(Rule(f"what the bridge measured of {call.call}", style="red"))
        for name, value in call.statistics.items():
            console.print(f"{name} {value}", markup=False)
    console.print(Rule("the end of the bridge's log", style="red"))
    for line in stage.bridge.output().splitlines()[-40:]:
        console.print(line, markup=False, soft_wrap=True)


async def _stay(console: Console, stage: Stage, visitor: Person, guest: Line, echo: Line) -> None:
    """Say how to join in, and wait until Ctrl-C."""
    text = f"""\
[bold]With a Matrix client[/] on this machine (Element Desktop, for one)
  homeserver  {stage.synapse.url}
  user        {visitor.credentials.localpart}
  password    {visitor.credentials.password}
  Start a direct chat with [cyan]{echo.ghost}[/] and press the call button:
  a telephone answers and echoes what you say.

[bold]With a softphone[/] on this machine (Linphone, baresip, …), without registration
  Dial [magenta]{stage.uri(visitor)}[/]: the Matrix client rings.
  To be called, let it listen at {guest.address}:{guest.port} (UDP) and call
  [cyan]{guest.ghost}[/] from Matrix.

[dim]Files are in {stage.directory} until this ends.[/]"""
    console.print(Panel(text, title="Join in; Ctrl-C ends all of it", expand=False, padding=(1, 2)))
    async with stage.phone(echo, says=None):
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
