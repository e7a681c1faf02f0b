# SPDX-License-Identifier: GPL-3.0-or-later
"""What every engine does with commands for calls that it has no session of."""

from bridge.call.commands import AddRemoteCandidates, BridgeMedia, MediaCommand
from bridge.call.events import MediaFailed, MediaFault, MediaLost
from bridge.call.ids import CallId, OpId, Side
from bridge.ports import Emit

MAX_EARLY = 100
"""Calls whose candidates are kept before there is an offer, and messages kept of each."""


class Early:
    """Candidates before the offer that they belong to, or after the end: who knows."""

    def __init__(self) -> None:
        self._kept: dict[CallId, list[AddRemoteCandidates]] = {}

    def keep(self, command: AddRemoteCandidates) -> None:
        """Keep them for the session that may come."""
        kept = self._kept.setdefault(command.call, [])
        if len(kept) < MAX_EARLY:
            kept.append(command)
        if len(self._kept) > MAX_EARLY:
            del self._kept[next(iter(self._kept))]

    def take(self, call: CallId) -> list[AddRemoteCandidates]:
        """What was kept for a call, which is kept no longer."""
        return self._kept.pop(call, [])


def failed(command: MediaCommand, fault: MediaFault, detail: str) -> MediaFailed | MediaLost | None:
    """The event that says so, if somebody waits for one."""
    if isinstance(command, BridgeMedia):
        return MediaLost(call=command.call, side=Side.SIP, fault=fault, detail=detail)
    op: OpId | None = getattr(command, "op", None)
    if op is None:
        return None
    return MediaFailed(call=command.call, op=op, fault=fault, detail=detail)


def refuse(command: MediaCommand, emit: Emit) -> None:
    """Say that there is no session."""
    event = failed(command, MediaFault.INTERNAL, "the call has no media session")
    if event is not None:
        emit(event)
