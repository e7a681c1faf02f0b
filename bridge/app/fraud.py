# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells admins when a trunk has reached one of its bounds: somebody may be stealing calls."""

from collections.abc import Callable
from typing import Final

import structlog

from bridge.call.causes import Cause
from bridge.call.commands import RecordEnd, RecordStart, StoreCommand
from bridge.call.ids import CallId, TrunkName
from bridge.call.meter import DAY

log = structlog.get_logger(__name__)

_REACHED: Final = {
    Cause.TRUNK_BUSY: "as many calls as it may carry",
    Cause.TRUNK_SPENT: "as many minutes as it may carry within 24 hours",
}


class FraudAlerts:
    """Tells of each trunk and bound once a day. `clock`: seconds that only go forward."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._trunks: dict[CallId, TrunkName] = {}
        self._told: dict[tuple[TrunkName, Cause], float] = {}

    def observe(self, command: StoreCommand) -> None:
        """A call begins, or ends: perhaps for such a bound."""
        match command:
            case RecordStart(call=call, trunk=trunk):
                self._trunks[call] = trunk
            case RecordEnd(call=call, cause=cause):
                self._reached(self._trunks.pop(call, TrunkName("")), Cause(cause))

    def _reached(self, trunk: TrunkName, cause: Cause) -> None:
        what = _REACHED.get(cause)
        now = self._clock()
        last = self._told.get((trunk, cause))
        if what is None or (last is not None and now - last < DAY):
            return
        self._told[trunk, cause] = now
        log.warning("a trunk has reached one of its limits", trunk=trunk, cause=cause.value)
        self._tell(
            f"The trunk `{trunk}` has had {what} (`trunks.{trunk}.limits`), and further calls are "
            "refused. If that is more than people here call, somebody may be using an account that "
            "is not theirs: `active` and `matrix-sip calls` show who called whom."
        )
