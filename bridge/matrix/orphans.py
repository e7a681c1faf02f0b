# SPDX-License-Identifier: GPL-3.0-or-later
"""Hangs up the Matrix legs of calls that a crash left behind."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from bridge.call.commands import SendMatrixHangup, SendMatrixReject
from bridge.call.ids import Direction, MatrixCallId, OpId, PartyId, RoomId
from bridge.records import CallRecord

_NOBODY: Final = OpId(-1)
"""No call waits for what becomes of these commands."""


def last_words(record: CallRecord) -> Iterator[SendMatrixHangup | SendMatrixReject]:
    """What ends the leg of a call, or all that still rang."""
    for each in record.ringing:
        rang = replace(
            record,
            ringing=(),
            room=each.room,
            matrix_call_id=each.matrix_call_id,
            matrix_version=1,
            party=each.party,
        )
        yield from last_words(rang)
    if record.room is not None and record.matrix_call_id is not None:
        yield from _of_leg(record, record.room, record.matrix_call_id)


def _of_leg(
    record: CallRecord, room: RoomId, call_id: MatrixCallId
) -> list[SendMatrixHangup | SendMatrixReject]:
    """A hangup; and before it a reject if it was the person's call and nobody had answered.

    matrix-js-sdk ignores the hangup of a party that it never saw answer, and ignores a reject after
    an answer. The record may not know about an answer of the last moment, so say both.
    """
    version = 1 if record.matrix_version is None else record.matrix_version

    def last(kind: type[SendMatrixHangup] | type[SendMatrixReject]) -> Any:
        return kind(
            call=record.call,
            op=_NOBODY,
            room=room,
            address=record.address,
            call_id=call_id,
            party=record.party or PartyId(""),
            version=version,
            reason="unknown_error",
        )

    unanswered = record.direction is Direction.TO_SIP and record.answered_at is None
    return [
        *([last(SendMatrixReject)] if unanswered and version > 0 else []),
        last(SendMatrixHangup),
    ]
