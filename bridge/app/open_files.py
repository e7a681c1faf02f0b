# SPDX-License-Identifier: GPL-3.0-or-later
"""How many files, and so sockets, the bridge may have open."""

import resource
from contextlib import suppress
from typing import Final

ENOUGH: Final = 65536
"""More are of no use to the most calls that there can be."""
PER_CALL: Final = 6
"""Sockets of a call: RTP and RTCP towards SIP, ICE candidates; and some to spare."""


def allowed() -> int:
    """How many the bridge may have, as it asks for all that it may ask for."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return ENOUGH if hard == resource.RLIM_INFINITY else hard


def raise_limit() -> None:
    """Ask for as many as are allowed: shells begin with 1024, for the sake of old programs.

    The systemd unit sets a limit, and does not let the bridge ask.
    """
    with suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = min(allowed(), ENOUGH)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
