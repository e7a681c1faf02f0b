# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a configuration: where, which key, and what is wanted instead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from bridge.errors import ConfigurationError

KeyPath = tuple[str | int, ...]
"""The way to a setting: `("sip", "transports", 0, "port")`."""
Finding = tuple[KeyPath, str]
"""A setting, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `place` is `file:line` or the environment variable that set the value."""

    path: KeyPath
    message: str
    place: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, dotted(self.path), self.message) if part)


class InvalidConfig(ConfigurationError):
    """A configuration with mistakes; all of them are in `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(
            "\n".join(map(str, problems)),
            remedy="docs/reference/configuration.md describes every key.",
        )
        self.problems = tuple(problems)


def dotted(path: KeyPath) -> str:
    """The path as people write it: `sip.transports[0].port`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known word, or all of them when they are few."""
    words = sorted(known)
    if close := get_close_matches(word, words, n=1):
        return f"did you mean {close[0]!r}?"
    if not words:
        return "none is defined"
    return "known: " + ", ".join(words)
