# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands: what `help` and the reference show, and what is run."""

from collections.abc import Mapping
from typing import Final

from bridge.call.policy import Access
from bridge.errors import NotDone
from bridge.matrix.bot import account, admin, commands
from bridge.matrix.bot.commands import Command, Misused, Request
from bridge.matrix.bot.reply import Reply
from bridge.matrix.bot.voicemail import voicemail


async def _help(request: Request) -> Reply:
    if not request.words:
        own = [name for name, each in COMMANDS.items() if each.access <= request.access]
        return Reply("What I do:", tuple(f"{usage(name)}: {COMMANDS[name].help}" for name in own))
    name = request.words[0].lower()
    if name not in COMMANDS:
        raise NotDone(unknown())
    return Reply(f"{usage(name)}: {COMMANDS[name].help}")


COMMANDS: Final[Mapping[str, Command]] = {
    "help": Command(
        usage="[<command>]", help="show what you can say here, or explain a command.", run=_help
    ),
    "call": Command(
        usage="<number>",
        help="call a number or SIP address: your client rings, and when you answer, theirs does.",
        access=Access.CALL,
        run=commands.call,
    ),
    "calls": Command(
        usage="[<how many>]", help="list your latest calls, 10 unless told.", run=commands.calls
    ),
    "status": Command(
        usage="", help="show your settings, your account, and your calls.", run=commands.status
    ),
    "dnd": Command(
        usage="[on|off]",
        help="do not disturb: while it is on, callers are told that you cannot be reached.",
        run=commands.dnd,
    ),
    "forward": Command(
        usage="[<number>|off]",
        help="send your calls to another number or SIP address.",
        access=Access.CALL,
        run=commands.forward,
    ),
    "withhold": Command(
        usage="[on|off|default]",
        help="call without showing your number; for a single call, put *67 in front of the number.",
        access=Access.CALL,
        run=commands.withhold,
    ),
    "voicemail": Command(
        usage="[on|off|status|delay <seconds>|greeting|greeting remove]",
        help="let callers leave you voice messages when you do not answer; the greeting is yours.",
        run=voicemail,
    ),
    "login": Command(
        usage="[<username>@<server> [as <name>]]",
        help="use a SIP account of your own for your calls; I ask for the password.",
        access=Access.CALL,
        run=account.login,
    ),
    "logout": Command(usage="", help="forget your SIP account.", run=account.logout),
    "trunks": Command(
        usage="", help="show how every trunk stands.", access=Access.ADMIN, run=admin.trunks
    ),
    "active": Command(
        usage="", help="list everybody's calls.", access=Access.ADMIN, run=admin.active
    ),
    "hangup": Command(
        usage="<call>",
        help="end a call, by its name in `active`.",
        access=Access.ADMIN,
        run=admin.hang_up,
    ),
    "route": Command(
        usage="[<Matrix id> | in <trunk>] <number>",
        help="show which rules a call to the number would meet, or whom one for it would ring; "
        "nobody is called.",
        access=Access.ADMIN,
        run=admin.route,
    ),
}


async def run(name: str, request: Request) -> Reply:
    """Carry a command out. Raises `NotDone` with a sentence."""
    command = COMMANDS.get(name)
    if command is None or command.access > request.access:
        raise NotDone(unknown() if command is None else "You are not permitted to do that.")
    try:
        return await command.run(request)
    except Misused as error:
        return Reply(f"{error} Say {usage(name)}.")


def usage(name: str) -> str:
    """A command with what follows it."""
    return f"`{name} {COMMANDS[name].usage}`".replace(" `", "`")


def unknown() -> str:
    """The answer to what is no command. It does not repeat it: it may be a password."""
    return "I do not know that command. `help` lists those that I know."
