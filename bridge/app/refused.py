# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of calls that were refused before there was anything to ring: by the bot, and by SIP."""

from collections.abc import Callable, Sequence
from itertools import count

from bridge.call.causes import MEANINGS
from bridge.call.commands import RecordEnd, RecordStart, StoreCommand
from bridge.call.ids import Address, CallId, Direction, UserId
from bridge.call.policy import Refusal
from bridge.records import CallRecord, RefusedCalls


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


class RefusedAttempts:
    """Keeps what SIP refused, without a ladder. `nonce` as above."""

    def __init__(self, add: Callable[[CallRecord], None], *, nonce: str) -> None:
        self._add = add
        self._names = (CallId(f"{nonce}-s{number}") for number in count(1))

    def add(self, calls: Sequence[RefusedCalls]) -> None:
        """Calls were refused, each by itself or many alike."""
        for each in calls:
            self._add(_record(next(self._names), each))


def _record(call: CallId, refused: RefusedCalls) -> CallRecord:
    """Of many: from where they came, for each may give another number."""
    one = refused.times == 1
    whole = Address(f"sip:{refused.source}" if refused.source else "")
    return CallRecord(
        call=call,
        direction=Direction.TO_MATRIX,
        person=UserId(""),
        address=refused.caller if one else whole,
        trunk=refused.trunk,
        started_at=refused.since,
        ended_at=refused.until,
        cause=refused.cause.value,
        status=refused.status,
        ended_by="bridge",
        reason=MEANINGS[refused.cause].reason,
        detail=_detail(refused),
        sip_call_id=refused.sip_call_id or None,
        times=refused.times,
        source=refused.source,
    )


def _detail(refused: RefusedCalls) -> str:
    dialled = refused.dialled or "nothing"
    if refused.times == 1:
        return f"dialled {dialled}, from {refused.source or 'one of several addresses'}"
    return f"the first one: {refused.caller.removeprefix('tel:')} dialled {dialled}"
