# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of who calls as whom."""

import re
from collections.abc import Iterator

from bridge.call.patterns import matches
from bridge.config.checks_routing import PEOPLE, PEOPLE_WANTED, dialled
from bridge.config.models import Config
from bridge.config.problems import Finding
from bridge.config.sip import Trunk

NUMBER = re.compile(r"\+?[0-9A-Za-z._-]+")


def check(config: Config) -> Iterator[Finding]:
    """Numbers that nobody will ever see, and people who are none."""
    accepted = True
    for name, trunk in config.trunks.items():
        for finding in _trunk(name, trunk):
            accepted = False
            yield finding
    for key, caller in config.callers.items():
        if not PEOPLE.fullmatch(key):
            yield ("callers", key), f"names nobody; {PEOPLE_WANTED}"
        for number, shown in enumerate(caller.numbers):
            path = ("callers", key, "numbers", number)
            if not NUMBER.fullmatch(shown):
                yield path, f"{shown!r} is no number; wanted: like '+12025550100', in quotes"
            elif accepted and not _allowed(config, shown):
                yield path, "no trunk lets anybody show it; wanted: it in trunks.*.callers"


def _trunk(name: str, trunk: Trunk) -> Iterator[Finding]:
    for number, pattern in enumerate(trunk.callers):
        yield from dialled(pattern, ("trunks", name, "callers", number))
    if not trunk.identity:
        yield ("trunks", name, "identity"), "is empty; wanted: at least one header"


def _allowed(config: Config, number: str) -> bool:
    patterns = [pattern for trunk in config.trunks.values() for pattern in trunk.callers]
    return any(matches(pattern, number) for pattern in patterns)
