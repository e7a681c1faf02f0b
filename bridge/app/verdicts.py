# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a check: it is well, or raises one of these, or what else the bridge raises."""

from dataclasses import dataclass
from enum import Enum

from bridge.errors import BridgeError


class Doubt(BridgeError):
    """Works now, but deserves a look."""


class NotTried(BridgeError):
    """Could not be found out, which says nothing either way."""


class Verdict(Enum):
    """What became of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Nothing was proved."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    verdict: Verdict
    what: str
    message: str
    remedy: str = ""
