# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait before the next try."""

import random
from collections.abc import Callable
from typing import Final

_FIRST: Final = 2.0
_LONGEST: Final = 120.0
_LONGEST_REFUSED: Final = 1800.0
_REFUSALS: Final = frozenset({401, 403, 404, 407})
"""The account is unknown, blocked, or its password wrong: somebody has to change something."""


def registration_pause(
    failures: int, status: int, chance: Callable[[], float] = random.random
) -> float:
    """Seconds before registering again: 2, 4, 8, ... and at most 120, or 1800 after a refusal.

    Between half of that and all of it, so that the accounts of one registrar do not come back all
    at once (RFC 5626 section 4.5). `chance`: gives 0.0 to 1.0.
    """
    longest = _LONGEST_REFUSED if status in _REFUSALS else _LONGEST
    pause = min(_FIRST * 2.0 ** min(failures - 1, 20), longest)
    return pause * (1 + chance()) / 2
