# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings that are to be posted."""

from collections.abc import Sequence
from typing import Final

from mautrix.util.async_db import Database

from bridge.call.ids import Address, CallId, UserId
from bridge.store.writer import Row, Writer
from bridge.voicemail import Recording

_KEEP: Final = (
    "INSERT INTO voicemail (call, person, address, caller_name, file, at) "
    "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (call) DO NOTHING"
)
_MEASURE: Final = "UPDATE call SET message_s=$2 WHERE call=$1 AND message_s IS NULL"
_FORGET: Final = "DELETE FROM voicemail WHERE call=$1"


class Recordings:
    """What callers said, and for whom, until people have it. Writes are queued."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def keep(self, recording: Recording) -> None:
        """Remember one."""
        values = (
            recording.call,
            recording.person,
            recording.address,
            recording.caller_name.replace("\0", ""),
            recording.file,
            float(recording.at),
        )
        self._writer.put(Row(_KEEP, values))

    def forget(self, call: CallId) -> None:
        """It is posted, or nothing worth it; harmless if there is none."""
        self._writer.put(Row(_FORGET, (call,)))

    def measure(self, call: CallId, seconds: float) -> None:
        """Say in the call's record how long the message is; 0: there is none. The first counts."""
        self._writer.put(Row(_MEASURE, (call, float(seconds))))

    async def waiting(self) -> Sequence[Recording]:
        """All of them, oldest first."""
        rows = await self._database.fetch(
            "SELECT call, person, address, caller_name, file, at FROM voicemail ORDER BY at, call"
        )
        return [
            Recording(
                call=CallId(row["call"]),
                person=UserId(row["person"]),
                address=Address(row["address"]),
                caller_name=row["caller_name"],
                file=row["file"],
                at=row["at"],
            )
            for row in rows
        ]
