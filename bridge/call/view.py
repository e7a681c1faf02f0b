# SPDX-License-Identifier: GPL-3.0-or-later
"""A call as it is shown to an admin."""

from dataclasses import dataclass

from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A call as an admin sees it. Times are those of the events that the core was told."""

    call: CallId
    direction: Direction
    state: str
    """`preparing`, `ringing`, `connected` or `ending`."""
    person: UserId
    address: Address
    trunk: TrunkName
    since: float
    answered_at: float | None
