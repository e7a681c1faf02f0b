# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the files that are generated from the code: the examples and the reference.

python -m scripts.write_reference
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr
from typer.main import get_command

from bridge.app.cli import commands
from bridge.app.registration import registration_file
from bridge.config import AppService, Config
from bridge.config.reference import reference
from bridge.config.template import configuration
from scripts.api_reference import api_document, api_reference
from scripts.bot_reference import bot_reference
from scripts.cause_reference import cause_reference
from scripts.dashboard import dashboard

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = """\
# Commands

Written by `scripts/write_reference.py` from `bridge/app/cli.py`.

`matrix-sip COMMAND`, or `python -m bridge COMMAND`. `matrix-sip COMMAND --help` shows the same as
this page, `matrix-sip --version` the version.

Every command exits with 0 when all is well and with 1 when not; 2 means that the command line could
not be understood, and from `check` that nothing could be proved. What went wrong, and what would
help, is written to standard error.

`run` logs to standard error. SIGTERM and SIGINT (Ctrl-C) make it stop: calls may go on for
`shutdown.drain` seconds, while new ones are refused; a second signal ends them at once, on both
sides ([more](../how-to/restart.md)). SIGHUP, or `matrix-sip reload`,
makes it read its settings anew. It tells systemd when it is
ready (`Type=notify` may be used). While it runs, `http://127.0.0.1:29331` (see `web` in the
[configuration](configuration.md)) serves `/health/live` (200 while the process answers at all),
`/health/ready` (200 when homeserver, SIP and database work, else 503, with details as JSON;
`/health` and `/ready` are the same), `/metrics` for [Prometheus](../how-to/monitoring.md), and the
[admin page](../how-to/admin-page.md).
"""


def generated() -> Mapping[str, str]:
    """Each generated file's path, from the top of the source tree, and its content."""
    service = AppService(
        as_token=SecretStr("as_token of config.yaml"), hs_token=SecretStr("hs_token of config.yaml")
    )
    return {
        "config.yaml.example": configuration(),
        "registration.yaml.example": registration_file(Config(appservice=service)),
        "docs/reference/configuration.md": reference(),
        "docs/reference/commands.md": command_reference(),
        "docs/reference/bot.md": bot_reference(),
        "docs/reference/causes.md": cause_reference(),
        "docs/reference/api.md": api_reference(),
        "docs/reference/openapi.json": api_document(),
        "docs/how-to/prometheus/dashboard.json": dashboard(),
    }


def command_reference() -> str:
    """The page on the command line."""
    lines = [COMMANDS]
    for name, command in sorted(cast(Any, get_command(commands)).commands.items()):
        lines += [f"## `matrix-sip {name}`", "", *_paragraph(command.help)]
        options = [each for each in command.params if each.name != "help"]
        if options:
            lines += ["| option | meaning | default |", "|---|---|---|"]
            lines += [*map(_option, options), ""]
    return "\n".join(lines).rstrip() + "\n"


def _paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(" ".join(text.split()), 100), ""]


def _option(option: Any) -> str:
    is_argument = option.param_type_name == "argument"
    names = option.name.upper() if is_argument else "`, `".join(option.opts)
    default = "" if option.default in (None, False) else f"`{option.default}`"
    environment = f" Or by `{option.envvar}`." if option.envvar else ""
    return f"| `{names}` | {option.help}{environment} | {default} |"


def main() -> None:
    """Write every generated file."""
    for path, content in generated().items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
