# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the questions of `matrix-sip setup` at a terminal, and looks at each answer at once."""

import asyncio
from typing import Final

import aiohttp
from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm, Prompt

from bridge.app.health import why
from bridge.app.questions import Answers, Question
from bridge.sip.lookup import Lookup, split_host_port

_PATIENCE: Final = aiohttp.ClientTimeout(total=5)


class Asking:
    """Somebody at a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, question: Question, default: str | None, answers: Answers) -> str:
        """Ask until the answer will do."""
        if question.key == "domain":
            default = asyncio.run(_name_of(answers["homeserver"])) or default
        while True:
            text = self._prompt(question, default)
            try:
                answer = question.check(text.strip(), answers)
            except ValueError as error:
                self._console.print(f"  [red]{escape(str(error))}[/]")
                continue
            doubt = asyncio.run(_doubt(question.key, answer))
            if not doubt or self.confirm(f"  [yellow]{escape(doubt)}.[/] Keep it?", default=False):
                return answer

    def homeserver_is_ready(self) -> bool:
        """Whether somebody has given it what it needs meanwhile."""
        text = "Has the homeserver got that, and been started again?"
        return self.confirm(text, default=True)

    def confirm(self, text: str, *, default: bool) -> bool:
        """Yes or no."""
        return Confirm.ask(text, console=self._console, default=default)

    def _prompt(self, question: Question, default: str | None) -> str:
        text = f"[bold]{escape(question.text)}[/]"
        if default is None:
            return Prompt.ask(text, console=self._console, password=question.secret)
        return Prompt.ask(text, console=self._console, default=default, show_default=default != "")


async def _doubt(key: str, answer: str) -> str:
    """What makes an answer look wrong although it is well-formed; empty if nothing does."""
    if key == "homeserver":
        found = await _get(f"{answer}/_matrix/client/versions")
        if isinstance(found, str):
            return f"{answer} does not answer as a homeserver ({found})"
    if key == "server":
        host, port = split_host_port(answer)
        ways: dict[str, set[int]] = {"udp": {4, 6}, "tcp": {4, 6}, "tls": {4, 6}}
        targets = await Lookup().targets(host, port, None, ways)  # type: ignore[arg-type]
        if not targets.addresses:
            return f"{host} has no address that this machine can find"
    return ""


async def _name_of(homeserver: str) -> str | None:
    """What a homeserver calls itself, where it says so to other homeservers."""
    found = await _get(f"{homeserver}/_matrix/key/v2/server")
    name = None if isinstance(found, str) else found.get("server_name")
    return name if isinstance(name, str) else None


async def _get(url: str) -> dict[str, object] | str:
    """The JSON that is there, or why there is none."""
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as session, session.get(url) as reply:
            if reply.status != 200:
                return f"HTTP {reply.status}"
            content = await reply.json(content_type=None)
            return content if isinstance(content, dict) else "something else is there"
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return why(error)
