# SPDX-License-Identifier: GPL-3.0-or-later
"""People's own SIP accounts: how one logs in without leaving the password about."""

import re
from functools import partial
from typing import Final

from bridge.errors import NotDone
from bridge.matrix.bot.commands import Request
from bridge.matrix.bot.reply import Question, Reply

_ADDRESS: Final = re.compile(r"(?:sips?:)?(?P<user>\S+)@(?P<server>[^\s@]+)")
_FORM: Final = "Write it as `username@server`, with `:port` after the server if it needs one."
_CANCEL: Final = "(`cancel` stops this.)"


async def login(request: Request) -> Reply:
    """Ask for what is missing of address and password, one after the other."""
    if not request.words:
        return Reply(f"Which SIP account? {_FORM} {_CANCEL}", question=_about_address(request))
    if len(request.words) == 1:
        return await _address(request, request.words[0])
    return await _password(request, *_parts(request.words[0]), " ".join(request.words[1:]))


async def logout(request: Request) -> Reply:
    """Forget the account."""
    if await request.desk.logout(request.person):
        return Reply("You are logged out, and your password is forgotten.")
    return Reply("You have no SIP account here.")


async def _address(request: Request, text: str) -> Reply:
    try:
        user, server = _parts(text)
    except NotDone as error:
        return Reply(f"{error} {_CANCEL}", question=_about_address(request))
    return Reply(
        f"And its password? I delete your message as soon as I have read it. {_CANCEL}",
        question=Question(partial(_password, request, user, server), secret=True),
    )


async def _password(request: Request, user: str, server: str, password: str) -> Reply:
    line = await request.desk.login(request.person, server, user, password)
    return Reply(f"You are logged in as `{line.name}`: {line.state}.")


def _about_address(request: Request) -> Question:
    return Question(partial(_address, request))


def _parts(text: str) -> tuple[str, str]:
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise NotDone(f"That is no SIP account. {_FORM}")
    return found["user"], found["server"]
