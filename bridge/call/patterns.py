# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns of numbers and of people, as rules have them."""

import re
from functools import lru_cache

from bridge.call.ids import UserId

_CLASSES = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}
_SET = re.compile(r"\[[0-9-]+\]")


def names(pattern: str, person: UserId) -> bool:
    """Whether an entry means a person: by their Matrix id, in which `*` stands for anything, or by
    the name of their server. `*` alone means everybody."""
    if pattern in (person, person.partition(":")[2], "*"):
        return True
    if not pattern.startswith("@") or "*" not in pattern:
        return False
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), person) is not None


def matches(pattern: str, number: str) -> bool:
    """Whether a number is as the pattern says: see `pattern_of`."""
    return pattern_of(pattern).fullmatch(number) is not None


@lru_cache(maxsize=4096)
def pattern_of(text: str) -> re.Pattern[str]:
    """A rule's number as a regular expression. Raises `ValueError` if it is no pattern.

    A number is itself; with `*` at its end, every number that begins so. After an underscore, a
    pattern as in a dial plan of Asterisk: X is 0-9, Z 1-9, N 2-9, [15-7] one of those digits, and
    at the end `.` stands for one or more of anything, `!` for none or more.
    """
    if text.startswith("_"):
        try:
            return re.compile(_dial_plan(text[1:]), re.DOTALL)
        except re.error as error:
            raise ValueError(f"wanted: lower digits first in [ ] ({error})") from error
    if text.endswith("*"):
        return re.compile(re.escape(text[:-1]) + ".*", re.DOTALL)
    return re.compile(re.escape(text))


def _dial_plan(text: str) -> str:
    body = text.rstrip(".!")
    ending = text[len(body) :]
    if not text or len(ending) > 1:
        raise ValueError("wanted: _ and at least one character, with . or ! only at the end")
    parts = []
    while body:
        found = _SET.match(body)
        size = found.end() if found else 1
        part, body = body[:size], body[size:]
        if not found and part in "[].!":
            raise ValueError("wanted: digits in [ ], and . or ! only at the end")
        parts.append(part if found else _CLASSES.get(part.upper(), re.escape(part)))
    return "".join(parts) + {"": "", ".": ".+", "!": ".*"}[ending]
