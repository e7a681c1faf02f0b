# SPDX-License-Identifier: GPL-3.0-or-later
"""What is turned away at the door: counted, and logged in a form that fail2ban reads."""

import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

import structlog

from bridge.call.causes import Cause
from bridge.sip.buckets import Buckets

log = structlog.get_logger(__name__)

_METHODS: Final = frozenset(
    {"INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER"}
)
_MINUTE: Final = 1 / 60


CAUSES: Final = (
    Cause.STRANGER,
    Cause.TOO_FREQUENT,
    Cause.NO_RESOURCES,
    Cause.SHUTDOWN,
    Cause.NOT_PERMITTED,
    Cause.NOT_ENCRYPTED,
    Cause.BAD_REQUEST,
    Cause.ERROR,
)
"""Why a call may be refused before the core hears of it."""


class Reason(Enum):
    """Why a message was turned away: the values of a metric's label."""

    STRANGER = "stranger"
    """It came from no trunk and no account."""
    RATE = "rate"
    """A stranger sent too many, so it got no answer."""
    MALFORMED = "malformed"
    """It could not be read."""
    IDLE = "idle"
    """A stranger's connection brought no whole message in time, and was closed."""
    CONNECTIONS = "connections"
    """A stranger, or all of them, had too many connections."""
    TRUNK_RATE = "trunk_rate"
    """A trunk placed too many calls within a second."""


class Strangers:
    """Counts what was turned away, and logs it. For the SIP thread; anybody may read the counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = {reason.value: 0 for reason in Reason}
        self._calls = {cause.value: 0 for cause in CAUSES}
        self._lines = Buckets(clock)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many messages were turned away, by reason."""
        return dict(self._counts)

    @property
    def calls(self) -> Mapping[str, int]:
        """How many calls were refused of which the core heard nothing, by cause."""
        return dict(self._calls)

    def call_refused(self, cause: Cause) -> None:
        """A call was, whoever placed it."""
        self._calls[cause.value] += 1

    def refused(self, source: str, reason: Reason, method: str = "") -> None:
        """A request, or a connection, from an address that is no trunk's was turned away.

        This line is an interface: docs/how-to/fail2ban has the filter that reads it. There is none
        about what came too often: it would fill the disk.
        """
        self._counts[reason.value] += 1
        if reason is not Reason.RATE:
            known = method if method in _METHODS else "other"
            log.warning("refused a SIP request", source=source, method=known, reason=reason.value)

    def trunk_refused(self, trunk: str) -> None:
        """A trunk placed more calls than it may; one line a minute."""
        self._counts[Reason.TRUNK_RATE.value] += 1
        if self._lines.take(("trunk", trunk), _MINUTE, 1):
            log.warning("a trunk places calls faster than it may", trunk=trunk, status=503)

    def trunk_malformed(self, source: str) -> None:
        """What came from a trunk's address could not be read; one line a minute."""
        self._counts[Reason.MALFORMED.value] += 1
        if self._lines.take(("malformed", source), _MINUTE, 1):
            log.warning("a trunk sends what cannot be read", source=source)
