# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait before the next try."""

from typing import Final

_FIRST: Final = 2.0
_LONGEST: Final = 120.0


def registration_pause(failures: int) -> float:
    """Seconds before registering again, after that many failures in a row: 2, 4, 8, ... 120."""
    return float(min(_FIRST * 2 ** min(failures - 1, 10), _LONGEST))
