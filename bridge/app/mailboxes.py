# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells people what waits in their mailboxes: once, when it becomes more, and when nothing does."""

from collections.abc import Callable, Sequence

import structlog

from bridge.app.in_force import InForce
from bridge.call.ids import TrunkName, UserId
from bridge.records import Mailbox

log = structlog.get_logger(__name__)


class Mailboxes:
    """`owner_of`: whose own account a trunk is; `tell`: has the bot tell a person."""

    def __init__(
        self,
        in_force: InForce,
        *,
        owner_of: Callable[[TrunkName], UserId | None],
        tell: Callable[[UserId, str], None],
    ) -> None:
        self._in_force = in_force
        self._owner_of = owner_of
        self._tell = tell
        self._known: dict[TrunkName, Mailbox] = {}

    def changed(self, mailbox: Mailbox) -> None:
        """A server told what a mailbox holds; it may have told so before."""
        people = self._people(mailbox.trunk)
        if not people:
            return
        before = self._known.get(mailbox.trunk)
        self._known[mailbox.trunk] = mailbox
        text = self._text(before, mailbox)
        for person in people if text else ():
            log.info("a person is told of their mailbox", person=person, waiting=mailbox.waiting)
            self._tell(person, text)

    def forget(self, trunk: TrunkName) -> None:
        """The account is another now."""
        self._known.pop(trunk, None)

    def _people(self, trunk: TrunkName) -> Sequence[UserId]:
        settings = self._in_force.config.trunks.get(trunk)
        if settings is not None:
            return [UserId(person) for person in settings.mailbox_people]
        owner = self._owner_of(trunk)
        return [] if owner is None else [owner]

    def _text(self, before: Mailbox | None, now: Mailbox) -> str:
        """What there is to say; empty if it is nothing new."""
        if not now.waiting:
            return "There is no new voice message any more." if before and before.waiting else ""
        if before and before.waiting and (now.new or 0) <= (before.new or 0):
            return ""
        config = self._in_force.config
        settings = config.trunks.get(now.trunk, config.accounts)
        number = settings.mailbox_number or now.number
        call = f" Call `{number}` to hear {'it' if now.new == 1 else 'them'}." if number else ""
        return f"{_count(now)}.{call}"


def _count(mailbox: Mailbox) -> str:
    if mailbox.new is None:
        return "You have new voice messages"
    many = "message" if mailbox.new == 1 else "messages"
    old = f", and {mailbox.old} old" if mailbox.old else ""
    return f"You have {mailbox.new} new voice {many}{old}"
