# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of calls that were asked of the bot, and refused before there was anything to ring."""

from collections.abc import Callable, Sequence
from itertools import count

from bridge.call.causes import MEANINGS
from bridge.call.commands import RecordEnd, RecordStart, StoreCommand
from bridge.call.ids import Address, CallId, Direction, UserId
from bridge.call.policy import Refusal


class RefusedRequests:
    """Keeps them like any other attempt. `nonce` makes names unique, one for every run."""

    def __init__(self, record: Callable[[Sequence[StoreCommand]], None], *, nonce: str) -> None:
        self._record = record
        self._names = (CallId(f"{nonce}-r{number}") for number in count(1))

    def add(self, person: UserId, address: Address, refusal: Refusal) -> None:
        """A person asked to be connected, and was told why not."""
        call = next(self._names)
        start = RecordStart(
            call=call,
            direction=Direction.TO_SIP,
            person=person,
            address=address,
            trunk=refusal.trunk,
        )
        end = RecordEnd(
            call=call,
            cause=refusal.cause.value,
            status=0,
            ended_by="bridge",
            reason=MEANINGS[refusal.cause].reason,
            detail=refusal.detail,
        )
        self._record([start, end])
