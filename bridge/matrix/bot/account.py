# SPDX-License-Identifier: GPL-3.0-or-later
"""People's own SIP accounts: how one logs in without leaving the password about."""

import re
from functools import partial
from typing import Final

from bridge.errors import NotDone
from bridge.matrix.bot.commands import Request
from bridge.matrix.bot.reply import Question, Reply

_ACCOUNT: Final = re.compile(
    r"(?:(?P<scheme>sips:)|sip:)?(?P<user>\S+)@(?P<server>[^\s@]+)(?:\s+as\s+(?P<name>\S+))?(?=\s|$)"
)
_FORM: Final = "Write it as `username@server`, with `:port` after the server if it needs one."
_CANCEL: Final = "(`cancel` stops this.)"


async def login(request: Request) -> Reply:
    """Ask for what is missing of account and password, one after the other."""
    if not request.words:
        return Reply(f"Which SIP account? {_FORM} {_CANCEL}", question=_about_account(request))
    account, rest = _split(" ".join(request.words))
    if not rest:
        return await _account(request, account)
    return await _password(request, _read(account), rest)


async def logout(request: Request) -> Reply:
    """Forget the account."""
    if await request.desk.logout(request.person):
        return Reply("You are logged out, and your password is forgotten.")
    return Reply("You have no SIP account here.")


async def _account(request: Request, text: str) -> Reply:
    try:
        account = _read(text)
    except NotDone as error:
        return Reply(f"{error} {_CANCEL}", question=_about_account(request))
    return Reply(
        f"And its password? I delete your message as soon as I have read it. {_CANCEL}",
        question=Question(partial(_password, request, account), secret=True),
    )


async def _password(request: Request, account: re.Match[str], password: str) -> Reply:
    server = (account["scheme"] or "") + account["server"]
    line = await request.desk.login(
        request.person, server, account["user"], password, account["name"] or ""
    )
    return Reply(f"You are logged in as `{line.name}`: {line.state}.")


def _about_account(request: Request) -> Question:
    return Question(partial(_account, request))


def _split(text: str) -> tuple[str, str]:
    """The account, with the name that it may have, and what follows it."""
    found = _ACCOUNT.match(text)
    return (text, "") if found is None else (found[0], text[found.end() :].strip())


def _read(text: str) -> re.Match[str]:
    found = _ACCOUNT.fullmatch(text.strip())
    if found is None:
        raise NotDone(f"That is no SIP account. {_FORM}")
    return found
