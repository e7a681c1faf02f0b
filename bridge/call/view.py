# SPDX-License-Identifier: GPL-3.0-or-later
"""A call as it is shown to an admin."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.call.ids import Address, CallId, Direction, Side, TrunkName, UserId
from bridge.call.quality import Flow
from bridge.call.silence import Silence


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A call as an admin sees it. Times are those of the events that the core was told."""

    call: CallId
    direction: Direction
    state: str
    """`preparing`, `ringing`, `connected`, `voicemail` or `ending`."""
    person: UserId
    address: Address
    trunk: TrunkName
    since: float
    answered_at: float | None
    flows: Mapping[Side, Flow] = field(default_factory=dict)
    """What was measured last, by the side that it comes from; empty before there is audio."""
    unheard: Mapping[Side, Silence] = field(default_factory=dict)
    """From which side nothing is heard, and why."""
