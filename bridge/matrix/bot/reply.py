# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bot says, for clients that show HTML and for those that do not."""

import html
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

_CODE: Final = re.compile(r"`([^`]+)`")
_LONGEST: Final = 50
"""Items of a list at most; an event has to stay below 64 KiB, and readable."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A sentence, and a list below it. What stands in backquotes is to be typed, or a name."""

    text: str
    items: tuple[str, ...] = ()
    question: "Question | None" = None
    """What the person's next message answers."""

    def content(self) -> dict[str, Any]:
        """The notice to send. Bots answer nobody's notices, so two of them keep quiet."""
        items = self.items[:_LONGEST]
        more = len(self.items) - len(items)
        items += (f"… and {more} more",) if more else ()
        rows = "".join(f"<li>{_html(item)}</li>" for item in items)
        return {
            "msgtype": "m.notice",
            "body": "\n".join((self.text, *(f"- {item}" for item in items))),
            "format": "org.matrix.custom.html",
            "formatted_body": _html(self.text) + (f"<ul>{rows}</ul>" if rows else ""),
        }


@dataclass(frozen=True, slots=True)
class Question:
    """The bot has asked something. `secret`: the message with the answer is to be deleted.

    `heard`: takes an answer that is an audio file.
    """

    answered: Callable[[str], Awaitable[Reply]]
    secret: bool = False
    heard: Callable[[bytes], Awaitable[Reply]] | None = None


def _html(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(text, quote=False)).replace("\n", "<br>")
