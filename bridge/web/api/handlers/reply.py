# SPDX-License-Identifier: GPL-3.0-or-later
"""What handlers answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.config import Section
from bridge.web.api.problems import Kind, Refused


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, and what goes with it."""

    body: Section | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def missing(what: str) -> Refused:
    """That something is not there."""
    return Refused(Kind.NOT_FOUND, f"There is no such {what}.")
