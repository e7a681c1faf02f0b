# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that a crash left behind: ended on both sides, and on the record."""

import time

import structlog

from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import RecordEnd
from bridge.matrix.adapter import MatrixAdapter
from bridge.sip.adapter import SipAdapter
from bridge.store.calls import Calls

log = structlog.get_logger(__name__)


async def clear_away(calls: Calls, matrix: MatrixAdapter, sip: SipAdapter) -> None:
    """End them: SIP's part before it is started, that of Matrix as soon as it has been."""
    left_over = await calls.unfinished()
    await sip.end_orphans(left_over)
    await matrix.start()
    for record in left_over:
        log.warning("ending a call that a crash left behind", call=record.call)
        await matrix.end_orphan(record)
        end = RecordEnd(
            call=record.call,
            cause=Cause.SHUTDOWN.value,
            status=0,
            ended_by="bridge",
            reason=MEANINGS[Cause.SHUTDOWN].reason,
        )
        calls.do(end, time.time())
