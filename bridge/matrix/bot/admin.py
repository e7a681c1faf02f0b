# SPDX-License-Identifier: GPL-3.0-or-later
"""What admins may ask of the bot, besides."""

from bridge.call.ids import UserId
from bridge.matrix.bot.commands import Misused, Request, current
from bridge.matrix.bot.reply import Reply
from bridge.records import LineView


async def trunks(request: Request) -> Reply:
    """How every trunk stands."""
    found = request.desk.trunks()
    if not found:
        return Reply("No trunk is set up.")
    return Reply("Trunks:", tuple(map(_line, found)))


async def active(request: Request) -> Reply:
    """Everybody's calls."""
    found = request.desk.active()
    if not found:
        return Reply("There are no calls.")
    items = (
        f"`{view.call}`: {view.person} {current(view, seconds)}, by `{view.trunk}`"
        for view, seconds in found
    )
    return Reply("Calls, oldest first:", tuple(items))


async def hang_up(request: Request) -> Reply:
    """End somebody's call."""
    if len(request.words) != 1:
        raise Misused("Which call? `active` shows their names.")
    view = request.desk.hang_up(request.words[0], request.person)
    return Reply(f"The call `{view.call}` of {view.person} is being ended.")


async def route(request: Request) -> Reply:
    """Where a call would go, in either direction."""
    who, words = request.person, request.words
    if len(words) > 2 and words[0].lower() == "in":
        number = " ".join(words[2:])
        came = request.desk.explain_in(words[1], number)
        return Reply(f"A call by `{words[1]}` for {number} {came.verdict}.", came.steps)
    if words and words[0].startswith("@"):
        who, words = UserId(words[0]), words[1:]
    if not words:
        raise Misused("Which number?")
    found = request.desk.explain(who, " ".join(words))
    return Reply(f"For {who}: {found.verdict}", found.steps)


def _line(line: LineView) -> str:
    return f"{'✓' if line.works else '✗'} `{line.name}`: {line.state}"
