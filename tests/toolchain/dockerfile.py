# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a Dockerfile: as much of its language as this project's uses, anything else is an error."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

KEYWORDS = frozenset(
    "FROM RUN COPY WORKDIR ENV USER VOLUME HEALTHCHECK ENTRYPOINT CMD EXPOSE".split()
)


@dataclass(frozen=True, slots=True)
class Instruction:
    line: int
    keyword: str
    value: str
    options: dict[str, str]

    def words(self) -> list[str]:
        """The value as its JSON list, or split at spaces."""
        if self.value.startswith("["):
            words: list[str] = json.loads(self.value)
            return words
        return self.value.split()


@dataclass(slots=True)
class Stage:
    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, keyword: str) -> Instruction:
        """The one that counts, of an instruction that later ones replace."""
        return [each for each in self.instructions if each.keyword == keyword][-1]


def parse(text: str) -> list[Stage]:
    """The stages in their order; raises ValueError with the line."""
    stages: list[Stage] = []
    for instruction in _instructions(text):
        if instruction.keyword == "FROM":
            base, _, name = instruction.value.partition(" AS ")
            stages.append(Stage(base, name))
        elif not stages:
            raise ValueError(f"line {instruction.line}: {instruction.keyword} before FROM")
        else:
            stages[-1].instructions.append(instruction)
    return stages


def _instructions(text: str) -> Iterator[Instruction]:
    begun: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first = first if begun else number
        begun.append(line.rstrip().removesuffix("\\"))
        if not line.rstrip().endswith("\\"):
            yield _instruction(" ".join(part.strip() for part in begun), first)
            begun = []
    if begun:
        raise ValueError(f"line {first}: continues past the end")


def _instruction(line: str, number: int) -> Instruction:
    keyword, _, value = line.partition(" ")
    if keyword not in KEYWORDS:
        raise ValueError(f"line {number}: {keyword} is not known here")
    options = {}
    while match := re.match(r"--([\w-]+)=(\S+)\s+", value):
        options[match[1]] = match[2]
        value = value[match.end() :]
    return Instruction(number, keyword, value, options)
