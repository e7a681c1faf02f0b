# SPDX-License-Identifier: GPL-3.0-or-later
"""INVITEs that take the place of a call of ours: Replaces (RFC 3891). SIP thread only.

The stack finds the dialog, and answers 481 where there is none. It answers a match at once and ends
the replaced dialog in the same breath. What the core makes of it is therefore waited for, by which
it is late by what media needs for an answer: milliseconds.
"""

import queue
from typing import Final

from bridge.call.commands import AnswerSip, RejectSip, SipCommand
from bridge.call.ids import LegId

PATIENCE: Final = 1.0
"""Seconds that the core gets; nothing else happens on the SIP thread meanwhile."""

Decision = AnswerSip | RejectSip


class Decisions:
    """What the core decides about INVITEs that cannot wait."""

    def __init__(self) -> None:
        self._awaited: dict[LegId, queue.SimpleQueue[Decision]] = {}

    def expect(self, leg: LegId) -> None:
        """Something will be decided about this leg. On the SIP thread."""
        self._awaited[leg] = queue.SimpleQueue()

    def takes(self, command: SipCommand) -> bool:
        """Whether the command is what the SIP thread waits for. On the loop."""
        awaited = self._awaited.get(command.leg)
        if awaited is None or not isinstance(command, AnswerSip | RejectSip):
            return False
        awaited.put(command)
        return True

    def wait(self, leg: LegId) -> Decision | None:
        """What was decided; None if that took too long. On the SIP thread."""
        try:
            return self._awaited[leg].get(timeout=PATIENCE)
        except queue.Empty:
            return None
        finally:
            del self._awaited[leg]
